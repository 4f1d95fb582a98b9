"""Folders without tokenizer.json: which ids their class gives, and the fast tokenizer they stand for.

A slow tokenizer is a vocabulary and a class of transformers that says what to do with it. Only
classes whose ids are the file's own are known here; others count from another number or add tokens
of their own, so nothing is added to such a folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Final

from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import MalformedFile, UnsupportedFormat
from tokengraft.formats.sentencepiece_file import SENTENCEPIECE_FILES, is_sentencepiece
from tokengraft.vocabulary import Tokenizer

# The pattern of transformers 4.57, `PRETOKENIZE_REGEX` of models/qwen2/tokenization_qwen2.py.
_QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTE_LEVEL: Final[Mapping[str, str | None]] = MappingProxyType(
    {"GPT2Tokenizer": None, "RobertaTokenizer": None, "Qwen2Tokenizer": _QWEN}
)
_WORDPIECE = frozenset({"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"})
_SENTENCEPIECE = frozenset(
    {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "AlbertTokenizer"}
)
# For folders whose files name no class.
_BY_MODEL_TYPE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "albert": "AlbertTokenizer",
        "bert": "BertTokenizer",
        "distilbert": "DistilBertTokenizer",
        "gemma": "GemmaTokenizer",
        "gemma2": "GemmaTokenizer",
        "gpt2": "GPT2Tokenizer",
        "llama": "LlamaTokenizer",
        "mistral": "LlamaTokenizer",
        "qwen2": "Qwen2Tokenizer",
        "qwen3": "Qwen2Tokenizer",
        "roberta": "RobertaTokenizer",
    }
)


def is_slow(checkpoint: Checkpoint) -> bool:
    """Whether the folder has a vocabulary and no tokenizer.json."""
    return bool(
        checkpoint.tokenizer is not None
        and checkpoint.tokenizer.vocab
        and "tokenizer.json" not in checkpoint.json
    )


def slow_class(checkpoint: Checkpoint) -> str:
    """The class of a slow tokenizer without its `Fast`, "" if no file leads to one."""
    own = None if checkpoint.tokenizer is None else checkpoint.tokenizer.tokenizer_class
    named = own or checkpoint.value("config.json", "/tokenizer_class")
    if not isinstance(named, str):
        named = _BY_MODEL_TYPE.get(str(checkpoint.config("/model_type")), "")
    return named.removesuffix("Fast")


def refuse_unknown_class(checkpoint: Checkpoint) -> None:
    """Refuse to give ids in a slow folder whose class may give others.

    Raises:
        UnsupportedFormat: the class is not one whose ids are the file's own.
    """
    known = slow_class(checkpoint)
    if known not in {*_BYTE_LEVEL, *_WORDPIECE, *_SENTENCEPIECE}:
        raise UnsupportedFormat(
            "the folder has no tokenizer.json, and what ids its tokenizer gives is not known",
            detail=f"its class is {known or 'named by no file'}; some classes number the pieces of "
            "a file otherwise, or add tokens of their own",
            subject="tokenizer_config.json#/tokenizer_class",
            hint="make tokenizer.json first: AutoTokenizer.from_pretrained(DIR).save_pretrained(NEW)",
        )


def sentencepiece_of(checkpoint: Checkpoint) -> bytes | None:
    """The SentencePiece model that a slow folder encodes with, None if it is of another kind."""
    if not is_slow(checkpoint) or slow_class(checkpoint) not in _SENTENCEPIECE:
        return None
    found = (checkpoint.small_files.get(file, b"") for file in SENTENCEPIECE_FILES)
    return next((data for data in found if is_sentencepiece(data)), None)


def fast_text(checkpoint: Checkpoint) -> bytes | None:
    """The tokenizer.json that a slow folder stands for, to encode with; never written anywhere.

    Returns:
        None where the class is not known, or is SentencePiece's (which its own library encodes).
    Source: transformers 4.57.6, convert_slow_tokenizer.py.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or not is_slow(checkpoint):
        return None
    known = slow_class(checkpoint)
    if known in _BYTE_LEVEL and tokenizer.kind == "BPE":
        parts = _byte_level(checkpoint, tokenizer, _BYTE_LEVEL[known])
    elif known in _WORDPIECE and tokenizer.kind == "WordPiece":
        parts = _wordpiece(checkpoint, tokenizer)
    else:
        return None
    added = [{"id": i, **asdict(token)} for i, token in tokenizer.added.items()]
    return json.dumps({"version": "1.0", "added_tokens": added, **parts}).encode()


def _byte_level(
    checkpoint: Checkpoint, tokenizer: Tokenizer, pattern: str | None
) -> dict[str, Any]:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    steps: Any = {**level, "use_regex": True}
    if pattern is not None:
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
        steps = {
            "type": "Sequence",
            "pretokenizers": [{**split, "invert": False}, {**level, "use_regex": False}],
        }
    return {
        "normalizer": None if pattern is None else {"type": "NFC"},
        "pre_tokenizer": steps,
        "decoder": {**level, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": dict(tokenizer.vocab),
            "merges": _merges(checkpoint.small_files["merges.txt"]),
        },
    }


def _merges(data: bytes) -> list[list[str]]:
    """The pairs of merges.txt, white space at line ends left out as slow tokenizers do."""
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise MalformedFile("merges.txt is not UTF-8", subject="merges.txt") from error
    pairs = [line.split() for line in lines if not line.startswith("#version")]
    return [pair for pair in pairs if len(pair) == 2]  # noqa: PLR2004 - a merge joins two


def _wordpiece(checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict[str, Any]:
    lower = checkpoint.value("tokenizer_config.json", "/do_lower_case")
    accents = checkpoint.value("tokenizer_config.json", "/strip_accents")
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": accents if isinstance(accents, bool) else None,
            "lowercase": lower if isinstance(lower, bool) else True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": tokenizer.named_content("unk") or "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": dict(tokenizer.vocab),
        },
    }
