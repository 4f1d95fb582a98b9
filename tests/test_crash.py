"""Whatever fails, and wherever a run dies: the destination is absent or complete, and a rerun works."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import failing
import grafts
from failing import Failing, hidden, refuse
from tokengraft.applying.copying import CopyMode
from tokengraft.errors import DiskFull, SourceChanged, TokengraftError, WriteFailed
from tokengraft.formats.manifest import parse_manifest

MAX_CALLS = 2_000


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    with failing.quick_folder(tmp_path) as folder:
        yield folder


def _is_complete(out: Path) -> bool:
    """Whether every file is there as the manifest says, and no other."""
    found = {name: data for name, data in grafts.tree(out).items() if name != "MANIFEST.sha256"}
    listed = parse_manifest((out / "MANIFEST.sha256").read_bytes())
    return {name: grafts.digest(out / name) for name in found} == listed


def _graft(folder: Path, **fields: Any) -> grafts.Graft:
    return grafts.tiny_graft(folder / "base", **fields)


def _expected(folder: Path, graft: grafts.Graft) -> bytes:
    graft.apply(folder / "expected")
    return (folder / "expected" / "MANIFEST.sha256").read_bytes()


@pytest.mark.parametrize("mode", ["copy", "link", "auto"])
@pytest.mark.parametrize("code", failing.ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("forever", [False, True], ids=["once", "from-there-on"])
def test_a_failure_at_any_call_leaves_nothing_or_everything(
    quick: Path, mode: CopyMode, code: int, forever: bool
) -> None:
    graft = _graft(quick)
    source = grafts.tree(quick / "base")
    expected = _expected(quick, graft)
    out = quick / "out"
    for at in range(1, MAX_CALLS):
        plan = Failing(at, refuse(code), forever=forever)
        error = None
        try:
            graft.apply(out, copy=mode, syscalls=plan.system())
        except TokengraftError as raised:
            error = raised
        if not plan.failed:
            break
        if out.exists():
            assert _is_complete(out), at
            assert error is None or "published" in error.summary, (at, plan.failed)
        else:
            assert error is not None
            _check_error(error, code, plan.failed)
            # Without the lock its empty file stays: another run may be waiting at it.
            left = {".out.tokengraft.lock"} if plan.failed in ("lock", "unlink") else set()
            assert forever or set(hidden(quick)) <= left, (at, plan.failed)
        _rerun(graft, out, expected)
        assert hidden(quick) == []
        assert grafts.tree(quick / "base") == source
    else:
        pytest.fail("the run never ended")
    assert at > 60


def _check_error(error: TokengraftError, code: int, call: str) -> None:
    assert error.exit_code == 5, call
    assert error.subject
    kind = DiskFull if code == errno.ENOSPC else WriteFailed
    assert isinstance(error, kind), call
    assert os.strerror(code) in error.detail


def _rerun(graft: grafts.Graft, out: Path, expected: bytes) -> None:
    if out.exists():  # published, and perhaps stopped short of removing the file of its lock
        (out.parent / ".out.tokengraft.lock").unlink(missing_ok=True)
    else:
        graft.apply(out)
    assert (out / "MANIFEST.sha256").read_bytes() == expected
    for path in sorted(out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    out.rmdir()


@pytest.mark.parametrize(
    ("mode", "fields"),
    [("copy", {}), ("link", {}), ("copy", {"tied": True, "untie": True})],
    ids=str,
)
def test_a_death_at_any_call_is_mended_by_the_next_run(
    quick: Path, mode: str, fields: dict[str, Any]
) -> None:
    script = "import sys, test_crash; test_crash.die_everywhere(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", script, str(quick), mode, json.dumps(fields)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["deaths"] > 60
    assert told["left_a_stage"] > 20
    assert told["published"] >= 1


def die_everywhere(folder: str, mode: CopyMode, fields: str) -> None:
    """Kill a child at every call, check what it left, and run again; tells counts on stdout."""
    quick = Path(folder)
    graft = _graft(quick, **json.loads(fields))
    source, expected = grafts.tree(quick / "base"), _expected(quick, graft)
    out = quick / "out"
    told = {"deaths": 0, "left_a_stage": 0, "published": 0}
    for at in range(1, MAX_CALLS):
        child = os.fork()
        if child == 0:
            try:
                graft.apply(out, copy=mode, syscalls=Failing(at, failing.die).system())
            except BaseException:  # noqa: BLE001 - the parent must not run twice
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 77), (at, status)
        if status == 77:
            told["deaths"] += 1
            told["published"] += out.exists()
            told["left_a_stage"] += any(".stage-" in name for name in hidden(quick))
        assert not out.exists() or _is_complete(out), at
        _rerun(graft, out, expected)
        assert not any(".stage-" in name for name in hidden(quick)), at
        assert grafts.tree(quick / "base") == source
        if status == 0:
            break
    sys.stdout.write(json.dumps(told))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interruption_removes_the_stage_and_goes_on(
    quick: Path, stop: type[BaseException]
) -> None:
    graft = _graft(quick)

    def interrupt() -> None:
        raise stop

    for at in (10, 30, 50):
        with pytest.raises(stop):
            graft.apply(quick / "out", syscalls=Failing(at, interrupt).system())
        assert not (quick / "out").exists()
        assert hidden(quick) == []


def test_a_write_that_takes_one_byte_at_a_time_writes_the_same(quick: Path) -> None:
    graft = _graft(quick)
    expected = _expected(quick, graft)

    def wrap(name: str, call: failing.Call) -> failing.Call:
        if name == "write":
            return lambda file, data: call(file, data[:7])
        if name == "copy_range":
            return lambda source, file, count, begin: call(source, file, min(count, 5), begin)
        return call

    graft.apply(quick / "out", copy="copy", syscalls=failing.system_with(wrap))
    assert (quick / "out" / "MANIFEST.sha256").read_bytes() == expected


@pytest.mark.parametrize(
    "code", [errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get
)
def test_copying_goes_on_by_hand_where_the_kernel_cannot(quick: Path, code: int) -> None:
    graft = _graft(quick)
    expected = _expected(quick, graft)
    never = Failing(1, refuse(code), forever=True, only=("copy_range", "clone"))
    graft.apply(quick / "out", copy="auto", syscalls=never.system())
    assert (quick / "out" / "MANIFEST.sha256").read_bytes() == expected


def test_a_file_that_becomes_shorter_while_it_is_copied_is_refused(quick: Path) -> None:
    graft = _graft(quick)

    def wrap(name: str, call: failing.Call) -> failing.Call:
        def cut(source: int, file: int, size: int, begin: int) -> int:
            os.truncate(quick / "base" / "merges.txt", 3)
            return int(call(source, file, size, begin))

        return cut if name == "copy_range" else call

    with pytest.raises(SourceChanged):
        graft.apply(quick / "out", copy="copy", syscalls=failing.system_with(wrap))
    assert hidden(quick) == []
