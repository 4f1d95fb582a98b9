"""Letters that a vocabulary with byte fallback spells in bytes, found in a corpus.

Merges join pieces of letters and never bytes, so a script that the vocabulary lacks gets its letters
first. A letter of the vocabulary needs no merge: the library looks each letter up before it falls
back on bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tokengraft.planning.library import Unit

BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
# Letters, marks, digits, punctuation, symbols: not what formats, controls or is unassigned.
WANTED = "LMNPS"
Bytes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Letters:
    """New letters by the ids of their bytes.

    Attributes:
        byte_of: the byte that each byte piece stands for.
        ids: the ids of each new letter.
        texts: the letter of each new id.
    """

    byte_of: Mapping[int, int]
    ids: Mapping[Bytes, int]
    texts: Mapping[int, str]

    @classmethod
    def of(cls, vocab: Mapping[str, int]) -> Letters:
        found = {i: m for text, i in vocab.items() if (m := BYTE_PIECE.fullmatch(text))}
        return cls({i: int(m[1], 16) for i, m in found.items()}, {}, {})

    def found_in(self, units: Sequence[Unit], *, first_id: int, limit: int, least: int) -> Letters:
        """Add the letters whose own ids save at least `least` ids, those that save most first."""
        saves: Counter[Bytes] = Counter()
        for ids, times in units:
            for run in _runs(ids, self.byte_of):
                for letter in _letters(run, self.byte_of):
                    if letter not in self.ids and _text(letter, self.byte_of):
                        saves[letter] += times * (len(letter) - 1)
        chosen = [letter for letter, saved in saves.items() if saved >= least]
        chosen = sorted(chosen, key=lambda letter: (-saves[letter], letter))[:limit]
        new = {letter: first_id + at for at, letter in enumerate(chosen)}
        texts = {token_id: _text(letter, self.byte_of) for letter, token_id in new.items()}
        return replace(self, ids={**self.ids, **new}, texts={**self.texts, **texts})

    def read(self, units: Sequence[Unit]) -> tuple[tuple[Unit, ...], int]:
        """Put letters in the place of their bytes, and cut units at the bytes that are left.

        Returns:
            Units of two ids or more, and the number of ids that the letters save.
        """
        if not self.byte_of:
            return tuple(units), 0
        made: Counter[tuple[int, ...]] = Counter()
        saved = 0
        for ids, times in units:
            for part in self._parts(ids):
                if len(part) > 1:
                    made[part] += times
            saved += times * sum(len(letter) - 1 for letter in self._known(ids))
        return tuple(made.items()), saved

    def _known(self, ids: Sequence[int]) -> Iterator[Bytes]:
        for run in _runs(ids, self.byte_of):
            yield from (letter for letter in _letters(run, self.byte_of) if letter in self.ids)

    def _parts(self, ids: Sequence[int]) -> Iterator[tuple[int, ...]]:
        part: list[int] = []
        for run in _runs(ids, self.byte_of, others=True):
            if run[0] not in self.byte_of:
                part.extend(run)
                continue
            for letter in _letters(run, self.byte_of):
                if letter in self.ids:
                    part.append(self.ids[letter])
                    continue
                yield tuple(part)
                part = []
        yield tuple(part)


def _runs(
    ids: Sequence[int], byte_of: Mapping[int, int], *, others: bool = False
) -> Iterator[Sequence[int]]:
    """Runs of byte pieces and, if asked for, the runs of other pieces between them."""
    begin = 0
    for at in range(1, len(ids) + 1):
        if at == len(ids) or (ids[at] in byte_of) != (ids[begin] in byte_of):
            if others or ids[begin] in byte_of:
                yield ids[begin:at]
            begin = at


def _letters(run: Sequence[int], byte_of: Mapping[int, int]) -> Iterator[Bytes]:
    """Cut a run of bytes where letters begin."""
    begin = 0
    for at in range(1, len(run) + 1):
        if at == len(run) or byte_of[run[at]] & 0xC0 != 0x80:  # noqa: PLR2004 - UTF-8's own
            yield tuple(run[begin:at])
            begin = at


def _text(letter: Bytes, byte_of: Mapping[int, int]) -> str:
    """The letter that bytes spell; empty if they spell none, or one that is better left alone."""
    try:
        text = bytes(byte_of[i] for i in letter).decode()
    except UnicodeDecodeError:
        return ""
    return text if len(letter) > 1 and unicodedata.category(text)[0] in WANTED else ""
