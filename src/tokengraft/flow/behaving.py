"""What a result is asked about its behaviour: a suite, and the model as it was before training."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pydantic

from tokengraft.behaviour import (
    Behaviour,
    Call,
    Kind,
    Prompt,
    Suite,
    SuiteSettings,
    Text,
    Thought,
    Wants,
)
from tokengraft.checkpoint import RECORD_FOLDER, Checkpoint
from tokengraft.errors import RefusedError, TargetExists, TokengraftError, UsageError
from tokengraft.events import Listen, Note, ignore
from tokengraft.flow.making import apply_planned, plan_recipe
from tokengraft.formats.plan_files import read_plan
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.formats.suites import read_suite
from tokengraft.formats.training_records import HELD_OUT, training_folder
from tokengraft.formats.whole_files import read_head
from tokengraft.hub import Address, find, locate
from tokengraft.plans import Plan
from tokengraft.recipes import Recipe, RoleToken
from tokengraft.verifying.behaviour import Questions

AUTO: Final = "auto"
MOST_PROMPTS: Final = 200  # of each kind in a derived suite
MOST_TEXTS: Final = 60


class NothingToAsk(UsageError):
    """No suite can be derived: there are no held-out rows, or none of them is a prompt."""


@contextmanager
def asked(
    out: Path,
    suite: str | None,
    *,
    base: Checkpoint | None = None,
    before: str | None = None,
    folder: Path | None = None,
    listen: Listen = ignore,
) -> Iterator[Questions | None]:
    """What to ask, None for nothing; a model that is made for it is there as long as the context.

    Args:
        out: the result.
        suite: a file, or `auto`: a suite from the recipe and from what the training held out.
        base: reads the texts; and without `before`, the recipe is applied to it without training,
            to see what the untrained tokens are worth.
        before: another model to compare with.
        folder: where the paths in the recipe start; by default, the present folder.
    """
    if suite is None:
        yield None
        return
    plan = read_plan(out / RECORD_FOLDER / "plan.json").plan
    questions = derived(out, plan) if suite == AUTO else read_suite(Path(suite))
    if before is not None:
        yield Questions(questions, _folder(before, listen), base)
        return
    if base is None or not questions.prompts:
        yield Questions(questions, None, base)
        return
    with tempfile.TemporaryDirectory(prefix="tokengraft-", dir=out.resolve().parent) as place:
        made, note = _untrained(plan, base, folder, Path(place, "untrained"), listen)
        yield Questions(questions, made, base, (note,) if note else ())


def _folder(source: str, listen: Listen) -> Path:
    found = find(source)
    return locate(source, listen=listen) if isinstance(found, Address) else found


def _untrained(
    plan: Plan, base: Checkpoint, folder: Path | None, place: Path, listen: Listen
) -> tuple[Path | None, str]:
    """The recipe applied without training; or why there is nothing to compare with."""
    recipe, _ = parse_recipe(plan.recipe, file="the plan's recipe")
    try:
        planned = plan_recipe(base, recipe, text=plan.recipe, source=str(base.root), folder=folder)
        if planned.plan.edits == plan.edits:
            return None, "the rows of this folder are the untrained ones: there is no before"
        apply_planned(planned, out=place)
    except TokengraftError as error:
        why = f"the untrained rows could not be made again: {error.summary}"
        listen(Note("verify", why))
        return None, why
    return place, ""


def may_write_record(path: Path) -> None:
    """Refuse to put a record where something else lies.

    Raises:
        TargetExists: a file is there that is no such record.
    """
    if path.exists() and not _is_record(path):
        raise TargetExists(
            f"{path} exists and is no record of behaviour, so it is not replaced",
            subject=str(path),
            hint="name another file, or remove this one yourself",
        )


def write_record(behaviour: Behaviour, path: Path) -> None:
    """Write what was measured, in place of an earlier record and of nothing else."""
    from tokengraft import applying

    may_write_record(path)
    applying.write_document(path, behaviour.to_json().encode())


def _is_record(path: Path) -> bool:
    return path.is_file() and b'"tokengraft/behaviour"' in read_head(path, 1 << 10)


# ── a suite from what the training held out ──────────────────────────────────────────────────────


def derived(out: Path, plan: Plan) -> Suite:
    """A suite from rows that the training did not see, and from what the recipe says of its tokens.

    A conversation's last answer says what is wanted after the messages before it: the tokens of its
    role, its thoughts and its calls, and those that stand in its text. Where it has none, the prompt
    is neutral. Near misses cannot be told from data; a suite of one's own has them.

    Raises:
        NothingToAsk: there is no file of held-out rows beside the folder, or nothing in it to ask.
    """
    folder = training_folder(out)
    files = sorted(folder.rglob(HELD_OUT)) if folder.is_dir() else []
    if not files:
        raise NothingToAsk(
            f"no training beside {out} has held rows out, so no suite can be derived",
            detail=f"looked for {HELD_OUT} in {folder.name}",
            subject=str(out),
            hint=f"tokengraft verify {shlex.quote(str(out))} --behaviour SUITE.jsonl",
        )
    recipe, _ = parse_recipe(plan.recipe, file="the plan's recipe")
    tokens = [token.text for token in plan.tokens if token.action in ("add", "claim")]
    found = [part for row in _rows(files[-1]) for part in _parts(row, recipe, tokens)]
    wanted = [p for p in found if isinstance(p, Prompt) and p.kind == "wanted"][:MOST_PROMPTS]
    neutral = [p for p in found if isinstance(p, Prompt) and p.kind == "neutral"][:MOST_PROMPTS]
    texts = [part for part in found if isinstance(part, Text)][:MOST_TEXTS]
    if not wanted and not neutral and not texts:
        raise NothingToAsk(
            f"the rows that the training held out ask nothing: {files[-1].name} has no conversation",
            subject=str(files[-1]),
            hint=f"tokengraft verify {shlex.quote(str(out))} --behaviour SUITE.jsonl",
        )
    return Suite(
        name=AUTO,
        prompts=(*wanted, *neutral),
        texts=tuple(texts),
        settings=SuiteSettings(kind="settings"),
    )


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            row = json.loads(line)
            if isinstance(row, dict):
                yield row


def _parts(
    row: Mapping[str, Any], recipe: Recipe, tokens: Sequence[str]
) -> Iterator[Prompt | Text]:
    if isinstance(row.get("text"), str):
        if not any(token in row["text"] for token in tokens):
            yield Text(kind="text", text=row["text"])
        return
    if isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str):
        yield from _continued(row["prompt"], row["completion"], tokens)
        return
    messages = row.get("messages")
    if not isinstance(messages, list) or len(messages) < 2:  # noqa: PLR2004 - asked and answered
        return
    roles = {"assistant", *_said_roles(recipe)}
    answer = messages[-1]
    if not isinstance(answer, dict) or answer.get("role") not in roles:
        return
    wants = _wants(answer, recipe, tokens)
    prompt: dict[str, Any] = {
        "kind": "wanted" if wants.tokens else "neutral",
        "messages": messages[:-1],
        "tools": row.get("tools"),
        "chat_template_kwargs": row.get("chat_template_kwargs") or {},
    }
    try:
        made = Prompt.model_validate_json(
            json.dumps(prompt | {"wants": wants.model_dump(mode="json")})
        )
    except pydantic.ValidationError:  # a row that a template reads and a suite does not
        return
    yield made
    if not wants.tokens and isinstance(answer.get("content"), str):
        said = [str(message.get("content") or "") for message in messages]
        yield Text(kind="text", text="\n".join(said) or "\n")


def _continued(prompt: str, completion: str, tokens: Sequence[str]) -> Iterator[Prompt]:
    """A text to be continued, with the tokens that its continuation holds."""
    wanted = tuple(token for token in tokens if token in completion)
    if prompt:
        kind: Kind = "wanted" if wanted else "neutral"
        yield Prompt(kind=kind, prompt=prompt, wants=Wants(tokens=wanted))


def _said_roles(recipe: Recipe) -> dict[str, str]:
    """Roles that the model takes itself, with their tokens."""
    return {
        role: told.token
        for role, told in recipe.roles.items()
        if isinstance(told, RoleToken) and told.side == "output"
    }


def _wants(answer: Mapping[str, Any], recipe: Recipe, tokens: Sequence[str]) -> Wants:
    roles, role = _said_roles(recipe), str(answer.get("role"))
    wanted = [roles[role]] if role in roles else []
    calls = [_call(call) for call in answer.get("tool_calls") or ()]
    if calls and recipe.tools is not None:
        wanted += [recipe.tools.open, recipe.tools.close]
    thoughts = tuple(
        Thought(module=str(one.get("module")), content=one.get("content"))
        for one in answer.get("thoughts") or ()
        if isinstance(one, dict)
    )
    wanted += [one.module for one in thoughts]
    wanted += [token for token in tokens if token in str(answer.get("content") or "")]
    chosen = tuple(text for text in dict.fromkeys(wanted) if text in tokens)
    if not chosen:
        return Wants()
    return Wants(
        tokens=chosen,
        role=role if role in roles else None,
        thoughts=thoughts or None,
        tool_calls=tuple(calls) or None,
    )


def _call(call: Mapping[str, Any]) -> Call:
    function = call.get("function", call)
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            raise RefusedError("the arguments of a held-out call are not JSON") from error
    return Call(name=str(function.get("name")), arguments=arguments)
