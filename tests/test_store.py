"""The store keeps its promises, and each step of its protocol is needed for one of them."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import failing
import grafts
from failing import Failing, hidden, refuse
from tokengraft.applying import clearing
from tokengraft.applying.hashing import Hashing
from tokengraft.applying.places import Destination
from tokengraft.applying.store import Stage, staging
from tokengraft.applying.syscalls import SYSTEM
from tokengraft.errors import (
    DiskFull,
    MalformedFile,
    TargetExists,
    TargetLocked,
    TokengraftError,
    UnsafePath,
    UsageError,
    WriteFailed,
)
from tokengraft.formats.manifest import format_manifest, parse_manifest


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@contextmanager
def _stage_into(target: Path, base: Path, **options: Any) -> Iterator[Stage]:
    system = options.pop("system", SYSTEM)
    destination = Destination(target, base, **options)
    with Hashing() as hashing, staging(destination, hashing, system) as stage:
        yield stage


def _publish(target: Path, base: Path, **options: Any) -> None:
    with _stage_into(target, base, **options) as stage:
        stage.write("a/b/c.txt", [b"one", b"two"])
        stage.write("tokengraft/plan.json", [b"{}"])
        stage.publish()


def test_a_folder_appears_whole_with_a_manifest_that_sha256sum_reads(
    tmp_path: Path, base: Path
) -> None:
    out = tmp_path / "out"
    with _stage_into(out, base) as stage:
        stage.write("weights.bin", [b"x"])
        assert not out.exists()
        stage.publish()
    check = ["sha256sum", "--check", "--strict", "--quiet", "MANIFEST.sha256"]
    subprocess.run(check, cwd=out, check=True)
    assert sorted(grafts.tree(out)) == ["MANIFEST.sha256", "weights.bin"]
    assert hidden(tmp_path) == []


def test_an_error_in_the_middle_leaves_no_trace(tmp_path: Path, base: Path) -> None:
    with pytest.raises(ZeroDivisionError), _stage_into(tmp_path / "out", base) as stage:  # noqa: PT012 - the stage is the point
        stage.write("a/b", [b"x"])
        raise ZeroDivisionError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_a_stage_that_is_not_published_is_removed(tmp_path: Path, base: Path) -> None:
    with _stage_into(tmp_path / "out", base) as stage:
        stage.write("a", [b"x"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_a_file_without_a_digest_is_a_bug(tmp_path: Path, base: Path) -> None:
    with pytest.raises(AssertionError), _stage_into(tmp_path / "out", base) as stage:  # noqa: PT012 - the stage is the point
        with stage.create("a") as file:
            file.write(b"x")
        stage.publish()


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0o002])
def test_modes_follow_the_umask_and_the_stage_is_private(
    tmp_path: Path, base: Path, mask: int
) -> None:
    old = os.umask(mask)
    try:
        out = tmp_path / "out"
        with _stage_into(out, base) as stage:
            stage.write("a/b.txt", [b"x"])
            (hidden_stage,) = (p for p in tmp_path.iterdir() if ".stage-" in p.name)
            assert stat.S_IMODE(hidden_stage.stat().st_mode) == 0o700
            stage.publish()
    finally:
        os.umask(old)
    for path in (out, out / "a"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o777 & ~mask
    for path in (out / "a" / "b.txt", out / "MANIFEST.sha256"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_an_existing_target_is_refused_whatever_it_is(
    tmp_path: Path, base: Path, kind: str
) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
    elif kind == "file":
        out.write_text("x")
    else:
        out.symlink_to("nowhere")
    with pytest.raises(TargetExists) as raised, _stage_into(out, base):
        pass
    assert raised.value.exit_code == 4
    assert "--replace" in raised.value.hint


def test_replace_swaps_an_earlier_output_and_removes_it(tmp_path: Path, base: Path) -> None:
    out = tmp_path / "out"
    _publish(out, base)
    old = out.stat().st_ino
    _publish(out, base, replace=True)
    assert out.stat().st_ino != old
    assert sorted(grafts.tree(out)) == ["MANIFEST.sha256", "a/b/c.txt", "tokengraft/plan.json"]
    assert hidden(tmp_path) == []


def test_replace_takes_nothing_that_is_not_ours(tmp_path: Path, base: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(TargetExists):
        _publish(out, base, replace=True)
    assert (out / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL], ids=errno.errorcode.get)
def test_without_an_atomic_exchange_replace_is_refused_and_new_folders_are_made(
    tmp_path: Path, base: Path, code: int
) -> None:
    only = ("rename_new", "exchange")
    system = Failing(1, refuse(code), forever=True, only=only).system()
    out = tmp_path / "out"
    _publish(out, base, system=system)
    before = grafts.tree(out)
    with pytest.raises(WriteFailed, match="cannot replace a folder in one step"):
        _publish(out, base, replace=True, system=system)
    assert grafts.tree(out) == before
    assert hidden(tmp_path) == []


def _inside(base: Path) -> Path:
    return base / "out"


def _in_its_place(base: Path) -> Path:
    return base


def _around(base: Path) -> Path:
    return base.parent


def _in_the_cache(base: Path) -> Path:
    snapshots = base.parent / "hub" / "models--a--b" / "snapshots"
    snapshots.mkdir(parents=True)
    return snapshots / "out"


def _among_the_blobs(base: Path) -> Path:
    return _in_the_cache(base).parent.parent / "blobs" / "out"


@pytest.mark.parametrize(
    "place", [_inside, _in_its_place, _around, _in_the_cache, _among_the_blobs]
)
@pytest.mark.parametrize("replace", [False, True])
def test_no_output_in_around_or_in_place_of_what_is_only_read(
    base: Path, place: Callable[[Path], Path], replace: bool
) -> None:
    target = place(base)
    target.parent.mkdir(exist_ok=True)
    before = grafts.tree(base.parent)
    with pytest.raises(UsageError), _stage_into(target, base, replace=replace):
        pass
    assert grafts.tree(base.parent) == before


def test_no_output_in_the_cache_that_the_caller_names(tmp_path: Path, base: Path) -> None:
    cache = tmp_path / "hub"
    cache.mkdir()
    for target in (cache / "out", cache):
        with pytest.raises(UsageError), _stage_into(target, base, cache=cache):
            pass


def test_a_missing_parent_folder_is_named(tmp_path: Path, base: Path) -> None:
    with pytest.raises(WriteFailed) as raised, _stage_into(tmp_path / "no" / "out", base):
        pass
    assert raised.value.hint.startswith("mkdir -p")


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//b", ".", "", "a\\b", "a\0b"])
def test_no_path_leaves_the_stage(tmp_path: Path, base: Path, path: str) -> None:
    with pytest.raises(UnsafePath), _stage_into(tmp_path / "out", base) as stage:
        stage.write(path, [b"x"])


def test_a_link_planted_in_the_stage_is_not_followed(tmp_path: Path, base: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(WriteFailed), _stage_into(tmp_path / "out", base) as stage:  # noqa: PT012 - the stage is the point
        (found,) = (p for p in tmp_path.iterdir() if ".stage-" in p.name)
        (found / "a").symlink_to(tmp_path / "elsewhere")
        stage.write("a/b", [b"x"])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_too_little_room_is_refused_before_anything_is_written(tmp_path: Path, base: Path) -> None:
    with pytest.raises(DiskFull) as raised, _stage_into(tmp_path / "out", base) as stage:
        stage.require_room(1 << 60)
    assert raised.value.exit_code == 5
    assert hidden(tmp_path) == []


def test_a_dead_stage_of_this_target_is_removed_and_no_other(tmp_path: Path, base: Path) -> None:
    ours = tmp_path / f".out.stage-{'0' * 16}"
    others = [tmp_path / name for name in (f".out.stage-b.stage-{'0' * 16}", ".out.stage-mine")]
    for folder in (ours, *others):
        (folder / "a").mkdir(parents=True)
        (folder / "a" / "file").write_text("x")
    _publish(tmp_path / "out", base)
    assert not ours.exists()
    assert all(folder.exists() for folder in others)


def test_removing_a_stage_follows_no_link(tmp_path: Path, base: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    dead = tmp_path / f".out.stage-{'0' * 16}"
    dead.mkdir()
    (dead / "link").symlink_to(precious)
    _publish(tmp_path / "out", base)
    assert (precious / "file").exists()


def test_a_second_run_is_told_at_once_and_the_lock_dies_with_its_holder(
    tmp_path: Path, base: Path
) -> None:
    out = tmp_path / "out"
    with _stage_into(out, base):
        with pytest.raises(TargetLocked) as raised, _stage_into(out, base):
            pass
        assert raised.value.exit_code == 4
        with _stage_into(tmp_path / "other", base):
            pass
    _publish(out, base)


def test_a_lock_whose_file_was_removed_meanwhile_counts_for_nothing(
    tmp_path: Path, base: Path
) -> None:
    """The run before us unlinks its lock file between our open and our lock."""
    name = tmp_path / ".out.tokengraft.lock"
    times = []

    def wrap(call_name: str, call: failing.Call) -> failing.Call:
        def lock(file: int) -> None:
            if not times:
                name.unlink()
            times.append(file)
            call(file)

        return lock if call_name == "lock" else call

    _publish(tmp_path / "out", base, system=failing.system_with(wrap))
    assert len(times) == 2


def test_of_many_runs_for_one_target_exactly_one_wins(tmp_path: Path, base: Path) -> None:
    for number in range(10):
        out = tmp_path / f"out{number}"
        told: list[int] = []
        gate = threading.Barrier(4)

        def run(out: Path = out, told: list[int] = told, gate: threading.Barrier = gate) -> None:
            gate.wait()
            try:
                _publish(out, base)
            except TokengraftError as error:
                told.append(error.exit_code)
            else:
                told.append(0)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == [0, 4, 4, 4]
    assert hidden(tmp_path) == []


def test_clearing_removes_the_dead_and_spares_the_living(tmp_path: Path, base: Path) -> None:
    dead = tmp_path / f".gone.stage-{'0' * 16}"
    dead.mkdir()
    (dead / "f").write_bytes(b"xyz")
    with _stage_into(tmp_path / "out", base):
        found = {leftover.target.name: leftover for leftover in clearing.leftovers(tmp_path)}
        assert set(found) == {"gone", "out"}
        assert found["gone"].size_bytes == 3
        assert clearing.clear(found["gone"])
        assert not clearing.clear(found["out"])
        assert found["out"].path.exists()
    assert not dead.exists()


PATHS = st.text(
    st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1
).filter(lambda name: name not in (".", ".."))


@given(st.dictionaries(PATHS, st.binary(min_size=32, max_size=32).map(bytes.hex)))
def test_a_manifest_reads_back_as_it_was_written(digests: dict[str, str]) -> None:
    assert parse_manifest(format_manifest(digests)) == digests


def test_odd_names_are_escaped_as_gnu_does(tmp_path: Path) -> None:
    digests = {}
    for name in ("plain", "with space", "*star", "back\\slash", "new\nline", "тест"):
        (tmp_path / name).write_text(name)
        digests[name] = grafts.digest(tmp_path / name)
    told = subprocess.run(
        ["sha256sum", *sorted(digests, key=str.encode)],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert format_manifest(digests) == told.stdout


LINE = b"0" * 64 + b"  a\n"


@pytest.mark.parametrize(
    "data",
    [
        *(LINE[:-1], LINE + b"\n", b"\n" + LINE, LINE * 2, LINE.replace(b"  ", b" *")),
        *(LINE.upper().replace(b"A", b"a") + b"x", LINE.replace(b"\n", b"\r\n"), b" " + LINE),
        *(b"\xef\xbb\xbf" + LINE, b"\\" + LINE, LINE.replace(b"a", b"b") + LINE),
        *(b"\\" + LINE.replace(b"a", b"\\q"), LINE.replace(b"a", b"\\\\"), b"F" * 64 + b"  a\n"),
    ],
)
def test_any_other_byte_in_a_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedFile):
        parse_manifest(data)
