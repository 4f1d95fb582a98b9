"""What is measured on: a model, its tokenizer, and texts dealt out to fit, validation and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.rows.documents import documents
from numpy.typing import NDArray

from tokengraft.training import subject as training_subject
from tokengraft.training.corpus import FIT, TEST, VALIDATION, part_of
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.windows import Ids
from tokengraft.training.word_pieces import WordPieces

__all__ = ["FIT", "TEST", "VALIDATION", "Subject", "load_subject"]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A base as training meets it, with its text.

    Attributes:
        parts: encoded documents of each part; a document is in one part only.
    """

    name: str
    base: training_subject.Subject
    parts: Mapping[str, Sequence[Ids]]

    @property
    def model(self) -> LanguageModel:
        return self.base.model

    @property
    def tokenizer(self) -> Any:
        return self.base.tokenizer

    @property
    def words(self) -> WordPieces:
        return self.base.words

    @property
    def ranks(self) -> Mapping[tuple[str, str], int]:
        return self.base.ranks

    @property
    def bos(self) -> int | None:
        return self.base.bos

    @property
    def used_V(self) -> NDArray[np.bool_]:
        return self.base.used_V


def load_subject(folder: Path, texts: Sequence[Path], *, most_documents: int) -> Subject:
    """Load a model folder and text files."""
    base = training_subject.open_subject(folder)
    whole = documents(texts)
    if len(whole) > most_documents:
        whole = [whole[i] for i in np.linspace(0, len(whole) - 1, most_documents).astype(int)]
    encoded = base.tokenizer.encode_batch(whole, add_special_tokens=False)
    parts: dict[str, list[Ids]] = {FIT: [], VALIDATION: [], TEST: []}
    for text, encoding in zip(whole, encoded, strict=True):
        parts[part_of(text)].append(np.array(encoding.ids, np.int64))
    return Subject(folder.name, base, parts)
