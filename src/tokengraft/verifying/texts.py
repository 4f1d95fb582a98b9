"""The built-in corpus: more than a megabyte of text, made anew each time and the same each time.

It is no sample of what people write; it is what tokenizers stumble over, in enough different
neighbourhoods: cut anywhere, glued to anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from tokengraft.errors import LimitExceeded, ReadFailed
from tokengraft.verifying import ingredients as of

MIN_BYTES = 1_100_000
MAX_TEXTS_BYTES = 64 << 20  # a corpus of the user's; every text is encoded twice and decoded twice
MAX_TEXT_CHARS = 4_000  # a long line is cut, so that a difference is shown in its neighbourhood
MAX_PROBED_TOKENS = 200  # near misses grow with each new token, the corpus should not
_T = TypeVar("_T")
_MASK = (1 << 64) - 1


class Dice:
    """Draw numbers that are the same on every machine and in every Python version.

    Source: the 64-bit generator of Vigna's SplitMix64.
    """

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, limit: int) -> int:
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return (mixed ^ (mixed >> 31)) % limit

    def one(self, of_these: Sequence[_T]) -> _T:
        return of_these[self.below(len(of_these))]


def built_in(new: Sequence[str]) -> Iterator[str]:
    """Make the corpus, with near misses of the `new` tokens; texts that hold one are not left out."""
    yield from fixed()
    yield from near_misses(new)
    yield from _paragraphs(MIN_BYTES)


@lru_cache(maxsize=1)
def _paragraphs(min_bytes: int) -> tuple[str, ...]:
    """So many bytes or a few more, drawn once a process."""
    dice = Dice(20)
    drawn: list[str] = []
    size_bytes = 0
    while size_bytes < min_bytes:
        drawn.append(_paragraph(dice))
        size_bytes += len(drawn[-1].encode())
    return tuple(drawn)


def fixed() -> Iterator[str]:
    """Texts that need no dice: every byte, every ingredient alone, runs of every space."""
    yield ""
    yield "".join(map(chr, range(256)))
    yield from map(chr, range(256))
    for run in (1, 2, 3, 7, 8, 16, 63, 130):
        for space in of.SPACES:
            yield space * run
            yield f"a{space * run}b{space * run}"
    yield from ("0", "00", "1234567890" * 9, "3.14159", "1,000,000.00", "1e-9", "٣٫١٤", "Ⅻ", "½¾")
    for part in (*of.EMOJI, *of.MARKS, *of.SCRIPTS, *of.LOOKALIKES):
        yield part
        yield f" {part}"
        yield f"{part}{part}\n{part} x{part}y"
        yield unicodedata.normalize("NFD", part)
        yield unicodedata.normalize("NFC", part)


def near_misses(new: Sequence[str]) -> Iterator[str]:
    """Every beginning and end of a new token, and the token with one thing wrong with it."""
    step = max(1, len(new) // MAX_PROBED_TOKENS)
    for text in new[::step][:MAX_PROBED_TOKENS]:
        for at in range(1, min(len(text), 64)):
            head, tail = text[:at], text[at:]
            other = "y" if text[at] == "x" else "x"
            yield from (head, tail, f"{head} {tail}", head + tail[1:], head + other + tail[1:])
            yield from (f"{head}\n{tail}", tail + head, f"{head}{head[-1]}{tail}")
        yield from (text.swapcase(), text[::-1])


def leave_out(
    texts: Iterable[str], literals: Sequence[str], *, folded: bool
) -> tuple[list[str], int]:
    """Drop the texts that hold one of the literals; return the others and the number dropped.

    Args:
        texts: a corpus.
        literals: contents of tokens; an empty one is ignored.
        folded: also drop a text whose Unicode-normalised or lower-case form holds one, since a
            token with `normalized` set is looked for there.
    """
    holds = _finder([literal for literal in literals if literal])
    kept: list[str] = []
    dropped = 0
    for text in texts:
        forms = {text, *(_forms(text) if folded else ())}
        if any(map(holds, forms)):
            dropped += 1
        else:
            kept.append(text)
    return kept, dropped


def from_file(path: Path) -> list[str]:
    """Read a corpus of the user's, cut at line ends; undecodable bytes become U+FFFD.

    Raises:
        LimitExceeded: it is larger than what can be encoded in reasonable time.
        ReadFailed: the system refuses.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXTS_BYTES + 1)
    except OSError as error:
        raise ReadFailed(
            f"cannot read {path}", detail=error.strerror or "", subject=str(path)
        ) from error
    if len(data) > MAX_TEXTS_BYTES:
        raise LimitExceeded(
            f"{path} is larger than {MAX_TEXTS_BYTES >> 20} MiB",
            subject=str(path),
            hint="give a part of it: verify encodes every text before and after",
        )
    lines = data.decode("utf-8", "replace").splitlines(keepends=True)
    return list(_joined(lines))


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Whole lines together up to the limit, so that line ends are among the text."""
    text = ""
    for line in lines:
        if text and len(text) + len(line) > MAX_TEXT_CHARS:
            yield text
            text = ""
        text += line
        while len(text) > MAX_TEXT_CHARS:
            yield text[:MAX_TEXT_CHARS]
            text = text[MAX_TEXT_CHARS:]
    if text:
        yield text


def _paragraph(dice: Dice) -> str:
    """A few pieces of different kinds, some cut in the middle, some glued together."""
    pieces = []
    for _ in range(2 + dice.below(6)):
        piece = dice.one(_KINDS)(dice)
        if dice.below(4) == 0:  # cut where no author would
            piece = piece[dice.below(len(piece) + 1) :]
        pieces.append(piece)
        pieces.append(dice.one(("", " ", "\n", "\n\n", ". ", dice.one(of.SPACES))))
    return "".join(pieces)[:MAX_TEXT_CHARS]


class _Drawn:
    """Fill each gap of a pattern on its own."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def __getitem__(self, name: str) -> str:
        if name in ("number", "число"):
            return str(self._dice.below(100_000))
        return self._dice.one(of.FILLINGS[name])


