"""What a plan changes in a SentencePiece model that lies beside the other files.

Ollama and llama.cpp read such a file before tokenizer.json, and slow tokenizers read nothing else.
Its ids are places in a list: a renamed token is renamed there, and new tokens are put behind the
last piece where their ids follow without a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tokengraft.formats.sentencepiece_file import (
    SENTENCEPIECE_FILES,
    Sentencepiece,
    is_sentencepiece,
    read_sentencepiece,
)
from tokengraft.planning.draft import Draft
from tokengraft.plans import NewPiece, PatchPieces, RenamedPiece
from tokengraft.vocabulary import AddedToken, TokenId


@dataclass(frozen=True, slots=True)
class PieceEdits:
    """Edits of SentencePiece models, what cannot be done to one, and what is left alone."""

    edits: tuple[PatchPieces, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def piece_edits(draft: Draft) -> PieceEdits:
    """State what changes in each SentencePiece model of the folder.

    Raises:
        MalformedFile: a file that begins as such a model is none.
    """
    edits, problems, notes = [], [], []
    for file in SENTENCEPIECE_FILES:
        data = draft.checkpoint.small_files.get(file, b"")
        if not is_sentencepiece(data):
            continue
        model = read_sentencepiece(data, file=file)
        renamed = tuple(_renamed(draft, model))
        appended, why_not = _appended(draft, model)
        lost = [f"{old!r}" for old in _elsewhere(draft, model)]
        if lost:
            problems.append((file, f"{', '.join(lost)} has another id there than in the tokenizer"))
        if why_not:
            notes.append(
                f"{file} gets no new pieces: {why_not}; programs that read it alone lack them"
            )
        elif left := _left(draft, model, appended, file):
            notes.append(left)
        if renamed or appended:
            edits.append(PatchPieces(path=file, renamed=renamed, appended=appended))
    return PieceEdits(tuple(edits), tuple(problems), tuple(notes))


def _renamed(draft: Draft, model: Sentencepiece) -> Iterator[RenamedPiece]:
    for token_id, token in draft.planned.items():
        there = model.pieces[token_id].text if token_id < len(model.pieces) else None
        if token.was is not None and token.was == there:
            yield RenamedPiece(id=token_id, text=token.text)


def _elsewhere(draft: Draft, model: Sentencepiece) -> Iterator[str]:
    """Renamed texts that the file holds under an id of its own: what it means there is unknown."""
    ids = {piece.text: token_id for token_id, piece in enumerate(model.pieces)}
    for token_id, token in draft.planned.items():
        if token.was is not None and ids.get(token.was, token_id) != token_id:
            yield token.was


def _appended(draft: Draft, model: Sentencepiece) -> tuple[tuple[NewPiece, ...], str]:
    """The pieces for all ids behind the last one, or why there are none."""
    if not any(token.action == "add" for token in draft.planned.values()):
        return (), ""
    table = draft.tokenizer.table()
    first = len(model.pieces)
    drifted = [i for i, piece in enumerate(model.pieces) if table.get(i) != piece.text]
    if drifted:
        return (), f"its piece {drifted[0]} is not token {drifted[0]} of the tokenizer"
    pieces = []
    for token_id in range(first, draft.n_tokens):
        token = draft.added.get(TokenId(token_id))
        if token is None and token_id in draft.vocab.values():
            break  # a new piece of the vocabulary: see `_left`
        if token is None:
            return (), f"id {token_id} behind its last piece is no added token"
        pieces.append(NewPiece(text=token.content, kind=_kind(token)))
    there = {piece.text for piece in model.pieces}
    if any(piece.text in there for piece in pieces):
        return (), "it holds one of the tokens already"
    return tuple(pieces), ""


def _left(draft: Draft, model: Sentencepiece, appended: Sequence[NewPiece], file: str) -> str:
    """A sentence on new pieces of the vocabulary, which such a model cannot hold.

    SentencePiece makes a piece of whatever two parts meet that spell it, and a user-defined one inside
    of longer words too; tokenizer.json names the one pair that makes a learned piece, and where a word
    stands whole. Written here, they would change how other text is cut.
    """
    new = sorted(i for i in draft.vocab.values() if i >= len(model.pieces) + len(appended))
    if not new:
        return ""
    return (
        f"{file} gets no pieces for ids {new[0]} to {draft.n_tokens - 1}: "
        "SentencePiece would make them in other places than tokenizer.json does; programs that read "
        "it alone (slow tokenizers, llama.cpp, Ollama) keep making the old pieces"
    )


def _kind(token: AddedToken) -> Literal["control", "user-defined"]:
    """Control pieces are never made from text by the library; user-defined ones are cut out first."""
    return "control" if token.special else "user-defined"
