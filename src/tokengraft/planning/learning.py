"""Continued BPE: learn further merges where the old ones left off, and keep those that pay.

Every unit (a part of the pre-tokenizer, as its old pieces) is merged further: the pair that stands
most often becomes a piece, again and again. New merges rank after all old ones, so no old merge ever
finds its pieces taken: old ids are only joined. A piece stands in its own merge's place wherever its
two parts meet, so none is unreachable, which cannot be said of pieces that are learned apart and
appended.

Source: Purason et al. 2025, "Teaching Old Tokenizers New Words" (arXiv 2512.03989): continued BPE,
and pruning from the leaves. The code is our own.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Pair = tuple[int, int]
# Says what two pieces make, or None if they must not be joined.
Joined = Callable[[str, str], str | None]


@dataclass(frozen=True, slots=True)
class Join:
    """A new piece: the two that make it, in the order in which it was learned."""

    id: int
    left: int
    right: int
    text: str


@dataclass(slots=True)
class Words:
    """Units with their counts, and the state of their merging (which changes as merges are learned).

    Attributes:
        parts: the ids of each unit.
        counts: how often each unit stands in the corpus.
        pairs: how often each pair stands, and `places`, in which units it may stand.
    """

    parts: list[list[int]]
    counts: list[int]
    pairs: Counter[Pair] = field(default_factory=Counter)
    places: dict[Pair, set[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, units: Iterable[tuple[Sequence[int], int]]) -> Words:
        words = cls([], [])
        for number, (ids, count) in enumerate(units):
            words.parts.append(list(ids))
            words.counts.append(count)
            words.enter(number)
        return words

    def enter(self, number: int) -> list[Pair]:
        """Count the pairs of a unit, and return them."""
        ids, count = self.parts[number], self.counts[number]
        found = list(pairwise(ids))
        for pair in found:
            self.pairs[pair] += count
            self.places.setdefault(pair, set()).add(number)
        return found

    def leave(self, number: int) -> None:
        """Take the pairs of a unit out of the counts."""
        ids, count = self.parts[number], self.counts[number]
        for pair in pairwise(ids):
            self.pairs[pair] -= count


def learn(
    words: Words, texts: dict[int, str], joined: Joined, *, first_id: int, limit: int, least: int
) -> list[Join]:
    """Learn at most `limit` merges, the most frequent pair first, down to pairs that stand `least` times.

    Args:
        words: merged as far as the old merges go; merged further here.
        texts: the text of each id; new ones are entered.
        joined: what two texts make.
        first_id: the id of the first new piece.

    Among pairs of the same count, the one of the smaller ids is taken: the order is the same on
    every machine.
    """
    joins: list[Join] = []
    taken: set[str] = set()
    queue = [(-count, pair) for pair, count in words.pairs.items() if count >= least]
    heapq.heapify(queue)
    while queue and len(joins) < limit:
        said, pair = heapq.heappop(queue)
        count = words.pairs[pair]
        if count != -said:  # it has changed since; it counts as it is now
            if count >= least:
                heapq.heappush(queue, (-count, pair))
            continue
        text = joined(texts[pair[0]], texts[pair[1]])
        if text is None or text in taken:
            continue
        join = Join(first_id + len(joins), *pair, text)
        joins.append(join)
        taken.add(text)
        texts[join.id] = text
        for other in _merge_everywhere(words, join):
            if words.pairs[other] >= least:
                heapq.heappush(queue, (-words.pairs[other], other))
    return joins


def _merge_everywhere(words: Words, join: Join) -> set[Pair]:
    """Merge a pair in all units; return the pairs that stand there now with the new piece."""
    pair = (join.left, join.right)
    met: set[Pair] = set()
    for number in sorted(words.places.pop(pair, ())):
        words.leave(number)
        words.parts[number] = merged(words.parts[number], pair, join.id)
        met.update(p for p in words.enter(number) if join.id in p)
    del words.pairs[pair]
    return met


def merged(ids: Sequence[int], pair: Pair, new: int) -> list[int]:
    """Put one id in the place of each such pair, from the left."""
    found: list[int] = []
    at, last = 0, len(ids) - 1
    while at <= last:
        if at < last and ids[at] == pair[0] and ids[at + 1] == pair[1]:
            found.append(new)
            at += 2
        else:
            found.append(ids[at])
            at += 1
    return found


def merged_by(ids: Sequence[int], joins: Mapping[Pair, Join]) -> list[int]:
    """Merge as the tokenizers library does: the merge that was learned first comes first."""
    found = list(ids)
    while True:
        there = [joins[p] for p in pairwise(found) if p in joins]
        if not there:
            return found
        join = min(there, key=lambda join: join.id)
        found = merged(found, (join.left, join.right), join.id)


def kept(
    units: Sequence[tuple[Sequence[int], int]], joins: Sequence[Join], *, wanted: int, least: int
) -> tuple[list[Join], Counter[int]]:
    """Choose merges: no more than `wanted`, and none at a leaf that stands less than `least` times.

    A leaf is a piece from which no other kept piece is made. Without it, each place where it stands
    costs one id more, so its count is what it saves. Leaves are taken away, the least used first,
    and the units that held them are merged again without them, until nothing is left to take.

    Returns:
        The kept merges in the order of learning, and how often every id stands in the units.
    """
    stay = {join.id: join for join in joins}
    by_pair = {(join.left, join.right): join for join in joins}
    parts = [merged_by(ids, by_pair) for ids, _ in units]
    holders = _holders(parts, stay)
    uses = _uses(parts, units)
    while doomed := _doomed(stay, uses, wanted=wanted, least=least):
        touched: set[int] = set()
        for token_id in doomed:
            join = stay.pop(token_id)
            del by_pair[join.left, join.right]
            touched |= holders.pop(token_id, set())
        for number in sorted(touched):
            ids, count = units[number]
            for token_id in parts[number]:
                uses[token_id] -= count
            parts[number] = merged_by(ids, by_pair)
            for token_id in parts[number]:
                uses[token_id] += count
                if token_id in stay:
                    holders.setdefault(token_id, set()).add(number)
    return [join for join in joins if join.id in stay], uses


def _doomed(
    stay: Mapping[int, Join], uses: Mapping[int, int], *, wanted: int, least: int
) -> list[int]:
    """The leaves that go now: those below `least`, and the least used of a surplus."""
    needed = {part for join in stay.values() for part in (join.left, join.right)}
    leaves = sorted((uses[i], -i) for i in stay if i not in needed)
    poor = sum(used < least for used, _ in leaves)
    surplus = min(len(stay) - wanted, len(leaves) // 4 + 1)  # taking one makes leaves of its parts
    return [-negative for _, negative in leaves[: max(poor, surplus, 0)]]


def _holders(parts: Sequence[Sequence[int]], of: Mapping[int, Join]) -> dict[int, set[int]]:
    holders: dict[int, set[int]] = {}
    for number, ids in enumerate(parts):
        for token_id in ids:
            if token_id in of:
                holders.setdefault(token_id, set()).add(number)
    return holders


def _uses(
    parts: Sequence[Sequence[int]], units: Sequence[tuple[Sequence[int], int]]
) -> Counter[int]:
    uses: Counter[int] = Counter()
    for ids, (_, count) in zip(parts, units, strict=True):
        for token_id in ids:
            uses[token_id] += count
    return uses
