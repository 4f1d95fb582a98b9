"""`tokenizer.model`: SentencePiece's protobuf, read strictly and changed without moving other bytes.

Only what names tokens is decoded: the pieces, and the four names that the trainer's part gives to
some of them. A change is a splice, so the normalizer's tables and everything unknown keep their
bytes.
Source: google/sentencepiece, src/sentencepiece_model.proto (0.2.0); the wire format is
protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from tokengraft.errors import LimitExceeded, MalformedFile
from tokengraft.formats.json_text import Splice

PieceKind = Literal["normal", "unknown", "control", "user-defined", "unused", "byte"]
KINDS: Final[tuple[PieceKind, ...]] = (
    *("normal", "unknown", "control", "user-defined", "unused", "byte"),
)
MODEL_TYPES: Final = {1: "Unigram", 2: "BPE", 3: "WORD", 4: "CHAR"}
# Names under which ids are the places of pieces (XLM-RoBERTa's file counts from one on).
SENTENCEPIECE_FILES = ("tokenizer.model", "spiece.model")
MAX_PIECES = 1 << 22  # sixteen times the largest published vocabulary

# Field numbers of ModelProto, SentencePiece and TrainerSpec.
PIECES, TRAINER = 1, 2
TEXT, SCORE, KIND = 1, 2, 3
MODEL_TYPE = 3
NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {45: "<unk>", 46: "<s>", 47: "</s>", 48: "<pad>"}  # with the texts that hold where it is absent
)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10


class Field(NamedTuple):
    """One field of a message: where it begins and ends, and where its content begins."""

    number: int
    wire: int
    begin: int
    content: int
    end: int


class Piece(NamedTuple):
    """One entry of the vocabulary; its id is its place."""

    text: str
    score: float
    kind: PieceKind


@dataclass(frozen=True, slots=True)
class Sentencepiece:
    """A model as its file holds it.

    Attributes:
        data: the file.
        kind: `BPE`, `Unigram`, `WORD` or `CHAR`.
        pieces: by id.
        fields: the top-level field of each piece, by id.
        trainer: the fields of the trainer's part that name pieces, by number.
        trainer_at: the trainer's part as a field of the file, None if there is none.
    """

    data: bytes
    kind: str
    pieces: tuple[Piece, ...]
    fields: tuple[Field, ...]
    trainer: Mapping[int, Field]
    trainer_at: Field | None


def is_sentencepiece(data: bytes) -> bool:
    """Whether a file begins as a model does: some publishers give a tiktoken file the same name."""
    return data[:1] == b"\x0a"  # field 1, length-delimited: the first piece


def read_sentencepiece(data: bytes, *, file: str) -> Sentencepiece:
    """Read the pieces of a model.

    Raises:
        MalformedFile: no protobuf, a piece without a text or with a score that is no number, a text
            twice, or a text that is not UTF-8.
        LimitExceeded: more pieces than any vocabulary has.
    """
    pieces: list[Piece] = []
    fields: list[Field] = []
    trainer: Mapping[int, Field] = {}
    trainer_at: Field | None = None
    kind = 1
    for field in _fields(data, 0, len(data), file):
        if field.number == PIECES and field.wire == _BYTES:
            if len(pieces) == MAX_PIECES:
                raise LimitExceeded(f"more than {MAX_PIECES} pieces", subject=file)
            pieces.append(_piece(data, field, file))
            fields.append(field)
        elif field.number == TRAINER and field.wire == _BYTES:
            inner = {f.number: f for f in _fields(data, field.content, field.end, file)}
            trainer = {number: f for number, f in inner.items() if number in NAMES}
            trainer_at = field
            if MODEL_TYPE in inner:
                kind = _varint(data, inner[MODEL_TYPE].content, field.end, file)[0]
    if not pieces or kind not in MODEL_TYPES:
        raise _malformed("it holds no pieces" if not pieces else f"model type {kind}", file)
    seen: dict[str, int] = {}
    for token_id, piece in enumerate(pieces):
        if seen.setdefault(piece.text, token_id) != token_id:
            raise _malformed(f"{piece.text!r} is piece {seen[piece.text]} and {token_id}", file)
    unknown = sum(piece.kind == "unknown" for piece in pieces)
    if unknown != 1:
        raise _malformed(f"it has {unknown} pieces of the kind unknown, and not one", file)
    return Sentencepiece(data, MODEL_TYPES[kind], tuple(pieces), tuple(fields), trainer, trainer_at)


def renamed(model: Sentencepiece, texts: Mapping[int, str]) -> tuple[Splice, ...]:
    """Give pieces other texts; a name that the trainer's part gives to one of them follows.

    Scores, kinds and order stay. bos, eos, unk and pad are found by their text, so a renamed one is
    lost unless that name is changed too (`SentencePieceProcessor::bos_id`, 0.2.0).
    """
    splices = [_renamed_piece(model, token_id, text) for token_id, text in sorted(texts.items())]
    old = {model.pieces[token_id].text: text for token_id, text in texts.items()}
    names = {number: old[told] for number, told in _named(model).items() if told in old}
    if names:
        splices.append(_renamed_names(model, names))
    return tuple(sorted(splices, key=lambda splice: splice.begin))


def appended(model: Sentencepiece, pieces: Sequence[Piece]) -> Splice:
    """Add pieces behind the last one, so that they get the next ids."""
    at = model.fields[-1].end
    new = b"".join(_field(PIECES, _body(piece)) for piece in pieces)
    return Splice(at, at, new)


def removed(model: Sentencepiece, ids: Sequence[int]) -> tuple[Splice, ...]:
    """Take pieces out; those behind them move down, since their places are their ids."""
    fields = (model.fields[token_id] for token_id in sorted(set(ids)))
    return tuple(Splice(field.begin, field.end, b"") for field in fields)


def _named(model: Sentencepiece) -> dict[int, str]:
    """The texts of unk, bos, eos and pad, by the number of the field that names them."""
    told = dict(NAMES)
    for number, field in model.trainer.items():
        told[number] = model.data[field.content : field.end].decode("utf-8", "replace")
    return told


def _renamed_piece(model: Sentencepiece, token_id: int, text: str) -> Splice:
    """Write one piece anew: its text changes, all its other fields keep their bytes and order."""
    field = model.fields[token_id]
    body = bytearray()
    for inner in _fields(model.data, field.content, field.end, "tokenizer.model"):
        if inner.number == TEXT:
            body += _field(TEXT, text.encode())
        else:
            body += model.data[inner.begin : inner.end]
    return Splice(field.begin, field.end, _field(PIECES, bytes(body)))


def _renamed_names(model: Sentencepiece, names: Mapping[int, str]) -> Splice:
    """Write the trainer's part anew with other names of bos, eos, unk or pad."""
    at, data = model.trainer_at, model.data
    left = dict(names)
    body = bytearray()
    for inner in () if at is None else _fields(data, at.content, at.end, "tokenizer.model"):
        if inner.number in names:
            new = left.pop(inner.number, None)
            body += b"" if new is None else _field(inner.number, new.encode())
        else:
            body += data[inner.begin : inner.end]
    for number, text in sorted(left.items()):
        body += _field(number, text.encode())
    begin, end = (len(data), len(data)) if at is None else (at.begin, at.end)
    return Splice(begin, end, _field(TRAINER, bytes(body)))


