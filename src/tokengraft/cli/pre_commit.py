"""The hook of pre-commit: `python -m tokengraft.cli.pre_commit [--fail-on S] FILE...`.

pre-commit names the files that changed; what is audited are the folders that they lie in, small
files alone. In a repository of Git the weights are often pointers of Git LFS.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tokengraft.cli import terminal
from tokengraft.cli.language import language
from tokengraft.errors import TokengraftError
from tokengraft.formats.pointers import POINTER
from tokengraft.reporting.catalogue import BY_LANGUAGE, Words

if TYPE_CHECKING:
    from tokengraft.findings import Finding

# What makes a folder one of a tokenizer; many folders have a config.json of something else.
TOKENIZER_FILES: Final = ("tokenizer.json", "tokenizer_config.json", "merges.txt")
WORSE: Final = {"error": ("error",), "warning": ("error", "warning"), "never": ()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the folders of the files; the value is the exit code."""
    parser = argparse.ArgumentParser(prog="tokengraft-audit")
    parser.add_argument("--fail-on", choices=tuple(WORSE), default="error")
    parser.add_argument("files", nargs="*", type=Path)
    given = parser.parse_args(arguments)
    terminal.forgive_encoding()
    words = BY_LANGUAGE[language((), os.environ, sys.stdout)]
    codes = [_audit(folder, WORSE[given.fail_on], words) for folder in folders_of(given.files)]
    return max(codes, default=0)


def folders_of(files: Iterable[Path]) -> list[Path]:
    """The folders that hold a tokenizer, of files that changed (or were deleted) in them."""
    found = {
        file.parent.parent if file.parent.name == "additional_chat_templates" else file.parent
        for file in files
    }
    return sorted(
        folder for folder in found if any((folder / n).is_file() for n in TOKENIZER_FILES)
    )


def _audit(folder: Path, grave: tuple[str, ...], say: Words) -> int:
    from tokengraft import flow

    pointers = [n for n in TOKENIZER_FILES if _is_pointer(folder / n)]
    if pointers:
        told = f"not audited, {pointers[0]} is a pointer of Git LFS (git lfs pull)"
        _tell(f"{folder}: {say.translated(told)}")
        return 0
    try:
        found = flow.audit(str(folder), headers=False)
    except TokengraftError as error:
        _tell(f"{folder}: {say.translated(error.summary)}. {say.translated(error.detail)}")
        return error.exit_code
    failed = False
    for finding in found.findings:
        if finding.severity in grave:
            failed = True
            _tell(_line(folder, finding, say))
    return int(failed)


def _line(folder: Path, finding: Finding, say: Words) -> str:
    summary = say.translated(finding.summary)
    return f"{folder}/{finding.subject}: {say(finding.severity)} {finding.rule}: {summary}"


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False


def _tell(text: str) -> None:
    from tokengraft.reporting import escape

    terminal.write(escape.inline(text) + "\n")


if __name__ == "__main__":
    sys.exit(main())
