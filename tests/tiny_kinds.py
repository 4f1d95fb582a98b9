"""Tiny checkpoints of four tokenizer kinds, and eight of them that differ in all that planning sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tiny import QWEN_LIKE, Json, Tiny

UNIGRAM = ("▁the", "▁and", "▁of", "▁a", "in", "er", "hello", "▁world", "▁тест", "ing", "▁ca", "t")
WORDS = ("the", "and", "of", "cat", "##s", "##ing", "run", "hello", "world", "un", "##able", "тест")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!<>|[]()/_-'\"абвгдеёжзийклмнопрстуфхцчшщъыьэюя"


class Unigram(Tiny):
    """SentencePiece's other kind: pieces with scores, `▁` for spaces, bytes for the rest."""

    def vocab(self) -> dict[str, int]:
        return {text: at for at, (text, _) in enumerate(self._scored())}

    def _scored(self) -> list[tuple[str, float]]:
        letters = [("▁", -9.0), *((letter, -10.0) for letter in LETTERS)]
        words = [(word, -4.0 - at / 10) for at, word in enumerate(UNIGRAM) if len(word) > 1]
        fallback = [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
        return [("<unk>", 0.0), *fallback, *letters, *words]

    def _tokenizer(self) -> Json:
        space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
        return {
            **_head(self),
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": space,
            "post_processor": None,
            "decoder": {
                "type": "Sequence",
                "decoders": [{"type": "ByteFallback"}, {"type": "Metaspace", **space}],
            },
            "model": {
                "type": "Unigram",
                "unk_id": 0,
                "vocab": [list(entry) for entry in self._scored()],
                "byte_fallback": True,
            },
        }


class WordPiece(Tiny):
    """BERT's kind: the longest pieces of each word, `##` inside one, [UNK] for what is not there."""

    def vocab(self) -> dict[str, int]:
        inside = [f"##{letter}" for letter in LETTERS]
        texts = dict.fromkeys(["<unk>", *LETTERS, *inside, *WORDS])
        return {text: at for at, text in enumerate(texts)}

    def _tokenizer(self) -> Json:
        return {
            **_head(self),
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": True,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": None,
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {
                "type": "WordPiece",
                "unk_token": "<unk>",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": self.vocab(),
            },
        }


def _head(tiny: Tiny) -> Json:
    added = [{"id": token_id, **asdict(token)} for token_id, token in tiny.table().items()]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added}


def _unpadded(made: type[Tiny], **fields: Any) -> Tiny:
    return made(**fields, n_rows=made(**fields).n_tokens())


_SPM: Final[Mapping[str, Any]] = MappingProxyType({"kind": "byte-fallback", "added": QWEN_LIKE})
EIGHT: Final[Mapping[str, Tiny]] = MappingProxyType(
    {
        "bpe": Tiny(),
        "bpe-tied-unpadded-sharded": _unpadded(Tiny, tied=True, dtype="F32", shards=2),
        "fallback-sharded": Tiny(**_SPM, shards=2, legacy=True),
        "fallback-tied-unpadded": _unpadded(Tiny, **_SPM, tied=True, dtype="F16"),
        "unigram-unpadded": _unpadded(Unigram, **_SPM, template="jinja"),
        "unigram-tied-sharded": Unigram(**_SPM, tied=True, shards=2),
        "wordpiece-sharded": WordPiece(**_SPM, shards=2, dtype="F32"),
        "wordpiece-tied-unpadded": _unpadded(WordPiece, **_SPM, tied=True, base=True),
    }
)


def build_eight(folder: Path) -> dict[str, Path]:
    """Write all eight, each into a folder of its name."""
    return {name: tiny.build(folder / name) for name, tiny in EIGHT.items()}
