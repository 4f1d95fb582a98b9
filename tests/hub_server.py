"""A Hub on 127.0.0.1: the endpoints that huggingface_hub asks, with every fault that can be planted.

It serves folders as repositories. Weights lie behind a redirection to a second address, as on the
real Hub; both count what they are asked and what they send.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

REPO = "org/tiny"
SECRET = "hf_plantedTokenThatNobodyMaySee"
COMMIT = "1" * 40
NEWER = "2" * 40


@dataclass(frozen=True)
class Request:
    """One request as the server saw it."""

    host: str  # hub or cdn
    method: str
    path: str
    token: str
    range: str
    status: int
    sent: int


@dataclass
class Hub:
    """What the server gives, and what it was asked. Tests set the faults."""

    folders: dict[str, Path] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    secret: str = ""  # a token without which nothing is given
    gated: bool = False
    status: int = 0  # answer everything with this
    files_status: int = 0  # answer resolve requests of weights with this
    failures: int = -1  # after so many failures of `files_status` all is well again
    ignore_range: bool = False
    cut: int = 0  # bytes that bodies of weights lack
    lie_length: int = 0  # bytes that Content-Length of weights says too much
    lie_range: bool = False
    wrong_size: int = 0  # bytes that the list says too much
    wrong_commit: str = ""  # X-Repo-Commit of weights
    stall: float = 0.0
    move_after_info: bool = False  # main moves behind the first answer
    redirect_to: str = ""
    garbage: bool = False
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    cdn: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    wake: threading.Event = field(default_factory=threading.Event)

    def sent(self, ending: str = "", host: str = "") -> int:
        """Bytes of bodies that were sent for paths with this ending."""
        return sum(
            r.sent
            for r in self.requests
            if r.path.split("?")[0].endswith(ending) and host in ("", r.host)
        )

    def forget(self) -> None:
        self.requests.clear()
        self.connections = 0


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve on two ports until the block ends."""
    servers = [_server(hub, "hub"), _server(hub, "cdn")]
    hub.url, hub.cdn = (f"http://127.0.0.1:{s.server_address[1]}" for s in servers)
    threads = [threading.Thread(target=s.serve_forever, args=(0.02,)) for s in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        hub.wake.set()
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def _server(hub: Hub, host: str) -> ThreadingHTTPServer:
    class Bound(_Handler):
        pass

    Bound.hub, Bound.host = hub, host

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that goes away early is what we expect."""

        def finish_request(self, *given: object) -> None:
            with hub.lock:
                hub.connections += 1
            super().finish_request(*given)  # type: ignore[arg-type]

    return Server(("127.0.0.1", 0), Bound)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    host: str
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.hub
        if hub.stall:
            hub.wake.wait(hub.stall)
        path = unquote(urlsplit(self.path).path)
        if hub.garbage:
            self._send(200, b"<html>Log in to our airport</html>", {"Content-Type": "text/html"})
        elif hub.status:
            self._refuse(hub.status)
        elif self.host == "cdn":
            self._cdn(path)
        elif hub.secret and self.headers.get("Authorization") != f"Bearer {hub.secret}":
            self._refuse(401, "GatedRepo" if hub.gated else "RepoNotFound")
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"))
        else:
            self._resolve(path)

    def _refuse(self, status: int, code: str = "") -> None:
        # A hostile or careless server repeats what it was sent.
        said = f"you sent {self.headers.get('Authorization', 'nothing')}"
        headers = {"X-Error-Message": said, **({"X-Error-Code": code} if code else {})}
        self._send(status, json.dumps({"error": said}).encode(), headers)

    def _api(self, path: str) -> None:
        hub = self.hub
        repo, what, rest = (*path.split("/", 3), "", "")[0:2], *(*path.split("/", 3), "", "")[2:4]
        name = "/".join(repo)
        folder = hub.folders.get(name)
        if folder is None:
            return self._refuse(404, "RepoNotFound")
        if what == "refs":
            refs = [{"name": b, "ref": f"refs/heads/{b}", "targetCommit": c}
                    for b, c in hub.branches.items()]  # fmt: skip
            return self._json({"branches": refs, "tags": [], "converts": []})
        revision = (rest or "main").split("/")[0] if what == "tree" else (rest or "main")
        commit = hub.branches.get(revision, revision if revision in (COMMIT, NEWER) else "")
        if not commit:
            return self._refuse(404, "RevisionNotFound")
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        if what == "tree":
            return self._json([_tree_entry(folder, file) for file in files])
        blobs = "blobs" in parse_qs(urlsplit(self.path).query)
        siblings = [_sibling(folder, file, hub.wrong_size, blobs=blobs) for file in files]
        self._json({"id": name, "modelId": name, "sha": commit, "siblings": siblings,
                    "private": False, "tags": [], "downloads": 0, "likes": 0})  # fmt: skip
        if hub.move_after_info:
            hub.branches["main"] = NEWER
        return None

    def _resolve(self, path: str) -> None:
        hub = self.hub
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        folder = hub.folders.get(match[1]) if match else None
        if match is None or folder is None:
            return self._refuse(404, "RepoNotFound")
        commit = hub.branches.get(match[2], match[2])
        file = folder / match[3]
        if not file.is_file():
            return self._refuse(404, "EntryNotFound")
        digest = hashlib.sha256(str(file).encode()).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest[:40]}"', "Accept-Ranges": "bytes"}
        if file.suffix != ".safetensors":
            return self._bytes(file, headers)
        if hub.files_status and hub.failures:
            hub.failures -= 1
            return self._refuse(hub.files_status)
        headers |= {"X-Linked-Size": str(file.stat().st_size), "X-Linked-ETag": f'"{digest}"'}
        headers["X-Repo-Commit"] = hub.wrong_commit or commit
        where = hub.redirect_to or f"{hub.cdn}/{match[1]}/{match[3]}?signature=planted-signature"
        headers["Location"] = where
        return self._send(302, b"", headers)

    def _cdn(self, path: str) -> None:
        _, org, name, rest = path.split("/", 3)
        self._bytes(self.hub.folders[f"{org}/{name}"] / rest, {}, faulty=True)

    def _bytes(self, file: Path, headers: dict[str, str], *, faulty: bool = False) -> None:
        hub, size = self.hub, file.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        begin, end, status = 0, size, 200
        if asked and not (faulty and hub.ignore_range):
            begin, end, status = int(asked[1]), min(int(asked[2]) + 1, size), 206
            shift = int(faulty and hub.lie_range)
            told = f"bytes {begin + shift}-{end - 1 + shift}/{size}"
            headers = {**headers, "Content-Range": told}
        if self.command == "HEAD":
            return self._send(status, b"", headers, length=end - begin)
        length = end - begin + (hub.lie_length if faulty else 0)
        end -= hub.cut if faulty else 0
        with file.open("rb") as opened:
            opened.seek(begin)
            if end - begin < 1 << 22:
                return self._send(status, opened.read(max(0, end - begin)), headers, length=length)
            return self._stream(opened.read, status, headers, end - begin)

    def _stream(self, read: object, status: int, headers: dict[str, str], left: int) -> None:
        """A large body piece by piece, counted as far as the client takes it."""
        self._head(status, headers, left)
        sent = 0
        try:
            while left:
                piece = read(min(left, 1 << 16))  # type: ignore[operator]
                self.wfile.write(piece)
                sent, left = sent + len(piece), left - len(piece)
        except OSError:
            self.close_connection = True
        self._note(status, sent)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], length: int | None = None
    ) -> None:
        told = len(body) if length is None else length
        self._note(status, 0 if self.command == "HEAD" else len(body))
        self._head(status, headers, told)
        if self.command != "HEAD":
            self.wfile.write(body)
            self.close_connection = self.close_connection or told != len(body)

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _note(self, status: int, sent: int) -> None:
        token = self.headers.get("Authorization", "")
        asked = self.headers.get("Range", "")
        with self.hub.lock:
            self.hub.requests.append(
                Request(self.host, self.command, self.path, token, asked, status, sent)
            )


def _sibling(folder: Path, file: Path, wrong: int, *, blobs: bool) -> dict[str, object]:
    name = file.relative_to(folder).as_posix()
    extra = wrong if name.endswith(".safetensors") else 0
    size = {"size": file.stat().st_size + extra, "blobId": "b" * 40} if blobs else {}
    return {"rfilename": name, **size}


def _tree_entry(folder: Path, file: Path) -> dict[str, object]:
    entry: dict[str, object] = {
        "type": "file",
        "oid": "b" * 40,
        "size": file.stat().st_size,
        "path": file.relative_to(folder).as_posix(),
    }
    if file.suffix == ".safetensors":
        entry["lfs"] = {"oid": "c" * 64, "size": file.stat().st_size, "pointerSize": 135}
    return entry