def _sentence(patterns: Sequence[str]) -> Callable[[Dice], str]:
    return lambda dice: dice.one(patterns).format_map(_Drawn(dice))


def _snippet(patterns: Sequence[str]) -> Callable[[Dice], str]:
    def make(dice: Dice) -> str:
        names = {"a": dice.one(of.NAMES), "b": dice.one(of.NAMES)}
        return dice.one(patterns).format(**names, n=dice.below(10_000))

    return make


def _several(parts: Sequence[str]) -> Callable[[Dice], str]:
    def make(dice: Dice) -> str:
        chosen = [dice.one(parts) for _ in range(1 + dice.below(8))]
        return dice.one(("", " ", "\n", "x")).join(chosen)

    return make


def _soup(dice: Dice) -> str:
    """Letters of one block, or of any: what no tokenizer was trained on."""
    first, last = dice.one(of.BLOCKS)
    letters = []
    for _ in range(4 + dice.below(40)):
        if dice.below(8) == 0:
            first, last = dice.one(of.BLOCKS)
        letters.append(chr(first + dice.below(last - first + 1)))
    return "".join(letters)


def _blank(dice: Dice) -> str:
    return "".join(dice.one(of.SPACES) * (1 + dice.below(12)) for _ in range(1 + dice.below(4)))


_KINDS: tuple[Callable[[Dice], str], ...] = (
    *(_sentence(of.ENGLISH),) * 3,
    *(_sentence(of.RUSSIAN),) * 3,
    *(_snippet(of.CODE),) * 3,
    *(_snippet(of.JSON), _snippet(of.URLS)),
    *(_several(of.EMOJI), _several(of.MARKS), _several(of.SCRIPTS), _several(of.LOOKALIKES)),
    *(_soup, _blank),
)


def _forms(text: str) -> set[str]:
    if text.isascii():  # normal already
        return {text, text.lower()}
    normal = {unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    return normal | {form.lower() for form in normal}


def _finder(literals: Sequence[str]) -> Callable[[str], bool]:
    """Look for any of the literals; 100,000 of them cost little more than one.

    Only where one of their first letters stands is looked further. Those with the same beginning are
    told apart by length: one look-up a length, not one a literal.
    """
    width = min((len(literal) for literal in literals), default=0)
    width = min(width, 6)
    by_start: dict[str, dict[int, set[str]]] = {}
    for literal in literals:
        by_start.setdefault(literal[:width], {}).setdefault(len(literal), set()).add(literal)
    letters = "".join(sorted({start[0] for start in by_start}))
    first = re.compile(f"[{re.escape(letters)}]") if letters else None

    def holds(text: str) -> bool:
        if first is None:
            return False
        for found in first.finditer(text):
            at = found.start()
            for length, those in by_start.get(text[at : at + width], _NONE).items():
                if text[at : at + length] in those:
                    return True
        return False

    return holds


_NONE: dict[int, set[str]] = {}
