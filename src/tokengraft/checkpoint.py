"""The snapshot of a checkpoint folder: read once, never changed, holding no open file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tokengraft.layout import EmbeddingLayout, Family
from tokengraft.tensors import TensorIndex
from tokengraft.vocabulary import Tokenizer

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

# What we write into a finished folder, and therefore do not count as part of a model.
MANIFEST = "MANIFEST.sha256"
RECORD_FOLDER = "tokengraft"


class ByteSource(Protocol):
    """The bytes of one file by range, wherever it lies; nothing stays open between two reads."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, begin: int, end: int) -> bytes:
        """Exactly the bytes from `begin` up to `end`, or an exception."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a checkpoint.

    Attributes:
        path: relative to the folder, with forward slashes.
        real: where its bytes lie (the blob behind a link of the Hugging Face cache).
        size_bytes, mtime_ns, inode: as found, so that a source edited under our hands is noticed.
        kind: `weights` (safetensors), `small` (read whole into `small_files`), `other`.
        remote: its bytes, where they lie elsewhere; then `real` is where they would lie, and nothing
            is there. Only an audit is given such entries.
    """

    path: str
    real: Path
    size_bytes: int
    mtime_ns: int
    inode: int
    is_link: bool
    kind: Literal["weights", "small", "other"]
    remote: ByteSource | None = None


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON file: its bytes exactly as they are, and the value they stand for."""

    data: bytes
    value: JsonValue


@dataclass(frozen=True, slots=True)
class FolderProblem:
    """Something wrong with the folder that can be reported instead of raised."""

    kind: Literal["unsafe-path", "malformed", "missing", "stray", "conflict"]
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that is known of a checkpoint without reading its tensors.

    Attributes:
        root: the folder.
        files: every regular file below it, by relative path, sorted.
        small_files: bytes of the files that we may have to edit (JSON, templates, merges).
        json: the parsed ones among them.
        text_config: the pointer of the part of config.json that describes the language model
            ("" or "/text_config" ...).
        tensors: None for a folder without safetensors weights.
        problems: what was wrong enough to report, and not wrong enough to refuse.
        layout_digest: sha256 over the small files and all tensor headers.
        small_digest: sha256 over the small files alone; a plan that was made without weights knows its
            base by it.
        commit: the commit of a repository of the Hub that the folder is a snapshot of.
    """

    root: Path
    files: Mapping[str, FileEntry]
    small_files: Mapping[str, bytes]
    json: Mapping[str, JsonText]
    tokenizer: Tokenizer | None
    text_config: str
    tensors: TensorIndex | None
    layout: EmbeddingLayout | None
    family: Family
    problems: tuple[FolderProblem, ...]
    layout_digest: str
    small_digest: str
    commit: str | None = None

    def value(self, file: str, pointer: str = "") -> JsonValue:
        """The value at a JSON pointer, None where file or key is missing."""
        document = self.json.get(file)
        if document is None:
            return None
        value = document.value
        for part in pointer.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict):
                value = value.get(key)
            elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            else:
                return None
        return value

    def config(self, pointer: str) -> JsonValue:
        """A value of the language model's config, nested or not."""
        return self.value("config.json", self.text_config + pointer)

    def is_planned_base(self, layout: str, files: Iterable[str]) -> bool:
        """Whether a plan that knows its base by this digest and these files may be applied here.

        A plan made on small files alone fits every checkpoint with the same small files.
        """
        return layout == self.layout_digest or (
            layout == self.small_digest and not names_weights(files)
        )


def names_weights(files: Iterable[str]) -> bool:
    """Whether weights are among a base's files; a plan without them is a graft for later."""
    return any(path.endswith(".safetensors") and "/" not in path for path in files)
