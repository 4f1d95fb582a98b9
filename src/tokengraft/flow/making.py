"""Audit, plan, apply, undo: the rooms composed, one verb a function."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tokengraft import __version__
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import ReadFailed, TargetExists, UsageError
from tokengraft.events import Done, Listen, Note, Started, ignore
from tokengraft.findings import Audit, Goal
from tokengraft.flow.ports import asked_ports
from tokengraft.formats import loading
from tokengraft.formats.folders import MAX_SMALL_BYTES, kind_of
from tokengraft.formats.recipe_file import parse_recipe, read_recipe
from tokengraft.formats.whole_files import read_head
from tokengraft.hub import Address, find, hub_cache, locate, look
from tokengraft.plans import Plan
from tokengraft.recipes import Recipe
from tokengraft.results import Receipt

if TYPE_CHECKING:  # an audit needs no arrays, and starts without them
    import numpy as np
    from numpy.typing import NDArray

    from tokengraft.formats.plan_files import PlanFile
    from tokengraft.formats.sidecars import PackedSidecar
    from tokengraft.planning.library import CountCorpus
    from tokengraft.planning.trained import Trained

CopyMode = Literal["auto", "reflink", "copy", "link"]
TOOL = f"tokengraft {__version__}"


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that was made: whole in memory, and packed as its files will hold it.

    Attributes:
        values: what the sidecar holds of new rows, by tensor.
    """

    source: str
    checkpoint: Checkpoint
    recipe: Recipe
    plan: Plan
    text: bytes
    sidecar: PackedSidecar | None
    values: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applied:
    """What apply did, and what of the recipe it left undone."""

    receipt: Receipt
    plan: Plan
    undone: tuple[str, ...]


def load(source: str, listen: Listen = ignore, *, weights: bool = True) -> Checkpoint:
    """Read a folder, a repo id or an hf:// address into a snapshot.

    Args:
        weights: whether their bytes are needed as files; without them a repository is not
            downloaded, but its small files are, and headers are read by range.
    """
    found = find(source)
    if isinstance(found, Address) and not weights:
        return _look(found, listen)
    folder = found if isinstance(found, Path) else locate(source, listen=listen)
    listen(Started("read", str(folder)))
    checkpoint = loading.load(folder)
    listen(Done("read", str(folder)))
    return checkpoint


def _look(address: Address, listen: Listen) -> Checkpoint:
    """A snapshot of a repository, of which the cache may hold a part or all."""
    found = look(address, lambda path: kind_of(path) == "small", MAX_SMALL_BYTES, listen)
    listen(Started("read", address.text))
    checkpoint = loading.load(found.folder, remote=found.absent)
    tensors = checkpoint.tensors
    if not found.asked and tensors is not None and tensors.missing_files:
        # That shards are not in the cache says nothing about the repository.
        listen(Note("read", "the cache holds a part of the weights only; they are left out"))
        checkpoint = loading.load(found.folder, weights=False)
    listen(Done("read", address.text))
    return checkpoint


def audit(
    source: str,
    *,
    goal: Goal | None = None,
    deep: bool = False,
    headers: bool = True,
    listen: Listen = ignore,
) -> Audit:
    """Say whether anything should change, and why.

    Args:
        deep: whether to read the embedding rows too.
        headers: whether to read the headers of weights; without them only small files are judged.
    """
    from tokengraft import auditing

    if headers:
        checkpoint = load(source, listen, weights=False)
    else:
        checkpoint = loading.load(locate(source, listen=listen), weights=False)
    rows = auditing.read_rows(checkpoint, listen) if deep else None
    return auditing.audit(checkpoint, goal=goal, source=source, rows=rows)


def make_plan(
    source: str | None,
    recipe: Path,
    *,
    overrides: Sequence[str] = (),
    listen: Listen = ignore,
) -> Planned:
    """Plan what a recipe asks of a checkpoint. Writes nothing.

    Raises:
        RecipeError: the recipe is wrong, or wrong for this checkpoint.
        UsageError: neither the caller nor the recipe names a base.
    """
    wish, text = read_recipe(recipe, overrides=overrides)
    source = source if source is not None else wish.base
    if source is None:
        raise UsageError(
            "no base is given",
            subject=str(recipe),
            hint=f"tokengraft plan SRC {shlex.quote(str(recipe))}, or base = in the recipe",
        )
    checkpoint = load(source, listen)
    return plan_recipe(
        checkpoint, wish, text=text, source=source, folder=recipe.parent, listen=listen
    )


