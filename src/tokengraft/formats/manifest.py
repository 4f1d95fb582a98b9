"""`MANIFEST.sha256`: what `sha256sum -c` reads, written and parsed to the byte."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tokengraft.checkpoint import MANIFEST
from tokengraft.errors import MalformedFile

# GNU coreutils 9 marks a line whose name holds one of these by a leading backslash.
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES.items()}
_LINE = re.compile(r"(\\?)([0-9a-f]{64})  ([^\n\r]+)")
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)


def _line(path: str, digest: str) -> str:
    escaped = "".join(_ESCAPES.get(letter, letter) for letter in path)
    mark = "" if escaped == path else "\\"
    return f"{mark}{digest}  {escaped}\n"


def format_manifest(digests: Mapping[str, str]) -> bytes:
    """Write one line a file, sorted by the bytes of its path."""
    paths = sorted(digests, key=lambda path: path.encode("utf-8", "surrogateescape"))
    text = "".join(_line(path, digests[path]) for path in paths)
    return text.encode("utf-8", "surrogateescape")


def parse_manifest(data: bytes) -> dict[str, str]:
    """Read digests by path, and accept exactly what `format_manifest` writes.

    Raises:
        MalformedFile: any byte differs from the one form.
    """
    digests: dict[str, str] = {}
    text = data.decode("utf-8", "surrogateescape")
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        found = _LINE.fullmatch(line)
        if found is None:
            raise MalformedFile("not a line of a manifest", subject=f"{MANIFEST}:{number}")
        mark, digest, path = found.groups()
        digests[_unescape(path) if mark else path] = digest
    if format_manifest(digests) != data:
        raise MalformedFile(
            "the manifest has lines out of order, twice, or written in another way",
            subject=MANIFEST,
        )
    return digests


def _unescape(path: str) -> str:
    # An escape that is none is left as it is; the manifest then differs from the one form.
    return _ESCAPED.sub(lambda found: _UNESCAPES.get(found[0], found[0]), path)
