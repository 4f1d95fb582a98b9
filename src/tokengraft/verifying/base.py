"""The base, put together again from the result and its undo record: a proof that needs no base.

What was replaced is in the undo record, everything else is still in the result. If the two together
give the digests that the base had, then everything else is bit for bit what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain

from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import LimitExceeded, MalformedFile, PreconditionError, RefusedError
from tokengraft.events import Listen, Progress
from tokengraft.formats.folders import MAX_SMALL_BYTES, SMALL_NAMES
from tokengraft.formats.loading import Parts, assemble
from tokengraft.formats.safetensors_file import MAX_HEADER_BYTES, parse_header
from tokengraft.formats.undo_file import UndoEntry, base_chunks
from tokengraft.low_rank import AddLowRank
from tokengraft.results import Check, ReceiptFile
from tokengraft.tensors import WeightsFile
from tokengraft.verifying.records import UNDO, Graft, failed, passed, several, skipped
from tokengraft.verifying.rows import Seen, Watch, pass_by
from tokengraft.verifying.streams import digest

NAME = "base-without-the-base"


@dataclass(slots=True)
class Rebuilt:
    """The base as far as it came back.

    Attributes:
        small: its small files; a file that the plan copies is taken from the result.
        weights: headers of its weights files.
        seen: what passed by of the tensors whose rows the plan speaks of.
        wrong: files that did not come back with their digest.
        proved: number of files that did.
        unproved: files that the undo record does not hold (low-rank updates need the base).
    """

    small: dict[str, bytes] = field(default_factory=dict)
    weights: dict[str, WeightsFile] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    proved: int = 0
    unproved: list[str] = field(default_factory=list)
    size_bytes: int = 0

    def snapshot(self, graft: Graft) -> Checkpoint | None:
        """The base as `load` would have read it, None if a file of it did not come back."""
        if self.wrong or not set(self.unproved) <= self.weights.keys():
            return None
        parts = Parts(graft.out, {}, self.small, self.weights, ())
        try:
            return assemble(parts)
        except RefusedError:
            return None


def rebuild(graft: Graft, listen: Listen) -> Rebuilt:
    """Stream every file of the base past its digest."""
    assert graft.receipt is not None
    assert graft.plan is not None
    rebuilt = Rebuilt()
    changed = []
    for file in graft.receipt.files:
        if file.before is not None and file.before == file.after:
            _take_over(graft, rebuilt, file.path)
        elif file.before is not None:
            changed.append(file)
    total = sum(graft.files[f.path].size_bytes for f in changed if f.path in graft.files)
    for file in changed:
        entry = graft.undo.get(file.path) if graft.undo is not None else None
        if entry is None:
            rebuilt.unproved.append(file.path)
            _header_alone(graft, rebuilt, file.path)
            continue
        try:
            found = _stream(graft, rebuilt, file, entry)
        except (RefusedError, PreconditionError) as error:
            rebuilt.wrong.append(f"{file.path} ({error.summary})")
            continue
        listen(Progress("verify", file.path, rebuilt.size_bytes, max(total, rebuilt.size_bytes)))
        if found != file.before or graft.plan.base.files.get(file.path) not in (None, found):
            rebuilt.wrong.append(file.path)
        else:
            rebuilt.proved += 1
    return rebuilt


def without_the_base(
    graft: Graft, rebuilt: Rebuilt | None, base: Checkpoint | None
) -> Iterator[Check]:
    """Say what the rebuilding proved; `base` is its snapshot."""
    if rebuilt is None or graft.plan is None:
        yield skipped(NAME, "the plan, the receipt or the checkpoint cannot be read")
        return
    if rebuilt.wrong:
        yield failed(
            NAME,
            f"{len(rebuilt.wrong)} files do not come back as they were: {several(rebuilt.wrong)}",
        )
        return
    if rebuilt.unproved:
        low_rank = any(isinstance(edit, AddLowRank) for edit in graft.plan.edits)
        missing = f"{UNDO} does not hold {several(rebuilt.unproved)}"
        if low_rank:
            yield skipped(NAME, f"{missing}; what low-rank updates touch needs --against")
        else:
            yield failed(NAME, graft.unreadable.get(UNDO, missing))
        return
    planned = graft.plan.base
    if base is None or not base.is_planned_base(planned.layout, planned.files):
        found = "nothing readable" if base is None else base.layout_digest[:12]
        yield failed(
            NAME,
            f"the small files and headers of the base give {found}, the plan was made for "
            f"{planned.layout[:12]}",
        )
        return
    yield passed(
        NAME,
        f"{rebuilt.proved} rewritten or dropped files, put together from the result and {UNDO}, "
        f"have the sha256 that they had before ({rebuilt.size_bytes:,} bytes); layout "
        f"{planned.layout[:12]} is the one that the plan was made for",
    )


def _take_over(graft: Graft, rebuilt: Rebuilt, path: str) -> None:
    checkpoint = graft.checkpoint
    if checkpoint is None:
        return
    if path in checkpoint.small_files:
        rebuilt.small[path] = checkpoint.small_files[path]
    if checkpoint.tensors is not None and path in checkpoint.tensors.files:
        rebuilt.weights[path] = checkpoint.tensors.files[path]


def _header_alone(graft: Graft, rebuilt: Rebuilt, path: str) -> None:
    """Low-rank updates leave a header as it was; rows that grow and new tensors do not."""
    assert graft.plan is not None
    tensors = graft.checkpoint.tensors if graft.checkpoint is not None else None
    weights = tensors.files.get(path) if tensors is not None else None
    edits = graft.plan.row_edits()
    if weights is not None and not any(
        ref.name in edits and edits[ref.name].n_rows_there != edits[ref.name].n_rows_after
        for ref in weights.tensors
    ):
        rebuilt.weights[path] = weights


def _stream(graft: Graft, rebuilt: Rebuilt, file: ReceiptFile, entry: UndoEntry) -> str:
    """Digest the base's bytes of one file, and look at them as they pass."""
    chunks = _chunks(graft, file.path, entry)
    size_bytes = _size(graft, file.path, entry)
    rebuilt.size_bytes += size_bytes
    if _is_small(file.path):
        if size_bytes > MAX_SMALL_BYTES:
            raise LimitExceeded(f"it would have {size_bytes} bytes", subject=file.path)
        data = b"".join(chunks)
        rebuilt.small[file.path] = data
        return digest([data])
    if not file.path.endswith(".safetensors") or "/" in file.path:
        return digest(chunks)
    head, chunks = split_head(chunks, file.path)
    weights = parse_header(head, file=file.path, size_bytes=size_bytes)
    rebuilt.weights[file.path] = weights
    return watched(graft, weights, chunks, rebuilt.seen)


