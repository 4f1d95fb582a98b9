"""What to do with a result: serve it, take it back, let others have the same."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from tokengraft.low_rank import AddLowRank
from tokengraft.plans import Plan
from tokengraft.recipes import Recipe, RoleToken
from tokengraft.reports import Advice


def advice(out: Path, source: str | None, plan: Plan, recipe: Recipe) -> tuple[Advice, ...]:
    """Everything that can be done with `out`, as commands."""
    return (
        Advice("Serve it", tuple(serving(out, recipe)), tuple(_notes(recipe))),
        _proving(out, source),
        _undoing(out, plan),
        _sharing(out, plan),
    )


def serving(out: Path, recipe: Recipe) -> Iterator[str]:
    """The commands that serve a folder, each complete.

    Source: vLLM 0.33 and transformers 5.23, as docs/how-to/add-roles-and-tools.md says.
    """
    folder = shlex.quote(str(out))
    yield f"transformers serve {folder}"
    yield f"transformers chat {folder}"
    parts = ["vllm serve", folder]
    if recipe.tools is not None:
        parts.append("--enable-auto-tool-choice --tool-call-parser response_template")
    if recipe.thinking is not None and recipe.thinking.field == "thinking":
        parts.append("--reasoning-parser response_template")
    yield " ".join(parts)


def _notes(recipe: Recipe) -> Iterator[str]:
    yield (
        "parse_response of the tokenizer (transformers 5) reads an answer back: role, content, "
        "thoughts and calls"
    )
    if recipe.thinking is not None and recipe.thinking.field == "thoughts":
        yield (
            "servers pass on thoughts as a whole only: modules that are kept apart have to be read "
            "back by the client, or the recipe says which field a server knows"
        )
    sides = [role.side for role in recipe.roles.values() if isinstance(role, RoleToken)]
    if "output" in sides:
        yield "roles that the model takes itself are read back by the client: servers know one role"


def _proving(out: Path, source: str | None) -> Advice:
    against = f" --against {shlex.quote(source)}" if source else ""
    folder = shlex.quote(str(out))
    return Advice(
        "Prove it again",
        (
            f"tokengraft verify {folder}{against}",
            f"cd {folder} && sha256sum -c MANIFEST.sha256",
        ),
        ("the second command needs nothing of ours",),
    )


def _undoing(out: Path, plan: Plan) -> Advice:
    if any(isinstance(edit, AddLowRank) for edit in plan.edits):
        why = (
            "an adapter was baked in, so that the old numbers are not in this folder: keep the base"
        )
        return Advice("Take it back", (), (why,))
    command = f"tokengraft undo {shlex.quote(str(out))} -o BASE"
    return Advice("Take it back", (command,), ("it gives the base back, bit for bit",))


def _sharing(out: Path, plan: Plan) -> Advice:
    graft = out / "tokengraft"
    files = [graft / "plan.json"]
    if plan.sidecar is not None:
        files.append(graft / "rows.safetensors")
    copied = shlex.join(["cp", *map(str, files), "graft/"])
    return Advice(
        "Let others have it",
        (f"mkdir graft && {copied}", "tokengraft apply graft/plan.json --base SRC -o OUT"),
        (
            "whoever has the same base needs no more than these files; apply compares the base first",
        ),
    )
