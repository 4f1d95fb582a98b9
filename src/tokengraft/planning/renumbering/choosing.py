"""Which tokens go: those that [[remove]] names, and those that [trim] finds unused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tokengraft.checkpoint import Checkpoint
from tokengraft.documents import Problem
from tokengraft.planning.library import CountUses, Used
from tokengraft.planning.renumbering.pieces import Vocabulary, vocabulary_of
from tokengraft.planning.renumbering.places import Places
from tokengraft.planning.renumbering.using import Uses, texts_by_id
from tokengraft.recipes import Recipe, Remove, Trim
from tokengraft.renumbering import Trimmed
from tokengraft.rows.initializers import Encode
from tokengraft.vocabulary import TokenId

INSTEAD = "a [[rename]] to a spare text keeps all ids, and what was made against them"


@dataclass(slots=True)
class Choice:
    """What goes so far.

    Attributes:
        ids: what goes, in no order.
        where: by id, the place of the recipe that wants it.
    """

    ids: set[int] = field(default_factory=set)
    where: dict[int, str] = field(default_factory=dict)
    trimmed: Trimmed | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, where: str, what: str, suggestion: str = "") -> None:
        self.problems.append(Problem(where=where, what=what, suggestion=suggestion))


class Chooser:
    """Applies the rules of `pieces` and `using` to what a recipe wants."""

    def __init__(self, checkpoint: Checkpoint, places: Places) -> None:
        assert checkpoint.tokenizer is not None
        self._tokenizer = checkpoint.tokenizer
        self._pieces = texts_by_id(self._tokenizer)
        self._table = self._tokenizer.table()
        self._vocabulary: Vocabulary = vocabulary_of(checkpoint)
        self._uses = Uses(checkpoint, places)
        self._n_rows = checkpoint.layout.n_rows if checkpoint.layout is not None else 0

    def choose(self, recipe: Recipe, *, encode: Encode | None, count: CountUses) -> Choice:
        """Find what goes, or say of each wish why it cannot."""
        choice = Choice()
        used = self._used(choice, recipe.trim, count)
        for number, wish in enumerate(recipe.remove):
            self._remove(choice, wish, f"remove[{number}]")
        if recipe.trim is not None and not choice.problems:
            if recipe.trim.unused_added:
                self._trim_added(choice, used)
            if recipe.trim.corpus is not None and used is not None:
                protected = frozenset() if encode is None else self._uses.in_templates(encode)
                self._trim_pieces(choice, recipe.trim, used, protected)
        self._check_parts(choice)
        if not choice.ids and not choice.problems:
            choice.refuse("trim", "nothing can go: everything is used or needed")
        return choice

    def _used(self, choice: Choice, trim: Trim | None, count: CountUses) -> Used | None:
        if trim is None or trim.corpus is None:
            return None
        if self._vocabulary.odd:
            choice.refuse(
                "trim.corpus",
                f"pieces of this vocabulary cannot go: {self._vocabulary.odd}",
                "unused_added = true alone removes added tokens",
            )
            return None
        used = count(trim.corpus)
        if used.problem:
            choice.refuse("trim.corpus", used.problem)
            return None
        return used

    def _remove(self, choice: Choice, wish: Remove, where: str) -> None:
        token_id = wish.id if wish.text is None else self._tokenizer.id_of(wish.text)
        if token_id is None or token_id not in self._table:
            asked = f"id {wish.id}" if wish.text is None else repr(wish.text)
            choice.refuse(where, f"no token is {asked}", "tokengraft tokens SRC TEXT shows ids")
            return
        text = self._table[token_id]
        added = self._tokenizer.added.get(TokenId(token_id))
        if added is not None:
            place = self._uses.of_added(token_id, text)
        else:
            place = self._uses.of_piece(token_id, text)
            why = self._piece_stays(text)
            if why:
                choice.refuse(where, f"{text!r} ({token_id}) cannot go: {why}")
                return
        if place is not None:
            choice.refuse(where, f"{text!r} ({token_id}) is used: {place}", INSTEAD)
            return
        choice.ids.add(int(token_id))
        choice.where.setdefault(int(token_id), where)

    def _piece_stays(self, piece: str) -> str:
        if self._vocabulary.odd:
            return self._vocabulary.odd
        if piece in self._vocabulary.letters:
            return "text is spelled in it"
        return ""

    def _trim_added(self, choice: Choice, used: Used | None) -> None:
        counts: Mapping[int, int] = {} if used is None else used.counts
        for token_id, token in self._tokenizer.added.items():
            if token.content in self._tokenizer.vocab and self._vocabulary.odd:
                continue
            if counts.get(token_id) or self._uses.of_added(token_id, token.content) is not None:
                continue
            choice.ids.add(int(token_id))
            choice.where.setdefault(int(token_id), "trim.unused_added")

    def _trim_pieces(
        self, choice: Choice, trim: Trim, used: Used, protected: frozenset[int]
    ) -> None:
        """All pieces that the corpus uses too little, but those that others are made from."""
        rare = {
            piece: int(token_id)
            for token_id, piece in self._pieces.items()
            if token_id not in self._tokenizer.added
            and used.counts.get(token_id, 0) < trim.min_count
        }
        free = {
            piece
            for piece, token_id in rare.items()
            if token_id not in protected
            and not self._piece_stays(piece)
            and self._uses.of_piece(token_id, piece) is None
        }
        last = self._vocabulary.lowest(free)
        if last is not None:
            free.discard(last)
        steps = self._vocabulary.needed(free)
        going = free - set(steps)
        choice.ids |= {rare[piece] for piece in going}
        for piece in going:
            choice.where.setdefault(rare[piece], "trim.corpus")
        choice.trimmed = Trimmed(
            corpus=trim.corpus or "",
            sha256=used.sha256,
            size_bytes=used.size_bytes,
            n_ids=used.n_ids,
            min_count=trim.min_count,
            unused=len(rare),
            steps=len(steps),
            protected=len(rare) - len(free),
        )

    def _check_parts(self, choice: Choice) -> None:
        """Pieces that something which stays is made from; [trim] leaves none, [[remove]] may."""
        if self._vocabulary.odd:
            return
        going = frozenset(p for i, p in self._pieces.items() if int(i) in choice.ids)
        ids = self._tokenizer.vocab
        for piece, whole in self._vocabulary.needed(going).items():
            choice.refuse(
                choice.where[int(ids[piece])],
                f"{piece!r} ({ids[piece]}) cannot go: {whole!r} ({ids[whole]}) is made from it",
                "remove what is made from it too, or leave both",
            )
        lowest = self._vocabulary.lowest(going)
        if lowest is not None:
            choice.refuse(
                choice.where[int(ids[lowest])],
                f"{lowest!r} cannot go: no other piece has its score, on which that of unknown text "
                "hangs",
            )


def duplicate_texts(checkpoint: Checkpoint) -> Iterator[str]:
    """Pieces of the vocabulary that share an id with another text: one row stands for both."""
    assert checkpoint.tokenizer is not None
    seen: dict[int, str] = {}
    for piece, token_id in checkpoint.tokenizer.vocab.items():
        if seen.setdefault(int(token_id), piece) != piece:
            yield piece
