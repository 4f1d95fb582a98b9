"""Walk a checkpoint folder without ever leaving it.

Links are followed in one case only: a snapshot of the Hugging Face cache, whose files are links to
blobs of the same repository. Whatever else points outside is reported and not opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from tokengraft.checkpoint import MANIFEST, ByteSource, FileEntry, FolderProblem
from tokengraft.errors import LimitExceeded, ReadFailed, UnsafePath

MAX_FILES = 100_000  # the largest published repositories have some hundreds of files
MAX_SMALL_BYTES = 256 << 20
SKIPPED_FOLDERS = frozenset({".git", ".cache"})  # what `git` and `hf download` leave behind

SMALL_NAMES = frozenset(
    {
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
        "config.json",
        "config_sentence_transformers.json",
        "generation_config.json",
        "merges.txt",
        "preprocessor_config.json",
        "processor_config.json",
        "special_tokens_map.json",
        "spiece.model",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "video_preprocessor_config.json",
        "vocab.json",
        "vocab.txt",
    }
)


def kind_of(path: str) -> Literal["weights", "small", "other"]:
    """What a file is to us, by its path in the folder."""
    if path in SMALL_NAMES or path.endswith(".safetensors.index.json"):
        return "small"
    if path.startswith("additional_chat_templates/") and path.endswith(".jinja"):
        return "small"
    if path.endswith(".safetensors") and "/" not in path:
        return "weights"
    return "other"


def _cache_root(root: Path) -> Path | None:
    """The repository folder of the Hugging Face cache that a snapshot belongs to."""
    for parent in root.parents:
        if parent.name == "snapshots" and parent.parent.name.startswith("models--"):
            return parent.parent
    return None


def _is_inside(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _scan(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ReadFailed(
            f"cannot read the folder {folder}", detail=error.strerror or "", subject=str(folder)
        ) from error
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in SKIPPED_FOLDERS:
                yield from _scan(folder / entry.name, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry


def walk(
    root: Path, remote: Mapping[str, ByteSource] | None = None
) -> tuple[dict[str, FileEntry], tuple[FolderProblem, ...]]:
    """List the files of a folder, links resolved, with what had to be left out.

    Args:
        remote: files that belong to it and lie elsewhere, by path; what is here goes first.
    Raises:
        UnsafePath: `root` is not a folder.
        LimitExceeded: more files than any model has.
    """
    if not root.is_dir():
        raise UnsafePath(
            f"{root} is not a folder",
            subject=str(root),
            hint="give the folder that holds config.json",
        )
    root = root.resolve()
    cache = _cache_root(root)
    files: dict[str, FileEntry] = {}
    problems: list[FolderProblem] = []
    for path, entry in _scan(root, ""):
        if len(files) >= MAX_FILES:
            raise LimitExceeded(f"more than {MAX_FILES} files in {root}", subject=str(root))
        found = _entry(root, cache, path, entry)
        if isinstance(found, FolderProblem):
            problems.append(found)
        else:
            files[path] = found
    for path, source in (remote or {}).items():
        files.setdefault(path, _remote_entry(root, path, source))
    problems.extend(_collisions(files))
    return dict(sorted(files.items())) if remote else files, tuple(problems)


def _remote_entry(root: Path, path: str, source: ByteSource) -> FileEntry:
    return FileEntry(
        path=path,
        real=root / path,
        size_bytes=source.size_bytes,
        mtime_ns=0,
        inode=0,
        is_link=False,
        kind=kind_of(path),
        remote=source,
    )


def _entry(
    root: Path, cache: Path | None, path: str, entry: os.DirEntry[str]
) -> FileEntry | FolderProblem:
    real = Path(entry.path)
    is_link = entry.is_symlink()
    if is_link:
        try:
            real = real.resolve(strict=True)
        except (OSError, RuntimeError):
            return FolderProblem("unsafe-path", path, "a link that leads nowhere")
        inside = _is_inside(real, root) or (cache is not None and _is_inside(real, cache))
        if not inside:
            return FolderProblem("unsafe-path", path, "a link that leaves the folder; not read")
    try:
        status = real.stat()
    except OSError:
        return FolderProblem("unsafe-path", path, "cannot be examined")
    if not stat.S_ISREG(status.st_mode):
        return FolderProblem("unsafe-path", path, "not a regular file; not read")
    return FileEntry(
        path=path,
        real=real,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
        is_link=is_link,
        kind=kind_of(path),
    )


def _collisions(files: dict[str, FileEntry]) -> Iterator[FolderProblem]:
    """Names that are one name on a file system that ignores case."""
    seen: dict[str, str] = {}
    for path in files:
        folded = path.casefold()
        if folded in seen:
            text = f"differs from {seen[folded]} by case alone"
            yield FolderProblem("unsafe-path", path, text)
        seen[folded] = path


def read_small(entry: FileEntry) -> bytes:
    """Read a small file whole, within its limit.

    Raises:
        LimitExceeded: it is larger than any honest one.
        ReadFailed: the system refuses.
    """
    if entry.size_bytes > MAX_SMALL_BYTES:
        raise LimitExceeded(
            f"{entry.path} has {entry.size_bytes} bytes, the limit is {MAX_SMALL_BYTES}",
            subject=entry.path,
        )
    if entry.remote is not None:
        return entry.remote.read(0, entry.size_bytes)
    try:
        return entry.real.read_bytes()
    except OSError as error:
        raise ReadFailed(
            f"cannot read {entry.path}", detail=error.strerror or "", subject=str(entry.real)
        ) from error


def is_graft_record(path: str) -> bool:
    """Whether a file is ours, left in the folder by an earlier apply."""
    return path == MANIFEST or path.startswith("tokengraft/")
