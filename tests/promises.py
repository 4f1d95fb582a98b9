"""What the store promises, as small runs that end in assertions; see `test_protocol.py`."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import failing
import grafts
import tiny
from failing import Failing, Recorder, hidden, refuse
from tokengraft import applying
from tokengraft.applying import clearing, store
from tokengraft.applying.hashing import Hashing
from tokengraft.applying.places import Destination
from tokengraft.applying.syscalls import Syscalls
from tokengraft.errors import (
    DiskFull,
    SourceChanged,
    StalePlan,
    TargetExists,
    TargetLocked,
    UsageError,
    WriteFailed,
)
from tokengraft.formats.loading import load
from tokengraft.formats.manifest import parse_manifest
from tokengraft.plans import DropFile


def promise_of_order(folder: Path) -> None:
    """What power loss would undo has reached the disk before the name appears."""
    for mode in ("copy", "link"):
        recorder = Recorder()
        graft = grafts.tiny_graft(folder / f"base-{mode}")
        graft.apply(folder / mode, copy=mode, syscalls=recorder.system())
        _check_order(recorder, folder, folder / mode)


def _check_order(recorder: Recorder, folder: Path, out: Path) -> None:
    names = [op.name for op in recorder.ops]
    assert "rename_new" in names, "it appears by a rename that refuses to replace"
    published = names.index("rename_new")
    dirty: set[str] = set()
    stage = recorder.ops[published].path
    for number, op in enumerate(recorder.ops[:published]):
        within = op.path.startswith(stage)
        if op.name in ("write", "copy_range", "clone") or (op.name == "fchmod" and within):
            dirty.add(op.path)
        if op.name in ("mkdir", "link", "unlink") or op.creates:
            dirty |= {str(Path(op.path).parent), *([] if op.name == "unlink" else [op.path])}
        if op.name == "fsync":
            dirty.discard(op.path)
        if op.creates and op.path == f"{stage}/MANIFEST.sha256":
            late = {path for path in dirty if Path(path.replace(stage, str(out))).is_file()}
            assert late <= {op.path}, "files are on disk before a manifest vouches for them"
        if op.name == "mkdir" and op.path == stage:
            assert "lock" in names[:number], "the lock comes first"
    assert not {path for path in dirty if path.startswith(stage)}, "the stage is on disk"
    after = [(op.name, op.path) for op in recorder.ops[published + 1 :]]
    assert ("fsync", str(folder)) in after, "the name itself is on disk in the end"


def promise_of_rereading(folder: Path) -> None:
    """A byte that the disk swallowed is noticed before anything appears."""

    def wrap(name: str, call: failing.Call) -> failing.Call:
        def wrong(file: int, data: memoryview) -> int:
            if failing.path_of(file).endswith("/tokenizer.json"):
                data = memoryview(bytes(data).replace(b"e", b"f"))
            return int(call(file, data))

        return wrong if name == "write" else call

    graft = grafts.tiny_graft(folder / "base")
    with pytest.raises(WriteFailed, match="read back"):
        graft.apply(folder / "out", syscalls=failing.system_with(wrap))
    assert not (folder / "out").exists()
    _check_flips_in_copied_ranges(folder)


def _check_flips_in_copied_ranges(folder: Path) -> None:
    """A rewritten weight file is compared with its source: every copied byte counts."""
    size = (folder / "base" / "model.safetensors").stat().st_size
    for at in (0, size // 2, size - 1):

        def wrap(name: str, call: failing.Call, at: int = at) -> failing.Call:
            def flip(file: int) -> None:
                path = Path(failing.path_of(file))
                call(file)
                if path.name == "model.safetensors":
                    data = bytearray(path.read_bytes())
                    data[at] ^= 1
                    path.write_bytes(data)

            return flip if name == "fsync" else call

        graft = grafts.add_tokens(folder / "base")
        with pytest.raises(WriteFailed, match=r"model\.safetensors does not read back"):
            graft.apply(folder / "out", copy="copy", syscalls=failing.system_with(wrap))
        assert not (folder / "out").exists()


def _when_manifest_is_created(act: Callable[[], None]) -> Syscalls:
    def wrap(name: str, call: failing.Call) -> failing.Call:
        def opened(path: str, flags: int, mode: int, folder: int | None) -> int:
            if path == "MANIFEST.sha256" and flags & os.O_CREAT:
                act()
            return int(call(path, flags, mode, folder))

        return opened if name == "open" else call

    return failing.system_with(wrap)


def promise_to_replace_nothing(folder: Path) -> None:
    """A folder that appears at the last moment, even an empty one, stays as it is."""
    out = folder / "out"
    graft = grafts.tiny_graft(folder / "base")
    system = _when_manifest_is_created(out.mkdir)
    with pytest.raises(TargetExists):
        graft.apply(out, syscalls=system)
    assert list(out.iterdir()) == []
    out.rmdir()
    never = Failing(1, refuse(errno.ENOSYS), forever=True, only=("rename_new",)).system()
    both = failing.replace(system, rename_new=never.rename_new)
    with pytest.raises(TargetExists):
        graft.apply(out, syscalls=both)
    assert list(out.iterdir()) == []


def promise_to_replace_only_ours(folder: Path) -> None:
    """Somebody's folder that appears at the last moment survives `--replace` too."""
    out = folder / "out"

    def appear() -> None:
        out.mkdir()
        (out / "thesis.tex").write_text("x")

    graft = grafts.tiny_graft(folder / "base")
    with pytest.raises(TargetExists):
        graft.apply(out, replace=True, syscalls=_when_manifest_is_created(appear))
    assert (out / "thesis.tex").exists()