def plan_recipe(  # noqa: PLR0913 - what is planned, and where it comes from
    checkpoint: Checkpoint,
    recipe: Recipe,
    *,
    text: str,
    source: str,
    folder: Path | None = None,
    trained: Trained | None = None,
    glance: CountCorpus | None = None,
    listen: Listen = ignore,
) -> Planned:
    """Plan a recipe that was read already.

    Args:
        folder: where the paths in the recipe start; by default, the present folder.
        trained: what training yielded for this recipe.
        glance: counts what words save; one's own remembers it from plan to plan.
    """
    listen(Started("plan", source))
    from tokengraft import auditing, planning
    from tokengraft.formats.plan_files import pack, parse_plan

    with asked_ports(checkpoint, folder or Path(), listen) as asked:
        ports = replace(asked, trained=trained, glance=glance or asked.glance)
        outcome = planning.plan(checkpoint, recipe, text=text, tool=TOOL, ports=ports)
    findings = auditing.audit(outcome.after, goal=None, source=source).findings
    # Where a plan changes nothing, what is wrong with the base stays the audit's business.
    plan = outcome.plan.model_copy(update={"predicted": findings})
    packed, sidecar = pack(plan, outcome.values, outcome.factors)
    if sidecar is not None:
        plan = plan.model_copy(update={"sidecar": parse_plan(packed, file="plan").sidecar})
    listen(Done("plan", source))
    return Planned(source, checkpoint, recipe, plan, packed, sidecar, outcome.values)


def write_plan(planned: Planned, path: Path) -> tuple[Path, ...]:
    """Write the plan, and its sidecar beside it if it has one.

    Raises:
        UsageError: the place lies inside the source, which is only read.
        TargetExists: a file is there that is no plan (or no sidecar of one).
        StalePlan: what the sidecar is made of has changed since.
    """
    from tokengraft import applying

    may_write_plan(path, planned.checkpoint.root)
    written = [path]
    applying.write_document(path, planned.text)
    if planned.sidecar is not None:
        sidecar = path.with_name(f"{path.stem}.rows.safetensors")
        applying.write_sidecar(sidecar, planned.sidecar, planned.plan)
        written.append(sidecar)
    return tuple(written)


def may_write_plan(path: Path, source: Path) -> None:
    """Refuse to put a plan where something else lies; see `write_plan`."""
    place = path.parent.resolve() / path.name
    if source.resolve() in place.parents:
        raise UsageError(
            f"{path} lies inside the source, which is only read",
            subject=str(path),
            hint="write the plan beside it: -o plan.json",
        )
    sidecar = path.with_name(f"{path.stem}.rows.safetensors")
    known = [path.is_symlink() or not path.exists() or _holds_plan(path), _is_new(sidecar, path)]
    for there, is_ours in zip((path, sidecar), known, strict=True):
        if not is_ours:
            raise TargetExists(
                f"{there} exists and is no plan, so it is not replaced",
                subject=str(there),
                hint="name another file, or remove this one yourself",
            )


def _is_new(sidecar: Path, plan: Path) -> bool:
    """Whether a sidecar may be written: there is none, or there is one beside its plan."""
    return not sidecar.exists() or (plan.exists() and _holds_plan(plan))


def _holds_plan(path: Path) -> bool:
    return path.is_file() and b'"tokengraft/plan"' in read_head(path, 1 << 10)


def is_plan(path: Path) -> bool:
    """Whether a file is a plan (else a recipe), told by its content."""
    try:
        return read_head(path, 1 << 16).lstrip()[:1] == b"{"
    except ReadFailed as error:
        raise UsageError(error.summary, detail=error.detail, subject=str(path)) from error


def apply(  # noqa: PLR0913 - one keyword an option of the command
    plan_or_recipe: Path,
    *,
    base: str | None,
    out: Path,
    copy: CopyMode = "auto",
    replace: bool = False,
    overrides: Sequence[str] = (),
    listen: Listen = ignore,
) -> Applied:
    """Make OUT exactly as planned; a recipe is planned first."""
    if not is_plan(plan_or_recipe):
        planned = make_plan(base, plan_or_recipe, overrides=overrides, listen=listen)
        return apply_planned(planned, out=out, copy=copy, replace=replace, listen=listen)
    if overrides:
        raise UsageError("--set changes recipes; a plan is applied as it is")
    from tokengraft.formats.plan_files import read_plan

    found = read_plan(plan_or_recipe)
    return _apply_plan_file(found, base=base, out=out, copy=copy, replace=replace, listen=listen)