def _body(piece: Piece) -> bytes:
    kind = KINDS.index(piece.kind) + 1
    body = _field(TEXT, piece.text.encode())
    body += bytes([SCORE << 3 | _FIXED32]) + struct.pack("<f", piece.score)
    return body if kind == 1 else body + bytes([KIND << 3 | _VARINT, kind])


def _field(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | _BYTES) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _piece(data: bytes, field: Field, file: str) -> Piece:
    text: str | None = None
    score, kind = 0.0, 1
    for inner in _fields(data, field.content, field.end, file):
        if inner.number == TEXT and inner.wire == _BYTES:
            try:
                text = data[inner.content : inner.end].decode()
            except UnicodeDecodeError as error:
                raise _malformed(f"a piece at byte {inner.begin} is not UTF-8", file) from error
        elif inner.number == SCORE and inner.wire == _FIXED32:
            score = struct.unpack("<f", data[inner.content : inner.end])[0]
        elif inner.number == KIND and inner.wire == _VARINT:
            kind, _ = _varint(data, inner.content, inner.end, file)
    if not text or "\0" in text or score != score or not 1 <= kind <= len(KINDS):  # noqa: PLR0124 - NaN
        raise _malformed(f"the piece at byte {field.begin} has no text, score or kind", file)
    return Piece(text, score, KINDS[kind - 1])


def _fields(data: bytes, at: int, end: int, file: str) -> Iterator[Field]:
    """The fields of a message, in order."""
    while at < end:
        key, content = _varint(data, at, end, file)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            _, after = _varint(data, content, end, file)
        elif wire == _BYTES:
            length, content = _varint(data, content, end, file)
            after = content + length
        elif wire in _FIXED:
            after = content + _FIXED[wire]
        else:
            raise _malformed(f"wire type {wire} at byte {at}", file)
        if after > end or number == 0:
            raise _malformed(f"a field at byte {at} leaves its message", file)
        yield Field(number, wire, at, content, after)
        at = after


def _varint(data: bytes, at: int, end: int, file: str) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for place in range(at, min(end, at + _MAX_VARINT_BYTES)):
        value |= (data[place] & 0x7F) << 7 * (place - at)
        if data[place] < 0x80:  # noqa: PLR2004 - the last byte of a number
            return value, place + 1
    raise _malformed(f"a number at byte {at} does not end", file)


def _malformed(what: str, file: str) -> MalformedFile:
    return MalformedFile(
        f"{file} is no SentencePiece model",
        detail=what,
        subject=file,
        hint="download the file again",
    )
