"""What planning may ask the world for: ids of texts, digests of tensors, chats as text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import StalePlan, TokengraftError
from tokengraft.events import Listen, Progress
from tokengraft.tensors import ROW_DTYPES

if TYPE_CHECKING:
    from tokengraft.formats.adapters import Adapter
    from tokengraft.planning import Digest, Ports
    from tokengraft.planning.settling import OpenMatrix
    from tokengraft.planning.starting import Untrained
    from tokengraft.planning.values import OpenValues
    from tokengraft.rows.initializers import Encode

BLOCK_BYTES = 8 << 20


def encode_port(checkpoint: Checkpoint) -> Encode | None:
    """Texts to ids with the base's own tokenizer, in a child; None where nothing can encode.

    A folder without tokenizer.json is encoded by the fast tokenizer that its class stands for, or by
    the sentencepiece library where that is installed.
    """
    from tokengraft.formats.slow_tokenizers import fast_text, sentencepiece_of

    data = checkpoint.small_files.get("tokenizer.json") or fast_text(checkpoint)
    if data is None:
        pieces = sentencepiece_of(checkpoint)
        return None if pieces is None else _sentencepiece_port(pieces)

    def encode(texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        from tokengraft.sandbox.tokenizers import TokenizerChild

        with TokenizerChild() as child:
            child.load(data)
            return child.encode(texts)

    return encode


def _sentencepiece_port(data: bytes) -> Encode | None:
    from tokengraft.sandbox.sentencepiece import SentencepieceChild, has_sentencepiece

    if not has_sentencepiece():
        return None

    def encode(texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        with SentencepieceChild() as child:
            child.load(data)
            return child.encode(texts)

    return encode


def digest_port(checkpoint: Checkpoint, listen: Listen) -> Digest:
    """Hash a tensor's bytes in blocks; the fingerprint needs the vocabulary tensors alone."""

    def digest(name: str) -> str:
        assert checkpoint.tensors is not None
        ref = checkpoint.tensors.tensors[name]
        found = hashlib.sha256()
        with checkpoint.files[ref.file].real.open("rb") as file:
            file.seek(ref.begin)
            left = ref.size_bytes
            while left:
                block = file.read(min(left, BLOCK_BYTES))
                if not block:
                    raise StalePlan(f"{ref.file} was cut short while it was read", subject=ref.file)
                found.update(block)
                left -= len(block)
                listen(Progress("fingerprint", name, ref.size_bytes - left, ref.size_bytes))
        return found.hexdigest()

    return digest


def values_problem(path: Path) -> str:
    """Why a file cannot be read for rows, as far as it can be seen from outside; empty if it can."""
    if not path.exists():
        return f"there is no file {path} (paths are relative to the recipe)"
    return "" if path.is_file() else f"{path} is no file"


def unusable(name: str, error: TokengraftError) -> str:
    """Why a file or folder that a recipe names is of no use."""
    if not error.detail:
        return f"{name} cannot be used: {error.summary}"
    return f"{name} cannot be used: {error.summary} ({error.detail})"


def values_port(folder: Path, opened: ExitStack) -> OpenValues:
    """Open files of rows, whose paths are relative to the recipe's folder."""
    from tokengraft.formats.row_file import RowFile, open_rows

    def open_values(named: str) -> RowFile:
        path = folder / named
        if problem := values_problem(path):
            return RowFile(problem=problem)
        try:
            return open_rows(path, opened)
        except TokengraftError as error:
            return RowFile(problem=unusable(str(path), error))

    return open_values


def adapter_port(folder: Path) -> Callable[[str], Adapter | str]:
    """Read the adapter that a recipe names, whose path is relative to the recipe's folder."""

    def read(name: str) -> Adapter | str:
        from tokengraft.formats.adapters import read_adapter

        place = folder / name
        if not place.is_dir():
            return f"there is no folder {place} (paths are relative to the recipe)"
        return read_adapter(place)

    return read


def matrix_port(checkpoint: Checkpoint) -> OpenMatrix:
    """Open matrices of the base for reading by range."""
    from tokengraft.formats.byte_ranges import RangeRows, source_of

    def matrix(name: str) -> RangeRows | None:
        ref = None if checkpoint.tensors is None else checkpoint.tensors.tensors.get(name)
        if ref is None or ref.dtype not in ROW_DTYPES:
            return None
        return RangeRows(source_of(checkpoint.files[ref.file]), ref)

    return matrix


def untrained_port(checkpoint: Checkpoint) -> Untrained:
    """Judge rows as a deep audit does, reading them and its references alone."""
    matrix = matrix_port(checkpoint)

    def untrained(name: str, ids: Sequence[int]) -> frozenset[int]:
        from tokengraft.auditing.deep.judging import untrained_among

        rows = matrix(name)
        return frozenset() if rows is None else untrained_among(checkpoint, rows, ids)

    return untrained


@contextmanager
def asked_ports(checkpoint: Checkpoint, folder: Path, listen: Listen) -> Iterator[Ports]:
    """All ports of planning; the children that answer end with the context.

    Args:
        folder: where the paths of the recipe start.
    """
    from tokengraft.flow.corpora import corpus_port, glance_port, uses_port
    from tokengraft.flow.donors import donor_port
    from tokengraft.flow.library import AskedLibrary, AskedTemplates
    from tokengraft.planning import Ports

    tokenizer = checkpoint.small_files.get("tokenizer.json")
    with (
        nullcontext() if tokenizer is None else AskedLibrary(tokenizer) as library,
        ExitStack() as opened,
        AskedTemplates() as render,
    ):
        yield Ports(
            encode=encode_port(checkpoint) if library is None else library.encode,
            digest=digest_port(checkpoint, listen),
            library=library,
            count=corpus_port(tokenizer, folder, listen),
            uses=uses_port(tokenizer, folder, listen),
            glance=glance_port(tokenizer, folder, listen),
            render=render,
            values=values_port(folder, opened),
            adapter=adapter_port(folder),
            matrix=matrix_port(checkpoint),
            untrained=untrained_port(checkpoint),
            donor=donor_port(folder, listen),
        )
