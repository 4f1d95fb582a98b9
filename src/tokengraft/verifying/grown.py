"""New pieces of the model's own vocabulary: what they stand for, and what they did to old text.

Nothing here is shared with planning. What a piece stands for is read from the plan, merge by merge,
down to ids of the base; the library, before and after, says the rest.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from tokengraft.checkpoint import Checkpoint
from tokengraft.plans import Plan, PlannedToken
from tokengraft.results import Check
from tokengraft.sandbox.tokenizers import TokenizerChild
from tokengraft.spelling import bytes_of, is_whole
from tokengraft.verifying.records import failed, passed, several

NAME = "new-pieces"
Spans = Sequence[tuple[int, int, int]]
# Neighbours in which a piece is looked for; a word stands whole between any of them.
AROUND = ("", "\n", "\n\n", "x\n", "— ", "(", "«", "3. ", "a, ", "\t", "-", "...")
BEHIND = ("", "\n", ".", ",", " x", " 3", ")", "»", "-", "!", "'s", " —")
GLUED = ("", "x", "0", "é", "ж", "中", " ", "\n", ".")
MAX_NEAR = 20_000  # texts made of new pieces
CONTINUING = range(0x80, 0xC0)  # bytes that continue a letter in UTF-8


@dataclass(frozen=True, slots=True)
class Grown:
    """The pieces of a plan.

    Attributes:
        learned: what merges make, with the old ids that each stands for.
        words: what is one id only where it stands whole, with the old ids likewise.
        tokens: all of them, by id.
    """

    tokens: Mapping[int, PlannedToken]
    learned: Mapping[int, tuple[int, ...]]
    words: Mapping[int, tuple[int, ...]]

    def expand(self, ids: Sequence[int]) -> list[int]:
        """The old ids that learned pieces stand for, in their place."""
        return [old for i in ids for old in self.learned.get(i, (i,))]

    def expected(self, text: str, spans: Spans) -> list[int]:
        """The old ids of a text with one id for each word that stands whole in it."""
        ids = [i for i, _, _ in spans]
        first = {old[0] for old in self.words.values()}
        if first.isdisjoint(ids):
            return ids
        found: list[int] = []
        while len(found) < len(ids):
            at = len(found)
            if ids[at] not in first:
                found.append(ids[at])
                continue
            there = [w for w, old in self.words.items() if self._stands(text, spans, at, w, old)]
            longest = max(there, key=lambda word: len(self.words[word]), default=None)
            if longest is None:
                found.append(ids[at])
            else:  # the places that it takes are marked, so that `at` stays a place among the ids
                found += [longest, *[-1] * (len(self.words[longest]) - 1)]
        return [i for i in found if i >= 0]

    def _stands(self, text: str, spans: Spans, at: int, word: int, old: tuple[int, ...]) -> bool:
        last = at + len(old)
        if last > len(spans) or any(spans[at + n][0] != i for n, i in enumerate(old)):
            return False
        begin, end = spans[at][1], spans[last - 1][2]
        starts = _lengthens(self.tokens[word].text[:1])
        before = text[begin - 1 : begin] if begin else ""
        return not _lengthens(text[end : end + 1]) and not (starts and _lengthens(before))


def _lengthens(letter: str) -> bool:
    """Whether a character makes a word longer: a letter, a digit or a mark."""
    return letter != "" and unicodedata.category(letter)[0] in "LNM"


def grown(plan: Plan, base: Checkpoint, before: TokenizerChild) -> Grown:
    """What the plan's pieces stand for in ids of the base."""
    assert base.tokenizer is not None
    kept = (token for token in plan.tokens if token.action != "remove")
    tokens = {token.id: token for token in kept if token.piece is not None}
    ids = dict(base.tokenizer.vocab)
    stand_for: dict[str, tuple[int, ...]] = {piece: (int(i),) for piece, i in ids.items()}
    learned: dict[int, tuple[int, ...]] = {}
    words = [token for token in tokens.values() if token.use == "word"]
    for token in sorted(tokens.values(), key=lambda token: token.id):
        if token.use != "word" and token.piece is not None:
            learned[token.id] = stand_for[token.piece] = tuple(
                _parts(token, token.piece, stand_for)
            )
    pieces = before.model_ids([token.piece or "" for token in words])
    return Grown(
        tokens=tokens,
        learned=learned,
        words={token.id: tuple(old) for token, old in zip(words, pieces, strict=True)},
    )


