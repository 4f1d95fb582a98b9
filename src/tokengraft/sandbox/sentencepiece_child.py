"""What a child does with the `sentencepiece` library; runs behind limits, never in the parent."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

_LOADED: list[Any] = []


def load(*, model: str) -> int:
    """Load a model given in base64; return how many pieces it has."""
    # The import waits for the first question, when the limits stand.
    from sentencepiece import SentencePieceProcessor

    _LOADED.clear()
    processor = SentencePieceProcessor()
    processor.LoadFromSerializedProto(base64.b64decode(model))
    _LOADED.append(processor)
    return int(processor.GetPieceSize())


def encode(*, texts: list[str]) -> list[list[int]]:
    """Encode each text alone."""
    return [[int(i) for i in ids] for ids in _processor().Encode(texts)]


def pieces() -> list[str]:
    """The text of every piece, by id."""
    processor = _processor()
    return [str(processor.IdToPiece(at)) for at in range(processor.GetPieceSize())]


def named_ids() -> dict[str, int]:
    """The ids of unk, bos, eos and pad; -1 where there is none."""
    found = _processor()
    return {
        "unk": int(found.unk_id()),
        "bos": int(found.bos_id()),
        "eos": int(found.eos_id()),
        "pad": int(found.pad_id()),
    }


def _processor() -> Any:  # noqa: ANN401 - the library is optional
    assert _LOADED, "load a model first"
    return _LOADED[0]


OPS: Mapping[str, Callable[..., Any]] = {
    "load": load,
    "encode": encode,
    "pieces": pieces,
    "named_ids": named_ids,
}
