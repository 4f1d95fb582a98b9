"""Which pieces of a vocabulary may go without changing how any other text is encoded.

The law, for every kind here: a text that was encoded without the pieces that go is encoded as before,
up to the new numbers.

- BPE: a set of pieces may go if every merge that uses one of them makes one of them. No such merge
  ever happened on the way to an encoding without them, since what it made would be in it; so all
  merges that did happen are still there, in their order, and no others are.
- Unigram: the best of all ways to cut a text is still there, and no way got better: the score of an
  unknown piece hangs on the lowest score of all, so one piece of that score stays.
- WordPiece and WordLevel: a word that was unknown may become pieces when a longer piece goes. Only
  added tokens may.

Source: tokenizers 0.22.2 and 0.23.3, models/bpe/word.rs, models/unigram/model.rs, models/wordpiece.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.formats.sentencepiece_file import (
    SENTENCEPIECE_FILES,
    is_sentencepiece,
    read_sentencepiece,
)
from tokengraft.planning.growing import merges_of
from tokengraft.spelling import BYTE_LETTERS, SPACE
from tokengraft.vocabulary import Tokenizer

MODEL = "/model"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
KINDS = ("BPE", "Unigram")  # whose pieces may go


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The model's own vocabulary, as far as removing is concerned.

    Attributes:
        made_from: for each piece that merges make, the pieces that they make it from.
        scores: of a Unigram model, by piece.
        letters: pieces that text is spelled in, which therefore stay.
        odd: why no piece of this model may go, "" if some may.
    """

    tokenizer: Tokenizer
    made_from: Mapping[str, frozenset[str]] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    letters: frozenset[str] = frozenset()
    odd: str = ""

    def lowest(self, going: Collection[str]) -> str | None:
        """The piece that must stay, since the score of unknown text hangs on it."""
        if not self.scores:
            return None
        least = min(self.scores.values())
        held = [piece for piece, score in self.scores.items() if score == least]
        return held[0] if all(piece in going for piece in held) else None

    def needed(self, going: Collection[str]) -> dict[str, str]:
        """Pieces that were to go and are needed to make one that stays, with that one."""
        found: dict[str, str] = {}
        waiting = [p for p in self.tokenizer.vocab if p not in going]
        while waiting:
            whole = waiting.pop()
            for part in self.made_from.get(whole, ()):
                if part in going and part not in found:
                    found[part] = whole
                    waiting.append(part)
        return found


def vocabulary_of(checkpoint: Checkpoint) -> Vocabulary:
    """Read what the rules above need."""
    tokenizer = checkpoint.tokenizer
    assert tokenizer is not None
    odd = _odd(checkpoint, tokenizer)
    if odd:
        return Vocabulary(tokenizer, odd=odd)
    if tokenizer.kind == "Unigram":
        scores = {str(piece): float(score) for piece, score in _scored(checkpoint)}
        return Vocabulary(tokenizer, scores=scores, letters=_letters(checkpoint, tokenizer))
    made_from: dict[str, set[str]] = {}
    for left, right in merges_of(checkpoint):
        made_from.setdefault(left + right, set()).update((left, right))
    if any(_sentencepiece(checkpoint)):
        # That library merges any two pieces whose whole is a piece, listed here or not.
        for piece in tokenizer.vocab:
            parts = made_from.setdefault(piece, set())
            for at in range(1, len(piece)):
                if piece[:at] in tokenizer.vocab and piece[at:] in tokenizer.vocab:
                    parts.update((piece[:at], piece[at:]))
    return Vocabulary(
        tokenizer,
        made_from={piece: frozenset(parts) for piece, parts in made_from.items()},
        letters=_letters(checkpoint, tokenizer),
    )


def _odd(checkpoint: Checkpoint, tokenizer: Tokenizer) -> str:
    model = checkpoint.value("tokenizer.json", MODEL)
    if tokenizer.kind not in KINDS or not isinstance(model, dict):
        return (
            f"in a {tokenizer.kind} vocabulary, a word that was unknown may become "
            "other pieces when one of its pieces goes"
        )
    if model.get("dropout"):
        return "its merges are drawn by chance (`dropout`)"
    if model.get("continuing_subword_prefix"):
        return "its pieces within a word are spelled with a prefix"
    return ""


def _scored(checkpoint: Checkpoint) -> Iterator[tuple[JsonValue, float]]:
    entries = checkpoint.value("tokenizer.json", f"{MODEL}/vocab")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], int | float):  # noqa: PLR2004
            yield entry[0], float(entry[1])


def _letters(checkpoint: Checkpoint, tokenizer: Tokenizer) -> frozenset[str]:
    """What must stay so that every text can still be written.

    With bytes to fall back on, single letters may go; without, they would become unknown.
    """
    suffix = checkpoint.value("tokenizer.json", f"{MODEL}/end_of_word_suffix")
    ends = suffix if isinstance(suffix, str) else ""
    falls_back = checkpoint.value("tokenizer.json", f"{MODEL}/byte_fallback") is True
    falls_back = falls_back and all(byte in tokenizer.vocab for byte in BYTES)
    steps = _strings(
        [checkpoint.value("tokenizer.json", f"/{part}") for part in ("normalizer", "pre_tokenizer")]
    )
    said = {SPACE, " ", *(letter for text in steps for letter in text)}
    kept = {*BYTES, *(BYTE_LETTERS if tokenizer.byte_level else ())}
    for piece in tokenizer.vocab:
        is_letter = len(piece.removesuffix(ends) if ends else piece) <= 1
        if is_letter and (tokenizer.byte_level or not falls_back or piece in said):
            kept.add(piece)
    unknown = checkpoint.value("tokenizer.json", f"{MODEL}/unk_token")
    if isinstance(unknown, str):
        kept.add(unknown)
    for file, data in _sentencepiece(checkpoint):
        # Control pieces and the unknown one have names in the model's own trainer part.
        pieces = read_sentencepiece(data, file=file).pieces
        kept |= {piece.text for piece in pieces if piece.kind in ("control", "unknown")}
    return frozenset(kept & set(tokenizer.vocab))


def _strings(values: Sequence[JsonValue]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from _strings(list(value.values()))
        elif isinstance(value, list):
            yield from _strings(value)


def _sentencepiece(checkpoint: Checkpoint) -> Iterator[tuple[str, bytes]]:
    for file in SENTENCEPIECE_FILES:
        data = checkpoint.small_files.get(file, b"")
        if is_sentencepiece(data):
            yield file, data
