"""State for each vocabulary-axis tensor where every row comes from.

Spare rows are used first; a matrix grows only past them, to a multiple of 64, and what is left over
is initialised too. A matrix is never made smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokengraft.errors import RefusedError, UnsupportedFormat
from tokengraft.families.naming import named_part
from tokengraft.formats.safetensors_file import read_index
from tokengraft.planning.draft import Draft, NewRow
from tokengraft.plans import Keep, Mean, Mix, RemapRows, RowSource
from tokengraft.rows.initializers import INITIALIZERS, Encode, NewToken, Old, initialize
from tokengraft.vocabulary import TokenId

# Rows are rounded up to this when a matrix grows: matrix kernels and quantised heads want it
# (GPTQ-Marlin refuses anything else), and vLLM pads to it by itself.
GROW_TO_MULTIPLE_OF = 64


@dataclass(frozen=True, slots=True)
class Target:
    """A tensor whose rows shall be written; `n_rows` is what it has now."""

    name: str
    n_rows: int


@dataclass(frozen=True, slots=True)
class RowPlan:
    """Row sources by token, edits by tensor, and the number of rows there will be."""

    sources: dict[TokenId, tuple[str, Mix | Mean]]
    edits: tuple[RemapRows, ...]
    n_rows: int | None
    notes: tuple[str, ...]


def plan_rows(draft: Draft, encode: Encode | None) -> RowPlan:
    """Decide how many rows there must be and where each comes from.

    Raises:
        UnsupportedFormat: a tensor that would have to change cannot be edited here.
    """
    layout = draft.checkpoint.layout
    n_rows = layout.n_rows if layout is not None and layout.n_rows else None
    if not draft.new_rows:
        return RowPlan({}, (), n_rows, ())
    sources = row_sources(draft, encode)
    if n_rows is None:
        return RowPlan(sources, (), None, ("no config and no weights say how many rows there are",))
    needed = max(draft.n_tokens, n_rows)
    grown = needed if needed == n_rows else -(-needed // GROW_TO_MULTIPLE_OF) * GROW_TO_MULTIPLE_OF
    targets, notes = _targets(draft, grows=grown > n_rows)
    by_id = {token_id: source for token_id, (_, source) in sources.items()}
    filler = Mean(first=0, count=min(draft.tokenizer.n_tokens, n_rows))
    edits = tuple(
        RemapRows(
            tensor=target.name,
            n_rows_before=target.n_rows,
            n_rows_after=grown,
            rows=_layout_rows(by_id, target.n_rows, grown, filler),
        )
        for target in targets
    )
    return RowPlan(sources, edits, grown, notes)


def row_sources(draft: Draft, encode: Encode | None) -> dict[TokenId, tuple[str, Mix | Mean]]:
    """Run the initializer of every new row; texts are encoded in one call."""
    n_tokens = draft.tokenizer.n_tokens
    if draft.checkpoint.layout is not None and draft.checkpoint.layout.n_rows:
        n_tokens = min(n_tokens, draft.checkpoint.layout.n_rows)
    old = Old(n_tokens=n_tokens, encode=None if encode is None else _prefetched(draft, encode))
    sources: dict[TokenId, tuple[str, Mix | Mean]] = {}
    for row in draft.new_rows:
        like = None if row.like is None else draft.tokenizer.id_of(row.like)
        token = NewToken(text=row.text, meaning=row.meaning, like=like)
        found = initialize(row.init, token, old)
        assert found is not None, f"the recipe check let {row.init} pass for {row.text}"
        sources[row.token_id] = found
    return sources


def _prefetched(draft: Draft, encode: Encode) -> Encode:
    """Encode all texts that initializers will ask for at once: a child process does it."""
    asked: dict[str, None] = {}

    def note(texts: Sequence[str]) -> list[list[int]]:
        asked.update(dict.fromkeys(texts))
        return [[] for _ in texts]

    dry = Old(n_tokens=1, encode=note)
    for row in draft.new_rows:
        initialize(row.init, NewToken(row.text, row.meaning, None), dry)
    answers = dict(zip(asked, encode(list(asked)), strict=True))
    return lambda texts: [answers[text] if text in answers else encode([text])[0] for text in texts]


def _targets(draft: Draft, *, grows: bool) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    checkpoint = draft.checkpoint
    layout = checkpoint.layout
    assert layout is not None
    if checkpoint.tensors is None:
        return _expected(draft, grows=grows)
    targets, notes = [], []
    for tensor in layout.tensors:
        if tensor.editable and tensor.axis == 0 and tensor.n_rows == layout.n_rows:
            targets.append(Target(tensor.name, tensor.n_rows))
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
    names = sorted(
        name
        for name in weight_map
        if named_part(checkpoint.family, name) in ("input", "output", "bias")
    )
    note = (
        "no weights in this folder: the rows are planned by name from the index and config, and "
        "are written when this graft is applied to the whole checkpoint"
    )
    return tuple(Target(name, layout.n_rows) for name in names), (note,)


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


def check_rows(draft: Draft) -> Draft:
    """Report row wishes that cannot be met, before anything is computed."""
    for row in draft.new_rows:
        draft = _check_row(draft, row, known=("auto", *INITIALIZERS))
    return draft


def _check_row(draft: Draft, row: NewRow, *, known: tuple[str, ...]) -> Draft:
    where = f"add {row.text!r}"
    if row.init not in known:
        return draft.with_problem(
            f"{where}: init", f"no initializer is named {row.init!r}", f"one of {', '.join(known)}"
        )
    if row.like is not None and draft.tokenizer.id_of(row.like) is None:
        return draft.with_problem(f"{where}: like", f"{row.like!r} is no token of the base")
    if row.init == "copy" and row.like is None:
        return draft.with_problem(f"{where}: init", "copy needs `like`")
    if row.init == "meaning-mean" and not row.meaning:
        return draft.with_problem(f"{where}: init", "meaning-mean needs `meaning`")
    return draft