def apply_planned(
    planned: Planned,
    *,
    out: Path,
    copy: CopyMode = "auto",
    replace: bool = False,
    listen: Listen = ignore,
) -> Applied:
    """Apply a plan that was just made."""
    from tokengraft import applying

    receipt = applying.apply(
        planned.checkpoint,
        planned.plan,
        target=out,
        plan_text=planned.text,
        sidecar=planned.sidecar,
        copy=copy,
        replace=replace,
        cache=hub_cache(),
        listen=listen,
    )
    _warn(planned.plan, out, copy, listen)
    return Applied(receipt, planned.plan, undone(planned.recipe, planned.plan))


def _apply_plan_file(
    found: PlanFile,
    *,
    base: str | None,
    out: Path,
    copy: CopyMode,
    replace: bool,
    listen: Listen,
) -> Applied:
    from tokengraft import applying

    planned = _read_planned(found, base=base, listen=listen)
    receipt = applying.apply(
        planned.checkpoint,
        found.plan,
        target=out,
        plan_text=found.text,
        sidecar=found.sidecar,
        copy=copy,
        replace=replace,
        cache=hub_cache(),
        listen=listen,
    )
    _warn(found.plan, out, copy, listen)
    return Applied(receipt, found.plan, undone(planned.recipe, found.plan))


def _warn(plan: Plan, out: Path, copy: CopyMode, listen: Listen) -> None:
    """Say what moved ids and hard links mean where somebody is about to use the folder."""
    if plan.renumbering is not None:
        text = (
            f"ids moved: {out} answers to other ids than its base, so adapters, grafts, cached ids, "
            "draft models and GGUF files made for the base do not fit it"
        )
        listen(Note("apply", text))
    if copy == "link":
        text = (
            f"unchanged files in {out} are the very files of the base (hard links): do not edit "
            "them, and do not train or save into that folder"
        )
        listen(Note("apply", text))


def _read_planned(found: PlanFile, *, base: str | None, listen: Listen) -> Planned:
    """A plan from a file together with its base."""
    recipe = parse_recipe(found.plan.recipe, file="the plan's recipe")[0]
    source = base if base is not None else recipe.base
    if source is None:
        raise UsageError(
            "the plan does not say where its base lies",
            detail="a plan knows its base by fingerprint, not by path, so that others can use it",
            hint="give it: tokengraft apply PLAN --base SRC -o OUT",
        )
    if base is None:
        listen(Note("apply", f"the recipe names the base: {source}; --base SRC names another"))
    return Planned(source, load(source, listen), recipe, found.plan, found.text, None)


def undone(recipe: Recipe, plan: Plan) -> tuple[str, ...]:
    """What a recipe asks for and apply does not do; a plan that was trained for holds its rows."""
    if recipe.train is None or any(token.init.startswith("trained") for token in plan.tokens):
        return ()
    return ("[train] was left undone: the new rows have their starting values only",)


def dry_run(  # noqa: PLR0913 - one keyword an option of the command
    plan_or_recipe: Path,
    *,
    base: str | None,
    out: Path,
    copy: CopyMode = "auto",
    replace: bool = False,
    overrides: Sequence[str] = (),
    listen: Listen = ignore,
) -> Planned:
    """Do all that apply does before it writes."""
    from tokengraft import applying
    from tokengraft.formats.plan_files import read_plan

    if not is_plan(plan_or_recipe):
        planned = make_plan(base, plan_or_recipe, overrides=overrides, listen=listen)
    else:
        planned = _read_planned(read_plan(plan_or_recipe), base=base, listen=listen)
    applying.check(
        planned.checkpoint, planned.plan, target=out, copy=copy, replace=replace, cache=hub_cache()
    )
    return planned


def undo(out: Path, *, target: Path, listen: Listen = ignore) -> Receipt:
    """Give the base back, bit for bit."""
    from tokengraft import applying

    return applying.undo(out, target=target, listen=listen)
