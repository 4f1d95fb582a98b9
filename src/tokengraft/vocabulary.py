"""What a tokenizer is to us: a table of ids, the tokens added to it, and the names some of them bear.

Two counts must never be confused: `n_tokens` (what the tokenizer can emit) is here, `n_rows` (what
the embedding matrices hold) is in `layout`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

TokenId = NewType("TokenId", int)

# The named tokens of Hugging Face tokenizers, in the order in which people read them.
NAMED_TOKENS = ("bos", "eos", "pad", "unk", "sep", "cls", "mask")


@dataclass(frozen=True, slots=True)
class AddedToken:
    """Hugging Face's six fields of an added token (the id is kept beside it)."""

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False

    @property
    def flags(self) -> dict[str, bool]:
        """All fields but the text, by name."""
        return {
            "single_word": self.single_word,
            "lstrip": self.lstrip,
            "rstrip": self.rstrip,
            "normalized": self.normalized,
            "special": self.special,
        }


@dataclass(frozen=True, slots=True)
class NamedToken:
    """A token that a file gives a name to, e.g. `eos_token`.

    Attributes:
        name: bos, eos, pad, unk ...
        content: its text, if the file names it by text.
        token_id: its id, if the file names it by id.
        file, pointer: where this is said.
    """

    name: str
    content: str | None
    token_id: int | None
    file: str
    pointer: str


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """One chat template as a file holds it."""

    name: str  # "default" unless the file has several
    text: str
    file: str
    pointer: str  # "" where the file as a whole is the template


@dataclass(frozen=True, slots=True)
class Declared:
    """What one file declares as added tokens.

    `tokens` are in the file's order; ids are as the file writes them, which is not always what a
    library makes of them (see `Tokenizer.effective`). `complete` says whether the file gives all six
    fields (`added_tokens.json` gives the id alone).
    """

    file: str
    pointer: str
    tokens: tuple[tuple[TokenId, AddedToken], ...]
    complete: bool = True

    def by_id(self) -> dict[int, AddedToken]:
        return dict(self.tokens)

    def by_content(self) -> dict[str, int]:
        return {token.content: token_id for token_id, token in self.tokens}


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two files say different things of one id, or of one text."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """The tokenizer of a checkpoint, read from all its files at once.

    Attributes:
        kind: `BPE`, `Unigram`, `WordPiece`, `WordLevel`, or "" if there is no readable model.
        vocab: the model's own vocabulary (without added tokens), text to id.
        declared: what each file says, most trusted first.
        effective: ids that the `tokenizers` library gives to tokenizer.json's added tokens, which
            ignores the ids written there (it counts on in file order).
        added: the one table that all files are reconciled to, by id.
        added_ids: the same table by content.
        n_tokens: one more than the largest id, holes counted: what matrices must have rows for.
        conflicts: contradictions that nobody may guess away; `added` is then not to be trusted.
        named: every statement about a named token, in every file.
        templates: every chat template.
        byte_level: whether text is spelled in the GPT-2 byte alphabet.
        tokenizer_class: the `tokenizer_class` of tokenizer_config.json.
    """

    kind: str
    vocab: Mapping[str, TokenId]
    declared: tuple[Declared, ...]
    effective: Mapping[str, TokenId]
    added: Mapping[TokenId, AddedToken]
    added_ids: Mapping[str, TokenId]
    n_tokens: int
    conflicts: tuple[Conflict, ...]
    named: tuple[NamedToken, ...]
    templates: tuple[ChatTemplate, ...]
    byte_level: bool
    tokenizer_class: str | None

    def id_of(self, content: str) -> TokenId | None:
        """The id of a text that is one token, added tokens first."""
        found = self.added_ids.get(content)
        return self.vocab.get(content) if found is None else found

    def named_content(self, name: str) -> str | None:
        """The text of a named token as the tokenizer's own files give it."""
        for named in self.named:
            if named.name == name and named.content is not None:
                return named.content
        return None

    def table(self) -> dict[int, str]:
        """The whole id table: the model's vocabulary, then the added tokens over it."""
        table: dict[int, str] = {token_id: text for text, token_id in self.vocab.items()}
        table.update((token_id, token.content) for token_id, token in self.added.items())
        return table

    def named_id(self, name: str) -> TokenId | None:
        content = self.named_content(name)
        return None if content is None else self.id_of(content)

    def template(self) -> ChatTemplate | None:
        """The template that transformers would use (chat_template.jinja wins there)."""
        defaults = [t for t in self.templates if t.name == "default"]
        return next((t for t in defaults if t.pointer == ""), defaults[0] if defaults else None)


_as_json = json.encoder.encode_basestring_ascii  # what json.dumps makes of a text, without its ways


def table_digest(table: Mapping[int, str]) -> str:
    """Digest an id table so that two of them compare without being shipped.

    The sha256 of the lines `id TAB text-as-JSON LF` in id order, in UTF-8.
    """
    digest = hashlib.sha256()
    for token_id in sorted(table):
        digest.update(f"{token_id}\t{_as_json(table[token_id])}\n".encode())
    return digest.hexdigest()
