"""Rows made elsewhere: a safetensors file that says of each row whose it is.

The metadata entry `tokens` is a JSON list of texts, one a row, in the order of the rows. The tensors
are `input` and `output`, both of shape [N, D], or one of them; there is nothing else in the file.
Shapes: `N` tokens of the list, `D` elements a row.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tokengraft.errors import LimitExceeded, MalformedFile
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.rows import RowReader, Rows
from tokengraft.formats.safetensors_file import read_header
from tokengraft.formats.whole_files import let_go, open_regular
from tokengraft.tensors import ROW_DTYPES, TensorRef, WeightsFile

TOKENS = "tokens"
PARTS = ("input", "output")
MAX_SIZE_BYTES = 4 << 30  # what a plan's sidecar may have, which holds these rows afterwards


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of rows, its values not yet read.

    Attributes:
        tokens: whose the rows are, in their order.
        rows: by part, `input` and `output`; at least one of them.
        problem: why there is nothing here; then the rest is empty.
    """

    tokens: tuple[str, ...] = ()
    rows: Mapping[str, Rows] = field(default_factory=dict)
    problem: str = ""


def open_rows(path: Path, stack: ExitStack) -> RowFile:
    """Read the header of a file of rows, and check it; the file is open until the stack ends.

    Raises:
        MalformedFile, LimitExceeded: it is no such file.
        ReadFailed, SourceChanged: it cannot be read.
    """
    file = open_regular(path)
    stack.callback(let_go, file)
    size = os.fstat(file).st_size
    if size > MAX_SIZE_BYTES:
        raise LimitExceeded(
            "the file is too large for rows of new tokens",
            detail=f"{size:,} bytes, the limit is {MAX_SIZE_BYTES:,}",
            subject=str(path),
        )
    header = read_header(path, file=str(path), size_bytes=size)
    tokens = _tokens(header)
    for ref in header.tensors:
        _check(ref, len(tokens))
    if not header.tensors:
        raise _malformed(header.path, "it holds neither `input` nor `output`")
    return RowFile(tokens, {ref.name: RowReader(file, ref) for ref in header.tensors})


def _tokens(header: WeightsFile) -> tuple[str, ...]:
    text = (header.metadata or {}).get(TOKENS)
    if text is None:
        raise _malformed(
            header.path,
            "its metadata have no `tokens`: a JSON list with the text of each row's token",
        )
    found = parse_json(text.encode(), file=f"{header.path}#/__metadata__/{TOKENS}").value
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise _malformed(header.path, "`tokens` in its metadata is not a JSON list of texts")
    if not found:
        raise _malformed(header.path, "`tokens` in its metadata is empty")
    texts = tuple(str(one) for one in found)
    seen: set[str] = set()
    for twice in texts:
        if twice in seen:
            raise _malformed(header.path, f"`tokens` in its metadata names {twice!r} twice")
        seen.add(twice)
    return texts


def _check(ref: TensorRef, n_tokens: int) -> None:
    if ref.name not in PARTS:
        raise _malformed(ref.file, f"it holds {ref.name!r}; `input` and `output` may be there")
    if ref.dtype not in ROW_DTYPES:
        known = ", ".join(ROW_DTYPES)
        raise _malformed(ref.file, f"`{ref.name}` is {ref.dtype}; rows are one of {known}")
    if len(ref.shape) != 2 or ref.shape[0] != n_tokens or not ref.shape[1]:  # noqa: PLR2004 - a matrix
        raise _malformed(
            ref.file,
            f"`{ref.name}` has the shape {list(ref.shape)[:8]}; with {n_tokens} tokens it is "
            f"[{n_tokens}, hidden size]",
        )


def _malformed(file: str, detail: str) -> MalformedFile:
    return MalformedFile(
        "it does not hold rows as tokengraft reads them", detail=detail, subject=file
    )
