"""State for each vocabulary-axis tensor where every row comes from.

Spare rows are used first; a matrix grows only past them, to a multiple of 64, and what is left over
is initialised too. A matrix is never made smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tokengraft.documents import Problem
from tokengraft.planning.adapter_rows import AdapterRows, adapter_rows
from tokengraft.planning.draft import Draft
from tokengraft.planning.low_rank import WHERE as LORA
from tokengraft.planning.settling import NewSource
from tokengraft.planning.started import RowPorts, StartedToken, start_rows
from tokengraft.planning.starting import n_used
from tokengraft.planning.targets import Target, targets_of
from tokengraft.planning.trained import with_trained
from tokengraft.planning.values import WHERE, Given, given_rows
from tokengraft.plans import Keep, Mean, RemapRows, RowSource
from tokengraft.recipes import Rows
from tokengraft.vocabulary import TokenId

# Rows are rounded up to this when a matrix grows: matrix kernels and quantised heads want it
# (GPTQ-Marlin refuses anything else), and vLLM pads to it by itself.
GROW_TO_MULTIPLE_OF = 64


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


def plan_rows(draft: Draft, made: Rows, ports: RowPorts) -> RowPlan:
    """Decide how many rows there must be and where each comes from.

    Args:
        made: what the recipe says of rows as a whole.
    Raises:
        UnsupportedFormat: a tensor that would have to change cannot be edited here.
    """
    layout = draft.checkpoint.layout
    n_rows = layout.n_rows if layout is not None and layout.n_rows else None
    ports = _of_base(ports, draft.new_tensors)
    brought = _brought(draft, made, ports)
    if brought.problems:
        wrong = tuple(Problem(where=LORA, what=what) for what in brought.problems)
        return RowPlan(n_rows=n_rows, problems=wrong)
    if not draft.new_rows:
        nothing = "the recipe adds no token that rows could be given to"
        wrong = () if made.values is None else (Problem(where=WHERE, what=nothing),)
        return RowPlan(edits=_copies(draft, n_rows), n_rows=n_rows, problems=wrong)
    if n_rows is None:
        targets: tuple[Target, ...] = ()
        notes: tuple[str, ...] = ("no config and no weights say how many rows there are",)
        grown = None
    else:
        needed = max(draft.n_tokens, n_rows)
        more = -(-needed // GROW_TO_MULTIPLE_OF) * GROW_TO_MULTIPLE_OF
        grown = needed if needed == n_rows else more
        targets, notes = targets_of(draft, grows=grown > n_rows)
    given = Given()
    if made.values is not None:
        given = given_rows(draft, made.values, targets, ports.values)
    elif brought.file is not None and ports.adapter is not None:
        file = brought.file
        given = given_rows(draft, ports.adapter.name, targets, lambda _: file, where=LORA)
    given = with_trained(given, draft, ports.trained, targets)
    started = start_rows(draft, targets, given, made, ports)
    problems = (*given.problems, *started.problems)
    if problems or grown is None or n_rows is None:
        return RowPlan(started.tokens, notes=notes, problems=problems)
    filler = Mean(first=0, count=n_used(draft))
    edits = tuple(
        RemapRows(
            tensor=target.name,
            of=draft.new_tensors.get(target.name),
            n_rows_before=target.n_rows,
            n_rows_after=grown,
            rows=_layout_rows(
                {token_id: start.rows[target.name] for token_id, start in started.tokens.items()},
                target.n_rows,
                grown,
                filler,
            ),
        )
        for target in targets
    )
    notes = (*notes, *brought.notes, *given.notes, *started.notes)
    return RowPlan(started.tokens, edits, grown, notes, values=started.values)


def _of_base(ports: RowPorts, new_tensors: Mapping[str, str]) -> RowPorts:
    """Ports that read a new matrix where it comes from: in the base's."""
    return replace(
        ports,
        matrix=lambda name: ports.matrix(new_tensors.get(name, name)),
        untrained=lambda name, ids: ports.untrained(new_tensors.get(name, name), ids),
    )


def _copies(draft: Draft, n_rows: int | None) -> tuple[RemapRows, ...]:
    """New matrices without new rows."""
    if n_rows is None:
        return ()
    rows = (Keep(first=0, count=n_rows),)
    return tuple(
        RemapRows(tensor=name, of=of, n_rows_before=n_rows, n_rows_after=n_rows, rows=rows)
        for name, of in draft.new_tensors.items()
    )


def _brought(draft: Draft, made: Rows, ports: RowPorts) -> AdapterRows:
    """The rows of the adapter; only one of it and a file can give them."""
    if ports.adapter is None:
        return AdapterRows()
    found = adapter_rows(draft, ports.adapter, ports.matrix)
    if found.file is not None and made.values is not None:
        return AdapterRows(problems=("it brings rows, and [rows] values does too",))
    return found


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
