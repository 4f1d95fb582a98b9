"""Checkpoints that carry a SentencePiece model, trained by the library itself or written by hand."""

from __future__ import annotations

import io
import json
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

from tiny import DROP, Tiny

FEW_WORDS = """the cat sat on the mat and the dog ran to the old house by the river
once upon a time there was a little girl who lived in the village near the forest
мама мыла раму а папа читал книгу и кот сидел на окне у старого дома
numbers 1 2 3 and 4567 stand here and there with commas, dots. and marks!
"""


@lru_cache
def trained(model_type: str) -> bytes:
    """A model of 330 pieces with byte fallback; the library trains it in a moment."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(FEW_WORDS.splitlines() * 20),
        model_writer=out,
        vocab_size=330,
        model_type=model_type,
        byte_fallback=True,
        pad_id=3,
        minloglevel=2,
        num_threads=1,  # more of them do not start in a process of little address space
    )
    return out.getvalue()


def written(pieces: list[tuple[str, float, int]], *, trainer: bytes | None = None) -> bytes:
    """A model's file by hand: text, score and kind (1 normal, 2 unknown, 3 control, 4 user, 6 byte)."""
    body = b""
    for text, score, kind in pieces:
        data = text.encode()
        piece = b"\x0a" + _size(len(data)) + data + b"\x15" + struct.pack("<f", score)
        piece += b"" if kind == 1 else b"\x18" + bytes([kind])
        body += b"\x0a" + _size(len(piece)) + piece
    if trainer is not None:
        body += b"\x12" + _size(len(trainer)) + trainer
    return body + b"\x1a\x02\x20\x01"  # a normalizer's part, which nobody may touch


def _size(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def slow_llama(folder: Path, model_type: str = "bpe", **files: Any) -> Path:
    """A Llama whose tokenizer is a SentencePiece model and a config, as in 2023."""
    import sentencepiece

    data = trained(model_type)
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    pieces = [processor.id_to_piece(at) for at in range(processor.get_piece_size())]
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "legacy": False,
        "chat_template": DROP,
        **named,
        "added_tokens_decoder": DROP,
        "additional_special_tokens": DROP,
        **files.pop("config", {}),
    }
    tiny = _OfPieces(
        kind="byte-fallback",
        added=(),
        template=False,
        files={
            "tokenizer.json": None,
            "tokenizer_config.json": config,
            "config.json": {
                "bos_token_id": pieces.index("<s>"),
                "eos_token_id": pieces.index("</s>"),
                "pad_token_id": pieces.index("<pad>"),
            },
            "generation_config.json": {
                "bos_token_id": pieces.index("<s>"),
                "eos_token_id": pieces.index("</s>"),
                "pad_token_id": pieces.index("<pad>"),
            },
            **files,
        },
    )
    object.__setattr__(tiny, "pieces", pieces)
    tiny.build(folder)
    (folder / "tokenizer.model").write_bytes(data)
    return folder


class _OfPieces(Tiny):
    """A tiny checkpoint whose vocabulary is a list of pieces."""

    pieces: list[str]

    def vocab(self) -> dict[str, int]:
        return {text: at for at, text in enumerate(self.pieces)}


def beside(folder: Path, tiny: Tiny) -> bytes:
    """Write the SentencePiece model that says of a built checkpoint what its tokenizer.json says."""
    main = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = []
    for text, at in sorted(tiny.vocab().items(), key=lambda item: item[1]):
        kind = 2 if text == "<unk>" else 6 if text.startswith("<0x") else 1
        pieces.append((text, -float(at), kind))
    assert main["model"]["type"] == "BPE"
    data = written(pieces, trainer=b"\x18\x02\x98\x02\x01")  # model_type BPE, byte_fallback
    (folder / "tokenizer.model").write_bytes(data)
    return data
