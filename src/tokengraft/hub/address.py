"""Addresses of repositories: `org/name`, `hf://org/name`, either with `@revision`."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_ADDRESS = re.compile(r"(?:hf://)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """A repository, and the branch, tag or commit that was asked for (None: the default branch)."""

    repo: str
    revision: str | None

    @property
    def commit(self) -> str | None:
        """The commit, where the address names one."""
        return self.revision if self.revision and COMMIT.fullmatch(self.revision) else None

    @property
    def text(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")

    def download(self, *more: str) -> str:
        """The command that downloads it."""
        revision = ("--revision", self.revision) if self.revision else ()
        return shlex.join(("hf", "download", self.repo, *revision, *more))


def parse(source: str) -> Address | None:
    """Read an address; None where the text is none."""
    match = _ADDRESS.fullmatch(source)
    if match is None or source.startswith((".", "/", "~")):
        return None
    return Address(match["repo"], match["revision"])