def promise_of_early_refusal(folder: Path) -> None:
    """An existing target costs no work: nothing is made, not even a stage."""
    (folder / "out").mkdir()
    recorder = Recorder()
    graft = grafts.tiny_graft(folder / "base")
    with pytest.raises(TargetExists):
        graft.apply(folder / "out", syscalls=recorder.system())
    assert "mkdir" not in {op.name for op in recorder.ops}


def promise_of_one_writer(folder: Path) -> None:
    graft = grafts.tiny_graft(folder / "base")
    destination = Destination(folder / "out", folder / "base")
    with (
        Hashing() as hashing,
        store.staging(destination, hashing),
        pytest.raises(TargetLocked),
    ):
        graft.apply(folder / "out")


def promise_of_cleaning_up(folder: Path) -> None:
    """A failure leaves nothing, and a dead stage goes with the next run."""
    graft = grafts.tiny_graft(folder / "base")
    with pytest.raises(WriteFailed):  # noqa: PT012 - the stage is the point
        failure = Failing(3, refuse(errno.EIO), only=("fsync",))
        graft.apply(folder / "out", syscalls=failure.system())
    assert hidden(folder) == []
    (folder / f".out.stage-{'0' * 16}").mkdir()
    graft.apply(folder / "out")
    assert hidden(folder) == []
    old = (folder / "out").stat().st_ino
    graft.apply(folder / "out", replace=True)
    assert hidden(folder) == []
    assert (folder / "out").stat().st_ino != old
    new = Destination(folder / "new", folder / "base")
    with Hashing() as hashing, store.staging(new, hashing) as stage:
        stage.write("a", [b"x"])
    assert hidden(folder) == []


def promise_of_removing_late(folder: Path) -> None:
    """What a killed run exchanged is on disk before what it replaced is removed."""
    dead = folder / f".out.stage-{'0' * 16}"
    dead.mkdir()
    recorder = Recorder()
    grafts.tiny_graft(folder / "base").apply(folder / "out", syscalls=recorder.system())
    ops = [(op.name, op.path) for op in recorder.ops]
    assert ops.index(("fsync", str(folder))) < ops.index(("rmdir", str(dead)))


