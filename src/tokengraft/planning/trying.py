"""Try new pieces of the vocabulary with the library before a plan is given out.

What the guards of words and the order of merges are meant to bring about is compared here with the
definition, in many neighbourhoods: the library has the last word, not the theory. A plan that would
not keep its promise is refused with the first text that shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from operator import itemgetter

from tokengraft.errors import RecipeError
from tokengraft.planning.draft import Draft, Word
from tokengraft.planning.library import Library
from tokengraft.planning.patterns import is_wordish
from tokengraft.planning.reaching import unreached
from tokengraft.plans import PlannedToken

MAX_TEXTS = 40_000
# What stands beside words: spaces, signs, letters, digits and marks of several scripts.
SIDES = (
    *(
        "",
        " ",
        "  ",
        "   ",
        "\n",
        "\t",
        "\r\n",
        "\u00a0",
        "\u3000",
        "x ",
        " x",
        "x  ",
        "\n\n",
        " \n",
    ),
    *(
        ".",
        ",",
        "!",
        "-",
        "_",
        "'",
        '"',
        "(",
        ")",
        "[",
        "{",
        "/",
        "\\",
        "#",
        "@",
        "$",
        "*",
        "=",
        "<",
    ),
    *("«", "»", "“", "—", "…", "€", "🙂", "'s", "\u200b", "(x", "x(", "0.", ", "),
    *("((", " (", '."', "(\u0301", " \u0301", "x\u0301", "--", "_(", "((x", "\n(", "\t("),
    *("x", "X", "é", "я", "Я", "ß", "中", "한", "ع", "क", "ǅ", "ª", "ʰ"),
    *("0", "7", "٣", "Ⅷ", "½", "²", "\u0301", "\u0323", "\u0903", "\u20dd", "\u0338"),
)
SHOWN = 60


def try_out(draft: Draft, library: Library | None, tokenizer: bytes | None) -> None:
    """Compare the tokenizer.json that a plan will write with what its pieces promise.

    Raises:
        RecipeError: some text would be encoded otherwise than promised, or a piece never comes up.
    """
    if not draft.vocab:
        return
    assert library is not None
    assert tokenizer is not None
    tokens = [draft.planned[token_id] for token_id in draft.vocab.values()]
    learned = [token for token in tokens if token.use != "word"]
    texts = [text for text in _texts(draft, learned) if not _holds_others(draft, text)]
    old = {int(row.token_id): row.pieces for row in draft.new_rows if row.pieces is not None}
    words: dict[int, list[tuple[Word, int]]] = {}
    for word in draft.words:
        words.setdefault(word.pieces[0], []).append((word, int(draft.vocab[word.piece])))
    stand_for = {token.id: old[token.id] for token in learned}
    made = library.encode_with(tokenizer, texts)
    for text, spans, ours in zip(texts, library.spans(texts), made, strict=True):
        wanted = _with_words(text, spans, words)
        if _expanded(ours, stand_for) != wanted:
            raise _broken(text, wanted, ours)
    pieces = {token.id: (token.piece or "", token.text) for token in learned}
    missed = unreached(pieces, lambda asked: library.encode_with(tokenizer, asked))
    if missed:
        raise RecipeError(
            f"{len(missed)} of the new pieces never come up, the first is {pieces[missed[0]][1]!r}",
            detail="whatever stands beside them, the text that they stand for is cut otherwise",
            subject="extend",
            hint="another corpus, or fewer tokens",
        )


def _broken(text: str, wanted: Sequence[int], ours: Sequence[int]) -> RecipeError:
    return RecipeError(
        "the new pieces cannot be had without changing how other text is encoded",
        detail=f"{text[:SHOWN]!r} would be {list(ours)[:12]}; as promised it is {list(wanted)[:12]}",
        subject="recipe",
        hint='this tokenizer cannot do that; use = "marker" adds a token that is matched literally',
    )


def _texts(draft: Draft, learned: Sequence[PlannedToken]) -> list[str]:
    """Words in every neighbourhood, learned pieces in some, both cut short and glued together."""
    found: list[str] = []
    for word in draft.words:
        left = MAX_TEXTS // len(draft.words)
        found += _near(word.text)
        pairs = [before + word.text + behind for before, behind in product(SIDES, SIDES)]
        found += pairs[:: len(pairs) // left + 1]
    others = [word.text for word in draft.words]
    few = others[:12]
    found += ["".join(row) for row in product(few, ("", ",", " "), few, ("", "."), few)]
    step = len(learned) // (MAX_TEXTS // 4) + 1
    for number, token in enumerate(learned[::step]):
        side, other = SIDES[number % len(SIDES)], SIDES[(number * 7 + 3) % len(SIDES)]
        found += (token.text, f"{side}{token.text}{other}", f"a{token.text}", f" {token.text} b")
    return list(dict.fromkeys(found))


def _near(text: str) -> Iterator[str]:
    """A word by halves, doubled, in other cases, and with one letter wrong."""
    yield from (text * 2, text * 3, text.upper(), text.lower(), text.swapcase(), text[::-1], text)
    for at in range(1, len(text)):
        head, tail = text[:at], text[at:]
        yield from (
            head,
            tail,
            f"{head} {tail}",
            f"{head}x{tail}",
            f"{head}{tail[1:]}",
            f"a{tail} b",
        )


def _holds_others(draft: Draft, text: str) -> bool:
    """Whether a text holds an added token, of which the base and the result may not both know."""
    contents = (*draft.tokenizer.added.values(), *draft.added.values())
    return any(token.content in text for token in contents)


def _with_words(
    text: str,
    spans: Sequence[tuple[int, int, int]],
    words: Mapping[int, Sequence[tuple[Word, int]]],
) -> list[int]:
    """The old ids with every whole word replaced: the definition, on what the library gave before.

    Args:
        words: by the first of their pieces, each with its new id.
    """
    ids = [token_id for token_id, _, _ in spans]
    found: list[int] = []
    at = 0
    while at < len(ids):
        there = [
            (len(word.pieces), new)
            for word, new in words.get(ids[at], ())
            if tuple(ids[at : at + len(word.pieces)]) == word.pieces
            and _is_whole(text, word, spans[at][1], spans[at + len(word.pieces) - 1][2])
        ]
        n_pieces, token_id = max(there, key=itemgetter(0), default=(1, ids[at]))
        found.append(token_id)
        at += n_pieces
    return found


def _is_whole(text: str, word: Word, begin: int, end: int) -> bool:
    if end < len(text) and is_wordish(text[end]):
        return False
    return not (is_wordish(word.text[0]) and begin > 0 and is_wordish(text[begin - 1]))


def _expanded(ids: Sequence[int], stand_for: Mapping[int, Sequence[int]]) -> list[int]:
    return [old for token_id in ids for old in stand_for.get(token_id, (token_id,))]
