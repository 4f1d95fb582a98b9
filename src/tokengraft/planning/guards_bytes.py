"""Cuts for words of byte-level vocabularies, whose pre-tokenizer cuts text into words already.

Two kinds of cuts are needed. A word that stands whole and would reach the model together with a sign
before it is *isolated*. A word that would reach the model alone although it does not stand whole is
*broken* where its old pieces part. What the pre-tokenizer does beside a word is tried (see `sides`).
"""

from __future__ import annotations

from collections.abc import Mapping

from tokengraft.planning.draft import Draft, Word
from tokengraft.planning.library import Library
from tokengraft.planning.patterns import (
    WORDISH,
    Problems,
    any_of,
    excluding,
    is_wordish,
    literal,
    longest_first,
)
from tokengraft.planning.sides import Sides, sides_of
from tokengraft.spelling import bytes_of, is_whole


def byte_level_cuts(draft: Draft, library: Library) -> tuple[list[str], Problems]:
    """Patterns to isolate, in order: what takes white space along, words, and what is broken."""
    problems: Problems = []
    spaced, alone, broken = [], [], []
    texts = {int(i): text for text, i in draft.tokenizer.vocab.items()}
    if lost := _lost(draft, library):
        what = (
            f"the vocabulary holds {lost[0]!r}, which merges never make though the text comes up: "
            "with ignore_merges, which words need, old text would be encoded otherwise"
        )
        problems.append((draft.words[0].where, what))
    for word in longest_first(draft.words):
        sides = sides_of(draft, word, library)
        if sides is None:
            what = (
                f"what its pre-tokenizer does beside {word.text!r} depends on more than a neighbour"
            )
            problems.append((word.where, what))
            continue
        halves = _halves(word, texts, library) if _must_break(word, sides) else ("", "")
        if halves is None:
            what = (
                f"the old pieces of {word.text!r} part inside a letter, so it cannot be kept whole"
            )
            problems.append((word.where, what))
            continue
        if sides.whole:
            found = _isolated(word, sides)
            spaced += found[:-1]
            alone.append(found[-1])
        if halves != ("", ""):
            head, tail = map(literal, halves)
            broken += _broken(word, sides, head, tail)
            spaced += _broken_behind_space(sides, head, tail)
    return [any_of(found) for found in (spaced, alone, broken) if found], problems


def _lost(draft: Draft, library: Library) -> list[str]:
    """Pieces that reach the model whole and are made by no merges (added tokens are cut out first)."""
    if draft.checkpoint.value("tokenizer.json", "/model/ignore_merges") is True:
        return []
    pieces = sorted(draft.tokenizer.vocab.keys() - {t.content for t in draft.added.values()})
    made = library.model_ids(pieces)
    vocab = draft.tokenizer.vocab
    odd = [piece for piece, ids in zip(pieces, made, strict=True) if ids != [vocab[piece]]]
    texts = {p: data.decode() for p in odd if (data := bytes_of(p)) is not None and is_whole(data)}
    cut = library.cut(list(texts.values()))
    return [piece for piece, parts in zip(texts, cut, strict=True) if parts == [piece]]


def _must_break(word: Word, sides: Sides) -> bool:
    """Whether the word can reach the model alone although it does not stand whole."""
    return bool(sides.cut_after or (is_wordish(word.normal[0]) and sides.cut_before))


def _halves(word: Word, texts: Mapping[int, str], library: Library) -> tuple[str, str] | None:
    """Two halves of a word that are, each on its own, the same old pieces as together."""
    for at in range(1, len(word.pieces)):
        ids = (word.pieces[:at], word.pieces[at:])
        data = [bytes_of("".join(texts[i] for i in part)) for part in ids]
        if any(part is None or not is_whole(part) for part in data):
            continue
        halves = [part.decode() for part in data if part is not None]
        parts = library.cut(halves)
        if any(len(part) != 1 for part in parts):
            continue
        made = library.model_ids([part[0] for part in parts])
        if [tuple(ids) for ids in made] == list(ids):
            return halves[0], halves[1]
    return None


def _isolated(word: Word, sides: Sides) -> list[str]:
    """The word where it stands whole: with the white space before it, if that must be cut first.

    Behind a sign that merges join to it, its pieces do not stand whole, and it is left alone.
    """
    body, right = literal(word.normal), f"(?![{WORDISH}])"
    spaces = excluding([*sides.parted, *(c for c in sides.whole if c.isspace())])
    inside = (WORDISH if is_wordish(word.normal[0]) else "") + excluding(sides.crossed)
    alone = f"{f'(?<![{inside}])' if inside else ''}{body}{right}"
    return [f"[{spaces}]{body}{right}", alone] if spaces else [alone]


def _broken_behind_space(sides: Sides, head: str, tail: str) -> list[str]:
    if not (sides.parted and sides.cut_after):
        return []
    return [f"[{excluding(sides.parted)}]{head}(?={tail}[{sides.cut_after}])"]


def _broken(word: Word, sides: Sides, head: str, tail: str) -> list[str]:
    """The first half of the word where it must be broken.

    That is where a letter, digit or mark stands beside it, and the pre-tokenizer cuts on both sides
    nevertheless. Where it does not cut before the word, breaking does no harm as long as merges leave
    what stands there alone.
    """
    wordish = is_wordish(word.normal[0])
    longer_after = f"(?={tail}[{sides.cut_after}])"
    alone_after = f"(?={tail}(?![{sides.kept_after}]))" if sides.kept_after else f"(?={tail})"
    signs = excluding([*sides.crossed, *(c for c in sides.whole if c.isspace())])
    crossed = excluding([c for c in sides.crossed if not c.isspace()])
    breaks = []
    if sides.cut_after:
        not_before = (sides.kept_before if wordish else "") + signs
        breaks.append(f"{f'(?<![{not_before}])' if not_before else ''}{head}{longer_after}")
        if crossed:
            breaks += [f"(?<={taker}[{crossed}]){head}{longer_after}" for taker in sides.takers]
    if not wordish:
        return breaks
    if sides.cut_before:
        breaks.append(f"(?<=[{sides.cut_before}]){head}{alone_after}")
    for ending in sides.contracted:
        taken = "".join(f"(?<!{taker}{ending})" for taker in sides.takers)
        breaks.append(f"(?<={ending}){taken}{head}{alone_after}")
    if r"\p{Mn}" in sides.kept_before:
        # A mark before the word is a sign to most pre-tokenizers, and can be taken like one.
        breaks += [rf"(?<={taker}\p{{M}}){head}{alone_after}" for taker in sides.takers]
    return breaks
