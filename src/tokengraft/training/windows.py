"""Windows of text around a phrase, as its pieces and as the one new token.

Every window holds its phrase once, so that what comes before it is the same for both readings: the
state in which the phrase is due needs one pass alone.

Shapes: W windows, T positions, A positions after the phrase, N tokens.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Values = NDArray[np.float64]

FEWEST_BEFORE = 2  # positions before the phrase, so that something is known where it is due
FEWEST_AFTER = 8


@dataclass(frozen=True, slots=True)
class Phrase:
    """What a new token stands for.

    Attributes:
        text: the token's own text.
        pieces: the ids that its text used to become (or those of its description).
        without: an old id that counts as if it were not there, because the new token takes its
            place; None as a rule.
        is_described: whether `pieces` are a description, which the model never writes for it.
    """

    text: str
    pieces: tuple[int, ...]
    without: int | None = None
    is_described: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a phrase stands: document, position of its first piece, and the token's number."""

    document: int
    at: int
    token: int


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows around phrases, padded on the right.

    Attributes:
        token_W: the number of the token in each.
        ids_WT: with the phrase as pieces.
        length_W: positions that are not padding.
        at_W: position of the first piece; equally, of the new token in the merged reading.
        n_pieces_W: pieces of the phrase.
        after: A, the positions from the phrase's last piece on that are compared.
    """

    token_W: Ids
    ids_WT: Ids
    length_W: Ids
    at_W: Ids
    n_pieces_W: Ids
    after: int

    def __len__(self) -> int:
        return len(self.token_W)

    def merged(self, n_rows: int) -> Ids:
        """The windows with id `n_rows + token` in place of the pieces."""
        rest = self.n_pieces_W - 1
        columns = np.arange(self.ids_WT.shape[1])[None]
        source = columns + np.where(columns > self.at_W[:, None], rest[:, None], 0)
        is_there = source < self.length_W[:, None]
        ids = np.take_along_axis(self.ids_WT, np.minimum(source, self.ids_WT.shape[1] - 1), axis=1)
        ids = np.where(is_there, ids, 0)
        ids[np.arange(len(self)), self.at_W] = n_rows + self.token_W
        return ids

    def last_piece(self) -> Ids:
        """Position of the phrase's last piece."""
        return self.at_W + self.n_pieces_W - 1

    def following(self) -> tuple[Ids, NDArray[np.bool_]]:
        """Positions [W, A] from the last piece on, as pieces; and which exist and have a successor.

        In the merged reading the same places lie `n_pieces - 1` earlier.
        """
        places = self.last_piece()[:, None] + np.arange(self.after)[None]
        exists = places + 1 < self.length_W[:, None]
        return np.where(exists, places, 0), exists

    def of(self, chosen: NDArray[np.bool_]) -> Windows:
        """Some of the windows."""
        return Windows(
            self.token_W[chosen],
            self.ids_WT[chosen],
            self.length_W[chosen],
            self.at_W[chosen],
            self.n_pieces_W[chosen],
            self.after,
        )

    def shortened(self, before: int | None, after: int | None, bos: int | None) -> Windows:
        """With at most so many positions before the phrase and so many places that are compared.

        Args:
            bos: an id that begins windows, and goes on beginning them.
        """
        before = self.ids_WT.shape[1] if before is None else before
        after = self.after if after is None else min(after, self.after)
        rows, ats = [], []
        ends = np.minimum(self.length_W, self.last_piece() + 1 + after)
        for ids, at, end in zip(self.ids_WT, self.at_W.tolist(), ends.tolist(), strict=True):
            first = max(0, at - before)
            begins = bos is not None and first > 0 and ids[0] == bos
            rows.append(np.concatenate([ids[: int(begins)], ids[first:end]]))
            ats.append(at - first + int(begins))
        return _padded(rows, self.token_W, ats, self.n_pieces_W, after)


def places_of(
    documents: Sequence[Ids], phrases: Sequence[Phrase], goes_on_V: NDArray[np.bool_]
) -> Iterator[Place]:
    """Find every phrase that ends where its word ends, in order.

    Phrases that begin alike are tried longest first.
    """
    by_first: dict[int, list[int]] = {}
    for number in sorted(range(len(phrases)), key=lambda n: -len(phrases[n].pieces)):
        by_first.setdefault(phrases[number].pieces[0], []).append(number)
    firsts = np.array(sorted(by_first))
    for document, ids in enumerate(documents):
        for at in np.flatnonzero(np.isin(ids, firsts)):
            found = _standing(ids, int(at), by_first, phrases, goes_on_V)
            if found is not None:
                yield Place(document, int(at), found)


