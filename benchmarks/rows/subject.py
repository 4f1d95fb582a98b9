"""What is measured on: a model, its tokenizer, and texts dealt out to fit, validation and test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.rows.documents import documents, share_of
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tokengraft.training.language_model import LanguageModel, load_model
from tokengraft.training.windows import Ids
from tokengraft.training.word_pieces import WordPieces, word_pieces

FIT, VALIDATION, TEST = "fit", "validation", "test"
_ENDS = ((FIT, 0.5), (VALIDATION, 0.65), (TEST, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model with its text.

    Attributes:
        parts: encoded documents of each part; a document is in one part only.
        merges: the tokenizer's merges in order, as pairs of pieces.
        bos: an id that stands before every text, None if the tokenizer puts none there.
        used_V: rows that statistics may look at: pieces of the vocabulary that are no special token.
    """

    name: str
    model: LanguageModel
    tokenizer: Tokenizer
    words: WordPieces
    parts: Mapping[str, Sequence[Ids]]
    merges: tuple[tuple[str, str], ...]
    bos: int | None
    used_V: NDArray[np.bool_]


def load_subject(folder: Path, texts: Sequence[Path], *, most_documents: int) -> Subject:
    """Load a model folder and text files."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = load_model(folder)
    words = word_pieces(tokenizer, model.n_rows)
    whole = documents(texts)
    if len(whole) > most_documents:
        whole = [whole[i] for i in np.linspace(0, len(whole) - 1, most_documents).astype(int)]
    encoded = tokenizer.encode_batch(whole, add_special_tokens=False)
    parts: dict[str, list[Ids]] = {name: [] for name, _ in _ENDS}
    for text, encoding in zip(whole, encoded, strict=True):
        part = next(name for name, end in _ENDS if share_of(text) < end)
        parts[part].append(np.array(encoding.ids, np.int64))
    marked = tokenizer.encode("a").ids
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    bos = marked[0] if len(marked) > len(plain) and marked[0] != plain[0] else None
    used = np.array([bool(raw) for raw in words.bytes_V])
    return Subject(folder.name, model, tokenizer, words, parts, _merges(tokenizer), bos, used)


def _merges(tokenizer: Tokenizer) -> tuple[tuple[str, str], ...]:
    told: Any = json.loads(tokenizer.to_str())["model"].get("merges", [])
    pairs = (tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in told)
    return tuple((left, right) for left, right in pairs)