def promise_of_clearing(folder: Path) -> None:
    """`doctor --clean` removes dead stages, even from folders in which the umask forbids it."""

    def wrap(name: str, call: failing.Call) -> failing.Call:
        def unlink(path: str, inside: int) -> None:
            if not os.fstat(inside).st_mode & stat.S_IWUSR:
                refuse(errno.EACCES)()
            call(path, inside)

        return unlink if name == "unlink" else call

    dead = folder / f".out.stage-{'0' * 16}"
    dead.mkdir()
    (dead / "file").touch()
    dead.chmod(0o500)
    (leftover,) = clearing.leftovers(folder)
    assert clearing.clear(leftover, failing.system_with(wrap))
    assert hidden(folder) == []


def promise_of_old_systems(folder: Path) -> None:
    """Where no rename refuses by itself, new folders appear all the same."""
    never = Failing(1, refuse(errno.EINVAL), forever=True, only=("rename_new",))
    grafts.tiny_graft(folder / "base").apply(folder / "out", syscalls=never.system())
    assert (folder / "out").is_dir()


def promise_of_dry_runs(folder: Path) -> None:
    """A check refuses what can be known to fail, and makes nothing."""
    graft = grafts.tiny_graft(folder / "base")
    (folder / "there").mkdir()
    before = sorted(folder.rglob("*"))
    applying.check(graft.checkpoint, graft.plan, target=folder / "out")
    for target, kind in ((folder / "base" / "out", UsageError), (folder / "there", TargetExists)):
        with pytest.raises(kind):
            applying.check(graft.checkpoint, graft.plan, target=target)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DiskFull):  # noqa: PT012 - the stage is the point
        patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 0, 10))
        applying.check(graft.checkpoint, graft.plan, target=folder / "out", copy="copy")
    assert sorted(folder.rglob("*")) == before


def promise_of_room(folder: Path) -> None:
    """A disk that is too small is refused before the first file."""
    recorder = Recorder()
    system = failing.replace(recorder.system(), free_bytes=lambda _: 1000)
    with pytest.raises(DiskFull):
        grafts.tiny_graft(folder / "base").apply(folder / "out", copy="copy", syscalls=system)
    assert not [op for op in recorder.ops if op.creates and ".stage-" in op.path]


def promise_of_modes(folder: Path) -> None:
    old = os.umask(0o027)
    try:
        grafts.tiny_graft(folder / "base").apply(folder / "out")
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / "out").stat().st_mode) == 0o750
    assert stat.S_IMODE((folder / "out" / "tokengraft").stat().st_mode) == 0o750


def promise_of_a_manifest(folder: Path) -> None:
    grafts.tiny_graft(folder / "base").apply(folder / "out")
    listed = parse_manifest((folder / "out" / "MANIFEST.sha256").read_bytes())
    found = grafts.tree(folder / "out")
    assert set(listed) | {"MANIFEST.sha256"} == set(found)


def promise_of_places(folder: Path) -> None:
    graft = grafts.tiny_graft(folder / "base")
    with pytest.raises(UsageError):
        graft.apply(folder / "base" / "out")


def promise_of_an_unchanged_source(folder: Path) -> None:
    """A source that is edited under our hands is noticed, before and while it is read."""
    graft = grafts.tiny_graft(folder / "base")
    merges = folder / "base" / "merges.txt"

    def touch() -> None:
        merges.write_bytes(merges.read_bytes()[:-1] + b"x")

    def wrap(name: str, call: failing.Call) -> failing.Call:
        def ranged(source: int, file: int, count: int, begin: int) -> int:
            if failing.path_of(source) == str(merges):
                touch()
            return int(call(source, file, count, begin))

        return ranged if name == "copy_range" else call

    with pytest.raises(SourceChanged):
        graft.apply(folder / "out", copy="copy", syscalls=failing.system_with(wrap))
    _check_edited_while_undo_is_written(folder)
    graft = grafts.tiny_graft(folder / "third")
    (folder / "third" / "config.json").touch()
    with pytest.raises(SourceChanged):  # noticed at once, though nothing of it is read again
        grafts.patch_config(graft).apply(folder / "out")
    merges = folder / "base" / "merges.txt"
    graft = grafts.tiny_graft(folder / "base")
    touch()
    with pytest.raises(SourceChanged):
        graft.apply(folder / "out", copy="copy")
    with pytest.raises(SourceChanged):
        graft.apply(folder / "out", copy="link")


