"""State for each vocabulary-axis tensor where every row comes from.

Spare rows are used first; a matrix grows only past them, to a multiple of 64, and what is left over
is initialised too. A matrix is never made smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tokengraft.documents import Problem
from tokengraft.errors import RefusedError, UnsupportedFormat
from tokengraft.families.naming import named_part
from tokengraft.formats.safetensors_file import read_index
from tokengraft.layout import Part
from tokengraft.planning.draft import Draft
from tokengraft.planning.starting import starts
from tokengraft.planning.taking import taken_by
from tokengraft.plans import Keep, Mean, Mix, RemapRows, RowSource, Taken
from tokengraft.rows.initializers import Encode, Job
from tokengraft.vocabulary import TokenId

# Rows are rounded up to this when a matrix grows: matrix kernels and quantised heads want it
# (GPTQ-Marlin refuses anything else), and vLLM pads to it by itself.
GROW_TO_MULTIPLE_OF = 64


@dataclass(frozen=True, slots=True)
class Target:
    """A tensor whose rows shall be written.

    Attributes:
        n_rows: what it has now.
        job: what its rows are for.
    """

    name: str
    n_rows: int
    job: Job


@dataclass(frozen=True, slots=True)
class StartedToken:
    """Where the rows of one new token start.

    Attributes:
        init, why: the initializer, and why `auto` took it.
        rows: the source in each tensor.
        takes: what it takes from old tokens when it is written; None where no tensor is known.
    """

    init: str
    why: str
    rows: Mapping[str, Mix | Mean]
    takes: Taken | None


@dataclass(frozen=True, slots=True)
class RowPlan:
    """Starting rows by token, edits by tensor, and the number of rows there will be."""

    starts: Mapping[TokenId, StartedToken] = field(default_factory=dict)
    edits: tuple[RemapRows, ...] = ()
    n_rows: int | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def plan_rows(draft: Draft, encode: Encode | None) -> RowPlan:
    """Decide how many rows there must be and where each comes from.

    Raises:
        UnsupportedFormat: a tensor that would have to change cannot be edited here.
    """
    layout = draft.checkpoint.layout
    n_rows = layout.n_rows if layout is not None and layout.n_rows else None
    if not draft.new_rows:
        return RowPlan(n_rows=n_rows)
    if n_rows is None:
        found, problems = _started(draft, (), encode)
        note = "no config and no weights say how many rows there are"
        return RowPlan(found, notes=(note,), problems=problems)
    needed = max(draft.n_tokens, n_rows)
    grown = needed if needed == n_rows else -(-needed // GROW_TO_MULTIPLE_OF) * GROW_TO_MULTIPLE_OF
    targets, notes = _targets(draft, grows=grown > n_rows)
    found, problems = _started(draft, targets, encode)
    if problems:
        return RowPlan(problems=problems)
    filler = Mean(first=0, count=min(draft.tokenizer.n_tokens, n_rows))
    edits = tuple(
        RemapRows(
            tensor=target.name,
            n_rows_before=target.n_rows,
            n_rows_after=grown,
            rows=_layout_rows(
                {token_id: start.rows[target.name] for token_id, start in found.items()},
                target.n_rows,
                grown,
                filler,
            ),
        )
        for target in targets
    )
    return RowPlan(found, edits, grown, notes)


def _started(
    draft: Draft, targets: Sequence[Target], encode: Encode | None
) -> tuple[dict[TokenId, StartedToken], tuple[Problem, ...]]:
    """Find the starting rows of every token, and say what each takes."""
    names = [target.name for target in targets]
    jobs = [target.job for target in targets] or ["both"]
    writes = next((n for n, job in enumerate(jobs) if job != "read"), 0)
    begun = starts(draft, jobs, encode)
    found = {
        token_id: StartedToken(
            init=start.init,
            why=start.why,
            rows=dict(zip(names, start.sources, strict=False)),
            takes=taken_by(draft.checkpoint, start.sources[writes]) if names else None,
        )
        for token_id, start in begun.found.items()
    }
    return found, begun.problems


def _targets(draft: Draft, *, grows: bool) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    checkpoint = draft.checkpoint
    layout = checkpoint.layout
    assert layout is not None
    if checkpoint.tensors is None:
        return _expected(draft, grows=grows)
    targets, notes = [], []
    for tensor in layout.tensors:
        if tensor.editable and tensor.axis == 0 and tensor.n_rows == layout.n_rows:
            targets.append(Target(tensor.name, tensor.n_rows, _job(tensor.part, layout.tied)))
        elif grows or tensor.part in ("input", "output"):
            raise UnsupportedFormat(
                f"{tensor.name} has a vocabulary axis and cannot be edited",
                detail=tensor.why_not
                or f"axis {tensor.axis} has {tensor.n_rows} entries, the model {layout.n_rows} rows",
                subject=tensor.name,
                hint="edit the unquantised base, then quantise the result",
            )
        else:
            notes.append(f"{tensor.name} keeps its rows: {tensor.why_not}")
    if not targets or not any(t.part == "input" and t.editable for t in layout.tensors):
        raise UnsupportedFormat(
            "no embedding matrix was found in the weights",
            detail="; ".join(layout.doubts),
            subject=str(checkpoint.root),
            hint=f"tokengraft audit {checkpoint.root}",
        )
    return tuple(targets), tuple(notes)


def _expected(draft: Draft, *, grows: bool) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Without weights: the tensors that the index names, so that the graft can be used later."""
    checkpoint = draft.checkpoint
    layout = checkpoint.layout
    assert layout is not None
    if grows:
        raise RefusedError(
            f"{draft.n_tokens} tokens need more than the {layout.n_rows} rows there are, and the "
            "folder has no weights to grow",
            subject=str(checkpoint.root),
            hint="plan on the folder with its weights, or add fewer tokens",
        )
    index = checkpoint.json.get("model.safetensors.index.json")
    if index is None:
        return (), ("no weights and no index: the rows stay as the weights will have them",)
    _, weight_map = read_index(index, file="model.safetensors.index.json")
    parts = {name: named_part(checkpoint.family, name) for name in sorted(weight_map)}
    note = (
        "no weights in this folder: the rows are planned by name from the index and config, and "
        "are written when this graft is applied to the whole checkpoint"
    )
    targets = tuple(
        Target(name, layout.n_rows, _job(part, layout.tied))
        for name, part in parts.items()
        if part in ("input", "output", "bias")
    )
    return targets, (note,)


def _job(part: Part | None, tied: bool) -> Job:  # noqa: FBT001 - a fact of the model
    """What the rows of a tensor are for; a bias goes with the matrix that writes."""
    if tied:
        return "both"
    return "write" if part in ("output", "bias") else "read"


def _layout_rows(
    by_id: dict[TokenId, Mix | Mean], n_rows: int, grown: int, filler: Mean
) -> tuple[RowSource, ...]:
    """The sources of all rows in order, equal neighbours joined."""
    rows: list[RowSource] = []
    at = 0
    for token_id in sorted(by_id):
        rows.extend(_between(at, token_id, n_rows, filler))
        rows.append(by_id[token_id])
        at = token_id + 1
    rows.extend(_between(at, grown, n_rows, filler))
    return tuple(rows)


def _between(begin: int, end: int, n_rows: int, filler: Mean) -> list[RowSource]:
    """Rows that no new token takes: kept where they exist, else filled."""
    rows: list[RowSource] = []
    if begin < min(end, n_rows):
        rows.append(Keep(first=begin, count=min(end, n_rows) - begin))
    if max(begin, n_rows) < end:
        rows.append(filler.model_copy(update={"rows": end - max(begin, n_rows)}))
    return rows
