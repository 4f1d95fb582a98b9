"""What each new token stands for: the pieces that its text used to be, or a description in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokengraft.plans import Plan, PlannedToken
from tokengraft.recipes import Add, Recipe
from tokengraft.training.subject import Subject
from tokengraft.training.windows import Phrase

_CARRIER = "x"  # what a text stands behind when it is cut as in the middle of others
KEEPS = "nothing says what it stands for (neither pieces nor `meaning`): it keeps its starting row"


@dataclass(frozen=True, slots=True)
class Standing:
    """What one new token stands for.

    Attributes:
        phrase: None where nothing says it; then `why` does.
    """

    text: str
    phrase: Phrase | None
    why: str = ""


def standing(plan: Plan, recipe: Recipe, subject: Subject) -> tuple[Standing, ...]:
    """What every token with new rows stands for, in the order of ids."""
    adds = {add.text: add for add in recipe.add}
    made = {token.key: token for token in plan.tokens if token.piece is not None}
    return tuple(
        _standing(token, adds.get(token.text), made, subject)
        for token in sorted(plan.tokens, key=lambda token: token.id)
        if token.rows
    )


def _standing(
    token: PlannedToken, add: Add | None, made: Mapping[str, PlannedToken], subject: Subject
) -> Standing:
    if token.piece is not None:
        pieces = _pieces(token, made, subject)
        if len(pieces) > 1:
            return Standing(token.text, Phrase(token.text, pieces))
        return Standing(token.text, None, "its old pieces are not known: it keeps its starting row")
    if add is not None and add.sequence is not None:
        pieces = _encoded(add.sequence, subject)
        if pieces:
            return Standing(token.text, Phrase(token.text, pieces))
    if add is not None and add.meaning is not None:
        pieces = _encoded(add.meaning, subject)
        if pieces:
            return Standing(token.text, Phrase(token.text, pieces, is_described=True))
    return Standing(token.text, None, KEEPS)


def _pieces(
    token: PlannedToken, made: Mapping[str, PlannedToken], subject: Subject
) -> tuple[int, ...]:
    """The ids of the base that a piece used to be: its merges undone, or its text encoded."""
    merge = token.merge
    if merge is None:
        return _encoded(token.text, subject)
    found: list[int] = []
    for part in merge:
        old = subject.tokenizer.token_to_id(part)
        if old is not None:
            found.append(old)
        elif part in made:
            found += _pieces(made[part], made, subject)
        else:
            return ()
    return tuple(found)


def _encoded(text: str, subject: Subject) -> tuple[int, ...]:
    """The ids of a text as it stands behind other text."""
    behind = subject.tokenizer.encode(_CARRIER + text, add_special_tokens=False)
    starts = [start for start, _ in behind.offsets]
    first = next((n for n, start in enumerate(starts) if start >= len(_CARRIER)), len(starts))
    ids = tuple(behind.ids[first:])
    # Where the carrier is drawn into the first piece, the text is encoded on its own.
    is_clean = subject.words.text(behind.ids[:first]).strip() == _CARRIER
    return (
        ids
        if is_clean and ids
        else tuple(subject.tokenizer.encode(text, add_special_tokens=False).ids)
    )
