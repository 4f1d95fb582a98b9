"""Make mutants, ask other people's libraries whether they matter, and see whether the audit says so."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutations import mutate

from tokengraft import auditing
from tokengraft.errors import TokengraftError
from tokengraft.formats.loading import load

ASK = Path(__file__).parents[1] / "oracles" / "ask_mutants.py"
N_TEXTS = 500


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutant: what was done to which folder, whether it matters, and what is new in the audit."""

    base: str
    seed: int
    change: str
    matters: bool
    found: tuple[str, ...]


class Oracle:
    """A library in a process of its own that stays alive."""

    def __init__(self, python: str, texts: list[str]) -> None:
        self.process = subprocess.Popen(
            [python, str(ASK)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._write({"texts": texts})

    def _write(self, job: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()

    def send(self, folder: Path) -> None:
        self._write({"folder": str(folder)})

    def answer(self) -> Any:
        assert self.process.stdout is not None
        while not (line := self.process.stdout.readline()).startswith("@"):
            assert line, "the oracle has ended"
        return json.loads(line[1:])

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=30)


def texts(seed: int = 0) -> list[str]:
    """500 texts: words, code, markers, several scripts, white space."""
    random_ = random.Random(seed)
    words = [
        "the",
        "and",
        "of",
        "hello",
        "world",
        "in",
        "er",
        "on",
        "def",
        "тест",
        "привет",
        "мир",
        "数字",
        "naïve",
        "café",
        "<|im_start|>",
        "<|im_end|>",
        "<think>",
        "</think>",
        "<tool_call>",
        "<|endoftext|>",
        "user",
        "assistant",
        "123",
        "4.5",
        "!?",
        "\n\n",
        "\t",
        "'ll",
        "it's",
        "▁a",
        "́",
        "ﬁ",
        "Å",
        "x=1;",
        "{}",
        "[]",
        "😀",
    ]
    return [
        random_.choice(("", " ")).join(random_.choices(words, k=random_.randint(1, 12)))
        for _ in range(N_TEXTS)
    ]


def findings(folder: Path) -> frozenset[str]:
    """What the audit says of a folder, one text a finding; a refusal counts as one."""
    try:
        return frozenset(
            f"{f.rule} {f.subject} {f.summary} {f.detail}" for f in auditing.find(load(folder))
        )
    except TokengraftError as error:
        return frozenset({f"refused: {error.summary}"})


def campaign(
    bases: Sequence[Path], seeds: Sequence[int], pythons: Sequence[str], work: Path
) -> Iterator[Mutant]:
    """Mutate the bases in turn; a mutant matters if any answer of any library changes."""
    said = texts()
    oracles = [Oracle(python, said) for python in pythons]
    origins = list(bases)
    bases = [_neutral(base, work / f"origin-{at}") for at, base in enumerate(bases)]
    try:
        names = {base: origin.name for base, origin in zip(bases, origins, strict=True)}
        before = {base: (_ask(oracles, base), findings(base)) for base in bases}
        for seed in seeds:
            base = bases[seed % len(bases)]
            target = work / f"mutant-{seed}"
            change = mutate(base, target, seed)
            for oracle in oracles:
                oracle.send(target)
            found = findings(target)
            answers = [oracle.answer() for oracle in oracles]
            new = tuple(sorted(found - before[base][1]))
            yield Mutant(names[base], seed, change, answers != before[base][0], new)
            shutil.rmtree(target)
    finally:
        for oracle in oracles:
            oracle.close()


def _neutral(base: Path, target: Path) -> Path:
    """A link to a folder under a name that says nothing: transformers reads model types into names."""
    target.symlink_to(base.resolve(), target_is_directory=True)
    return target


def _ask(oracles: Sequence[Oracle], folder: Path) -> list[Any]:
    for oracle in oracles:
        oracle.send(folder)
    return [oracle.answer() for oracle in oracles]