def _parts(
    token: PlannedToken, piece: str, stand_for: Mapping[str, tuple[int, ...]]
) -> Iterator[int]:
    if token.cut:
        for part in (piece[: token.cut], piece[token.cut :]):
            yield from stand_for.get(part, (-1,))
        return
    for byte in piece.encode():  # a letter without a merge was spelled in bytes
        yield from stand_for.get(f"<0x{byte:02X}>", (-1,))


def check_pieces(found: Grown, before: TokenizerChild, after: TokenizerChild) -> Iterator[Check]:
    """Every new piece comes up where it should, and decodes to what its old pieces decode to."""
    if not found.tokens:
        return
    unknown = [t.piece for i, t in found.tokens.items() if -1 in found.learned.get(i, ())]
    unreached = _unreached(found, after)
    olds = {**found.learned, **found.words}
    was = before.decode([list(olds[i]) for i in found.tokens], skip_special=False)
    now = after.decode([[i] for i in found.tokens], skip_special=False)
    other = [t.text for t, a, b in zip(found.tokens.values(), was, now, strict=True) if a != b]
    if unknown or unreached or other:
        told = [
            f"{len(unknown)} are made from pieces that the base lacks: {several([repr(piece) for piece in unknown])}",
            f"{len(unreached)} never come up: {several([repr(t.text) for t in unreached])}",
            f"{len(other)} decode otherwise than their old pieces: {several([repr(text) for text in other])}",
        ]
        wrong = [line for line, bad in zip(told, (unknown, unreached, other), strict=True) if bad]
        yield failed(NAME, "; ".join(wrong))
        return
    parts = sum(not _is_whole_text(token) for token in found.tokens.values())
    within = f" ({parts:,} of them are parts of letters)" if parts else ""
    yield passed(
        NAME,
        f"all {len(found.tokens):,} new pieces of the vocabulary come up as their own id in some "
        f"text{within}, and decode to what their old pieces decode to",
    )


def _unreached(found: Grown, after: TokenizerChild) -> list[PlannedToken]:
    left = list(found.tokens.values())
    for head, tail in product(AROUND, ("", "\n")):
        asked = [(token, head + text + tail) for token in left for text in _whole_texts(token)]
        if not asked:
            break
        made = after.encode([text for _, text in asked])
        met = {token.id for (token, _), ids in zip(asked, made, strict=True) if token.id in ids}
        left = [token for token in left if token.id not in met]
    return left


def _is_whole_text(token: PlannedToken) -> bool:
    data = bytes_of(token.piece or "") if "\ufffd" in token.text else None
    return data is None or is_whole(data)


def _whole_texts(token: PlannedToken) -> Iterator[str]:
    """The text of a piece; the beginning of a letter is completed in many ways."""
    if _is_whole_text(token):
        yield token.text
        return
    data = bytes_of(token.piece or "") or b""
    for first, more in product(CONTINUING, (b"", b"\x80", b"\xbf", b"\x80\x80")):
        if is_whole(data + bytes([first]) + more):
            yield (data + bytes([first]) + more).decode()


def near_pieces(found: Grown) -> list[str]:
    """Texts that hold new pieces: words in every neighbourhood, learned ones in some."""
    texts: list[str] = []
    for word in found.words:
        text = found.tokens[word].text
        texts += (head + text + tail for head, tail in product(AROUND, BEHIND))
        texts += (head + text + tail for head, tail in product(GLUED, GLUED))
        texts += (text * 2, text.upper(), text.lower(), text[:-1], text[1:], f"{text},{text}")
    step = len(found.learned) // (MAX_NEAR // 3) + 1
    for number, token_id in enumerate(list(found.learned)[::step]):
        text = found.tokens[token_id].text
        head, tail = GLUED[number % len(GLUED)], BEHIND[number % len(BEHIND)]
        texts += (text, f"{head}{text}{tail}", f"{text}{text}")
    return list(dict.fromkeys(texts))
