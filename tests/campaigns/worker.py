"""The process that campaigns kill: imports once, then forks a child for each job.

Starting Python and its imports takes half a second and the job itself twenty milliseconds; so a server
forks children that have all imports behind them. What is killed, refused or interrupted is a whole
process all the same, and it holds its own descriptors, locks and threads.

Reads one JSON line a batch of jobs on stdin: `[job, ...]`; answers the children's pids, waits for a
line, opens the gate for all of them at once, and answers how each one ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import grafts
import mutants
from tokengraft import applying, flow
from tokengraft.applying import clearing
from tokengraft.applying.syscalls import SYSTEM, Syscalls
from tokengraft.checkpoint import Checkpoint
from tokengraft.cli.app import app
from tokengraft.errors import TokengraftError
from tokengraft.formats.loading import load
from tokengraft.formats.plan_files import PlanFile, read_plan
from tokengraft.verifying.encodings import Corpus

Job = dict[str, Any]
BUG = 70
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_REMOUNT, MS_REC, MS_PRIVATE = 0x20, 0x4000, 1 << 18
LIBC = ctypes.CDLL(None, use_errno=True)
# The built-in corpus takes two seconds a run, and no call that changes a disk.
ONE_LINE = Corpus("one line", ("old text\n",))


def _checked(done: int, what: str) -> None:
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def _own_disk(folder: str, options: str) -> None:
    """Mount a small disk of our own over `folder`, seen by this process alone."""
    user, group = os.getuid(), os.getgid()
    flags = CLONE_NEWNS if user == 0 else CLONE_NEWNS | CLONE_NEWUSER
    _checked(LIBC.unshare(flags), "unshare")
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _checked(LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")
    _checked(
        LIBC.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options.encode()), "mount tmpfs"
    )


def _system(job: Job) -> Syscalls:
    if job.get("unasked"):  # the room is not asked for, so that the disk itself refuses
        return replace(SYSTEM, free_bytes=lambda _: 1 << 40)
    return SYSTEM


def _apply(job: Job) -> Callable[[], None]:
    """Everything that reads the plan and the base comes before the gate."""
    read = _read if job.get("anew") else _read_once
    checkpoint, planned = read(job["base"], job["plan"])
    options = {key: job[key] for key in ("copy", "replace") if key in job}
    return lambda: _ignore(
        applying.apply(
            checkpoint,
            planned.plan,
            target=Path(job["out"]),
            plan_text=planned.text,
            sidecar=planned.sidecar,
            syscalls=_system(job),
            **options,
        )
    )


def _read(base: str, plan: str) -> tuple[Checkpoint, PlanFile]:
    return load(Path(base)), read_plan(Path(plan))


# Children inherit what the server has read; a base that is about to be edited is read anew.
_read_once = cache(_read)


def _ignore(_: object) -> None:
    """What a job returns is looked for on the disk, not in memory."""


def _undo(job: Job) -> Callable[[], None]:
    return lambda: _ignore(applying.undo(Path(job["out"]), target=Path(job["target"])))


def _run(job: Job) -> Callable[[], None]:
    def run() -> None:
        story = flow.run(Path(job["recipe"]), base=job["base"], out=Path(job["out"]))
        assert story.verification.passed, "what was made does not verify"

    return run


def _clean(job: Job) -> Callable[[], None]:
    def clean() -> None:
        for _ in range(job.get("times", 1)):
            for leftover in clearing.leftovers(Path(job["folder"])):
                clearing.clear(leftover)
            time.sleep(job.get("pause", 0))

    return clean


def _edit(job: Job) -> Callable[[], None]:
    """Somebody else writes into the source."""

    def edit() -> None:
        time.sleep(job["after"])
        path, way = Path(job["path"]), job["way"]
        data = path.read_bytes()
        if way == "append":
            with path.open("ab") as file:
                file.write(b" ")
        elif way == "in place":
            with path.open("r+b") as file:
                file.seek(len(data) // 2)
                file.write(bytes([data[len(data) // 2] ^ 1]))
        elif way == "truncate":
            os.truncate(path, len(data) - 1)
        elif way == "replace":
            draft = path.with_name(".draft")
            draft.write_bytes(data)
            draft.rename(path)
        elif way == "remove":
            path.unlink()
        else:
            os.utime(path, ns=(1, 1))

    return edit


def _make(job: Job) -> Callable[[], None]:
    """Somebody else makes a folder where OUT is to appear."""

    def make() -> None:
        time.sleep(job["after"])
        try:
            Path(job["out"]).mkdir()
            if job.get("file"):
                (Path(job["out"]) / "thesis.tex").write_text("years of work")
        except FileExistsError:
            os._exit(4)

    return make


def _cli(job: Job) -> Callable[[], None]:
    return lambda: app.main(job["words"], prog_name="tokengraft")


def _document(job: Job) -> Callable[[], None]:
    return lambda: applying.write_document(Path(job["path"]), job["text"].encode())


JOBS = {
    "apply": _apply,
    "undo": _undo,
    "run": _run,
    "clean": _clean,
    "edit": _edit,
    "make": _make,
    "cli": _cli,
    "document": _document,
}


def _act(job: Job, act: Callable[[], None]) -> Job:
    """Do it; on a disk of our own that may grow, do it again if it was refused at first."""
    try:
        act()
    except TokengraftError as error:
        if "grow" not in job:
            raise
        left = sorted(path.name for path in Path(job["mount"]).iterdir())
        first = {"exit": error.exit_code, "left": left, **_told(error)}
        place, options = os.fsencode(job["mount"]), job["grow"].encode()
        _checked(LIBC.mount(None, place, None, MS_REMOUNT, options), "remount tmpfs")
        act()
        return {"first": first}
    return {}


def _told(error: TokengraftError) -> Job:
    notes = getattr(error, "__notes__", [])
    told = {name: str(getattr(error, name)) for name in ("summary", "detail", "subject")}
    return {"code": error.code, **told, "notes": notes}


def _answer(job: Job, gate: int, back: int) -> tuple[int, Job]:
    """Do one job and say how it ended, as the command line would: an exit code, and why."""
    try:
        if "disk" in job:
            _own_disk(job["mount"], job["disk"])
        if "mutant" in job:
            mutants.install(mutants.MUTANTS[job["mutant"]])
        act = JOBS[job["do"]](job)
        os.write(back, b"\n")  # all that is read before the gate has been read
        os.read(gate, 1)
        if "shim" in job:
            LIBC.tokengraft_shim(*job["shim"])
        if "max_file" in job:
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["max_file"],) * 2)
        return 0, _act(job, act)
    except TokengraftError as error:
        return error.exit_code, _told(error)
    except KeyboardInterrupt:
        return 130, {"code": "Interrupted"}
    except SystemExit as end:
        return (end.code if isinstance(end.code, int) else 1), {}
    except BaseException:  # noqa: BLE001 - a bug of ours is what the campaign looks for
        return BUG, {"code": "Bug", "trace": traceback.format_exc()}


def _child(job: Job, gate: int, back: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    LIBC.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER: whoever asks may trace us
    sink = os.open(job.get("said", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    code, answer = _answer(job, gate, back)
    if "shim" in job:
        LIBC.tokengraft_shim(0, 0, 0)
        LIBC.tokengraft_shim_failed.restype = ctypes.c_char_p
        answer["failed"] = LIBC.tokengraft_shim_failed().decode()
        answer["calls"] = LIBC.tokengraft_shim_count()
    if "look" in job:  # a disk of our own is gone with us, so we look at it ourselves
        answer["found"] = _look(Path(job["look"]))
    os.write(back, json.dumps(answer).encode())
    os._exit(code)


def _look(folder: Path) -> dict[str, str]:
    return {name: grafts.digest(folder / name) for name in grafts.tree(folder)}


def serve() -> None:
    """Fork a child for each job of a batch, open the gate when told, and tell how they ended."""
    for line in sys.stdin:
        gate, opened = os.pipe()
        children = []
        for job in json.loads(line):
            if job["do"] == "apply" and not job.get("anew"):
                _read_once(job["base"], job["plan"])
            answer, back = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(opened)
                _child(job, gate, back)
            os.close(back)
            children.append((pid, answer))
        os.close(gate)
        for _, answer in children:
            os.read(answer, 1)
        print(json.dumps([pid for pid, _ in children]), flush=True)  # noqa: T201
        sys.stdin.readline()
        os.close(opened)
        ends = [_end(pid, answer) for pid, answer in children]
        print(json.dumps(ends), flush=True)  # noqa: T201


def _end(pid: int, answer: int) -> tuple[int, Any]:
    with os.fdopen(answer, "rb") as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, json.loads(said) if said else {}


def _warm() -> None:
    """Have every lazy import behind us before the first child, and short texts before us."""
    Corpus.of = classmethod(lambda *_: ONE_LINE)  # type: ignore[method-assign,assignment]
    assert all((flow.run, flow.apply, flow.undo, flow.doctor, flow.verify))


if __name__ == "__main__":
    _warm()
    serve()