def promise_of_the_right_base(folder: Path) -> None:
    """Rows, whole files and tensor names must be those that the plan was made for."""
    graft = grafts.tiny_graft(folder / "base", tied=True)
    base = graft.plan.base
    for wrong in (
        base.model_copy(update={"layout": "0" * 64}),
        base.model_copy(update={"rows": {grafts.EMBED: "0" * 64}}),
        base.model_copy(update={"files": {"model.safetensors": "0" * 64}}),
        base.model_copy(update={"files": {"merges.txt": "0" * 64}}),
    ):
        edits = graft.plan.edits
        stale = grafts.make_plan(graft.checkpoint, edits[:2], tokens=graft.plan.tokens, base=wrong)
        with pytest.raises(StalePlan):
            stale.apply(folder / "out")


def promise_of_documents(folder: Path) -> None:
    """A single file is on disk before it gets its name, and its name is in the end."""
    recorder = Recorder()
    applying.write_document(folder / "plan.json", b"x", system=recorder.system())
    assert [op.name for op in recorder.ops][-4:] == ["write", "fsync", "rename", "fsync"]


def promise_of_drafts(folder: Path) -> None:
    """What a killed run left of a file goes with the next one; what another run is writing stays."""
    dead = folder / f".plan.json.draft-{'d' * 16}"
    dead.write_text("half")
    others: list[int] = []

    def wrap(name: str, call: failing.Call) -> failing.Call:
        def write(file: int, data: memoryview) -> int:
            others.append(file)
            applying.write_document(folder / "plan.json", b"other")
            return int(call(file, data))

        return write if name == "write" else call

    applying.write_document(folder / "plan.json", b"x", system=failing.system_with(wrap))
    assert len(others) == 1
    assert (folder / "plan.json").read_bytes() == b"x"
    assert hidden(folder) == []


def _check_edited_while_undo_is_written(folder: Path) -> None:
    """Old bytes are read a second time for the undo record; they must still be those digested.

    Rows first. Then a file that is dropped: nobody else has it open by then, so whether the edit is
    noticed rests on this reader alone, however fast the others are.
    """
    rows = grafts.tiny_graft(folder / "second")
    _check_edited_at_last_write(rows, folder / "second" / "model.safetensors", folder)
    base = load(tiny.build(folder / "fourth"))
    dropped = grafts.make_plan(base, [DropFile(path="merges.txt")])
    _check_edited_at_last_write(dropped, folder / "fourth" / "merges.txt", folder)


def _check_edited_at_last_write(graft: grafts.Graft, edited: Path, folder: Path) -> None:
    writes: list[int] = []

    def system(touch_at: int) -> Syscalls:
        def wrap(name: str, call: failing.Call) -> failing.Call:
            def write(file: int, data: memoryview) -> int:
                if failing.path_of(file).endswith("undo.safetensors"):
                    writes.append(len(data))
                    if len(writes) == touch_at:
                        edited.touch()
                return int(call(file, data))

            return write if name == "write" else call

        return failing.system_with(wrap)

    graft.apply(folder / f"{edited.parent.name}-out", syscalls=system(0))
    last = len(writes)
    writes.clear()
    with pytest.raises(SourceChanged):
        graft.apply(folder / "out", syscalls=system(last))


PROMISES = (
    *(promise_of_order, promise_of_rereading, promise_to_replace_nothing),
    *(promise_to_replace_only_ours, promise_of_early_refusal, promise_of_one_writer),
    *(promise_of_cleaning_up, promise_of_room, promise_of_modes, promise_of_a_manifest),
    *(promise_of_places, promise_of_an_unchanged_source, promise_of_the_right_base),
    *(promise_of_documents, promise_of_drafts, promise_of_clearing),
    *(promise_of_old_systems, promise_of_dry_runs),
    promise_of_removing_late,
)
