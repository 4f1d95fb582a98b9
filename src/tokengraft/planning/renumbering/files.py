"""What removed tokens leave behind in each file: entries go, and all ids behind them move down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.errors import ConflictingFiles
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.sentencepiece_file import (
    SENTENCEPIECE_FILES,
    is_sentencepiece,
    read_sentencepiece,
)
from tokengraft.planning.renumbering.places import LISTS, Places
from tokengraft.plans import FileEdit, JsonChange, PatchJson, PatchPieces, RemoveKey, SetKey
from tokengraft.renumbering import Form, IdMap, RemoveLines, Renumber
from tokengraft.vocabulary import Tokenizer

TOKENIZER, CONFIG, ADDED = "tokenizer.json", "tokenizer_config.json", "added_tokens.json"
VOCAB, MERGES, LINES = "vocab.json", "merges.txt", "vocab.txt"


@dataclass(frozen=True, slots=True)
class Going:
    """What goes from one checkpoint.

    Attributes:
        ids: how ids move.
        texts: contents of the added tokens that go.
    """

    checkpoint: Checkpoint
    ids: IdMap
    texts: frozenset[str]

    @property
    def tokenizer(self) -> Tokenizer:
        assert self.checkpoint.tokenizer is not None
        return self.checkpoint.tokenizer

    def moves(self, token_ids: Sequence[int]) -> bool:
        """Whether any of these ids goes or moves."""
        return max(token_ids, default=-1) >= self.ids.removed[0]


def file_edits(going: Going, places: Places) -> tuple[FileEdit, ...]:
    """State the edits of all small files, in a fixed order.

    Raises:
        ConflictingFiles: a file that repeats the vocabulary gives other ids than tokenizer.json.
    """
    changes: dict[str, list[JsonChange]] = {}
    for file, table in _tables(going):
        changes.setdefault(file, []).append(table)
    for file, gone in _lists(going):
        changes.setdefault(file, []).append(gone)
    for place in places.ids:
        new = going.ids.new(place.token_id)
        if new is not None and new != place.token_id:
            change = SetKey(pointer=place.pointer, value=new)
            changes.setdefault(place.file, []).append(change)
    edits: list[FileEdit] = [
        PatchJson(path=file, changes=tuple(found)) for file, found in sorted(changes.items())
    ]
    edits.extend(_lines(going))
    edits.extend(_pieces(going))
    return tuple(edits)


def _tables(going: Going) -> Iterator[tuple[str, Renumber]]:
    tokenizer, checkpoint = going.tokenizer, going.checkpoint
    forms: dict[str, Form] = {
        TOKENIZER: "added_tokens",
        CONFIG: "added_tokens_decoder",
        ADDED: "token_to_id",
    }
    for declared in tokenizer.declared:
        if going.moves([token_id for token_id, _ in declared.tokens]):
            form = forms[declared.file]
            yield declared.file, Renumber(pointer=declared.pointer, form=form)
    if not going.moves(list(tokenizer.vocab.values())):
        return
    table = checkpoint.value(TOKENIZER, "/model/vocab")
    kind: Form = "pieces" if isinstance(table, list) else "token_to_id"
    yield TOKENIZER, Renumber(pointer="/model/vocab", form=kind)
    if isinstance(checkpoint.value(TOKENIZER, "/model/merges"), list) and _loses_pieces(going):
        yield TOKENIZER, Renumber(pointer="/model/merges", form="merges")
    data = checkpoint.small_files.get(VOCAB)
    if data is not None and going.moves(_ids_of_vocab(going, data)):
        yield VOCAB, Renumber(pointer="", form="token_to_id")


def _loses_pieces(going: Going) -> bool:
    gone = set(going.ids.removed)
    return any(int(token_id) in gone for token_id in going.tokenizer.vocab.values())


def _ids_of_vocab(going: Going, data: bytes) -> list[int]:
    """The ids of vocab.json, which must be those of tokenizer.json."""
    value = parse_json(data, file=VOCAB).value
    entries = value if isinstance(value, dict) else {}
    for text, token_id in entries.items():
        if going.tokenizer.id_of(text) != token_id:
            raise _other_ids(VOCAB, text)
    return [int(token_id) for token_id in entries.values() if isinstance(token_id, int)]


def _lists(going: Going) -> Iterator[tuple[str, RemoveKey]]:
    """Removed tokens leave the lists in which special tokens are registered, last entry first."""
    for file, pointer in LISTS:
        listed = going.checkpoint.value(file, pointer)
        entries = list(enumerate(listed)) if isinstance(listed, list) else []
        for at, entry in reversed(entries):
            if _content(entry) in going.texts:
                yield file, RemoveKey(pointer=f"{pointer}/{at}")


def _content(entry: JsonValue) -> str:
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else ""


def _lines(going: Going) -> Iterator[RemoveLines]:
    files, tokenizer = going.checkpoint.small_files, going.tokenizer
    if MERGES in files and tokenizer.kind == "BPE" and _loses_pieces(going):
        yield RemoveLines(path=MERGES, form="merges")
    if LINES not in files or tokenizer.kind != "WordPiece":
        return
    lines = files[LINES].decode("utf-8", "replace").split("\n")
    pieces = [line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])]
    table = tokenizer.table()
    for token_id, piece in enumerate(pieces):
        if table.get(token_id) != piece:
            raise _other_ids(LINES, piece)
    if any(token_id < len(pieces) for token_id in going.ids.removed):
        yield RemoveLines(path=LINES, form="pieces")


def _pieces(going: Going) -> Iterator[PatchPieces]:
    table = going.tokenizer.table()
    for file in SENTENCEPIECE_FILES:
        data = going.checkpoint.small_files.get(file, b"")
        if not is_sentencepiece(data):
            continue
        model = read_sentencepiece(data, file=file)
        for token_id, piece in enumerate(model.pieces):
            if table.get(token_id) != piece.text:
                raise _other_ids(file, piece.text)
        gone = tuple(i for i in going.ids.removed if i < len(model.pieces))
        if gone:
            yield PatchPieces(path=file, removed=gone)


def _other_ids(file: str, text: str) -> ConflictingFiles:
    return ConflictingFiles(
        f"{file} gives {text!r} another id than tokenizer.json",
        detail="renumbered, one of the two would be wrong in a new way",
        subject=file,
        hint=f"plan on a copy of the folder without {file}, or with one that agrees",
    )
