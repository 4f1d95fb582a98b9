"""Where a piece of the vocabulary is looked for, and which learned pieces come up nowhere.

A corpus can hold a run of white space that its pre-tokenizer keeps whole for the sake of what stands
behind it. What is learned inside of such a run is cut otherwise, or merged otherwise, in any other
text: it would be a token that nobody can write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

from tokengraft.planning.learning import Join, Pair, merged_by
from tokengraft.planning.letters import Letters
from tokengraft.planning.library import Library
from tokengraft.spelling import bytes_of, is_whole, readable

# Where a piece is looked for, until it comes up.
ALONE = ("{}", "\n{}", "x\n{}", " {}", "x{}", "0{}", ".{}", "中{}", "{}\n", "\n{}\n", "x {}")
CONTINUING = range(0x80, 0xC0)  # bytes that continue a letter in UTF-8
REPLACEMENT = "\ufffd"  # what a part of a letter is shown as

Encode = Callable[[Sequence[str]], list[list[int]]]


def unreached(pieces: Mapping[int, tuple[str, str]], encode: Encode) -> list[int]:
    """The ids that come up in none of the neighbourhoods in which they are looked for.

    Args:
        pieces: by id, the piece as the vocabulary spells it and as people read it.
    """
    left = list(pieces)
    for pattern in ALONE:
        asked = [(i, text) for i in left for text in written(*pieces[i], pattern)]
        made = encode([text for _, text in asked]) if asked else []
        met = {i for (i, _), ids in zip(asked, made, strict=True) if i in ids}
        left = [i for i in left if i not in met]
    return left


def written(piece: str, text: str, pattern: str) -> Iterator[str]:
    """Texts that hold a piece; one that is the beginning of a letter is completed in many ways."""
    data = bytes_of(piece) if REPLACEMENT in text else None
    if data is None or is_whole(data):
        yield pattern.replace("{}", text)
        return
    for first in CONTINUING:
        for more in (b"", b"\x80", b"\xbf", b"\x80\x80"):
            whole = data + bytes([first]) + more
            if is_whole(whole):
                yield pattern.replace("{}", whole.decode())


def encoder(library: Library, letters: Letters, joins: Mapping[Pair, Join]) -> Encode:
    """Merge old ids further, by merges that are in no file yet; single ids may be left out."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        cut = library.cut(library.normalize(texts))
        ids = iter(library.model_ids([part for parts in cut for part in parts]))
        return [list(chain.from_iterable(_further(next(ids)) for _ in parts)) for parts in cut]

    def _further(ids: Sequence[int]) -> list[int]:
        units, _ = letters.read([(tuple(ids), 1)])
        return [i for unit, _ in units for i in merged_by(unit, joins)]

    return encode


def readable_of(joins: Sequence[Join], *, byte_level: bool) -> dict[int, tuple[str, str]]:
    """Merges as `unreached` takes them."""
    return {join.id: (join.text, readable(join.text, byte_level)) for join in joins}


def without(joins: Sequence[Join], ids: Iterable[int]) -> list[Join]:
    """Merges without some, and without those that are made from them."""
    gone = set(ids)
    left = []
    for join in joins:
        if gone & {join.id, join.left, join.right}:
            gone.add(join.id)
        else:
            left.append(join)
    return left
