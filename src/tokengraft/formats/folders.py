"""Walk a checkpoint folder without ever leaving it.

Links are followed in one case only: a snapshot of the Hugging Face cache, whose files are links to
blobs of the same repository. Whatever else points outside is reported and not opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokengraft.checkpoint import MANIFEST, ByteSource, FileEntry, FolderProblem
from tokengraft.errors import LimitExceeded, ReadFailed, UnsafePath
from tokengraft.formats.whole_files import read_whole

MAX_FILES = 100_000  # the largest published repositories have some hundreds of files
MAX_FOLDERS = 100_000
MAX_FOLDER_DEPTH = 64
MAX_SMALL_BYTES = 256 << 20  # of one file, and of all of them
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


@dataclass(slots=True)
class _Walk:
    """A folder under way: what is listed is counted before it is kept."""

    root: Path
    n_files: int = 0
    n_folders: int = 0

    def files(self, folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Everything that is no folder, in order, with its path from the root."""
        for entry, is_folder in self._listed(folder):
            if not is_folder:
                yield prefix + entry.name, entry
            elif entry.name not in SKIPPED_FOLDERS:
                inner = f"{prefix}{entry.name}/"
                if inner.count("/") >= MAX_FOLDER_DEPTH:
                    raise LimitExceeded(
                        f"folders are more than {MAX_FOLDER_DEPTH} deep in {self.root}",
                        subject=str(self.root),
                    )
                yield from self.files(folder / entry.name, inner)

    def _listed(self, folder: Path) -> list[tuple[os.DirEntry[str], bool]]:
        found: list[tuple[os.DirEntry[str], bool]] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    self.n_folders += is_folder
                    self.n_files += not is_folder
                    if self.n_files > MAX_FILES or self.n_folders > MAX_FOLDERS:
                        raise LimitExceeded(
                            f"more than {MAX_FILES} files or folders in {self.root}",
                            subject=str(self.root),
                        )
                    found.append((entry, is_folder))
        except OSError as error:
            raise ReadFailed(
                f"cannot read the folder {folder}", detail=error.strerror or "", subject=str(folder)
            ) from error
        return sorted(found, key=lambda pair: pair[0].name)


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
    for path, entry in _Walk(root).files(root, ""):
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
    shown = path.encode("utf-8", "backslashreplace").decode()
    if shown.encode() != os.fsencode(path):
        return FolderProblem("unsafe-path", shown, "a name that is not UTF-8; not read")
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
    # `real` has no link left in it, so one that is there now was put there meanwhile.
    return read_whole(entry.real, limit=MAX_SMALL_BYTES, subject=entry.path, follow=False)


def refuse_too_much(entries: Iterable[FileEntry]) -> None:
    """Refuse small files that together have more bytes than are held in memory.

    Raises:
        LimitExceeded: they have.
    """
    total = sum(entry.size_bytes for entry in entries)
    if total > MAX_SMALL_BYTES:
        raise LimitExceeded(
            f"the small files have {total} bytes together, the limit is {MAX_SMALL_BYTES}"
        )


def is_graft_record(path: str) -> bool:
    """Whether a file is ours, left in the folder by an earlier apply."""
    return path == MANIFEST or path.startswith("tokengraft/")
