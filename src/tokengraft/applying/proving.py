"""What was written is read back from its name, after it was synced, and found to be what was meant.

Most of a rewritten weight file was copied from the source. Such ranges are compared with the source
byte by byte, which costs a fifth of a digest and proves as much; what was computed is digested.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tokengraft.applying.hashing import MIB, READ_BYTES, Hashing
from tokengraft.applying.reading import open_unchanged, require_unchanged
from tokengraft.checkpoint import FileEntry
from tokengraft.formats.rows import read_range
from tokengraft.formats.whole_files import let_go

CHUNK_BYTES = 8 * MIB
COMPARING = 4  # so many bytes are compared while one is digested


@dataclass(slots=True)
class Content:
    """What a new file must hold, range after range, noted while it is written.

    Attributes:
        source: where the copied ranges come from.
        copied: (begin, end) in the new file, and where that begins in the source.
        computed: (begin, end) of all other ranges.
    """

    source: FileEntry
    size_bytes: int = 0
    copied: list[tuple[int, int, int]] = field(default_factory=list)
    computed: list[tuple[int, int]] = field(default_factory=list)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def copy(self, begin: int, end: int) -> None:
        """The next bytes are this range of the source."""
        at, self.size_bytes = self.size_bytes, self.size_bytes + end - begin
        if self.copied and self.copied[-1][1] == at and self._source_end == begin:
            self.copied[-1] = (self.copied[-1][0], self.size_bytes, self.copied[-1][2])
        else:
            self.copied.append((at, self.size_bytes, begin))

    def compute(self, data: bytes) -> None:
        """The next bytes are these."""
        self._digest.update(data)
        at, self.size_bytes = self.size_bytes, self.size_bytes + len(data)
        self.computed.append((at, self.size_bytes))

    @property
    def digest(self) -> str:
        """Of the computed bytes, one range after the other."""
        return self._digest.hexdigest()

    @property
    def _source_end(self) -> int:
        begin, end, source = self.copied[-1]
        return source + end - begin


class Comparison:
    """A new file being compared with its content, in whichever threads have least to do."""

    def __init__(self, path: str, file: int, content: Content, hashing: Hashing) -> None:
        """Start it; closes `file` when it is over."""
        self._path = path
        self._file = file
        self._content = content
        self._differs = os.fstat(file).st_size != content.size_bytes
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        try:
            self._source = open_unchanged(content.source)
        except BaseException:
            let_go(file)
            raise
        pieces = [] if self._differs else list(_cut(content.copied))
        self._left = len(pieces) + 1  # one for the tally
        self._computed = hashing.tally(path, size=sum(e - b for b, e in content.computed))
        for begin, end in [] if self._differs else content.computed:
            self._computed.add_range(file, begin, end)
        self._computed.end(self._one_less)
        for piece in pieces:
            self._start(piece, hashing)

    def agrees(self) -> bool:
        """Wait for the end, and say whether every byte is as it should be.

        Raises:
            ReadFailed, SourceChanged: it cannot be told.
        """
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._computed.digest() == self._content.digest and not self._differs

    def _start(self, piece: tuple[int, int, int], hashing: Hashing) -> None:
        begin, end, source = piece

        def job(_: memoryview) -> None:
            try:
                if self._error is None and not self._differs:
                    self._compare_piece(begin, end, source)
            except BaseException as error:  # noqa: BLE001 - raised where the answer is asked for
                self._error = error
            finally:
                self._one_less()

        hashing.put(job, (end - begin) // COMPARING)

    def _compare_piece(self, begin: int, end: int, source: int) -> None:
        for at in range(begin, end, READ_BYTES):
            count = min(READ_BYTES, end - at)
            here = source + at - begin
            new = read_range(self._file, at, at + count, subject=self._path)
            old = read_range(self._source, here, here + count, subject=self._path)
            if new != old:
                self._differs = True
                return

    def _one_less(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        try:
            require_unchanged(self._content.source, self._source)
        except BaseException as error:  # noqa: BLE001 - raised where the answer is asked for
            self._error = self._error or error
        finally:
            let_go(self._source)
            let_go(self._file)
            self._ended.set()


def _cut(ranges: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    for begin, end, source in ranges:
        for at in range(begin, end, CHUNK_BYTES):
            yield at, min(at + CHUNK_BYTES, end), source + at - begin
