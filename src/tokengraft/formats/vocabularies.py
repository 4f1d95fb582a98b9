"""The model's own vocabulary, from tokenizer.json or from the files that slow tokenizers read."""

from __future__ import annotations

from collections.abc import Mapping

from tokengraft.checkpoint import JsonValue
from tokengraft.errors import MalformedFile
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.sentencepiece_file import (
    SENTENCEPIECE_FILES,
    is_sentencepiece,
    read_sentencepiece,
)
from tokengraft.vocabulary import TokenId

MAX_TOKEN_ID = 1 << 31
# Files that hold a vocabulary where there is no tokenizer.json.
VOCABULARIES = ("vocab.json", *SENTENCEPIECE_FILES, "vocab.txt")


def read_vocabulary(
    main: Mapping[str, JsonValue] | None, small_files: Mapping[str, bytes]
) -> tuple[str, Mapping[str, TokenId]]:
    """The kind of the model and its vocabulary, text to id; "" and nothing if no file has one.

    Raises:
        MalformedFile: a vocabulary that is none.
    """
    if main is None:
        return slow_model(small_files)
    model = main.get("model")
    if not isinstance(model, dict):
        raise MalformedFile("tokenizer.json has no model", subject="tokenizer.json#/model")
    named = model.get("type")
    # Files from before tokenizers 0.10 do not name the type; serde told them by their keys.
    guessed = "BPE" if "merges" in model else "WordPiece"
    vocab = model.get("vocab")
    ids = (
        _unigram_vocab(vocab)
        if isinstance(vocab, list)
        else _vocab_map(vocab, "tokenizer.json", "/model/vocab")
    )
    return named if isinstance(named, str) else guessed, ids


def slow_model(small_files: Mapping[str, bytes]) -> tuple[str, Mapping[str, TokenId]]:
    """The kind and the vocabulary of a folder without tokenizer.json, from what slow tokenizers read.

    A SentencePiece model whose class counts its ids otherwise (XLM-RoBERTa's, from one on) has
    another file name, so it is not taken for this.
    """
    if "vocab.json" in small_files:
        vocab = parse_json(small_files["vocab.json"], file="vocab.json").value
        kind = "BPE" if "merges.txt" in small_files else "WordLevel"
        return kind, _vocab_map(vocab, "vocab.json", "")
    for file in SENTENCEPIECE_FILES:
        data = small_files.get(file, b"")
        if is_sentencepiece(data):
            model = read_sentencepiece(data, file=file)
            return model.kind, {p.text: TokenId(at) for at, p in enumerate(model.pieces)}
    if "vocab.txt" in small_files:
        return "WordPiece", _vocab_lines(small_files["vocab.txt"], "vocab.txt")
    return "", {}


def _vocab_lines(data: bytes, file: str) -> Mapping[str, TokenId]:
    """A token a line, as BertTokenizer reads it: the last of two equal lines has the id."""
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise MalformedFile(f"{file} is not UTF-8", subject=file) from error
    if lines and not lines[-1]:
        lines.pop()
    return {line.rstrip("\r"): TokenId(at) for at, line in enumerate(lines)}


def _vocab_map(vocab: JsonValue, file: str, pointer: str) -> Mapping[str, TokenId]:
    if not isinstance(vocab, dict):
        raise MalformedFile(f"the vocabulary of {file} is no object", subject=f"{file}#{pointer}")
    kinds = set(map(type, vocab.values()))
    if kinds - {int}:
        raise MalformedFile("a vocabulary id is no whole number", subject=f"{file}#{pointer}")
    ids: dict[str, TokenId] = vocab  # type: ignore[assignment]  # checked above, 151k entries
    if ids and (min(ids.values()) < 0 or max(ids.values()) >= MAX_TOKEN_ID):
        raise MalformedFile("a vocabulary id is out of range", subject=f"{file}#{pointer}")
    return ids


def _unigram_vocab(vocab: list[JsonValue]) -> Mapping[str, TokenId]:
    ids: dict[str, TokenId] = {}
    for token_id, entry in enumerate(vocab):
        if not (isinstance(entry, list) and entry and isinstance(entry[0], str)):
            raise MalformedFile(
                "an entry of the vocabulary is not [text, score]",
                subject=f"tokenizer.json#/model/vocab/{token_id}",
            )
        ids.setdefault(entry[0], TokenId(token_id))
    return ids
