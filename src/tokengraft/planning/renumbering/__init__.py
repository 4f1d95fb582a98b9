"""[[remove]] and [trim]: the only operation that moves ids, and so the only unsafe one.

Why it is done this way: docs/decisions/0014-renumbering.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokengraft.checkpoint import Checkpoint
from tokengraft.documents import Problem
from tokengraft.errors import ConflictingFiles
from tokengraft.planning.files import FileEdits
from tokengraft.planning.library import CountUses
from tokengraft.planning.renumbering.choosing import Choice, Chooser
from tokengraft.planning.renumbering.files import Going, file_edits
from tokengraft.planning.renumbering.places import id_places
from tokengraft.planning.renumbering.refusing import (
    BREAKS,
    code_notes,
    place_problems,
    recipe_problems,
    refuse_folder,
)
from tokengraft.planning.renumbering.rows import moves, row_edits
from tokengraft.planning.renumbering.using import texts_by_id
from tokengraft.planning.rows import RowPlan
from tokengraft.plans import PlannedToken
from tokengraft.recipes import Recipe
from tokengraft.renumbering import IdMap, Renumbering
from tokengraft.rows.initializers import Encode
from tokengraft.spelling import readable
from tokengraft.vocabulary import TokenId, Tokenizer

__all__ = ["Renumbered", "check_renumbered", "recipe_problems", "renumber"]


@dataclass(frozen=True, slots=True)
class Renumbered:
    """What a plan that renumbers is made of; `problems` come alone."""

    files: FileEdits = field(default_factory=lambda: FileEdits((), (), {}))
    rows: RowPlan = field(default_factory=RowPlan)
    tokens: tuple[PlannedToken, ...] = ()
    renumbering: Renumbering | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def renumber(
    checkpoint: Checkpoint,
    recipe: Recipe,
    *,
    out_of_step: tuple[str, ...],
    encode: Encode | None,
    count: CountUses,
) -> Renumbered:
    """Choose what goes, and state what that does to every file and row.

    Args:
        out_of_step: what the base's files disagree about.
    Raises:
        ConflictingFiles: the files disagree, so that ids mean several things.
        UnsupportedFormat, RefusedError: something in the folder cannot be renumbered.
    """
    refuse_folder(checkpoint)
    if out_of_step:
        raise ConflictingFiles(
            "the files of the base disagree, and ids are moved only where all agree on them",
            detail="\n".join(out_of_step),
            subject=str(checkpoint.root),
            hint="put them into step first: apply a recipe that says version = 1 alone, then plan on its OUT",
        )
    tokenizer = checkpoint.tokenizer
    assert tokenizer is not None
    places = id_places(checkpoint)
    choice = Chooser(checkpoint, places).choose(recipe, encode=encode, count=count)
    if not choice.problems:
        first = min(choice.ids)
        choice.problems += place_problems(places, first, tokenizer.n_tokens)
    if choice.problems:
        return Renumbered(problems=tuple(choice.problems))
    return _stated(checkpoint, recipe, choice)


def _stated(checkpoint: Checkpoint, recipe: Recipe, choice: Choice) -> Renumbered:
    tokenizer = checkpoint.tokenizer
    assert tokenizer is not None
    ids = IdMap.of(choice.ids)
    pieces = texts_by_id(tokenizer)
    tokens = tuple(_token(tokenizer, token_id, pieces, choice) for token_id in ids.removed)
    texts = frozenset(token.text for token in tokens if token.piece is None)
    going = Going(checkpoint, ids, texts)
    edits = file_edits(going, id_places(checkpoint))
    shrink = any(wish.shrink for wish in recipe.remove)
    shrink = shrink or (recipe.trim is not None and recipe.trim.shrink)
    rows = row_edits(checkpoint, ids, shrink=shrink)
    assert checkpoint.layout is not None
    assert rows.n_rows is not None
    before = checkpoint.layout.n_rows
    return Renumbered(
        files=FileEdits(edits, (), {}),
        rows=rows,
        tokens=tokens,
        renumbering=Renumbering(
            removed=len(tokens),
            moved=moves(ids, before),
            n_rows_before=before,
            n_rows_after=rows.n_rows,
            bytes_saved=_saved(checkpoint, rows),
            trimmed=choice.trimmed,
        ),
        notes=(f"unsafe: {BREAKS}", *choice.notes, *code_notes(checkpoint)),
    )


def _saved(checkpoint: Checkpoint, rows: RowPlan) -> int:
    assert checkpoint.tensors is not None
    refs = checkpoint.tensors.tensors
    return sum(
        (edit.n_rows_before - edit.n_rows_after) * refs[edit.tensor].row_bytes
        for edit in rows.edits
    )


def _token(
    tokenizer: Tokenizer, token_id: int, pieces: Mapping[TokenId, str], choice: Choice
) -> PlannedToken:
    added = tokenizer.added.get(TokenId(token_id))
    use = choice.where[token_id].partition("[")[0]
    if added is None:
        piece = pieces[TokenId(token_id)]
        text = readable(piece, tokenizer.byte_level)
        return PlannedToken(text=text, id=token_id, action="remove", use=use, piece=piece)
    token = PlannedToken(text=added.content, id=token_id, action="remove", use=use)
    return token.model_copy(update=added.flags)


def check_renumbered(
    before: Checkpoint, after: Checkpoint, tokens: tuple[PlannedToken, ...]
) -> None:
    """The files as they will be must give the base's table with its ids moved.

    Raises:
        ConflictingFiles: libraries would count the added tokens otherwise.
    """
    assert before.tokenizer is not None
    assert after.tokenizer is not None
    ids = IdMap.of(token.id for token in tokens)
    wanted = {ids.new(i): text for i, text in before.tokenizer.table().items()}
    wanted.pop(None, None)
    conflicts = after.tokenizer.conflicts
    if conflicts:
        raise ConflictingFiles(
            f"with these tokens gone, the files would contradict each other: {conflicts[0].text}",
            detail="\n".join(f"{c.subject}: {c.text}" for c in conflicts[:10]),
            subject=conflicts[0].subject,
            hint="remove other tokens: libraries count added tokens on from the vocabulary's end",
        )
    assert after.tokenizer.table() == wanted
