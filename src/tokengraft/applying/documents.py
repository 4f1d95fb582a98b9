"""Small files of a plan, as they were and as they will be; computed before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import assert_never

from tokengraft.applying.places import require_safe_name, split_path
from tokengraft.applying.reading import old_bytes, open_unchanged
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import StalePlan, UnsafePath
from tokengraft.formats.folders import is_graft_record, read_small
from tokengraft.formats.json_text import Splice, apply_splices
from tokengraft.formats.patching import patched
from tokengraft.formats.undo_file import Undoing, from_memory
from tokengraft.formats.whole_files import let_go
from tokengraft.low_rank import AddLowRank
from tokengraft.plans import (
    AppendMerges,
    DropFile,
    PatchJson,
    PatchPieces,
    Plan,
    RemapRows,
    WriteFile,
)
from tokengraft.renumbering import RemoveLines


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One file that the plan edits, writes or drops.

    Attributes:
        before: digest of the base's file, None if it has none.
        data: the new bytes, None if the file is dropped.
        undoing: what brings it back, None for a file that is new.
    """

    path: str
    before: str | None
    data: bytes | None
    undoing: Undoing | None


def rewritten_files(checkpoint: Checkpoint, plan: Plan) -> Iterator[Rewritten]:
    """Carry out what the plan says of small files, in memory.

    Raises:
        StalePlan: a file is missing, or is not the one that the plan was made for.
        UnsafePath: the plan names a place where it has no business.
        MalformedFile, UsageError: a change does not fit into its file.
    """
    tokens = sorted(plan.tokens, key=lambda token: token.id)
    for edit in plan.edits:
        match edit:
            case (
                PatchJson(path=path)
                | PatchPieces(path=path)
                | AppendMerges(path=path)
                | RemoveLines(path=path)
            ):
                data = _old(checkpoint, plan, path)
                changes = patched(data, edit, tokens)
                new = apply_splices(data, changes)
                yield Rewritten(path, _sha(data), new, _undoing(path, data, changes))
            case WriteFile(path=path):
                new = edit.text.encode()
                if path in checkpoint.files:
                    data = _old(checkpoint, plan, path)
                    whole = (Splice(0, len(data), new),)
                    yield Rewritten(path, _sha(data), new, _undoing(path, data, whole))
                else:
                    require_safe_name(path)
                    yield Rewritten(_own(path), None, new, None)
            case DropFile(path=path):
                yield _dropped(checkpoint, path)
            case RemapRows() | AddLowRank():
                pass  # weights are streamed, see weights.py
            case _:
                assert_never(edit)


def _old(checkpoint: Checkpoint, plan: Plan, path: str) -> bytes:
    entry = checkpoint.files.get(_own(path))
    if entry is None:
        raise stale(f"the base has no {path}", subject=path)
    let_go(open_unchanged(entry))  # the bytes at hand are those of the folder as it is now
    data = checkpoint.small_files.get(path)
    if data is None:
        data = read_small(entry)
    if plan.base.files.get(path) not in (None, _sha(data)):
        raise stale(f"{path} is not the one that the plan was made for", subject=path)
    return data


def _dropped(checkpoint: Checkpoint, path: str) -> Rewritten:
    entry = checkpoint.files.get(_own(path))
    if entry is None:
        raise stale(f"the base has no {path}", subject=path)
    ranges = [(0, entry.size_bytes)]
    digest = sha256()
    for chunk in old_bytes(entry, ranges)():
        digest.update(chunk)
    undoing = Undoing(path, None, entry.size_bytes, old_bytes(entry, ranges))
    return Rewritten(path, digest.hexdigest(), None, undoing)


def _undoing(path: str, data: bytes, changes: tuple[Splice, ...]) -> Undoing:
    """Turn splices of the old bytes around."""
    spans: list[tuple[int, int, int]] = []
    shift = 0
    for splice in changes:
        begin = splice.begin + shift
        spans.append((begin, begin + len(splice.new), splice.end - splice.begin))
        shift += len(splice.new) - (splice.end - splice.begin)
    ranges = [(splice.begin, splice.end) for splice in changes]
    size = sum(end - begin for begin, end in ranges)
    return Undoing(path, tuple(spans), size, from_memory(data, ranges))


def _own(path: str) -> str:
    split_path(path)
    if is_graft_record(path):
        raise UnsafePath("a plan cannot edit the records of a graft", subject=path)
    return path


def _sha(data: bytes) -> str:
    return sha256(data).hexdigest()


def stale(summary: str, *, detail: str = "", subject: str = "") -> StalePlan:
    """A base that is not the one of the plan, with the way out."""
    return StalePlan(
        summary,
        detail=detail,
        subject=subject,
        hint="plan again for this base: tokengraft plan SRC RECIPE -o PLAN.json",
    )
