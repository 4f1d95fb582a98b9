"""Look at things: a folder, a file, a text, what differs, what this machine can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue as PydanticJson
from pydantic import ValidationError

from tokengraft import auditing
from tokengraft.answers import (
    Diff,
    DiffFile,
    DiffKey,
    DiffTensor,
    DiffToken,
    Folder,
    FolderFile,
    Piece,
    Tokens,
)
from tokengraft.checkpoint import RECORD_FOLDER, Checkpoint, JsonValue
from tokengraft.data_audits import DataAudit
from tokengraft.documents import Document, ErrorDocument, complaint
from tokengraft.errors import MalformedFile, ReadFailed, UnsupportedFormat, UsageError
from tokengraft.events import Listen, Progress, ignore
from tokengraft.findings import Audit, Facts
from tokengraft.flow.making import load
from tokengraft.formats.folders import is_graft_record
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.plan_files import MAX_PLAN_BYTES, read_plan
from tokengraft.formats.recipe_file import read_recipe
from tokengraft.formats.tensor_bytes import differing_rows, is_one_file
from tokengraft.formats.training_records import CURVES, DATA, STAGES, TOKENS, is_training
from tokengraft.formats.whole_files import read_whole
from tokengraft.results import Receipt, Verification
from tokengraft.sandbox.tokenizers import TokenizerChild
from tokengraft.trainings import StageRecord, TokenVerdicts, TrainingEstimate

RulePage = auditing.Rule
MAX_DOCUMENT_BYTES = MAX_PLAN_BYTES  # of what we write, plans are the largest

READABLE: Mapping[str, type[Document]] = {
    "tokengraft/audit": Audit,
    "tokengraft/receipt": Receipt,
    "tokengraft/verify": Verification,
    "tokengraft/diff": Diff,
    "tokengraft/tokens": Tokens,
    "tokengraft/error": ErrorDocument,
    "tokengraft/stage": StageRecord,
    "tokengraft/token-verdicts": TokenVerdicts,
    "tokengraft/data": DataAudit,
    "tokengraft/estimate": TrainingEstimate,
}
# Of a folder of training records, the first of these that is there is what it comes to.
RECORDS: tuple[str, ...] = (TOKENS, DATA, *reversed(STAGES))


def facts(source: str, listen: Listen = ignore) -> Facts:
    """The numbers of a checkpoint, without an opinion."""
    return auditing.facts(load(source, listen, weights=False))


def show(path: Path, listen: Listen = ignore) -> Document:
    """Read whatever tokengraft writes, or a folder, and give it as a value.

    The records of a training are shown by their verdicts on the tokens, or by what is there instead.

    Raises:
        UnsupportedFormat: it is nothing that we write.
    """
    if path.is_dir():
        if not is_training(path):
            return folder(str(path), listen)
        path = next((path / name for name in RECORDS if (path / name).is_file()), path / CURVES)
    if path.suffix == ".toml":
        return read_recipe(path)[0]
    value = parse_json(_read(path), file=str(path)).value
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema == "tokengraft/plan":
        return read_plan(path).plan
    kind = READABLE.get(schema) if isinstance(schema, str) else None
    if kind is None:
        raise UnsupportedFormat(
            f"{path} is nothing that tokengraft writes",
            detail="it has no schema of ours: plans, receipts, audits and verifications have one",
            subject=str(path),
        )
    try:
        return kind.from_dict(value)
    except ValidationError as error:
        raise MalformedFile(
            f"{path} is no {schema}", detail=complaint(error), subject=str(path)
        ) from error


def _read(path: Path) -> bytes:
    try:
        return read_whole(path, limit=MAX_DOCUMENT_BYTES)
    except ReadFailed as error:
        raise UsageError(error.summary, detail=error.detail, subject=str(path)) from error


def folder(source: str, listen: Listen = ignore) -> Folder:
    """A checkpoint at a glance."""
    checkpoint = load(source, listen, weights=False)
    plan = f"{RECORD_FOLDER}/plan.json"
    return Folder(
        source=source,
        facts=auditing.facts(checkpoint),
        files=tuple(
            FolderFile(path=path, size_bytes=entry.size_bytes, kind=entry.kind)
            for path, entry in checkpoint.files.items()
        ),
        plan=str(checkpoint.root / plan) if plan in checkpoint.files else None,
    )


def explain(code: str) -> RulePage:
    """The page of an audit rule.

    Raises:
        UsageError: there is no such rule; near codes are named.
    """
    return auditing.explain(code)


def rules() -> tuple[RulePage, ...]:
    """The pages of all audit rules, by code."""
    return tuple(auditing.RULES[code] for code in sorted(auditing.RULES))


def tokens(source: str, text: str, listen: Listen = ignore) -> Tokens:
    """A text as the tokenizer of a checkpoint cuts it."""
    checkpoint = load(source, listen, weights=False)
    tokenizer = checkpoint.tokenizer
    data = checkpoint.small_files.get("tokenizer.json")
    if tokenizer is None or data is None:
        raise UnsupportedFormat(
            f"{source} has no tokenizer.json, which is what can be run here", subject=source
        )
    with TokenizerChild() as child:
        child.load(data)
        spans = child.encode_offsets(text)
        pieces_text = child.decode([[i] for i, _, _ in spans], skip_special=False)
        whole = child.decode([[i for i, _, _ in spans]], skip_special=False)[0]
    table = tokenizer.table()
    by_id = _names(checkpoint)
    pieces = tuple(
        Piece(
            id=token_id,
            token=table.get(token_id, ""),
            text=None if "�" in shown and "�" not in text else shown,
            start=start,
            end=end,
            added=token_id in tokenizer.added,
            special=token_id in tokenizer.added and tokenizer.added[token_id].special,  # type: ignore[index]
            names=by_id.get(token_id, ()),
        )
        for (token_id, start, end), shown in zip(spans, pieces_text, strict=True)
    )
    return Tokens(
        source=source,
        text=text,
        ids=tuple(piece.id for piece in pieces),
        pieces=pieces,
        round_trip=whole == text,
    )


def _names(checkpoint: Checkpoint) -> dict[int, tuple[str, ...]]:
    assert checkpoint.tokenizer is not None
    found: dict[int, tuple[str, ...]] = {}
    for named in checkpoint.tokenizer.named:
        if named.content is None:
            continue
        token_id = checkpoint.tokenizer.id_of(named.content)
        if token_id is not None and named.name not in found.get(token_id, ()):
            found[token_id] = (*found.get(token_id, ()), named.name)
    return found


def diff(a: str, b: str, listen: Listen = ignore) -> Diff:
    """What differs between two checkpoints: files, ids, keys, tensors and how many of their rows."""
    left, right = load(a, listen), load(b, listen)
    files = tuple(_file_changes(left, right))
    ids, same_ids = _id_changes(left, right)
    tensors, same_tensors = _tensor_changes(left, right, listen)
    common = [p for p in left.files if p in right.files and not is_graft_record(p)]
    return Diff(
        a=a,
        b=b,
        files=files,
        tokens=ids,
        config=tuple(_key_changes(left, right)),
        tensors=tensors,
        files_same=len(common) - sum(f.change == "changed" for f in files),
        tokens_same=same_ids,
        tensors_same=same_tensors,
    )


def _file_changes(left: Checkpoint, right: Checkpoint) -> Iterator[DiffFile]:
    for path in sorted({*left.files, *right.files}):
        if is_graft_record(path):
            continue
        one, other = left.files.get(path), right.files.get(path)
        if one is None or other is None:
            yield DiffFile(
                path=path,
                change="added" if one is None else "removed",
                bytes_a=None if one is None else one.size_bytes,
                bytes_b=None if other is None else other.size_bytes,
            )
        elif not _same_file(left, right, path):
            yield DiffFile(
                path=path, change="changed", bytes_a=one.size_bytes, bytes_b=other.size_bytes
            )


def _same_file(left: Checkpoint, right: Checkpoint, path: str) -> bool:
    one, other = left.files[path], right.files[path]
    if one.size_bytes != other.size_bytes:
        return False
    if path in left.small_files and path in right.small_files:
        return left.small_files[path] == right.small_files[path]
    if is_one_file(one, other):
        return True
    with one.real.open("rb") as first, other.real.open("rb") as second:
        while block := first.read(1 << 20):
            if block != second.read(1 << 20):
                return False
    return True


def _id_changes(left: Checkpoint, right: Checkpoint) -> tuple[tuple[DiffToken, ...], int]:
    one = {} if left.tokenizer is None else left.tokenizer.table()
    other = {} if right.tokenizer is None else right.tokenizer.table()
    changed = sorted(i for i in {*one, *other} if one.get(i) != other.get(i))
    found = tuple(DiffToken(id=i, a=one.get(i), b=other.get(i)) for i in changed)
    return found, len({*one, *other}) - len(found)


CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json")


def _key_changes(left: Checkpoint, right: Checkpoint) -> Iterator[DiffKey]:
    for file in (*CONFIGS, "special_tokens_map.json"):
        one, other = left.value(file), right.value(file)
        if not isinstance(one, dict) or not isinstance(other, dict):
            continue
        for key in sorted({*one, *other}):
            if key == "added_tokens_decoder" or (
                key in one and key in other and one[key] == other[key]
            ):
                continue  # ids are compared as ids
            yield DiffKey(
                file=file,
                pointer=f"/{key}",
                change="added" if key not in one else "removed" if key not in other else "changed",
                a=_plain(one.get(key)),
                b=_plain(other.get(key)),
            )


def _plain(value: JsonValue) -> PydanticJson:
    return value


def _tensor_changes(
    left: Checkpoint, right: Checkpoint, listen: Listen
) -> tuple[tuple[DiffTensor, ...], int]:
    one = {} if left.tensors is None else left.tensors.tensors
    other = {} if right.tensors is None else right.tensors.tensors
    changes: list[DiffTensor] = []
    names = sorted({*one, *other})
    for number, name in enumerate(names):
        listen(Progress("compare tensors", name, number, len(names), "tensors"))
        a, b = one.get(name), other.get(name)
        if a is None or b is None:
            shape_a = None if a is None else a.shape
            shape_b = None if b is None else b.shape
            change = "added" if a is None else "removed"
            changes.append(
                DiffTensor.model_validate(
                    {"name": name, "change": change, "shape_a": shape_a, "shape_b": shape_b}
                )
            )
            continue
        rows = differing_rows(left.files[a.file], a, right.files[b.file], b)
        if rows or a.shape != b.shape or a.dtype != b.dtype:
            changes.append(
                DiffTensor(name=name, change="changed", shape_a=a.shape, shape_b=b.shape, rows=rows)
            )
    return tuple(changes), len(names) - len(changes)
