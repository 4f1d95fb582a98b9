"""A SentencePiece model against its base, value by value; nothing here is shared with the editing.

The file is taken apart into fields by a reader of this module's own, and compared as a list of
fields: pieces as the plan says, everything else as the base has it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.plans import PatchPieces

_PIECES, _TRAINER = 1, 2
_TEXT, _KIND = 1, 3
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
_KINDS = {"normal": _NORMAL, "control": _CONTROL, "user-defined": _USER_DEFINED}
# Fields of the trainer's part that name unk, bos, eos and pad; absent, these texts hold.
_NAMES = {45: b"<unk>", 46: b"<s>", 47: b"</s>", 48: b"<pad>"}

Parsed = tuple[int, int | bytes]


def different_pieces(edit: PatchPieces, before: bytes, after: bytes) -> str | None:
    """Where a model differs from what the plan makes of the base's, None if nowhere."""
    old, new = list(_fields(before)), list(_fields(after))
    if _others(old) != _others(new):
        return "a part that names no token was changed"
    renamed = {piece.id: piece.text.encode() for piece in edit.renamed}
    pieces, found = _pieces(old), _pieces(new)
    gone = frozenset(edit.removed)
    names = {text for at, piece in enumerate(pieces) if at in gone for _, text in piece[:1]}
    if not gone <= set(range(len(pieces))) or not names.isdisjoint(_names(old).values()):
        return "pieces were to go that are not there, or that the trainer's part names"
    pieces = [piece for at, piece in enumerate(pieces) if at not in gone]
    if len(found) != len(pieces) + len(edit.appended):
        return f"{len(found)} pieces, planned are {len(pieces) + len(edit.appended)}"
    for at, piece in enumerate(pieces):
        wanted = piece if at not in renamed else _with_text(piece, renamed[at])
        if found[at] != wanted:
            return f"piece {at} is not as planned"
    for at, new_piece in enumerate(edit.appended, len(pieces)):
        fields = dict(found[at])
        kind = fields.get(_KIND, _NORMAL)
        if fields.get(_TEXT) != new_piece.text.encode() or kind != _KINDS[new_piece.kind]:
            return f"piece {at} is not as planned"
    texts = {dict(piece)[_TEXT]: renamed.get(at) for at, piece in enumerate(pieces)}
    for number, text in _names(old).items():
        if _names(new)[number] != (texts.get(text) or text):
            return f"field {number} of the trainer's part names another piece"
    return None


def _with_text(piece: list[Parsed], text: bytes) -> list[Parsed]:
    return [(number, text if number == _TEXT else value) for number, value in piece]


def _pieces(fields: list[Parsed]) -> list[list[Parsed]]:
    return [
        list(_fields(value))
        for number, value in fields
        if number == _PIECES and isinstance(value, bytes)
    ]


def _names(fields: list[Parsed]) -> dict[int, bytes]:
    """The texts of unk, bos, eos and pad."""
    names = dict(_NAMES)
    for number, value in fields:
        if number == _TRAINER and isinstance(value, bytes):
            inner = dict(_fields(value))
            names |= {n: v for n, v in inner.items() if n in _NAMES and isinstance(v, bytes)}
    return names


def _others(fields: list[Parsed]) -> list[object]:
    """Everything but pieces and the names of four of them."""
    others: list[object] = []
    for number, value in fields:
        if number == _TRAINER and isinstance(value, bytes):
            others.extend((number, f) for f in _fields(value) if f[0] not in _NAMES)
        elif number != _PIECES:
            others.append((number, value))
    return others


def _fields(data: bytes) -> Iterator[Parsed]:
    """Numbers and values of a message's fields; the file was read before, so it is well-formed."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        if key & 7 == 0:
            value, at = _number(data, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(key & 7)
        if size is None:
            size, at = _number(data, at)
        yield key >> 3, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1
