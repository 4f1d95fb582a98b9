"""A single file that a user asked for is there whole or not at all, and killed runs leave nothing for long."""

from __future__ import annotations

import errno
import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

import failing
import grafts
from failing import Failing, Recorder, hidden, refuse
from tokengraft.applying import write_document
from tokengraft.applying.syscalls import SYSTEM
from tokengraft.errors import DiskFull, TargetLocked, WriteFailed


def test_a_single_document_replaces_the_old_one_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("old")
    for at in range(1, 100):
        failure = Failing(at, refuse(errno.ENOSPC))
        try:
            write_document(path, b"new", system=failure.system())
        except DiskFull:
            assert path.read_text() in ("old", "new")
            assert hidden(tmp_path) == [] or failure.failed == "unlink"
        if not failure.failed:
            break
        path.write_text("old")
    assert path.read_text() == "new"


def test_a_document_is_synced_before_it_gets_its_name(tmp_path: Path) -> None:
    recorder = Recorder()
    write_document(tmp_path / "plan.json", b"x", system=recorder.system())
    names = [op.name for op in recorder.ops if op.name not in ("open", "lock")]
    assert names == ["write", "fsync", "rename", "fsync"]


def test_the_next_document_takes_away_what_a_killed_run_left_of_it(tmp_path: Path) -> None:
    dead, alive = (tmp_path / f".plan.json.draft-{letter * 16}" for letter in "de")
    others = [tmp_path / ".plan.json.draft-", tmp_path / f".plan.jsonl.draft-{'d' * 16}"]
    for path in (dead, alive, *others):
        path.write_text("half")
    with alive.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_document(tmp_path / "plan.json", b"new")
    assert not dead.exists()
    assert all(path.read_text() == "half" for path in (alive, *others))
    write_document(tmp_path / "plan.json", b"newer")
    assert not alive.exists()
    assert (tmp_path / "plan.json").read_bytes() == b"newer"


@pytest.mark.parametrize("is_held", [False, True])
def test_a_draft_that_another_run_takes_for_dead_is_begun_again(
    tmp_path: Path, is_held: bool
) -> None:
    lost: list[Path] = []
    holders: list[int] = []

    def lock(file: int) -> None:
        # Before the lock is taken another run has removed the draft, or looks at it.
        if len(lost) < 3:
            draft = next(path for path in tmp_path.glob(".plan.json.draft-*") if path not in lost)
            lost.append(draft)
            if is_held:
                holders.append(os.open(draft, os.O_RDONLY))
                fcntl.flock(holders[-1], fcntl.LOCK_EX)
            draft.unlink()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    write_document(tmp_path / "plan.json", b"new", system=replace(SYSTEM, lock=lock))
    for holder in holders:
        os.close(holder)
    assert len(lost) == 3
    assert (tmp_path / "plan.json").read_bytes() == b"new"
    assert hidden(tmp_path) == []


def test_a_draft_that_is_never_left_alone_is_given_up(tmp_path: Path) -> None:
    def lock(_: int) -> None:
        next(tmp_path.glob(".plan.json.draft-*")).unlink()

    with pytest.raises(TargetLocked, match="keep removing drafts"):
        write_document(tmp_path / "plan.json", b"new", system=replace(SYSTEM, lock=lock))
    assert list(tmp_path.iterdir()) == []


def test_a_sidecar_that_is_damaged_on_its_way_to_the_disk_is_called_so(tmp_path: Path) -> None:
    def wrap(name: str, call: failing.Call) -> failing.Call:
        def write(file: int, data: memoryview) -> int:
            turned = bytearray(data)
            if Path(failing.path_of(file)).name == "rows.safetensors":
                turned[8] ^= 1  # the first byte of its header
            return int(call(file, memoryview(turned)))

        return write if name == "write" else call

    graft = grafts.tiny_graft(tmp_path / "base")
    with pytest.raises(WriteFailed, match=r"rows\.safetensors does not read back"):
        graft.apply(tmp_path / "out", syscalls=failing.system_with(wrap))
    assert not (tmp_path / "out").exists()
    assert hidden(tmp_path) == []
