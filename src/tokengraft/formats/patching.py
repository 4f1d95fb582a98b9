"""Turn a plan's changes of a JSON file or a SentencePiece model into splices of its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from tokengraft.checkpoint import JsonValue
from tokengraft.errors import MalformedFile
from tokengraft.formats.json_text import Append, Change, Extend, Rekey, Set, Splice, Unset, splices
from tokengraft.formats.renumbered import removed_lines, renumbered
from tokengraft.formats.sentencepiece_file import (
    Piece,
    appended,
    read_sentencepiece,
    removed,
    renamed,
)
from tokengraft.plans import (
    AppendMerges,
    InsertTokens,
    JsonChange,
    PatchJson,
    PatchPieces,
    PlannedToken,
    RemoveKey,
    RenameKey,
    SetKey,
)
from tokengraft.renumbering import RemoveLines, Renumber


def patched(
    data: bytes,
    edit: PatchJson | PatchPieces | AppendMerges | RemoveLines,
    tokens: Sequence[PlannedToken],
) -> tuple[Splice, ...]:
    """Find the splices that carry an edit out.

    Args:
        data: the file as the base has it.
        tokens: the plan's token table, by id in ascending order, which `InsertTokens` refers to.
    Raises:
        MalformedFile: a place that the edit names is not there, or the table lacks an id.
    """
    match edit:
        case PatchPieces():
            return _pieces(data, edit)
        case AppendMerges():
            return _merges(data, edit, tokens)
        case RemoveLines():
            return removed_lines(data, edit, tokens)
        case PatchJson():
            return splices(data, [_change(change, edit.path, tokens) for change in edit.changes])
        case _:
            assert_never(edit)


def _merges(data: bytes, edit: AppendMerges, tokens: Sequence[PlannedToken]) -> tuple[Splice, ...]:
    """One line a merge, behind the last line that says something; lines end as the file's do."""
    newline = b"\r\n" if b"\r\n" in data[: data.find(b"\n") + 1] else b"\n"
    chosen = _chosen(tokens, edit.first_id, edit.count, edit.path)
    lines = [" ".join(merge).encode() for merge in _merges_of(chosen)]
    end = len(data.rstrip(b"\r\n"))
    head = newline if end else b""
    # The last line of the file ends as before; a file without a last newline stays without one.
    return (Splice(end, end, head + newline.join(lines)),)


def _pieces(data: bytes, edit: PatchPieces) -> tuple[Splice, ...]:
    model = read_sentencepiece(data, file=edit.path)
    texts = {piece.id: piece.text for piece in edit.renamed}
    if max((*texts, *edit.removed), default=-1) >= len(model.pieces):
        raise MalformedFile(
            f"the plan names piece {max((*texts, *edit.removed))} of {edit.path}, which has "
            f"{len(model.pieces)}",
            subject="plan.json#/edits",
        )
    found = [*renamed(model, texts), *removed(model, edit.removed)]
    if edit.appended:
        found.append(appended(model, [Piece(p.text, p.score, p.kind) for p in edit.appended]))
    # What is put behind the last piece comes after the piece itself, and before the trainer's part.
    return tuple(sorted(found, key=lambda splice: (splice.begin, splice.end)))


def _change(change: JsonChange, path: str, tokens: Sequence[PlannedToken]) -> Change:
    match change:
        case SetKey():
            return Set(change.pointer, change.value)
        case RemoveKey():
            return Unset(change.pointer)
        case RenameKey():
            return Rekey(change.pointer, change.key)
        case InsertTokens():
            return _insert(change, path, tokens)
        case Renumber():
            return renumbered(change, tokens, path=path)
        case _:
            assert_never(change)


def _insert(change: InsertTokens, path: str, tokens: Sequence[PlannedToken]) -> Change:
    chosen = _chosen(tokens, change.first_id, change.count, path)
    match change.form:
        case "added_tokens":
            return Append(change.pointer, [_added_tokens_entry(token) for token in chosen])
        case "added_tokens_decoder":
            return Extend(change.pointer, [(str(t.id), _decoder_entry(t)) for t in chosen])
        case "token_to_id":
            return Extend(change.pointer, [(token.key, token.id) for token in chosen])
        case "text":
            return Append(change.pointer, [token.text for token in chosen])
        case "merge_pair":
            return Append(change.pointer, [list(merge) for merge in _merges_of(chosen)])
        case "merge_line":
            return Append(change.pointer, [" ".join(merge) for merge in _merges_of(chosen)])
        case _:
            assert_never(change.form)


def _merges_of(tokens: Sequence[PlannedToken]) -> list[tuple[str, str]]:
    return [token.merge for token in tokens if token.merge is not None]


def _chosen(
    tokens: Sequence[PlannedToken], first_id: int, count: int, path: str
) -> list[PlannedToken]:
    ids = range(first_id, first_id + count)
    chosen = [token for token in tokens if token.id in ids]
    if len(chosen) != count:
        raise MalformedFile(
            f"the plan inserts {count} tokens into {path} and lists {len(chosen)} of them",
            subject="plan.json#/tokens",
        )
    return chosen


def _added_tokens_entry(token: PlannedToken) -> JsonValue:
    """An element of tokenizer.json's `added_tokens`, keys in the order the library writes."""
    return {
        "id": token.id,
        "content": token.text,
        "single_word": token.single_word,
        "lstrip": token.lstrip,
        "rstrip": token.rstrip,
        "normalized": token.normalized,
        "special": token.special,
    }


def _decoder_entry(token: PlannedToken) -> JsonValue:
    """An entry of `added_tokens_decoder`, keys in the order transformers writes."""
    return {
        "content": token.text,
        "lstrip": token.lstrip,
        "normalized": token.normalized,
        "rstrip": token.rstrip,
        "single_word": token.single_word,
        "special": token.special,
    }
