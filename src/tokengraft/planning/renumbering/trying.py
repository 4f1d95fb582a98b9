"""Try the renumbered tokenizer with the library before a plan is given out.

The library has the last word, not the theory: what it makes of many texts, before and after, must be
the same up to the map.
"""

from __future__ import annotations

from itertools import pairwise

from tokengraft.errors import ConflictingFiles
from tokengraft.planning.library import Library
from tokengraft.plans import PlannedToken
from tokengraft.renumbering import IdMap
from tokengraft.spelling import readable
from tokengraft.vocabulary import Tokenizer

MAX_TEXTS = 4_000  # a second or two; verify looks at far more
SHOWN = 60
BETWEEN = ("", " ", "\n", ". ", "x")


def try_renumbered(
    tokenizer: Tokenizer,
    tokens: tuple[PlannedToken, ...],
    library: Library | None,
    after: bytes | None,
) -> None:
    """Compare what the library makes of texts that hold nothing removed.

    Args:
        tokenizer: the base's.
        after: tokenizer.json as it will be, None where it stays.
    Raises:
        ConflictingFiles: a text would be encoded otherwise than with its ids moved.
        ChildFailed: the library does not load what would be written.
    """
    if library is None or after is None:
        return
    ids = IdMap.of(token.id for token in tokens)
    gone = frozenset(ids.removed)
    literals = [token.text for token in tokens if token.piece is None]
    texts = [t for t in _texts(tokenizer) if not any(literal in t for literal in literals)]
    made = library.encode_with(after, texts)
    for text, spans, new in zip(texts, library.spans(texts), made, strict=True):
        old = [token_id for token_id, _, _ in spans]
        if gone.isdisjoint(old) and [ids.new(i) for i in old] != new:
            raise ConflictingFiles(
                "without these tokens, other text would be encoded otherwise",
                detail=f"{text[:SHOWN]!r} is {old[:12]} and would be {new[:12]}",
                subject="tokenizer.json",
                hint="this tokenizer cannot be renumbered here; please report it with the text",
            )


def _texts(tokenizer: Tokenizer) -> list[str]:
    """Pieces spread over the vocabulary and added tokens, alone and glued to each other."""
    step = len(tokenizer.vocab) // (MAX_TEXTS // 2) + 1
    pieces = [readable(piece, tokenizer.byte_level) for piece in list(tokenizer.vocab)[::step]]
    pieces += [token.content for token in list(tokenizer.added.values())[: MAX_TEXTS // 20]]
    glued = (
        left + BETWEEN[at % len(BETWEEN)] + right
        for at, (left, right) in enumerate(pairwise(pieces))
    )
    return list(dict.fromkeys([*pieces, *glued]))
