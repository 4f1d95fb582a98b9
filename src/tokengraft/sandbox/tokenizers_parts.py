"""The steps of a tokenizer one by one: normalizer, pre-tokenizer, model; runs in the child alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tokengraft.sandbox.tokenizers_loaded import ids_of, loaded

# Letters, digits and marks, as the regular expressions of the library tell them apart.
CATEGORIES = ("Lu", "Ll", "Lt", "Lm", "Lo", "Nd", "Nl", "No", "Mn", "Mc", "Me")
BEGINNINGS = (0xC0, 0xE0, 0xF0)  # bytes from which on a letter has one more byte
SAMPLED = 400  # characters of each category that are tried at a word's end
# Where characters have categories: surrogates, and planes that Unicode 16 leaves empty, are passed.
ASSIGNED = (range(0xD800), range(0xE000, 0x32400), range(0xE0000, 0xE0200))
BYTE_PIECE_LENGTH = 6  # <0x41>
CONTINUES = 0b10  # the two highest bits of a byte that continues a letter in UTF-8

_CHARACTERS: dict[str, list[str]] = {}
_UNITS: Counter[tuple[int, ...]] = Counter()
_TOTALS = {"ids": 0}


def normalize(*, texts: list[str]) -> list[str]:
    """What the normalizer makes of each text."""
    normalizer = loaded().normalizer
    return texts if normalizer is None else [normalizer.normalize_str(text) for text in texts]


def cut(*, texts: list[str]) -> list[list[str]]:
    """The parts into which the pre-tokenizer cuts each text (which is not normalised here)."""
    cutter = loaded().pre_tokenizer
    if cutter is None:
        return [[text] for text in texts]
    return [[part for part, _ in cutter.pre_tokenize_str(text)] for text in texts]


def model_ids(*, parts: list[str]) -> list[list[int]]:
    """What the model alone makes of each part."""
    model = loaded().model
    return [[token.id for token in model.tokenize(part)] for part in parts]


def neighbours(*, text: str) -> dict[str, dict[str, str]]:
    """Whether the pre-tokenizer cuts right beside a text, by the category of what stands there.

    Returns:
        For `before` and `after`, each category with `cut`, `kept`, or `mixed` where it depends.
    """
    cutter = loaded().pre_tokenizer
    alone = [] if cutter is None else [part for part, _ in cutter.pre_tokenize_str(text)]
    found: dict[str, dict[str, str]] = {"before": {}, "after": {}}
    for category, characters in _characters().items():
        for side, places in found.items():
            places[category] = _side(text, characters, side, alone)
    return found


def _side(text: str, characters: list[str], side: str, alone: list[str]) -> str:
    cutter = loaded().pre_tokenizer
    seen = set()
    for character in characters:
        if cutter is None:
            return "kept"
        whole = character + text if side == "before" else text + character
        parts = [part for part, _ in cutter.pre_tokenize_str(whole)]
        near = parts[-len(alone) :] if side == "before" else parts[: len(alone)]
        seen.add(len(parts) > len(alone) and near == alone)
    return "mixed" if len(seen) > 1 else "cut" if seen == {True} else "kept"


def _characters() -> dict[str, list[str]]:
    """A sample of each category, spread over all of Unicode, as the library's Unicode has them."""
    from tokenizers import Regex
    from tokenizers.normalizers import Replace

    if not _CHARACTERS:
        every = "".join(chr(code) for block in ASSIGNED for code in block)
        for category in CATEGORIES:
            # All others are replaced by nothing: a seventh of the time of splitting at them.
            members = Replace(Regex(rf"\P{{{category}}}+"), "").normalize_str(every)
            _CHARACTERS[category] = list(members[:: max(1, len(members) // SAMPLED)])
    return _CHARACTERS


def count_start() -> None:
    """Forget what was counted."""
    _UNITS.clear()
    _TEXTS.clear()
    _TOTALS["ids"] = 0


def count(*, texts: list[str], spaces: bool) -> int:
    """Encode texts and count the runs of ids within which new merges may be learned.

    Args:
        texts: parts of a corpus.
        spaces: whether a piece that begins with the letter for a space begins a run, and letters,
            digits and other signs are runs of their own: what a vocabulary without a pre-tokenizer
            was learned with. Otherwise runs are the parts that the pre-tokenizer cuts.

    Returns:
        The number of ids so far, those of runs of one id included.
    """
    tokenizer = loaded()
    added = set(tokenizer.get_added_tokens_decoder())
    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
        ids = encoding.ids
        _TOTALS["ids"] += len(ids)
        for run in _runs(ids, encoding.word_ids, added):
            for unit in _words(run) if spaces else (run,):
                if len(unit) > 1:
                    _UNITS[tuple(unit)] += 1
    return _TOTALS["ids"]


def counted(*, first: int, number: int) -> list[list[int]]:
    """Some of the counted runs, each with its count at the end, in the order of their ids."""
    if first == 0:
        _SORTED[:] = sorted(_UNITS.items())
        _UNITS.clear()
    return [[*unit, times] for unit, times in _SORTED[first : first + number]]


_SORTED: list[tuple[tuple[int, ...], int]] = []


_USES: Counter[int] = Counter()


def uses_start() -> None:
    """Forget which ids were counted."""
    _USES.clear()


def uses(*, texts: list[str]) -> int:
    """Encode texts and count their ids; return how many different ones there are so far."""
    for ids in ids_of(texts):
        _USES.update(ids)
    return len(_USES)


def used() -> list[tuple[int, int]]:
    """The counted ids in order, each with its count."""
    return sorted(_USES.items())


def _runs(ids: list[int], words: list[int | None], added: set[int]) -> Iterator[list[int]]:
    """Runs of ids within one part of the pre-tokenizer, without added tokens."""
    run: list[int] = []
    last: int | None = -1
    for token_id, word in zip(ids, words, strict=True):
        if word != last or token_id in added:
            if run:
                yield run
            run = []
            last = word
        if token_id not in added:
            run.append(token_id)
    if run:
        yield run


def _words(run: list[int]) -> Iterator[list[int]]:
    """Cut a run before each space, and where letters, digits and other signs meet."""
    unit: list[int] = []
    kind = ""
    for letter in _letters(run):
        own, starts = _kind(letter)
        joins = bool(unit) and not starts and own != "mixed" and kind in (own, "")
        if unit and not joins:
            yield unit
            unit = []
        unit = [*unit, *letter]
        kind = own if own or starts else kind
    if unit:
        yield unit


def _letters(run: list[int]) -> Iterator[tuple[int, ...]]:
    """The pieces of a run, bytes of one letter together."""
    pending: list[int] = []
    wanted = 0
    for token_id in run:
        byte = _byte(token_id)
        if byte is None or (pending and byte >> 6 != CONTINUES):
            yield from ((i,) for i in pending)
            pending, wanted = [], 0
        if byte is None:
            yield (token_id,)
            continue
        if not pending:
            wanted = 1 + sum(byte >= first for first in BEGINNINGS)
        pending.append(token_id)
        if len(pending) == wanted:
            yield tuple(pending)
            pending, wanted = [], 0
    yield from ((i,) for i in pending)


def _byte(token_id: int) -> int | None:
    text = _text(token_id)
    if len(text) == BYTE_PIECE_LENGTH and text.startswith("<0x") and text.endswith(">"):
        return int(text[3:5], 16)
    return None


_TEXTS: dict[int, str] = {}


def _text(token_id: int) -> str:
    if token_id not in _TEXTS:
        _TEXTS[token_id] = loaded().id_to_token(token_id) or ""
    return _TEXTS[token_id]


def _kind(letter: tuple[int, ...]) -> tuple[str, bool]:
    """Whether a piece is letters, digits or other signs ("" for a bare space), and begins a word."""
    import unicodedata

    if _byte(letter[0]) is None:
        text = _text(letter[0])
    else:
        text = bytes(_byte(i) or 0 for i in letter).decode("utf-8", "replace")
    starts = text.startswith("▁")
    kinds = {_CLASSES.get(unicodedata.category(c)[0], "P") for c in text.lstrip("▁")}
    return ("mixed" if len(kinds) > 1 else "".join(kinds)), starts


_CLASSES = {"L": "L", "M": "L", "N": "N"}

OPS: Mapping[str, Callable[..., Any]] = {
    "normalize": normalize,
    "cut": cut,
    "model_ids": model_ids,
    "neighbours": neighbours,
    "count_start": count_start,
    "count": count,
    "counted": counted,
    "uses_start": uses_start,
    "uses": uses,
    "used": used,
}
