"""Read the corpora that recipes name, and have them counted in a child."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from tokengraft.events import Listen, Progress
from tokengraft.planning.library import CountCorpus, Counted, CountUses, Used
from tokengraft.sandbox.tokenizers import TokenizerChild

BLOCK_BYTES = 1 << 20
MAX_CORPUS_BYTES = 1 << 30  # a gigabyte takes about a quarter of an hour to count
MAX_GLANCE_BYTES = 32 << 20  # half a minute
TEXT_CHARACTERS = 1 << 16


def corpus_problem(path: Path) -> str:
    """Why a file cannot be a corpus, as far as it can be seen without reading it; empty if it can."""
    if not path.exists():
        return f"there is no file {path} (paths are relative to the recipe)"
    if not path.is_file():
        return f"{path} is no file"
    size = path.stat().st_size
    if not size:
        return f"{path} is empty"
    if size > MAX_CORPUS_BYTES:
        return f"{path} has {size:,} bytes, the limit is {MAX_CORPUS_BYTES:,}: give a sample of it"
    return ""


@dataclass(slots=True)
class _Reading:
    """What is known of a file once it was read to its end."""

    path: Path
    listen: Listen
    size_bytes: int = 0
    digest: str = ""
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def texts(self) -> Iterator[str]:
        """The file in texts that end with a line where they can.

        Raises:
            UnicodeDecodeError, OSError: it is no UTF-8, or cannot be read.
        """
        total = self.path.stat().st_size
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        left = ""
        with self.path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                self._hash.update(block)
                self.size_bytes += len(block)
                left += decoder.decode(block)
                while len(left) > TEXT_CHARACTERS:
                    end = left.rfind("\n", 0, TEXT_CHARACTERS) + 1 or TEXT_CHARACTERS
                    yield left[:end]
                    left = left[end:]
                self.listen(Progress("count", self.path.name, self.size_bytes, total))
        left += decoder.decode(b"", final=True)
        self.digest = self._hash.hexdigest()
        if left:
            yield left


T = TypeVar("T")


def corpus_port(tokenizer: bytes | None, folder: Path, listen: Listen) -> CountCorpus:
    """Count the runs of ids of a corpus, whose path is relative to the recipe's folder."""

    def count(corpus: str, spaces: bool) -> Counted:  # noqa: FBT001 - a port is called by position
        reading = _Reading(folder / corpus, listen)
        found, problem = _asked(
            reading, tokenizer, lambda child: child.count(reading.texts(), spaces=spaces)
        )
        if found is None:
            return Counted(problem=problem)
        runs, n_ids = found
        return Counted(
            units=tuple((tuple(run[:-1]), run[-1]) for run in runs),
            n_ids=n_ids,
            size_bytes=reading.size_bytes,
            sha256=reading.digest,
        )

    return count


def glance_port(tokenizer: bytes | None, folder: Path, listen: Listen) -> CountCorpus:
    """Count a corpus as `corpus_port` does, if that takes seconds; what was counted is remembered."""
    count = cache(corpus_port(tokenizer, folder, listen))

    def glance(corpus: str, spaces: bool) -> Counted:  # noqa: FBT001 - a port is called by position
        path = folder / corpus
        if path.is_file() and path.stat().st_size > MAX_GLANCE_BYTES:
            return Counted(problem=f"{path.name} is too large to be counted while planning")
        return count(corpus, spaces)

    return glance


def uses_port(tokenizer: bytes | None, folder: Path, listen: Listen) -> CountUses:
    """Count the ids of a corpus, whose path is relative to the recipe's folder."""

    def count(corpus: str) -> Used:
        reading = _Reading(folder / corpus, listen)
        counts, problem = _asked(reading, tokenizer, lambda child: child.uses(reading.texts()))
        if counts is None:
            return Used(problem=problem)
        return Used(counts=counts, size_bytes=reading.size_bytes, sha256=reading.digest)

    return count


def _asked(
    reading: _Reading, tokenizer: bytes | None, ask: Callable[[TokenizerChild], T]
) -> tuple[T | None, str]:
    """What a child that has the base's tokenizer says of a corpus, or why it says nothing."""
    path = reading.path
    problem = corpus_problem(path)
    if problem or tokenizer is None:
        return None, problem or "the folder has no tokenizer.json"
    try:
        with TokenizerChild() as child:
            child.load(tokenizer)
            return ask(child), ""
    except UnicodeDecodeError as error:
        at = reading.size_bytes
        return None, f"{path} is not UTF-8 ({error.reason}, within {at:,} bytes)"
    except OSError as error:
        return None, f"{path} cannot be read: {error.strerror}"