def watched(
    graft: Graft, weights: WeightsFile, chunks: Iterator[bytes], seen: dict[str, Seen]
) -> str:
    """Let a weights file of the base pass by the tensors whose rows the plan speaks of."""
    assert graft.plan is not None
    out = graft.checkpoint.tensors if graft.checkpoint is not None else None
    edits = graft.plan.row_edits()
    with ExitStack() as stack:
        watches: dict[str, Watch] = {}
        refs = {ref.name: ref for ref in weights.tensors}
        for name, edit in edits.items():
            there = out.tensors.get(name) if out is not None else None
            if edit.base_tensor in refs and there is not None:
                result = stack.enter_context(graft.files[there.file].real.open("rb"))
                watches[name] = Watch(edit, refs[edit.base_tensor], there, result)
        found = digest(pass_by(chunks, tuple(watches.values())))
        seen.update((name, watch.result()) for name, watch in watches.items())
    return found


def _chunks(graft: Graft, path: str, entry: UndoEntry) -> Iterator[bytes]:
    out = graft.files.get(path)
    if entry.spans is not None and out is None:
        raise MalformedFile("it is missing", subject=path)
    return base_chunks(None if out is None else out.real, entry, graft.undo_path)


def _size(graft: Graft, path: str, entry: UndoEntry) -> int:
    """Bytes that the file had: what it has, less what was written, more what was replaced."""
    old = entry.end - entry.begin
    if entry.spans is None:
        return old
    return graft.files[path].size_bytes + old - sum(end - begin for begin, end, _ in entry.spans)


def _is_small(path: str) -> bool:
    """Whether `load` would read this file whole, of which its name alone decides."""
    in_folder = path.startswith("additional_chat_templates/") and path.endswith(".jinja")
    return path in SMALL_NAMES or path.endswith(".safetensors.index.json") or in_folder


def split_head(chunks: Iterator[bytes], file: str) -> tuple[bytes, Iterator[bytes]]:
    """Take the header (with its length) off a stream; the second value streams all of it again.

    Raises:
        MalformedFile, LimitExceeded: the stream does not begin as a weights file does.
    """
    taken, wanted = b"", 8
    while len(taken) < wanted:
        chunk = next(chunks, b"")
        if not chunk:
            raise MalformedFile("it ends within its header", subject=file)
        taken += chunk
        if len(taken) >= 8:  # noqa: PLR2004 - bytes of the header's length
            wanted = 8 + int.from_bytes(taken[:8], "little")
        if wanted > MAX_HEADER_BYTES:
            raise LimitExceeded(f"its header would have {wanted} bytes", subject=file)
    return taken[:wanted], chain([taken], chunks)
