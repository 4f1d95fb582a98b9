"""Rows from a donor: another model that has the token already.

Its row there is written as a sum of few rows of tokens that both models have; the same sum of this
model's rows is the start here. The two need not be of one width.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tokengraft.documents import Problem
from tokengraft.formats.byte_ranges import RangeRows
from tokengraft.planning.draft import Draft
from tokengraft.planning.starting import Untrained, n_used
from tokengraft.plans import Mix
from tokengraft.recipes import Rows
from tokengraft.rows.initializers import Job
from tokengraft.rows.measuring import shortened
from tokengraft.rows.pursuing import pursue
from tokengraft.spelling import SPACE, bytes_of
from tokengraft.vocabulary import Tokenizer

OMP = "omp"
FEWEST_SHARED = 16
ROUNDS = 8  # of taking untrained rows out of the choice
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True, slots=True)
class Donor:
    """A model that rows are taken from.

    Attributes:
        pieces: what the pieces of its vocabulary stand for, in bytes, with their ids.
        added: its added tokens, with their ids.
        reads, writes: its matrices; the same one if it is tied.
        problem: why there is nothing here; then the rest is empty.
    """

    pieces: Mapping[bytes, int] = field(default_factory=dict)
    added: Mapping[str, int] = field(default_factory=dict)
    reads: RangeRows | None = None
    writes: RangeRows | None = None
    problem: str = ""

    def id_of(self, text: str) -> int | None:
        """The id of a token with this text, added tokens first."""
        found = self.added.get(text)
        return self.pieces.get(text.encode("utf-8", "replace")) if found is None else found


OpenDonor = Callable[[str], Donor]


def no_donor(name: str) -> Donor:
    """Stands where no model can be read."""
    return Donor(problem=f"{name} cannot be read here")


def meanings(tokenizer: Tokenizer) -> dict[bytes, int]:
    """What each piece of a vocabulary stands for, in bytes; the same text in every spelling.

    Byte-level vocabularies spell bytes as letters, others write ▁ for a space and `<0x41>` for a
    byte that no letter stands for. Added tokens are no pieces.
    """
    found: dict[bytes, int] = {}
    for text, token_id in tokenizer.vocab.items():
        if token_id in tokenizer.added:
            continue
        if tokenizer.byte_level:
            data = bytes_of(text)
        elif byte := _BYTE.fullmatch(text):
            data = bytes([int(byte[1], 16)])
        else:
            data = text.replace(SPACE, " ").encode("utf-8", "replace")
        if data:
            found.setdefault(data, int(token_id))
    return found


@dataclass(slots=True)
class Donation:
    """Sums of this model's rows for tokens that a donor has."""

    donor: Donor
    shared: Sequence[tuple[int, int]]  # id of the donor, id here; ascending
    most: int
    untrained: Untrained

    def sums(self, name: str, job: Job, texts: Sequence[str]) -> list[Mix]:
        """One sum for each text, of rows that were not found untrained in this matrix."""
        matrix = self.donor.writes if job == "write" else self.donor.reads
        assert matrix is not None
        n_rows = matrix.n_rows
        ids = [self.donor.id_of(text) or 0 for text in texts]
        wanted_ND = matrix.sample(ids)
        choice = [pair for pair in self.shared if pair[0] < n_rows]
        own: list[list[tuple[int, float]]] = []
        for _ in range(ROUNDS):
            found = pursue(matrix, [donor_id for donor_id, _ in choice], wanted_ND, self.most)
            own = [[(choice[at][1], weight) for at, weight in one] for one in found]
            bad = self.untrained(name, sorted({i for one in own for i, _ in one}))
            if not bad:
                break
            choice = [pair for pair in choice if pair[1] not in bad]
        return [_mix(one) for one in own]


def _mix(weights: Sequence[tuple[int, float]]) -> Mix:
    rounded = sorted((i, shortened(weight)) for i, weight in weights)
    return Mix(parents=tuple((i, weight) for i, weight in rounded if weight))


def donation(
    draft: Draft, made: Rows, open_donor: OpenDonor, untrained: Untrained
) -> tuple[Donation | None, tuple[Problem, ...]]:
    """Open the donor, if a token asks for it, and check that it has what is asked for."""
    asking = [row for row in draft.new_rows if row.init == OMP]
    if not asking:
        return None, ()
    if made.donor is None:
        what = "omp needs `donor` in [rows]: a model that has the token"
        return None, tuple(Problem(where=f"add {row.text!r}: init", what=what) for row in asking)
    donor = open_donor(made.donor)
    if donor.problem:
        return None, (Problem(where="rows.donor", what=donor.problem),)
    own = meanings(draft.tokenizer)
    shared = sorted((donor.pieces[key], i) for key, i in own.items() if key in donor.pieces)
    shared = [pair for pair in shared if pair[1] < n_used(draft)]
    problems = list(_lacking(made.donor, donor, [row.text for row in asking]))
    if len(shared) < FEWEST_SHARED:
        what = (
            f"{made.donor} shares {len(shared)} pieces with this model, at least {FEWEST_SHARED} are "
            "needed"
        )
        problems.append(Problem(where="rows.donor", what=what))
    return Donation(donor, shared, made.atoms, untrained), tuple(problems)


def _lacking(name: str, donor: Donor, texts: Sequence[str]) -> Iterator[Problem]:
    for text in texts:
        found = donor.id_of(text)
        rows = [matrix.n_rows for matrix in (donor.reads, donor.writes) if matrix is not None]
        if found is None or found >= min(rows, default=0):
            yield Problem(
                where=f"add {text!r}: init",
                what=f"{name} has no token {text!r}, so there is no row to follow",
                suggestion='init = "auto" starts from what this model has',
            )
