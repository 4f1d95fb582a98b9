"""The only code that writes. A folder is built where nobody looks, and appears by one rename.

    with staging(destination, hashing) as stage:   # lock, exists-check, a hidden folder beside OUT
        stage.require_room(size_bytes)
        stage.write("config.json", chunks)         # created exclusively, written, fsynced
        stage.publish()                            # see there: the one visible moment

Whatever is raised before the rename removes the stage, so OUT is absent or as it was. A killed run
leaves a dead stage, which the next run for the same OUT removes: its lock died with its process.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256

from tokengraft.applying.hashing import MIB, Hashing
from tokengraft.applying.locking import exists, is_same, locked, remove, remove_stages
from tokengraft.applying.places import (
    Destination,
    Place,
    exists_already,
    refuse_existing,
    refuse_place,
    refuse_replacing,
    require_room,
    split_path,
)
from tokengraft.applying.proving import Comparison, Content
from tokengraft.applying.staged import FOLDER, NEW_FILE, OLD_FILE, StagedFile, doing
from tokengraft.applying.syscalls import SYSTEM, Syscalls
from tokengraft.checkpoint import MANIFEST, FileEntry
from tokengraft.errors import SourceChanged, WriteFailed
from tokengraft.formats.manifest import format_manifest
from tokengraft.formats.whole_files import let_go

CHUNK_BYTES = 8 * MIB
# What may wait for its fsync while the next files are written: the disk is busy all the time.
FILES_UNSYNCED, BYTES_UNSYNCED = 16, 1024 * MIB
O_TMPFILE = getattr(os, "O_TMPFILE", os.O_DIRECTORY)  # Linux; elsewhere the call just fails
NO_RENAME_FLAGS = (errno.ENOSYS, errno.EINVAL)


class Stage:
    """A folder that nobody sees before it is complete.

    Attributes:
        digests: sha256 of every file in it, by path; the caller adds those that `write` does not.
    """

    def __init__(
        self, place: Place, destination: Destination, hashing: Hashing, system: Syscalls
    ) -> None:
        self.digests: dict[str, str] = {}
        self.was_published = False
        self._place = place
        self._destination = destination
        self._hashing = hashing
        self._system = system
        self._folders = {"": system.open(place.stage, FOLDER, 0, place.parent)}
        self._files: set[str] = set()
        self._unsynced: dict[str, _Unsynced] = {}
        self._rereads: list[tuple[str, Callable[[], bool]]] = []

    # ── filling it ───────────────────────────────────────────────────────────────────────────

    def require_room(self, size_bytes: int) -> None:
        """Refuse before anything is written if the disk cannot hold it and 5 % more."""
        with doing(str(self._destination.target)):
            free = self._system.free_bytes(self._place.parent)
        require_room(self._destination, size_bytes, free)

    @contextmanager
    def create(self, path: str) -> Iterator[StagedFile]:
        """Open a new file; it is synced soon after the block ends well, while others are written."""
        folder, name = self._folder_of(path)
        with doing(path):
            file = self._system.open(name, NEW_FILE, 0o666, folder)
            self._files.add(path)
            staged = StagedFile(path, file, self._system)
            try:
                yield staged
            except BaseException:
                self._system.close(file)
                raise
        self._unsynced[path] = _Unsynced(file, staged.size_bytes)
        self._settle(FILES_UNSYNCED, BYTES_UNSYNCED)

    def settle(self) -> None:
        """Sync what is not yet, so that reading back begins; `publish` does it anyway."""
        self._settle(0, 0)

    def _settle(self, n_files: int, n_bytes: int) -> None:
        """Sync files, oldest first, until no more than this is left unsynced."""
        while self._unsynced and (
            len(self._unsynced) > n_files
            or sum(waiting.size_bytes for waiting in self._unsynced.values()) > n_bytes
        ):
            path = next(iter(self._unsynced))
            waiting = self._unsynced.pop(path)
            self._sync_file(path, waiting)

    def _sync_file(self, path: str, waiting: _Unsynced) -> None:
        """Sync one file, close it, and begin to read it back.

        A failed fsync is final: what the kernel dropped then, a second call would not write.
        """
        file = waiting.file
        with doing(path):
            try:
                self._system.fsync(file)
            finally:
                self._system.close(file)
        if waiting.reread:
            self._reread(path, waiting.content)

    def write(self, path: str, chunks: Iterable[bytes]) -> str:
        """Write a file of ours, note its digest and read it back later."""
        digest = sha256()
        with self.create(path) as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        self.digests[path] = digest.hexdigest()
        self.reread(path)
        return self.digests[path]

    def link(self, path: str, entry: FileEntry) -> None:
        """Give a file of the source a second name here."""
        folder, name = self._folder_of(path)
        with doing(path):
            self._system.link(str(entry.real), name, folder)
            self._files.add(path)
            file = self._system.open(name, OLD_FILE, 0, folder)
            try:
                if os.fstat(file).st_ino != entry.inode:
                    raise SourceChanged("a file was replaced while it was linked", subject=path)
                self._system.fsync(file)  # whoever downloaded it may not have
            finally:
                self._system.close(file)

    @contextmanager
    def nameless(self) -> Iterator[StagedFile | None]:
        """Give a file that never gets a name, to try something; None where there are none."""
        try:
            file = self._system.open(".", os.O_WRONLY | O_TMPFILE, 0o600, self._folders[""])
        except OSError:
            yield None
            return
        with doing(str(self._destination.target)):
            try:
                yield StagedFile("", file, self._system)
            finally:
                self._system.close(file)

    def reread(self, path: str, content: Content | None = None) -> None:
        """Read a file back in other threads once it is synced; `publish` compares.

        Args:
            content: what it must hold; None compares its digest with the one noted here.
        """
        waiting = self._unsynced.get(path)
        if waiting is None:
            self._reread(path, content)
        else:
            waiting.reread, waiting.content = True, content

    def _reread(self, path: str, content: Content | None) -> None:
        file = self.open(path)
        if content is not None:
            self._rereads.append((path, Comparison(path, file, content, self._hashing).agrees))
            return
        size = os.fstat(file).st_size
        tally = self._hashing.tally(path, size=size)
        try:
            for begin in range(0, size, CHUNK_BYTES):
                tally.add_range(file, begin, min(begin + CHUNK_BYTES, size))
        finally:
            tally.end(lambda: let_go(file))
        self._rereads.append((path, lambda: tally.digest() == self.digests[path]))

    def open(self, path: str) -> int:
        """Open a file of the stage for reading; the caller closes it."""
        folder, name = self._folder_of(path)
        with doing(path):
            return os.open(name, OLD_FILE, dir_fd=folder)

    def _folder_of(self, path: str) -> tuple[int, str]:
        *above, name = split_path(path)
        inner = ""
        for part in above:
            outer, inner = self._folders[inner], f"{inner}/{part}".lstrip("/")
            if inner not in self._folders:
                with doing(inner):
                    self._system.mkdir(part, 0o700, outer)
                    self._folders[inner] = self._system.open(part, FOLDER, 0, outer)
        return self._folders[inner], name

    # ── the one visible moment ───────────────────────────────────────────────────────────────

    def publish(self, *, manifest: bool = True) -> None:
        """Make the folder appear, complete and on disk, or raise and leave OUT as it was.

        Args:
            manifest: whether the folder gets one; a restored base has its own, or none.
        """
        # A file without a digest would be one that nobody can check.
        assert self._files == set(self.digests), self._files ^ set(self.digests)
        self._sync_files()
        if manifest:
            self._write_manifest()
        self.compare_rereads()
        self._give_modes()
        self._sync_folders()
        self._rename()
        self.finish()

    def _sync_files(self) -> None:
        # A manifest vouches for files, so they are on disk before it is there.
        self._settle(0, 0)

    def _write_manifest(self) -> None:
        self.write(MANIFEST, [format_manifest(self.digests)])
        self._sync_files()

    def compare_rereads(self, only: str | None = None) -> None:
        """Refuse files, or one that was synced, that do not read back as they were written."""
        for path, agrees in self._rereads:
            if only in (None, path) and not agrees():
                raise WriteFailed(
                    f"{path} does not read back as it was written",
                    detail="the disk or its memory is failing; nothing was published",
                    subject=path,
                )

    def _give_modes(self) -> None:
        mode = 0o777 & ~self._system.umask()
        for path, folder in self._folders.items():
            with doing(path or str(self._destination.target)):
                self._system.fchmod(folder, mode)

    def _sync_folders(self) -> None:
        # Inner ones first, and after their modes: the rename must find all of it on disk.
        for path in sorted(self._folders, reverse=True):
            with doing(path or str(self._destination.target)):
                self._system.fsync(self._folders[path])

    def _rename(self) -> None:
        place, target = self._place, self._destination.target
        with doing(str(target)):
            if self._destination.replace and exists(place.parent, place.name):
                self._exchange()
                return
            try:
                self._system.rename_new(place.parent, place.stage, place.name)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                    raise exists_already(target) from error
                if error.errno not in NO_RENAME_FLAGS:
                    raise
                # No such promise from this file system: the lock and this check stand in for it.
                refuse_existing(self._destination)
                self._system.rename(place.parent, place.stage, place.name)
            self.was_published = True

    def _exchange(self) -> None:
        place, target = self._place, self._destination.target
        refuse_replacing(target)
        try:
            self._system.exchange(place.parent, place.stage, place.name)
        except OSError as error:
            if error.errno not in NO_RENAME_FLAGS:
                raise
            raise WriteFailed(
                "this system cannot replace a folder in one step",
                detail=os.strerror(error.errno),
                subject=str(target),
                hint="write to a new place, then move the old folder away yourself",
            ) from error
        self.was_published = True

    def _sync_parent(self) -> None:
        target = self._destination.target
        try:
            self._system.fsync(self._place.parent)
        except OSError as error:
            raise WriteFailed(
                f"published, durability unconfirmed: {target}",
                detail=f"the folder is complete and can be seen, but its name may not survive a "
                f"power cut: {error.strerror}",
                subject=str(target),
                hint="check the disk, then: tokengraft verify " + str(target),
            ) from error

    def _remove_replaced(self) -> None:
        # After an exchange the old folder bears the stage's name; otherwise nothing does.
        place = self._place
        try:
            if exists(place.parent, place.stage):
                remove(place.parent, place.stage, self._system)
        except OSError as error:
            raise WriteFailed(
                f"published, but the replaced folder is still there: {place.stage}",
                detail=error.strerror or "",
                subject=str(self._destination.target.parent / place.stage),
                hint="the next run for the same destination removes it",
            ) from error

    def has_appeared(self) -> bool:
        """Whether OUT is this folder: a signal can come between a rename and our noting it."""
        place = self._place
        return self.was_published or is_same(self._folders[""], place.parent, place.name)

    def finish(self) -> None:
        """What is to be done once OUT is there; an interruption must not leave it half done."""
        self._sync_parent()
        self._remove_replaced()

    def close(self) -> None:
        files = [waiting.file for waiting in self._unsynced.values()]
        for file in (*files, *self._folders.values()):
            with suppress(OSError):
                self._system.close(file)


@dataclass(slots=True)
class _Unsynced:
    """A file that is written and not yet synced, and whether it is to be read back then."""

    file: int
    size_bytes: int
    reread: bool = False
    content: Content | None = None


@contextmanager
def staging(
    destination: Destination, hashing: Hashing, system: Syscalls = SYSTEM
) -> Iterator[Stage]:
    """Hold the destination and give a stage for it; removes the stage unless it was published.

    Raises:
        UsageError: OUT lies where nothing may be written.
        TargetLocked, TargetExists: another run holds OUT; it exists and was not to be replaced.
        DiskFull, WriteFailed: the operating system refuses.
    """
    refuse_place(destination)
    name = destination.target.name
    with doing(str(destination.target.parent)):
        parent = system.open(str(destination.target.parent.resolve()), FOLDER, 0, None)
    try:
        with locked(parent, destination.target, system):
            place = Place(parent, name, f".{name}.stage-{secrets.token_hex(8)}")
            with doing(str(destination.target)):
                remove_stages(parent, name, system)
                refuse_existing(destination)
            with _stage(place, destination, hashing, system) as stage:
                yield stage
    finally:
        with suppress(OSError):
            system.close(parent)


@contextmanager
def _stage(
    place: Place, destination: Destination, hashing: Hashing, system: Syscalls
) -> Iterator[Stage]:
    stage: Stage | None = None
    try:
        with doing(str(destination.target)):
            system.mkdir(place.stage, 0o700, place.parent)
            stage = Stage(place, destination, hashing, system)
        yield stage
    except BaseException as error:
        if stage is None or not stage.has_appeared():
            try:
                remove(place.parent, place.stage, system)
            except OSError as failure:
                error.add_note(f"{place.stage} could not be removed: {failure.strerror}")
        elif not isinstance(error, Exception):
            stage.finish()
        raise
    else:
        if not stage.was_published:
            with doing(place.stage):
                remove(place.parent, place.stage, system)
    finally:
        if stage is not None:
            stage.close()
