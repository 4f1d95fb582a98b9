"""The draft of a plan: the tokenizer and the settings as they shall be, before files are compared.

Operations turn one draft into the next and never touch a file's text. What differs between the
draft and each file becomes that file's edit, so files that disagree with each other are reconciled
by the same comparison that writes new tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.documents import Problem
from tokengraft.extensions import Extension
from tokengraft.plans import PlannedToken
from tokengraft.recipes import Add
from tokengraft.vocabulary import AddedToken, ChatTemplate, TokenId, Tokenizer

Place = tuple[str, str]  # file, JSON pointer


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row that must get a value: whose, and how the recipe wants it made.

    Attributes:
        pieces: the ids that the text used to become, where planning knows them; else they are asked
            for. All of them are ids of the base.
    """

    token_id: TokenId
    text: str
    init: str
    like: str | None = None
    meaning: str | None = None
    use: str = "marker"
    sequence: str | None = None
    pieces: tuple[TokenId, ...] | None = None


def new_row(token_id: TokenId, add: Add) -> NewRow:
    """The row of a token that is added, as its `[[add]]` wants it."""
    return NewRow(
        token_id=token_id,
        text=add.text,
        init=add.init,
        like=add.like,
        meaning=add.meaning,
        use=add.use,
        sequence=add.sequence,
    )


@dataclass(frozen=True, slots=True)
class Word:
    """A word as the library meets it.

    Attributes:
        where: the place of the recipe that asks for it.
        text: as it is written, a leading space included.
        normal: as the normalizer leaves it behind other text.
        piece: as the vocabulary spells it.
        pieces: the old ids that it stands for.
    """

    where: str
    text: str
    normal: str
    piece: str
    pieces: tuple[TokenId, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """Where planning has got to.

    Attributes:
        added: the table of added tokens as it shall be.
        vocab: new pieces of the model's own vocabulary.
        planned: what is said of each token, by id; rows are filled in at the end.
        renamed: old text to new text, for every place that names a token by text.
        layouts: sequence to the token that chat templates write in its place.
        markers: old text to the text of another token that chat templates write in its place.
        settings: JSON values that shall hold.
        removed: JSON keys that shall go.
        templates: chat templates as they shall be, by place, with the base's texts of tokens:
            `layouts`, `renamed` and `markers` are applied over them.
        written: small text files to be made anew.
        new_tensors: matrices that the base does not have, each with the one that it is made of.
        new_rows: rows that need a value.
        reconciled: sentences on what was put into step before file by file is compared.
        words: new pieces that are one id where their old pieces stand whole.
        extensions: what each corpus came to.
    """

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    added: Mapping[TokenId, AddedToken]
    vocab: Mapping[str, TokenId] = field(default_factory=dict)
    planned: Mapping[TokenId, PlannedToken] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    layouts: Mapping[str, str] = field(default_factory=dict)
    markers: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[Place, JsonValue] = field(default_factory=dict)
    removed: tuple[Place, ...] = ()
    templates: Mapping[Place, str] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    new_tensors: Mapping[str, str] = field(default_factory=dict)
    new_rows: tuple[NewRow, ...] = ()
    reconciled: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()
    extensions: tuple[Extension, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def n_tokens(self) -> int:
        top = max(max(self.added, default=-1), max(self.vocab.values(), default=-1))
        return max(self.tokenizer.n_tokens, top + 1)

    def id_of(self, text: str) -> TokenId | None:
        """The id of a text in the draft, added tokens first."""
        there = [token_id for token_id, token in self.added.items() if token.content == text]
        if there:
            return max(there)
        if text in self.renamed or text in self.tokenizer.added_ids:
            return None  # it was an added token and has another text now
        found = self.vocab.get(text)
        return self.tokenizer.vocab.get(text) if found is None else found

    def renamed_from(self, token_id: TokenId) -> str | None:
        """The text that an id had in the base, None if it is new."""
        old = self.tokenizer.added.get(token_id)
        return None if old is None else old.content

    def token_table(self) -> dict[str, JsonValue]:
        """The added tokens as `added_tokens_decoder` holds them, all of them."""
        return {str(token_id): {**asdict(token)} for token_id, token in sorted(self.added.items())}

    def with_token(self, token: PlannedToken) -> Draft:
        token_id = TokenId(token.id)
        added = {**self.added, token_id: token.added_token()}
        return replace(self, added=added, planned={**self.planned, token_id: token})

    def written_as(self, text: str) -> str:
        """What the templates of the result write for a token of the base."""
        return self.markers.get(text, self.renamed.get(text, text))

    def with_vocabulary(self, tokens: Sequence[PlannedToken]) -> Draft:
        """Enter tokens of the model's own vocabulary."""
        vocab = {**self.vocab, **{token.key: TokenId(token.id) for token in tokens}}
        planned = {**self.planned, **{TokenId(token.id): token for token in tokens}}
        return replace(self, vocab=vocab, planned=planned)

    def template_text(self, template: ChatTemplate) -> str:
        """A chat template's text as the draft has it, renames not yet applied."""
        return self.templates.get((template.file, template.pointer), template.text)

    def with_template(self, template: ChatTemplate, text: str) -> Draft:
        place = (template.file, template.pointer)
        return replace(self, templates={**self.templates, place: text})

    def with_setting(self, file: str, pointer: str, value: JsonValue) -> Draft:
        return replace(self, settings={**self.settings, (file, pointer): value})

    def without(self, file: str, pointer: str) -> Draft:
        return replace(self, removed=(*self.removed, (file, pointer)))

    def with_file(self, path: str, text: str) -> Draft:
        return replace(self, written={**self.written, path: text})

    def with_row(self, row: NewRow) -> Draft:
        return replace(self, new_rows=(*self.new_rows, row))

    def with_note(self, text: str) -> Draft:
        return replace(self, notes=(*self.notes, text))

    def with_problem(self, where: str, what: str, suggestion: str = "") -> Draft:
        problem = Problem(where=where, what=what, suggestion=suggestion)
        return replace(self, problems=(*self.problems, problem))

    def value(self, file: str, pointer: str) -> JsonValue:
        """The value at a place as the draft has it."""
        if (file, pointer) in self.settings:
            return self.settings[file, pointer]
        return self.checkpoint.value(file, pointer)
