"""Rows that training yields: values like those of `[rows] values`, which they go before.

The recipe's text stays the user's; its plan is made again with these rows, so that what is applied
and proved is one plan on the untouched base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokengraft.documents import Problem
from tokengraft.formats.adapters import Adapter
from tokengraft.formats.rows import narrow, widen
from tokengraft.planning.draft import Draft
from tokengraft.planning.numbers import NUMPY
from tokengraft.planning.targets import Target
from tokengraft.planning.values import Given
from tokengraft.plans import Stored
from tokengraft.row_sets import RowSet
from tokengraft.vocabulary import TokenId

WHERE = "train"
TRAINED = "trained"  # what the plan names in the place of an initializer


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What training yields for a plan.

    Attributes:
        rows: of tokens that were trained, and of no others.
        why: of each, how its rows were made.
        adapter: what training did to the old weights, to be baked in; None where it left them alone.
    """

    rows: RowSet
    why: Mapping[str, str] = field(default_factory=dict)
    adapter: Adapter | None = None


def with_trained(
    given: Given, draft: Draft, trained: Trained | None, targets: Sequence[Target]
) -> Given:
    """The rows that need no initializer, those of training among them."""
    if trained is None:
        return given
    ids = {row.text: row.token_id for row in draft.new_rows}
    rows = trained.rows
    lost = [text for text in rows.texts if text not in ids]
    assert not lost, f"rows were trained for tokens that the plan does not add: {lost[:3]}"
    ours = {ids[text]: n for n, text in enumerate(rows.texts)}
    values: dict[str, NDArray[np.generic]] = {}
    sources: dict[TokenId, dict[str, Stored]] = {}
    problems: list[Problem] = []
    for target in targets:
        part = _part(target, rows)
        if part is None or target.dtype is None:
            continue
        raw = narrow(part, target.dtype)
        if not np.isfinite(widen(raw, target.dtype)).all():
            problems.append(
                Problem(where=WHERE, what=f"a trained row is too large for {target.dtype}")
            )
            continue
        of_training = np.frombuffer(raw, NUMPY[target.dtype]).reshape(part.shape)
        kept = [i for i in given.sources if i not in ours and target.name in given.sources[i]]
        old = [given.sources[i][target.name].index for i in kept]
        before = given.values.get(target.name)
        values[target.name] = (
            of_training if before is None else np.concatenate([before[old], of_training])
        )
        for at, token_id in enumerate([*kept, *ours]):
            sources.setdefault(token_id, {})[target.name] = Stored(index=at)
    why = {ids[text]: trained.why.get(text, "") for text in rows.texts}
    return Given(
        sources,
        values,
        given.notes,
        (*given.problems, *problems),
        labels=dict.fromkeys(ours, TRAINED),
        why=why,
    )


def _part(target: Target, rows: RowSet) -> NDArray[np.float64] | None:
    if target.given == "output":
        return rows.output_ND
    return rows.input_ND if target.given == "input" else None
