"""Meet the wishes of initializers that need the rows, and keep new rows apart from each other.

Two new tokens whose rows have the same bits are one token to the model: what training does to one, it
does to the other as long as they stand in the same places. So all new rows of a matrix differ after
rounding, unless the recipe itself asks for copies; then the plan says so. What would be equal is first
mixed with the rows of its own pieces, which stays a weighted sum of old rows; where even that is
equal, or there is nothing to mix, it is drawn around its place (`rows.measuring`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from tokengraft.documents import Problem
from tokengraft.formats.byte_ranges import RangeRows
from tokengraft.formats.rows import Floats, mean_of, narrow
from tokengraft.planning.numbers import NUMPY
from tokengraft.plans import Mean, Mix, Stored
from tokengraft.rows import measuring
from tokengraft.rows.initializers import Drawn, Pursued, Rescaled, Wish, even
from tokengraft.vocabulary import TokenId

OpenMatrix = Callable[[str], RangeRows | None]
NewSource = Mix | Mean | Stored
PIECES_SHARE = 1 / 16  # of a row that is set apart; half a step of bfloat16 is 1/512 of a number
TOKENS_AT_ONCE = 512
COPIES = ("copy", "values")  # what may be equal, because the recipe says so


def no_matrix(name: str) -> RangeRows | None:
    """Stands where no rows can be read."""
    del name
    return None


@dataclass(frozen=True, slots=True)
class Wanted:
    """One token's row in one matrix, as its initializer wants it.

    Attributes:
        init: the initializer's name.
    """

    token_id: TokenId
    text: str
    init: str
    source: NewSource | Wish


# What the texts of tokens used to become, rows that may be parents alone.
Pursue = Callable[[Sequence[str]], Sequence[Mix]]
Pieces = Callable[[Sequence[Wanted]], Sequence[Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Settled:
    """The rows of one matrix, by token.

    Attributes:
        values: what the sidecar holds of it.
        apart: tokens whose rows would have been equal to others and are not.
        equal: groups of tokens with equal rows.
    """

    sources: Mapping[TokenId, NewSource]
    values: NDArray[np.generic] | None = None
    apart: tuple[TokenId, ...] = ()
    equal: tuple[tuple[TokenId, ...], ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class Settling:
    """Settles the rows of one matrix.

    Attributes:
        rows: the matrix; None where it cannot be read.
        n_used: how many of its rows are used.
        dtype: its kind of number, None where that is unknown.
        values: rows made elsewhere, which come first in the sidecar.
        pursue: sums for tokens that a donor has.
        left_out: used rows that were found untrained, if all were judged.
    """

    name: str
    rows: RangeRows | None
    n_used: int
    dtype: str | None
    seed: int
    spread: float
    values: NDArray[np.generic] | None = None
    pursue: Pursue | None = None
    left_out: frozenset[int] = frozenset()
    _drawn: list[bytes] = field(default_factory=list)
    _mean: Floats | None = None
    _median: float | None = None

    def settle(self, wanted: Sequence[Wanted], pieces: Pieces) -> Settled:
        """Give every token its source; what the recipe asks to be equal is looked at first."""
        if self.rows is None and any(
            isinstance(one.source, Drawn | Rescaled | Pursued) for one in wanted
        ):
            return Settled({}, problems=tuple(_unread(wanted)))
        order = sorted(wanted, key=lambda one: (one.init not in COPIES, one.token_id))
        sources = self._met(order)
        keys: dict[Hashable, list[Wanted]] = {}
        late: list[Wanted] = []
        for one, key in zip(order, self._keys([sources[o.token_id] for o in order]), strict=True):
            if key in keys and one.init not in COPIES:
                late.append(one)
            else:
                keys.setdefault(key, []).append(one)
        if late:
            late = self._mixed(late, pieces(late), sources, keys)
            self._drawn_apart(late, sources, keys)
        return Settled(
            sources={TokenId(token_id): sources[token_id] for token_id in sorted(sources)},
            values=self._all_values(),
            apart=tuple(
                one.token_id
                for one in wanted
                if one.source != sources[one.token_id]
                and not isinstance(one.source, Drawn | Rescaled | Pursued)
            ),
            equal=tuple(
                tuple(sorted(one.token_id for one in group))
                for group in keys.values()
                if len(group) > 1
            ),
        )

    @property
    def _used(self) -> measuring.Used:
        return measuring.Used(self.n_used, self.left_out)

    # ── wishes ───────────────────────────────────────────────────────────────────────────────────

    def _met(self, order: Sequence[Wanted]) -> dict[TokenId, NewSource]:
        sources: dict[TokenId, NewSource] = {}
        draw: list[tuple[Wanted, Drawn]] = []
        follow: list[tuple[Wanted, Pursued]] = []
        for one in order:
            match one.source:
                case Rescaled():
                    sources[one.token_id] = self._rescaled(one.source.mix)
                case Drawn():
                    draw.append((one, one.source))
                case Pursued():
                    follow.append((one, one.source))
                case _:
                    sources[one.token_id] = one.source
        if follow:
            assert self.pursue is not None
            sums = self.pursue([wish.text for _, wish in follow])
            sources |= {one.token_id: mix for (one, _), mix in zip(follow, sums, strict=True)}
        stored = self._draw([wish.center for _, wish in draw], [wish.key for _, wish in draw])
        sources |= {one.token_id: source for (one, _), source in zip(draw, stored, strict=True)}
        return sources

    def _rescaled(self, mix: Mix) -> Mix:
        assert self.rows is not None
        if self._median is None:
            self._median = measuring.median_norm(self.rows, self._used)
        (row_D,) = self._floats([mix])
        norm = float(np.sqrt(row_D @ row_D))
        if not np.isfinite(norm) or norm <= 0 or self._median <= 0:
            return mix
        times = measuring.shortened(self._median / norm)
        return Mix(parents=tuple((i, weight * times) for i, weight in mix.parents))

    def _draw(self, centers: Sequence[Mix | Mean], keys: Sequence[str]) -> list[Stored]:
        if not keys:
            return []
        assert self.rows is not None
        assert self.dtype is not None
        whole = [f"{self.seed}\0{self.name}\0{key}" for key in keys]
        noise_ND = measuring.drawn(self.rows, self._used, whole, self.spread)
        first = len(self._drawn) + (0 if self.values is None else len(self.values))
        for row_D, more_D in zip(self._floats(centers), noise_ND, strict=True):
            self._drawn.append(narrow(row_D + more_D, self.dtype))
        return [Stored(index=first + at) for at in range(len(keys))]

    # ── apart ────────────────────────────────────────────────────────────────────────────────────

    def _mixed(
        self,
        late: Sequence[Wanted],
        pieces: Sequence[Sequence[int]],
        sources: dict[TokenId, NewSource],
        keys: dict[Hashable, list[Wanted]],
    ) -> list[Wanted]:
        """Mix equal rows with their own pieces; return those that are equal still."""
        changed: list[tuple[Wanted, Mix]] = []
        left: list[Wanted] = []
        for one, own in zip(late, pieces, strict=True):
            mix = _with_pieces(sources[one.token_id], own)
            if mix is None:
                left.append(one)
            else:
                changed.append((one, mix))
        for (one, mix), key in zip(changed, self._keys([m for _, m in changed]), strict=True):
            if key in keys:
                left.append(one)
            else:
                keys[key] = [one]
                sources[one.token_id] = mix
        return left

    def _drawn_apart(
        self,
        late: Sequence[Wanted],
        sources: dict[TokenId, NewSource],
        keys: dict[Hashable, list[Wanted]],
    ) -> None:
        """Draw what nothing else sets apart. Without weights, and where all rows are equal, it stays."""
        if self.rows is not None:
            centers = [sources[one.token_id] for one in late]
            plain = [center for center in centers if not isinstance(center, Stored)]
            assert len(plain) == len(centers), "rows made elsewhere are never set apart"
            stored = self._draw(plain, [one.text for one in late])
            sources |= {one.token_id: source for one, source in zip(late, stored, strict=True)}
        for one, key in zip(late, self._keys([sources[o.token_id] for o in late]), strict=True):
            keys.setdefault(key, []).append(one)

    # ── numbers ──────────────────────────────────────────────────────────────────────────────────

    def _keys(self, sources: Sequence[NewSource]) -> list[Hashable]:
        """Something for each source that is equal where rows have equal bits after rounding."""
        if self.rows is None or self.dtype is None:
            return list(sources)
        distinct = list(dict.fromkeys(sources))
        known: dict[NewSource, Hashable] = {}
        for begin in range(0, len(distinct), TOKENS_AT_ONCE):
            part = distinct[begin : begin + TOKENS_AT_ONCE]
            plain = [source for source in part if not isinstance(source, Stored)]
            for source, row_D in zip(plain, self._floats(plain), strict=True):
                known[source] = sha256(narrow(row_D, self.dtype)).digest()
            for value in part:
                if isinstance(value, Stored):
                    known[value] = sha256(self._stored(value.index)).digest()
        return [known[source] for source in sources]

    def _stored(self, index: int) -> bytes:
        given = 0 if self.values is None else len(self.values)
        if self.values is not None and index < given:
            return bytes(self.values[index].tobytes())
        return self._drawn[index - given]

    def _floats(self, sources: Sequence[Mix | Mean]) -> Floats:
        """The rows [N, D] of sources, before rounding."""
        assert self.rows is not None
        ids = sorted({i for s in sources if isinstance(s, Mix) for i, _ in s.parents})
        at = {i: place for place, i in enumerate(ids)}
        # One by one: neighbours in one request would read most of a matrix for the frequent pieces.
        parents = [self.rows.floats(i, 1)[0] for i in ids]
        found_ND = np.zeros((len(sources), self.rows.width), np.float64)
        with np.errstate(all="ignore"):
            for place, source in enumerate(sources):
                if isinstance(source, Mean):
                    found_ND[place] = self._mean_of(source)
                else:
                    for i, weight in source.parents:
                        found_ND[place] += weight * parents[at[i]]
        return found_ND

    def _mean_of(self, source: Mean) -> Floats:
        assert self.rows is not None
        if self._mean is None:  # all means of a plan are over the used rows
            self._mean = mean_of(self.rows, source)
        return self._mean

    def _all_values(self) -> NDArray[np.generic] | None:
        if not self._drawn:
            return self.values
        assert self.rows is not None
        assert self.dtype is not None
        flat = np.frombuffer(b"".join(self._drawn), NUMPY[self.dtype])
        more = flat.reshape(len(self._drawn), self.rows.width)
        return more if self.values is None else np.concatenate([self.values, more])


def _with_pieces(source: NewSource, pieces: Sequence[int]) -> Mix | None:
    """A mean of old rows that also holds a little of a token's own pieces; None if that is none."""
    own = even(pieces)
    if own is None or not isinstance(source, Mix) or not source.parents:
        return None
    weights = [weight for _, weight in source.parents]
    if min(weights) < 0 or abs(sum(weights) - 1) > 1e-9:  # noqa: PLR2004 - no mean
        return None
    sums = {i: weight * (1 - PIECES_SHARE) for i, weight in source.parents}
    for i, weight in own.parents:
        sums[i] = sums.get(i, 0.0) + weight * PIECES_SHARE
    return Mix(parents=tuple(sorted(sums.items())))


def _unread(wanted: Sequence[Wanted]) -> Iterator[Problem]:
    for one in wanted:
        if isinstance(one.source, Drawn | Rescaled | Pursued):
            yield Problem(
                where=f"add {one.text!r}: init",
                what=f"{one.init} reads the matrix, and the folder has no weights",
                suggestion='init = "auto" takes what there is',
            )
