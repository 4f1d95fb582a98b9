"""What a campaign needs of the machine; without it a test is skipped, with the reason."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip, or fail where this environment promised that nothing is missing."""
    if os.environ.get("TOKENGRAFT_REQUIRE_FAULTS") == "1":
        pytest.fail(f"{reason} (TOKENGRAFT_REQUIRE_FAULTS=1)")
    pytest.skip(reason)


def needs_strace() -> None:
    if shutil.which("strace") is None:
        missing("needs strace, which kills and refuses at a chosen call")


def needs_compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        missing("needs a C compiler, for a library that writes less than it is asked to")
    return found