def _standing(
    ids: Ids,
    at: int,
    by_first: Mapping[int, Sequence[int]],
    phrases: Sequence[Phrase],
    goes_on_V: NDArray[np.bool_],
) -> int | None:
    for number in by_first[int(ids[at])]:
        pieces = phrases[number].pieces
        end = at + len(pieces)
        ends = end >= len(ids) or not goes_on_V[ids[end]]
        if ends and tuple(ids[at:end].tolist()) == pieces:
            return number
    return None


def cut_windows(  # noqa: PLR0913 - what, and how far around it
    documents: Sequence[Ids],
    places: Sequence[Place],
    phrases: Sequence[Phrase],
    *,
    among: Sequence[Place] | None = None,
    before: int = 40,
    after: int = 16,
    bos: int | None = None,
) -> Windows:
    """Cut a window around each place; places with too little text around them are left out.

    Args:
        among: all places of these phrases, where `places` are some of them: a window ends where
            its phrase stands again, and that may be at a place that gets no window of its own.
        before: positions before the phrase, at most; fewer where the phrase stands there again.
        after: positions after it, at most, likewise.
        bos: an id that is put before every window, if the model is used to one.
    """
    starts: dict[tuple[int, int], list[int]] = {}
    for place in places if among is None else among:
        starts.setdefault((place.document, place.token), []).append(place.at)
    for same in starts.values():
        same.sort()
    rows, tokens, ats = [], [], []
    for place in places:
        n = len(phrases[place.token].pieces)
        same = starts[place.document, place.token]
        before_it, behind_it = bisect_left(same, place.at), bisect_right(same, place.at)
        earlier = same[before_it - 1] + n if before_it else 0
        later = same[behind_it] if behind_it < len(same) else len(documents[place.document])
        first = max(earlier, place.at - before)
        last = min(later, place.at + n + after)
        if place.at - first < FEWEST_BEFORE or last - place.at - n < FEWEST_AFTER:
            continue
        head = [] if bos is None else [bos]
        rows.append(np.concatenate([head, documents[place.document][first:last]]).astype(np.int64))
        tokens.append(place.token)
        ats.append(place.at - first + len(head))
    return windows_of(rows, tokens, ats, phrases, after)


def windows_of(
    rows: Sequence[Ids],
    tokens: Sequence[int],
    ats: Sequence[int],
    phrases: Sequence[Phrase],
    after: int,
) -> Windows:
    """Pad rows on the right and put them together."""
    n_pieces = [len(phrases[t].pieces) for t in tokens]
    return _padded(rows, tokens, ats, n_pieces, after)


def _padded(
    rows: Sequence[Ids],
    tokens: Sequence[int] | Ids,
    ats: Sequence[int],
    n_pieces: Sequence[int] | Ids,
    after: int,
) -> Windows:
    longest = max(map(len, rows), default=1)
    ids = np.zeros((len(rows), longest), np.int64)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = row
    return Windows(
        token_W=np.array(tokens, np.int64),
        ids_WT=ids,
        length_W=np.array([len(row) for row in rows], np.int64),
        at_W=np.array(ats, np.int64),
        n_pieces_W=np.array(n_pieces, np.int64),
        after=after,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What rows are fitted on.

    Attributes:
        phrases: the new tokens.
        windows, validation: of each phrase, from different documents.
        neutral_ST, keep_ST: text, and the positions at which none of the phrases is due.
        frequency_N: occurrences of each phrase a position of text.
        known: words of one piece as pieces, with their windows; none where nothing is known.
        trained: ids whose rows are known to be trained.
        bos: an id that stands before every text, None where there is none.
    """

    phrases: tuple[Phrase, ...]
    windows: Windows
    validation: Windows
    neutral_ST: Ids
    keep_ST: NDArray[np.bool_]
    frequency_N: Values
    known: tuple[Sequence[Phrase], Windows]
    trained: Ids
    bos: int | None
