"""The one place that turns what went wrong into text or JSON, and into an exit code."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from tokengraft.cli import terminal
from tokengraft.cli.session import Watch
from tokengraft.errors import TokengraftError

if TYPE_CHECKING:
    from tokengraft.reporting.catalogue import Words

USAGE, ENVIRONMENT, BUG, INTERRUPTED = 2, 5, 70, 130
# What the machine refuses, whoever asked; any other OSError that nobody turned into an error of
# ours is a bug of ours.
_MACHINE: Final = {
    errno.ENOSPC: "DiskFull",
    errno.EDQUOT: "DiskFull",
    errno.EROFS: "WriteFailed",
    errno.EACCES: "PermissionDenied",
    errno.EPERM: "PermissionDenied",
    errno.EIO: "ReadFailed",
    errno.EMFILE: "TooManyFiles",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, ready to be told; `before` is for stderr alone: a traceback, or help."""

    exit_code: int
    code: str
    summary: str
    detail: str = ""
    subject: str = ""
    hint: str = ""
    before: str = ""


def guarded(run: Callable[[], int], watch: Watch) -> int:
    """Run the command line and tell whatever goes wrong; the value is the exit code."""
    terminal.forgive_encoding()
    try:
        with _terminable():
            return run()
    except SystemExit:
        raise
    except BaseException as problem:  # noqa: BLE001  a panic of a Rust library is no Exception
        failure = _failure(problem, watch)
        _tell(failure, watch)
        return failure.exit_code


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that stages remove themselves."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _failure(problem: BaseException, watch: Watch) -> Failure:
    match problem:
        case TokengraftError() if problem.exit_code == INTERRUPTED:
            return _interrupted(watch)
        case TokengraftError():
            notes = getattr(problem, "__notes__", ())
            detail = "\n".join(filter(None, (problem.detail, *notes)))
            return Failure(
                problem.exit_code,
                problem.code,
                problem.summary,
                detail,
                problem.subject,
                problem.hint,
            )
        case click.ClickException():
            return _usage(problem)
        case KeyboardInterrupt() | click.Abort():
            return _interrupted(watch)
        case BrokenPipeError():
            return Failure(ENVIRONMENT, "BrokenPipe", "the reader of our output has gone away")
        case MemoryError():
            return Failure(ENVIRONMENT, "OutOfMemory", "there is not enough memory")
        case OSError() if problem.errno in _MACHINE:
            return Failure(
                ENVIRONMENT,
                _MACHINE[problem.errno],
                problem.strerror or "refused",
                subject=str(problem.filename or ""),
            )
        case _:
            return _bug(problem)


def _interrupted(watch: Watch) -> Failure:
    say = _words(watch)
    published = watch.published()
    if published is None:
        detail, hint = say("nothing was published"), ""
    else:
        detail = say(
            "{target} had already been published: verify it before you use it", target=published
        )
        hint = _verify(published)
    return Failure(INTERRUPTED, "Interrupted", say("interrupted"), detail, hint=hint)


def _verify(published: object) -> str:
    import shlex

    return shlex.join(("tokengraft", "verify", str(published)))


def _usage(problem: click.ClickException) -> Failure:
    """A usage error of click: click's own text, and where help is."""
    context = getattr(problem, "ctx", None)
    path = context.command_path if context is not None else "tokengraft"
    summary = problem.format_message().rstrip(".")
    if type(problem).__name__ == "NoArgsIsHelpError":
        # click puts the whole help into the message
        return Failure(
            USAGE,
            "UsageError",
            "nothing was asked for",
            hint=f"{path} --help",
            before=problem.format_message() + "\n\n",
        )
    return Failure(USAGE, "UsageError", summary, hint=f"{path} --help")


def _bug(problem: BaseException) -> Failure:
    import traceback

    from tokengraft.reporting import escape

    said = f"{type(problem).__name__}: {problem}"
    trace = escape.block("".join(traceback.format_exception(problem)))
    return Failure(
        BUG, "Bug", "a bug of ours, please report it with the traceback above", said, before=trace
    )


def _words(watch: Watch) -> Words:
    from tokengraft.reporting.catalogue import BY_LANGUAGE

    return BY_LANGUAGE.get(watch.language, BY_LANGUAGE["en"])


def _tell(failure: Failure, watch: Watch) -> None:
    if failure.before:
        terminal.complain(failure.before)
    if watch.as_json:
        from tokengraft.reporting import json

        fields = {
            name: getattr(failure, name)
            for name in ("code", "summary", "detail", "subject", "hint")
        }
        terminal.write_data(json.error(fields))
        return
    terminal.complain(_text(failure, watch))


def _text(failure: Failure, watch: Watch) -> str:
    from tokengraft.reporting import escape

    say = _words(watch)
    lines = [f"{say('error')}: {escape.inline(say.translated(say(failure.summary)))}"]
    for label, value in (
        ("where", failure.subject),
        ("why", failure.detail),
        ("try", failure.hint),
    ):
        if value:
            first, *more = escape.block(say.translated(value)).split("\n")
            lines += [f"  {say(label)}: {first}", *(f"    {line}" for line in more)]
    return "\n".join(lines) + "\n"
