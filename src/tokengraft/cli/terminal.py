"""What the terminal can do. This is the one place that reads the environment for views."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from tokengraft.reporting.screen import Screen

Colour = Literal["auto", "always", "never"]
_SIGNS = "✓✗–?←→"


def wants_colour(choice: Colour, stream: TextIO) -> bool:
    """Follow the option, then NO_COLOR, FORCE_COLOR and TERM, then the stream.

    Source: https://no-color.org (set and not empty), https://force-color.org.
    """
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream) and os.environ.get("TERM") not in ("dumb", "unknown")


def is_terminal(stream: TextIO) -> bool:
    """Whether a person may be looking."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def can_encode_signs(stream: TextIO) -> bool:
    """Whether ticks, dashes and arrows reach the reader as such."""
    try:
        _SIGNS.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def screen(choice: Colour, language: str, stream: TextIO) -> Screen:
    """The screen behind a stream: 100 columns without colours where it is no terminal."""
    import shutil  # 10 ms of compression libraries that help does not need

    from tokengraft.reporting.catalogue import BY_LANGUAGE
    from tokengraft.reporting.screen import PLAIN_WIDTH, Screen

    width = shutil.get_terminal_size((PLAIN_WIDTH, 40)).columns if is_terminal(stream) else 0
    return Screen(
        width=width or PLAIN_WIDTH,
        colour=wants_colour(choice, stream),
        unicode=can_encode_signs(stream),
        words=BY_LANGUAGE[language],
    )


def write(text: str) -> None:
    """Write for people to stdout. A reader that has gone away is no reason to fail."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)


def write_data(text: str) -> None:
    """Write data to stdout: UTF-8 on every machine, without translated line ends."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        silence(sys.stdout)


def complain(text: str) -> None:
    """Write for people to stderr."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BrokenPipeError:
        silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Send what is still to come nowhere, the interpreter's own last flush included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def forgive_encoding() -> None:
    """Let text that a terminal cannot encode become escapes instead of an exception."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
