"""Ids that go, and where all others are from then on: what [[remove]] and [trim] alone do to a table.

Everything else that a plan can hold leaves old ids where they are (law 4).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from tokengraft.documents import Value


@dataclass(frozen=True, slots=True)
class IdMap:
    """Old ids to new ones: each moves down by the number of removed ids below it.

    Attributes:
        removed: the ids that go, ascending.
    """

    removed: tuple[int, ...]

    @classmethod
    def of(cls, removed: Iterable[int]) -> IdMap:
        return cls(tuple(sorted(set(removed))))

    def new(self, token_id: int) -> int | None:
        """The id that an old one becomes, None if it goes."""
        below = bisect_left(self.removed, token_id)
        gone = below < len(self.removed) and self.removed[below] == token_id
        return None if gone else token_id - below

    def kept(self, n_ids: int) -> Iterator[tuple[int, int]]:
        """Runs of ids below `n_ids` that stay, as first and count."""
        at = 0
        for token_id in (*self.removed, n_ids):
            if at < token_id:
                yield at, token_id - at
            at = token_id + 1


class Moved(Value):
    """The old ids `first` to `first + count - 1` are `to` to `to + count - 1` from now on."""

    first: int = Field(ge=0)
    count: int = Field(gt=0)
    to: int = Field(ge=0)


class Trimmed(Value):
    """What reading a corpus said of the vocabulary.

    Attributes:
        corpus: as the recipe names it.
        n_ids: ids that the corpus takes with the base's tokenizer.
        min_count: pieces that it uses less often may go.
        unused: pieces that it uses less often.
        steps: pieces among them that stay, since pieces that stay are made from them.
        protected: pieces among them that stay for another reason (see the guide).
    """

    corpus: str
    sha256: str
    size_bytes: int
    n_ids: int
    min_count: int
    unused: int
    steps: int
    protected: int


class Renumbering(Value):
    """The one operation that moves ids, and so never happens unasked.

    Attributes:
        removed: number of ids that go.
        moved: where all others are, in runs; ids of rows without a token are among them.
        n_rows_before, n_rows_after: of every matrix with a row a token.
        bytes_saved: by which the weights get smaller.
    """

    safety: Literal["unsafe"] = "unsafe"
    removed: int = Field(gt=0)
    moved: tuple[Moved, ...]
    n_rows_before: int
    n_rows_after: int
    bytes_saved: int = 0
    trimmed: Trimmed | None = None


Form = Literal["added_tokens", "added_tokens_decoder", "token_to_id", "merges", "pieces"]


class Renumber(Value):
    """Take the plan's removed tokens out of a JSON container; ids in it become the new ones.

    `form` says what the container holds: tokenizer.json's `added_tokens`; `added_tokens_decoder`,
    whose keys are ids; texts with their ids; merges, of which those go that make a removed piece or
    use one; pieces with scores, whose places are their ids.
    """

    kind: Literal["renumber"] = "renumber"
    pointer: str
    form: Form


class RemoveLines(Value):
    """Take the plan's removed tokens out of a text file that has a line for each merge or piece."""

    kind: Literal["remove-lines"] = "remove-lines"
    path: str
    form: Literal["merges", "pieces"]
