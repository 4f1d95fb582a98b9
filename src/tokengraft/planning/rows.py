"""State for each vocabulary-axis tensor where every row comes from.

Spare rows are used first; a matrix grows only past them, to a multiple of 64, and what is left over
is initialised too. A matrix is never made smaller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokengraft.documents import Problem
from tokengraft.planning.draft import Draft
from tokengraft.planning.starting import starts
from tokengraft.planning.taking import taken_by
from tokengraft.planning.targets import Target, targets_of
from tokengraft.planning.values import VALUES, WHERE, Given, OpenValues, given_rows, no_values
from tokengraft.plans import Keep, Mean, Mix, RemapRows, RowSource, Stored, Taken
from tokengraft.recipes import Rows
from tokengraft.rows.initializers import Encode
from tokengraft.vocabulary import TokenId

# Rows are rounded up to this when a matrix grows: matrix kernels and quantised heads want it
# (GPTQ-Marlin refuses anything else), and vLLM pads to it by itself.
GROW_TO_MULTIPLE_OF = 64
NewSource = Mix | Mean | Stored


@dataclass(frozen=True, slots=True)
class StartedToken:
    """Where the rows of one new token start.

    Attributes:
        init, why: the initializer, and why `auto` took it; `values` for rows made elsewhere.
        rows: the source in each tensor.
        takes: what it takes from old tokens when it is written; None where no tensor is known.
    """

    init: str
    why: str
    rows: Mapping[str, NewSource]
    takes: Taken | None


@dataclass(frozen=True, slots=True)
class RowPlan:
    """Starting rows by token, edits by tensor, and the number of rows there will be.

    Attributes:
        values: what the sidecar holds, by tensor.
    """

    starts: Mapping[TokenId, StartedToken] = field(default_factory=dict)
    edits: tuple[RemapRows, ...] = ()
    n_rows: int | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    values: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)


def plan_rows(
    draft: Draft,
    encode: Encode | None,
    made: Rows | None = None,
    open_values: OpenValues = no_values,
) -> RowPlan:
    """Decide how many rows there must be and where each comes from.

    Args:
        made: what the recipe says of rows made elsewhere.

    Raises:
        UnsupportedFormat: a tensor that would have to change cannot be edited here.
    """
    layout = draft.checkpoint.layout
    n_rows = layout.n_rows if layout is not None and layout.n_rows else None
    if not draft.new_rows:
        return RowPlan(n_rows=n_rows, problems=_nothing_to_give(made))
    if n_rows is None:
        found, problems = _started(draft, (), encode, Given())
        note = "no config and no weights say how many rows there are"
        problems += () if made is None else given_rows(draft, made.values, (), open_values).problems
        return RowPlan(found, notes=(note,), problems=problems)
    needed = max(draft.n_tokens, n_rows)
    grown = needed if needed == n_rows else -(-needed // GROW_TO_MULTIPLE_OF) * GROW_TO_MULTIPLE_OF
    targets, notes = targets_of(draft, grows=grown > n_rows)
    given = Given() if made is None else given_rows(draft, made.values, targets, open_values)
    found, problems = _started(draft, targets, encode, given)
    if given.problems or problems:
        return RowPlan(problems=(*given.problems, *problems))
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
    return RowPlan(found, edits, grown, (*notes, *given.notes), values=given.values)


def _nothing_to_give(made: Rows | None) -> tuple[Problem, ...]:
    if made is None:
        return ()
    return (Problem(where=WHERE, what="the recipe adds no token that rows could be given to"),)


def _started(
    draft: Draft, targets: Sequence[Target], encode: Encode | None, given: Given
) -> tuple[dict[TokenId, StartedToken], tuple[Problem, ...]]:
    """Find the starting rows of every token, and say what each takes."""
    names = [target.name for target in targets]
    jobs = [target.job for target in targets] or ["both"]
    writes = next((n for n, job in enumerate(jobs) if job != "read"), 0)
    done = {
        token_id: frozenset(names.index(name) for name in rows)
        for token_id, rows in given.sources.items()
    }
    begun = starts(draft, jobs, encode, done)
    found: dict[TokenId, StartedToken] = {}
    for row in draft.new_rows:
        rows: dict[str, NewSource] = dict(given.sources.get(row.token_id, {}))
        inits, why = [VALUES] if rows else [], ""
        if row.token_id in begun.found:
            start = begun.found[row.token_id]
            rows |= zip((name for name in names if name not in rows), start.sources, strict=False)
            inits, why = [*inits, start.init], start.why
        elif not rows:
            continue  # a problem says why
        found[row.token_id] = StartedToken(
            init="+".join(inits),
            why=why,
            rows={name: rows[name] for name in names},
            takes=taken_by(draft.checkpoint, rows[names[writes]]) if names else None,
        )
    return found, begun.problems


def _layout_rows(
    by_id: dict[TokenId, NewSource], n_rows: int, grown: int, filler: Mean
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
