"""What a word token means, told with the tokenizers library alone.

The new encoding of a text is the old one, with one id wherever the old pieces of a word stand whole:
not followed by a letter, digit or combining mark and, where the word begins with one of these, not
preceded by one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from tokenizers import Tokenizer


@dataclass(frozen=True)
class Meaning:
    """The words of a tokenizer: what they were in the base, and what they are now."""

    base: Tokenizer
    pieces: Mapping[str, list[int]]
    ids: Mapping[str, int]

    @classmethod
    def of(cls, base: Tokenizer, ids: Mapping[str, int]) -> Meaning:
        """Old pieces are read behind a line that ends in a letter, which no word takes up."""
        return cls(base, {word: behind(base, word) for word in ids}, ids)

    def expected(self, text: str) -> list[int]:
        found = self.base.encode(text, add_special_tokens=False)
        ids: list[int] = []
        at = 0
        while at < len(found.ids):
            word = self._word_at(text, found.ids, found.offsets, at)
            ids.append(found.ids[at] if word is None else self.ids[word])
            at += 1 if word is None else len(self.pieces[word])
        return ids

    def _word_at(
        self, text: str, ids: list[int], offsets: list[tuple[int, int]], at: int
    ) -> str | None:
        there = [
            word
            for word, pieces in self.pieces.items()
            if ids[at : at + len(pieces)] == pieces
            and not longer(text[offsets[at + len(pieces) - 1][1] :][:1])
            and not (longer(word[0]) and longer(text[: offsets[at][0]][-1:]))
        ]
        return max(there, key=lambda word: len(self.pieces[word]), default=None)


def longer(letter: str) -> bool:
    """Whether a word goes on with this character."""
    return letter != "" and unicodedata.category(letter)[0] in "LNM"


def behind(tokenizer: Tokenizer, word: str) -> list[int]:
    head = "x" if word.startswith(" ") else "x\n"
    before = tokenizer.encode(head, add_special_tokens=False).ids
    both = tokenizer.encode(head + word, add_special_tokens=False).ids
    assert both[: len(before)] == before
    return both[len(before) :]


def taken_apart(ids: list[int], pieces: Mapping[int, list[int]]) -> list[int]:
    """Ids with every new one replaced by the old ids that it stands for."""
    return [old for token_id in ids for old in pieces.get(token_id, [token_id])]
