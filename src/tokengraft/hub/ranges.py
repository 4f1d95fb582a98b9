"""Files of a repository by byte range, over HTTP.

The session and the headers, the user's token among them, are huggingface_hub's own. The token goes
to the Hub's own address and nowhere else; answers are read up to what was asked for and not further.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from tokengraft.errors import LimitExceeded, RefusedError
from tokengraft.hub import refusals
from tokengraft.hub.address import Address

MAX_RANGE_BYTES: Final = 128 << 20
# Where a server gives the whole file instead of a range: how far we read into it.
MAX_UNRANGED_BYTES: Final = 128 << 20
MAX_HOPS: Final = 5
CHUNK_BYTES: Final = 64 << 10
# Seconds before the second and the third attempt, where a failure may pass.
PAUSES: tuple[float, ...] = (0.5, 2.0)
# A server may be slow, and must come to an end.
PATIENCE_SECONDS, SLOWEST_BYTES_PER_SECOND = 60.0, 20_000
_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-(\d{1,20})/(\d{1,20}|\*)", re.ASCII)
_OK, _PARTIAL, _REDIRECTS = 200, 206, frozenset({301, 302, 303, 307, 308})
_NOT_SATISFIABLE = 416


class _Passing(Exception):
    """A failure that another attempt may not meet."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    chunks: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository at one commit: a `ByteSource` that holds nothing open."""

    address: Address
    commit: str
    path: str
    size_bytes: int

    def read(self, begin: int, end: int) -> bytes:
        """Read a range, trying again where a failure may pass.

        Raises:
            LimitExceeded: more than 128 MiB at once, or behind so much of a file that the server
                gives whole only.
            SourceChanged: the server has another commit, or a file of another size.
            NoAccess, Offline, RefusedError: it does not give the file.
        """
        if end - begin > MAX_RANGE_BYTES:
            raise LimitExceeded(
                "a range is too long", detail=f"at most {MAX_RANGE_BYTES} bytes", subject=self.path
            )
        if end > self.size_bytes:
            raise refusals.moved(self.address, self.path, f"it has {self.size_bytes} bytes")
        if begin >= end:
            return b""
        for pause in (*PAUSES, None):
            try:
                return self._attempt(begin, end)
            except _Passing as problem:
                if pause is None:
                    raise refusals.interrupted(self.address, self.path, str(problem)) from None
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, begin: int, end: int) -> bytes:
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(self.address.repo, self.path, revision=self.commit)
        home = _origin(url)
        for _ in range(MAX_HOPS):
            try:
                with _open(url, begin, end, at_home=_origin(url) == home) as answer:
                    if answer.status not in _REDIRECTS:
                        return self._take(answer, begin, end, at_home=_origin(url) == home)
                    self._same_commit(answer)
                    url = self._next(url, answer.headers.get("location", ""))
            except refusals.transport_errors() as error:
                # Their texts hold addresses, which may be signed: the kind of failure is enough.
                raise _Passing(_spoken(error)) from None
        raise RefusedError(
            f"{self.path} is behind more than {MAX_HOPS} redirections", subject=self.address.text
        )

    def _next(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
        if (
            not location
            or scheme not in ("http", "https")
            or (scheme, url[:5]) == ("http", "https")
        ):
            raise RefusedError(
                f"{self.path} is redirected to a place that cannot be trusted",
                detail="a redirection must lead to a web address, and never from https to http",
                subject=self.address.text,
            )
        return target

    def _same_commit(self, answer: _Answer) -> None:
        there = answer.headers.get("x-repo-commit", self.commit)
        if there != self.commit:
            why = f"asked for commit {self.commit[:12]}, another one was served"
            raise refusals.moved(self.address, self.path, why)

    def _take(self, answer: _Answer, begin: int, end: int, *, at_home: bool) -> bytes:
        status, headers = answer.status, answer.headers
        self._same_commit(answer)
        # Behind a redirection a refusal is that of a signed address, which a new one mends.
        if status in refusals.PASSING or (not at_home and status in (401, 403)):
            raise _Passing(f"a server answered with status {status}")
        if status == _NOT_SATISFIABLE:
            raise refusals.moved(self.address, self.path, "the server has fewer bytes")
        if status not in (_OK, _PARTIAL):
            raise refusals.of_status(self.address, status, headers.get("x-error-code", ""))
        if headers.get("content-encoding", "identity") != "identity":
            raise refusals.no_hub(self.address, "bytes were asked for and come compressed")
        if status == _PARTIAL:
            self._check_range(headers.get("content-range", ""), begin, end)
            return _collect(answer.chunks, 0, end - begin)
        self._check_whole(headers.get("content-length", ""), end)
        return _collect(answer.chunks, begin, end - begin)

    def _check_range(self, told: str, begin: int, end: int) -> None:
        match = _CONTENT_RANGE.fullmatch(told)
        if match is None or (int(match[1]), int(match[2]) + 1) != (begin, end):
            why = f"bytes {begin} to {end - 1} were asked for, the server says {told[:60]!r}"
            raise refusals.no_hub(self.address, why)
        if match[3] not in ("*", str(self.size_bytes)):
            why = f"listed with {self.size_bytes} bytes, served with {match[3]}"
            raise refusals.moved(self.address, self.path, why)

    def _check_whole(self, length: str, end: int) -> None:
        """A server that ignores ranges gives the whole file, of which the beginning may do."""
        if length.isdigit() and int(length) != self.size_bytes:
            why = f"listed with {self.size_bytes} bytes, served with {int(length)}"
            raise refusals.moved(self.address, self.path, why)
        if end > MAX_UNRANGED_BYTES:
            raise LimitExceeded(
                "the server gives whole files only, and what is needed lies too far inside",
                detail=f"at most {MAX_UNRANGED_BYTES} bytes are read for a range",
                subject=f"{self.address.text}/{self.path}",
                hint=self.address.download("--local-dir", "DIR") + ", then give DIR",
            )


def _collect(chunks: Iterable[bytes], skip: int, wanted: int) -> bytes:
    """Read so many bytes behind so many others, and no further."""
    seconds = PATIENCE_SECONDS + (skip + wanted) / SLOWEST_BYTES_PER_SECOND
    until = time.monotonic() + seconds
    pieces: list[bytes] = []
    left = wanted
    for chunk in chunks:
        skipped = min(skip, len(chunk))
        skip -= skipped
        piece = chunk[skipped : skipped + left]
        pieces.append(piece)
        left -= len(piece)
        if not left:
            return b"".join(pieces)
        if time.monotonic() > until:
            raise _Passing(f"{wanted} bytes did not come within {seconds:.0f} seconds")
    raise _Passing(f"the answer ended {left} bytes too early")


@contextmanager
def _open(url: str, begin: int, end: int, *, at_home: bool) -> Iterator[_Answer]:
    from huggingface_hub import constants
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        get_session,
    )

    # None: the user's token, as huggingface_hub finds it; False: none.
    headers = dict(build_hf_headers(token=None if at_home else False))
    headers |= {"range": f"bytes={begin}-{end - 1}", "accept-encoding": "identity"}
    seconds = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
    session: Any = get_session()
    if callable(getattr(session, "stream", None)):  # httpx, httpx2; a switch in requests
        with session.stream(
            "GET", url, headers=headers, timeout=seconds, follow_redirects=False
        ) as answer:
            yield _Answer(answer.status_code, answer.headers, answer.iter_raw())
        return
    with session.get(
        url, headers=headers, timeout=seconds, allow_redirects=False, stream=True
    ) as answer:
        # A size that is reached, or else the last bytes would wait for ones that never come.
        size = min(CHUNK_BYTES, end - begin)
        chunks = answer.raw.stream(size, decode_content=False)
        yield _Answer(answer.status_code, answer.headers, chunks)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def _spoken(error: Exception) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
    return f"the connection failed: {words}"
