"""Rows made elsewhere: `[rows] values`. They go before `init`, and into the plan's sidecar.

Only rows that the plan writes anyway can be given: those of tokens that the recipe adds, or puts into
an unused id. Old rows keep their bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokengraft.documents import Problem
from tokengraft.formats.row_file import RowFile
from tokengraft.formats.rows import Floats, Rows, narrow, widen
from tokengraft.planning.draft import Draft, NewRow
from tokengraft.planning.numbers import NUMPY
from tokengraft.planning.targets import Target
from tokengraft.plans import Stored
from tokengraft.vocabulary import TokenId

WHERE = "rows.values"
VALUES = "values"  # what the plan names in the place of an initializer
BLOCK_BYTES = 8 << 20
OpenValues = Callable[[str], RowFile]


def no_values(path: str) -> RowFile:
    """Stands where nobody can read files."""
    return RowFile(problem=f"{path} cannot be read here")


@dataclass(frozen=True, slots=True)
class Given:
    """Rows that need no initializer.

    Attributes:
        sources: by token, by tensor.
        values: what the sidecar holds of each tensor, in the tensor's own kind of number.
        labels, why: what the plan names in the place of an initializer, `VALUES` where nothing is
            said, and how such rows came to be.
    """

    sources: Mapping[TokenId, Mapping[str, Stored]] = field(default_factory=dict)
    values: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    labels: Mapping[TokenId, str] = field(default_factory=dict)
    why: Mapping[TokenId, str] = field(default_factory=dict)


def given_rows(
    draft: Draft,
    path: str,
    targets: Sequence[Target],
    open_values: OpenValues,
    *,
    where: str = WHERE,
) -> Given:
    """Read the rows that a recipe brings, and check every one of them.

    Args:
        where: the part of the recipe that brings them.
    """
    file = open_values(path)
    if file.problem:
        return Given(problems=(Problem(where=where, what=file.problem),))
    by_text: dict[str, list[NewRow]] = {}
    for row in draft.new_rows:
        by_text.setdefault(row.text, []).append(row)
    wrong = [*_tokens_at_fault(draft, by_text, file), *_parts_at_fault(targets, file)]
    if wrong:
        return Given(problems=tuple(Problem(where=where, what=what) for what in wrong))
    values: dict[str, NDArray[np.generic]] = {}
    notes: list[str] = []
    for target in targets:
        rows = None if target.given is None else file.rows.get(target.given)
        if rows is not None:
            found = _rounded(rows, target, file.tokens)
            if isinstance(found, str):
                wrong.append(found)
                continue
            values[target.name] = found
            if rows.ref.dtype != target.dtype:
                notes.append(
                    f"rows of {path} are {rows.ref.dtype}, {target.name} is {target.dtype}: they "
                    "are rounded once"
                )
    if wrong:
        return Given(problems=tuple(Problem(where=where, what=what) for what in wrong))
    ids = [by_text[text][0].token_id for text in file.tokens]
    sources = {
        token_id: {name: Stored(index=index) for name in values}
        for index, token_id in enumerate(ids)
    }
    chosen = [by_text[text][0] for text in file.tokens]
    notes += [*_left_to_init(path, targets, values), *_not_looked_at(path, chosen)]
    return Given(sources, values, tuple(notes))


def _tokens_at_fault(
    draft: Draft, by_text: Mapping[str, Sequence[NewRow]], file: RowFile
) -> Iterator[str]:
    for text in file.tokens:
        if text not in by_text:
            if draft.tokenizer.id_of(text) is None:
                yield f"{text!r} is no token that the recipe adds"
            else:
                yield f"{text!r} is a token of the base, whose rows are kept bit for bit"
        elif len(by_text[text]) > 1:
            yield f"{len(by_text[text])} new tokens are written {text!r}, so a row would fit each"


def _parts_at_fault(targets: Sequence[Target], file: RowFile) -> Iterator[str]:
    if not targets or any(target.dtype is None for target in targets):
        yield "the folder has no weights, which say what kind of number a row is made of"
        return
    takes = {target.given for target in targets}
    tied = all(target.job == "both" for target in targets)
    for part in file.rows:
        if part not in takes:
            yield (
                f"it holds `{part}`, and this model is tied: one row reads and writes a token, "
                "given as `input` ([rows] untie = true makes it two)"
                if tied
                else f"it holds `{part}`, and the model has no such matrix"
            )
    for target in targets:
        rows = file.rows.get(target.given or "")
        if rows is not None and rows.ref.shape[1] != target.width:
            yield (
                f"`{target.given}` has rows of {rows.ref.shape[1]} numbers, {target.name} of "
                f"{target.width}"
            )


def _rounded(rows: Rows, target: Target, tokens: Sequence[str]) -> NDArray[np.generic] | str:
    """All rows in the tensor's kind of number, or the first that is no number there."""
    assert target.dtype is not None
    step = max(1, BLOCK_BYTES // rows.ref.row_bytes)
    blocks: list[bytes] = []
    for first in range(0, len(tokens), step):
        count = min(step, len(tokens) - first)
        exact = widen(rows.raw(first, count), rows.ref.dtype).reshape(count, target.width)
        block = narrow(exact, target.dtype)
        back = widen(block, target.dtype).reshape(count, target.width)
        for values, what in (
            (exact, "that is no number (NaN or infinite)"),
            (back, f"that is too large for {target.dtype}"),
        ):
            at = _first_bad(values)
            if at is not None:
                return f"`{rows.ref.name}` of {tokens[first + at]!r} holds a value {what}"
        blocks.append(block)
    flat = np.frombuffer(b"".join(blocks), NUMPY[target.dtype])
    return flat.reshape(len(tokens), target.width)


def _first_bad(values_ND: Floats) -> int | None:
    bad = np.flatnonzero(~np.isfinite(values_ND).all(axis=1))
    return int(bad[0]) if bad.size else None


def _left_to_init(
    path: str, targets: Sequence[Target], values: Mapping[str, NDArray[np.generic]]
) -> Iterator[str]:
    for target in targets:
        if target.name not in values:
            yield f"{path} holds no rows for {target.name}: they start by `init`"


def _not_looked_at(path: str, rows: Sequence[NewRow]) -> Iterator[str]:
    named = [row.text for row in rows if row.init != "auto" or row.like or row.sequence]
    if named:
        texts = ", ".join(map(repr, named[:3]))
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""  # noqa: PLR2004
        yield f"what the recipe says of the start of {texts}{more} gives way to the rows of {path}"
