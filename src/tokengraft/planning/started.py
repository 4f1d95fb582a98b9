"""The starting rows of all new tokens, in every matrix: wished for, settled, and told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tokengraft.documents import Problem
from tokengraft.formats.adapters import Adapter
from tokengraft.planning.donating import OpenDonor, donation, no_donor
from tokengraft.planning.draft import Draft
from tokengraft.planning.settling import (
    NewSource,
    OpenMatrix,
    Pieces,
    Settled,
    Settling,
    Wanted,
    no_matrix,
)
from tokengraft.planning.starting import Matrix, Starts, Untrained, n_used, none_untrained, starts
from tokengraft.planning.taking import taken_by
from tokengraft.planning.targets import Target
from tokengraft.planning.trained import Trained
from tokengraft.planning.values import VALUES, Given, OpenValues, no_values
from tokengraft.plans import Mean, Taken
from tokengraft.recipes import Rows
from tokengraft.rows.initializers import Drawn, Encode, Pursued, Rescaled, Wish
from tokengraft.vocabulary import TokenId

TEXTS_SHOWN = 3
IDS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class StartedToken:
    """Where the rows of one new token start.

    Attributes:
        init, why: the initializer, and why `auto` took it; `values` for rows made elsewhere,
            `trained` for trained ones, and how they were made.
        rows: the source in each tensor.
        takes: what it takes from old tokens when it is written; None where no tensor is known.
    """

    init: str
    why: str
    rows: Mapping[str, NewSource]
    takes: Taken | None


@dataclass(frozen=True, slots=True)
class RowPorts:
    """What the planning of rows asks the world for.

    Attributes:
        encode: texts to ids with the base tokenizer, None where there is none.
        values: opens a file of rows that the recipe names.
        matrix: opens a matrix of the base, None where it cannot be read.
        untrained: which rows of a matrix were found untrained.
        donor: opens a model that rows are taken from.
        trained: what training yielded; None before, and without it.
        adapter: what `[lora]` bakes, which may bring rows along; None where it is of no use.
    """

    encode: Encode | None
    values: OpenValues = no_values
    matrix: OpenMatrix = no_matrix
    untrained: Untrained = none_untrained
    donor: OpenDonor = no_donor
    trained: Trained | None = None
    adapter: Adapter | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """What became of all new rows."""

    tokens: Mapping[TokenId, StartedToken]
    values: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def start_rows(
    draft: Draft, targets: Sequence[Target], given: Given, made: Rows, ports: RowPorts
) -> Started:
    """Find the starting rows of every token, settle them, and say what each takes."""
    matrices = [
        Matrix(target.job, target.name, frozenset(_done(given, target.name))) for target in targets
    ]
    begun = starts(draft, matrices or [Matrix("both")], ports.encode, ports.untrained)
    donated, lacking = donation(draft, made, ports.donor, ports.untrained)
    if begun.problems or lacking:
        return Started({}, problems=(*begun.problems, *lacking))
    settled: dict[str, Settled] = {}
    notes: list[str] = []
    for at, target in enumerate(targets):
        wanted = _wanted(draft, matrices, at, begun, given)
        if target.given is None:
            mean = Mean(first=0, count=n_used(draft))
            settled[target.name] = Settled({w.token_id: _plain(w.source, mean) for w in wanted})
            continue
        untrained = begun.untrained.get(target.name, frozenset())
        matrix = Settling(
            name=target.name,
            rows=ports.matrix(target.name),
            n_used=n_used(draft),
            dtype=target.dtype,
            seed=made.seed,
            spread=made.spread,
            values=given.values.get(target.name),
            left_out=untrained if begun.all_judged else frozenset(),
            pursue=None if donated is None else partial(donated.sums, target.name, target.job),
        )
        found = matrix.settle(wanted, _pieces_of(draft, ports.encode, untrained))
        settled[target.name] = found
        notes += [*_notes(made, wanted, found, target.name)]
        notes += [*_of_untrained(draft, begun, target.name, untrained)]
    problems = tuple(dict.fromkeys(p for one in settled.values() for p in one.problems))
    if problems:
        return Started({}, problems=problems)
    values = {name: one.values for name, one in settled.items() if one.values is not None}
    return Started(_told(draft, targets, begun, given, settled), values, tuple(notes))


def _done(given: Given, name: str) -> Iterator[TokenId]:
    return (token_id for token_id, rows in given.sources.items() if name in rows)


def _wanted(
    draft: Draft, matrices: Sequence[Matrix], at: int, begun: Starts, given: Given
) -> list[Wanted]:
    """What every token wants of one matrix."""
    wanted: list[Wanted] = []
    for row in draft.new_rows:
        i = row.token_id
        if i in matrices[at].done:
            source = given.sources[i][matrices[at].name]
            wanted.append(Wanted(i, row.text, VALUES, source))
            continue
        start = begun.found[i]
        place = sum(i not in matrix.done for matrix in matrices[:at])
        wanted.append(Wanted(i, row.text, start.init, start.sources[place]))
    return wanted


def _told(
    draft: Draft,
    targets: Sequence[Target],
    begun: Starts,
    given: Given,
    settled: Mapping[str, Settled],
) -> dict[TokenId, StartedToken]:
    names = [target.name for target in targets]
    writes = next((t.name for t in targets if t.job != "read"), names[0] if names else "")
    tokens: dict[TokenId, StartedToken] = {}
    for row in draft.new_rows:
        rows = {name: settled[name].sources[row.token_id] for name in names}
        found = begun.found.get(row.token_id)
        label = given.labels.get(row.token_id, VALUES)
        inits = [label] if row.token_id in given.sources else []
        why = given.why.get(row.token_id, "")
        tokens[row.token_id] = StartedToken(
            init="+".join([*inits, *([] if found is None else [found.init])]),
            why=why if found is None else found.why,
            rows=rows,
            takes=taken_by(draft.checkpoint, rows[writes]) if names else None,
        )
    return tokens


def _plain(source: NewSource | Wish, mean: Mean) -> NewSource:
    """What a vector without directions gets, such as a bias: neither drawn nor stretched."""
    match source:
        case Drawn():
            return source.center
        case Rescaled():
            return source.mix
        case Pursued():
            return mean
        case _:
            return source


def _pieces_of(draft: Draft, encode: Encode | None, banned: frozenset[int]) -> Pieces:
    """What the texts of tokens used to become: known, or asked for in one call."""
    known = {row.token_id: row.pieces for row in draft.new_rows}

    def pieces(wanted: Sequence[Wanted]) -> list[list[int]]:
        texts = [one.text for one in wanted if known[one.token_id] is None]
        answers = iter([] if encode is None else encode(texts))
        found = [
            own if (own := known[one.token_id]) is not None else next(answers, ()) for one in wanted
        ]
        used = n_used(draft)
        return [[i for i in ids if i < used and i not in banned] for ids in found]

    return pieces


def _notes(made: Rows, wanted: Sequence[Wanted], settled: Settled, name: str) -> Iterator[str]:
    """What a reader of the plan should know of the new rows of one matrix."""
    texts = {one.token_id: one.text for one in wanted}
    drawn = [one.text for one in wanted if isinstance(one.source, Drawn)]
    if drawn:
        yield (
            f"{name}: {_listed(drawn)} drawn around the mean, seed {made.seed}, with "
            f"{made.spread:g} of the rows' covariance"
        )
    for group in settled.equal:
        yield (
            f"{name}: the rows of {_listed([texts[i] for i in group])} are equal: the model cannot "
            "tell these tokens apart, and training begins with them in one place"
        )
    if settled.apart:
        yield (
            f"{name}: {_listed([texts[i] for i in settled.apart])} would have had the row of another "
            "new token: a sixteenth of its own pieces sets it apart, or it is drawn around that row"
        )


def _of_untrained(
    draft: Draft, begun: Starts, name: str, untrained: frozenset[int]
) -> Iterator[str]:
    """What became of rows that were found untrained: no parents, unless the recipe asks for a copy."""
    liked = {draft.tokenizer.id_of(row.like) for row in draft.new_rows if row.like is not None}
    left_out = [str(i) for i in sorted(untrained - liked)]
    if left_out:
        yield (
            f"{name}: what new rows start from leaves out rows that were found untrained: "
            f"{', '.join([*left_out[:IDS_SHOWN], *['...'][: len(left_out) > IDS_SHOWN]])}"
        )
    for row in draft.new_rows:
        like = None if row.like is None else draft.tokenizer.id_of(row.like)
        start = begun.found.get(row.token_id)
        if like in untrained and start is not None and start.init == "copy":
            yield (
                f"{name}: {row.text!r} starts as a copy of {row.like!r}, whose row was found "
                "untrained: it says nothing to the model"
            )


def _listed(texts: Sequence[str]) -> str:
    shown = ", ".join(map(repr, texts[:TEXTS_SHOWN]))
    more = len(texts) - TEXTS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
