"""The command line: a thin face over `flow`.

This package imports nothing heavy at its top, so that `--help` answers at once: commands live in
modules of their own that are loaded when they are asked for, and import what they need when run.
"""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    from tokengraft.cli.app import app

    app.main(prog_name="tokengraft")
    raise AssertionError("the command line always ends the process")


__all__ = ["main"]
