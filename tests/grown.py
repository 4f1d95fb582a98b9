"""Folders whose vocabulary grows: recipes with words and corpora, planned, applied and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from oracles.whole_words import Meaning
from tokengraft.errors import RecipeError
from tokengraft.flow import making, proving
from tokengraft.formats.plan_files import read_plan
from tokengraft.plans import Plan


def words(*texts: str, **keys: str) -> str:
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return "".join(f'[[add]]\ntext = {json.dumps(t)}\nuse = "word"\n{lines}' for t in texts)


def extend(corpus: str, tokens: int) -> str:
    return f'[[extend]]\ncorpus = "{corpus}"\ntokens = {tokens}\n'


@dataclass(frozen=True)
class Grown:
    """A base, and what a recipe made of it."""

    base: Path
    out: Path

    @cached_property
    def plan(self) -> Plan:
        return read_plan(self.out / "tokengraft" / "plan.json").plan

    @cached_property
    def before(self) -> Tokenizer:
        return Tokenizer.from_file(str(self.base / "tokenizer.json"))

    @cached_property
    def after(self) -> Tokenizer:
        return Tokenizer.from_file(str(self.out / "tokenizer.json"))

    @cached_property
    def ids(self) -> dict[str, int]:
        """New pieces by their text."""
        return {token.text: token.id for token in self.plan.tokens if token.piece is not None}

    @cached_property
    def meaning(self) -> Meaning:
        return Meaning.of(self.before, self.ids)

    @cached_property
    def old_pieces(self) -> dict[int, list[int]]:
        """What each learned piece stands for, merge by merge, from the files alone."""
        model = json.loads((self.out / "tokenizer.json").read_bytes())["model"]
        vocab, old = model["vocab"], self.before.get_vocab()
        parts: dict[str, list[int]] = {text: [i] for text, i in old.items()}
        pairs = [m if isinstance(m, list) else m.split(" ") for m in model["merges"]]
        made = {left + right for left, right in pairs}
        # Added tokens that another file had, put into step here, are no pieces.
        added = {token.text for token in self.plan.tokens if token.piece is None}
        for letter in vocab.keys() - old.keys() - made - added:
            parts[letter] = [old[f"<0x{byte:02X}>"] for byte in letter.encode()]
        for left, right in pairs:
            parts.setdefault(left + right, [*parts[left], *parts[right]])
        return {i: parts[text] for text, i in vocab.items() if text not in old and text in parts}

    def encoded(self, text: str) -> list[int]:
        ids: list[int] = self.after.encode(text, add_special_tokens=False).ids
        return ids

    def was(self, text: str) -> list[int]:
        ids: list[int] = self.before.encode(text, add_special_tokens=False).ids
        return ids

    def json(self, file: str) -> Any:
        return json.loads((self.out / file).read_bytes())


def grow(
    base: Path, home: Path, recipe: str, corpora: Mapping[str, str | bytes] | None = None
) -> Grown:
    """Plan and apply; corpora lie beside the recipe, and are gone when the plan is applied."""
    home.mkdir(parents=True, exist_ok=True)
    for name, text in (corpora or {}).items():
        (home / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (home / "recipe.toml").write_text(f"version = 1\n{recipe}", encoding="utf-8")
    planned = making.make_plan(str(base), home / "recipe.toml")
    making.write_plan(planned, home / "plan.json")
    for name in corpora or ():
        (home / name).unlink()
    making.apply(home / "plan.json", base=str(base), out=home / "out")
    return Grown(base, home / "out")


def refusal(
    base: Path, home: Path, recipe: str, corpora: Mapping[str, str | bytes] | None = None
) -> str:
    """Everything that is wrong with a recipe for a base, as `plan` says it."""
    with pytest.raises(RecipeError) as caught:
        grow(base, home, recipe, corpora)
    assert caught.value.exit_code == 2
    return f"{caught.value.summary}\n{caught.value.detail}"


def checks(found: Grown, **options: Any) -> dict[str, tuple[str, str]]:
    """What `verify` says, by the names of its checks."""
    said = proving.verify(found.out, against=str(found.base), **options)
    return {check.name: (check.status, check.evidence) for check in said.checks}


def failing(said: Mapping[str, tuple[str, str]]) -> Sequence[str]:
    return [name for name, (status, _) in said.items() if status not in ("pass", "skipped")]
