"""PEFT adapter folders: settings and headers, read strictly; factors stay on disk until asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokengraft.checkpoint import JsonValue
from tokengraft.errors import LimitExceeded, MalformedFile, ReadFailed, UnsupportedFormat
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.rows import read_range, span
from tokengraft.formats.safetensors_file import read_header
from tokengraft.formats.whole_files import let_go, open_regular, read_whole
from tokengraft.tensors import TensorRef

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TOKENIZER = "tokenizer.json"
MAX_TOKENIZER_BYTES = 256 << 20
MAX_CONFIG_BYTES = 4 << 20  # a list of target modules can be long; an honest one is far below
MAX_WEIGHTS_BYTES = 8 << 30  # rank 64 on every expert of a model with 30 billion weights


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter as its folder tells it.

    Attributes:
        name: what to call it in texts: the last part of its path.
        weights: where the factors lie.
        tensors: their places, by PEFT's names.
    """

    name: str
    config: Mapping[str, JsonValue]
    weights: Path
    tensors: Mapping[str, TensorRef]

    def raw(self, name: str) -> bytes:
        """The bytes of one tensor.

        Raises:
            ReadFailed, SourceChanged: the system refuses, or the file has become shorter.
        """
        ref = self.tensors[name]
        return self._range(ref.begin, ref.end)

    def raw_rows(self, name: str, first: int, count: int) -> bytes:
        """The bytes of some rows of a matrix.

        Raises:
            MalformedFile: it has no such rows.
            ReadFailed, SourceChanged: as `raw`.
        """
        return self._range(*span(self.tensors[name], first, count))

    def _range(self, begin: int, end: int) -> bytes:
        file = open_regular(self.weights)
        try:
            return read_range(file, begin, end, subject=WEIGHTS)
        finally:
            let_go(file)

    def token_texts(self) -> dict[int, str]:
        """The added tokens of the tokenizer that was saved beside it, by id; empty without one.

        Raises:
            MalformedFile, LimitExceeded, ReadFailed: the file is there and cannot be read.
        """
        path = self.weights.parent / TOKENIZER
        if not path.is_file():
            return {}
        value = parse_json(
            read_whole(path, limit=MAX_TOKENIZER_BYTES, subject=TOKENIZER), file=TOKENIZER
        ).value
        added = value.get("added_tokens") if isinstance(value, dict) else None
        texts: dict[int, str] = {}
        for one in added if isinstance(added, list) else ():
            if isinstance(one, dict):
                token_id, text = one.get("id"), one.get("content")
                if isinstance(token_id, int) and isinstance(text, str):
                    texts[token_id] = text
        return texts


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter's settings and the header of its weights.

    Raises:
        ReadFailed: a file is missing or cannot be read.
        UnsupportedFormat: the weights are a pickle, which is never read.
        MalformedFile, LimitExceeded: a file is not what it should be.
    """
    _size(folder / CONFIG, MAX_CONFIG_BYTES)
    config = parse_json(
        read_whole(folder / CONFIG, limit=MAX_CONFIG_BYTES, subject=CONFIG), file=CONFIG
    ).value
    if not isinstance(config, dict):
        raise MalformedFile("the settings of the adapter are no object", subject=CONFIG)
    weights = folder / WEIGHTS
    if not weights.exists() and (folder / "adapter_model.bin").exists():
        raise UnsupportedFormat(
            "the adapter's weights are a pickle, which is never read",
            detail="reading one runs its author's code",
            subject=str(folder / "adapter_model.bin"),
            hint="load it with PEFT and save it again: save_pretrained writes safetensors",
        )
    size = _size(weights, MAX_WEIGHTS_BYTES)
    refs = read_header(weights, file=WEIGHTS, size_bytes=size).tensors
    return Adapter(folder.resolve().name, config, weights, {ref.name: ref for ref in refs})


def _size(path: Path, limit: int) -> int:
    try:
        if not path.is_file():
            raise ReadFailed(
                f"there is no {path.name} in the adapter's folder",
                subject=str(path),
                hint="name the folder that PEFT's save_pretrained wrote",
            )
        size = path.stat().st_size
    except OSError as error:
        raise ReadFailed(
            f"cannot read {path}", detail=error.strerror or "", subject=str(path)
        ) from error
    if size > limit:
        raise LimitExceeded(
            f"{path.name} has {size} bytes", detail=f"at most {limit} are read", subject=str(path)
        )
    return size
