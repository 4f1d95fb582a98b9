"""A repository of the Hub at one commit: small files fetched, the rest to be read by range."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tokengraft.errors import LimitExceeded, Offline, TokengraftError, UsageError
from tokengraft.events import Listen, Note
from tokengraft.hub import refusals
from tokengraft.hub.address import COMMIT, Address
from tokengraft.hub.ranges import HubFile

MAX_FILES = 100_000
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Repository:
    """What is at hand of a repository.

    Attributes:
        folder: the snapshot in the Hugging Face cache.
        commit: what it is a snapshot of, and what every request asks for.
        absent: files of the repository that are not in the folder; empty where only the cache was
            asked, because the Hub could not be.
        asked: whether the Hub was asked, so that folder and `absent` together are all of it.
    """

    folder: Path
    commit: str
    absent: Mapping[str, HubFile]
    asked: bool


def hub_cache() -> Path:
    """The Hugging Face cache, into which nothing of ours is ever written."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def is_offline() -> bool:
    """Whether the user has forbidden connections."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def look(address: Address, small: Callable[[str], bool], limit: int, listen: Listen) -> Repository:
    """Fetch what is small, and list the rest.

    Args:
        small: whether a file is to be fetched, by its path.
        limit: bytes that such a file may have.
    Raises:
        Offline: it is not in the cache, and the Hub cannot be reached or must not be.
        NoAccess, UsageError, RefusedError: the Hub does not give it.
    """
    if is_offline():
        return _from_cache(address, small, refusals.offline(address), listen)
    try:
        with translated(address):
            commit, sizes = _listing(address)
    except Offline as error:
        return _from_cache(address, small, error, listen)
    for path in filter(small, sizes):
        if sizes[path] > limit:
            raise LimitExceeded(
                f"{path} has {sizes[path]} bytes, the limit is {limit}", subject=address.text
            )
    wanted = [path for path in sizes if small(path)]
    listen(Note("fetch", f"{address.repo} at commit {commit}: {len(wanted)} small files"))
    with translated(address):
        folder = _fetch(address, commit, wanted)
    absent = {
        path: HubFile(address, commit, path, size)
        for path, size in sizes.items()
        if not (folder / path).is_file()
    }
    return Repository(folder, commit, absent, asked=True)


def _listing(address: Address) -> tuple[str, dict[str, int]]:
    """The commit that an address stands for now, and the sizes of its files."""
    from huggingface_hub import HfApi

    cached = _cached_listing(address)
    if cached is not None:
        return cached
    info = HfApi().model_info(
        address.repo, revision=address.revision, files_metadata=True, timeout=SECONDS
    )
    files = info.siblings or []
    if info.sha is None or not COMMIT.fullmatch(info.sha) or len(files) > MAX_FILES:
        raise refusals.no_hub(address, "it names no commit, or more files than any model has")
    sizes = {file.rfilename: file.size for file in files}
    if not all(_is_plain(path) and type(size) is int and size >= 0 for path, size in sizes.items()):
        raise refusals.no_hub(address, "its list of files has names or sizes that make no sense")
    return info.sha, {path: size or 0 for path, size in sizes.items()}


def _is_plain(path: object) -> bool:
    parts = path.split("/") if isinstance(path, str) else [""]
    return all(part not in ("", ".", "..") and part.isprintable() for part in parts)


def _cached_listing(address: Address) -> tuple[str, dict[str, int]] | None:
    """The list that huggingface_hub 2 keeps of a commit, which never changes."""
    if address.commit is None:
        return None
    try:
        from huggingface_hub import get_cached_repo_tree

        files = get_cached_repo_tree(address.repo, revision=address.commit)
    except Exception:  # noqa: BLE001  an older huggingface_hub, or no list of this commit
        return None
    return address.commit, {file.path: file.size for file in files}


def _fetch(address: Address, commit: str, paths: Iterable[str]) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download

    names = sorted(paths)
    if not names:
        raise UsageError(
            f"{address.repo} has no files of a Hugging Face checkpoint",
            detail="neither config.json nor tokenizer files are among its files",
            subject=address.text,
        )
    with quiet():
        patterns = [name.replace("[", "[[]") for name in names]
        folder = Path(snapshot_download(address.repo, revision=commit, allow_patterns=patterns))
        if address.commit is None and _remembered(address) != commit:
            # A file asked for by branch makes huggingface_hub remember where the branch stands, so
            # that the same address is found offline.
            hf_hub_download(address.repo, names[0], revision=address.revision)
    return folder


def _remembered(address: Address) -> str:
    name = "models--" + address.repo.replace("/", "--")
    try:
        return (hub_cache() / name / "refs" / (address.revision or "main")).read_text("utf-8")
    except OSError:
        return ""


def _from_cache(
    address: Address, small: Callable[[str], bool], problem: Offline, listen: Listen
) -> Repository:
    """The snapshot in the cache, without a connection; or else the problem."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                address.repo,
                revision=address.revision,
                local_files_only=True,
                allow_patterns=["*.json", "*.jinja", "merges.txt"],
            )
        )
    except Exception:  # noqa: BLE001  whatever it is: the cache does not have it
        raise problem from None
    found = sum(small(path.relative_to(folder).as_posix()) for path in folder.rglob("*"))
    if not found:
        raise problem
    told = f"the Hub was not asked; {address.repo} is read from the cache, commit {folder.name}"
    listen(Note("fetch", told))
    return Repository(folder, folder.name, {}, asked=False)


def download(address: Address, listen: Listen) -> Path:
    """Fetch a repository whole, pickles left out."""
    from huggingface_hub import snapshot_download

    ignored = ["*.bin", "*.pt", "*.pth", "*.gguf", "*.msgpack", "*.h5"]
    listen(
        Note(
            "fetch", f"{address.repo} is no folder here; asking the Hugging Face cache and the Hub"
        )
    )
    with translated(address):
        return Path(
            snapshot_download(address.repo, revision=address.revision, ignore_patterns=ignored)
        )


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Turn what huggingface_hub raises into errors of ours."""
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except TokengraftError:
        raise
    except HFValidationError as error:
        raise UsageError(
            f"{address.repo} is no repo id", detail=str(error), subject=address.text
        ) from error
    except refusals.transport_errors() as error:
        raise _translation(address, error) from None
    except (ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        kind = f"it cannot be understood ({type(error).__name__})"
        raise refusals.no_hub(address, kind) from None


def _translation(address: Address, error: Exception) -> TokengraftError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return refusals.no_access(address, gated=True)
    if isinstance(error, errors.RepositoryNotFoundError):
        return refusals.no_repository(address, _cached_repositories())
    if isinstance(error, errors.RevisionNotFoundError):
        return refusals.no_revision(address, _revisions(address))
    if is_offline():
        return refusals.offline(address)
    # Where nothing is in the cache either, huggingface_hub names the refusal as the cause.
    for one in (error, error.__cause__):
        answer = getattr(one, "response", None)
        if answer is not None:
            code = answer.headers.get("x-error-code", "")
            return refusals.of_status(address, answer.status_code, code)
    return refusals.unreachable(address, f"the connection failed ({type(error).__name__})")


def _cached_repositories() -> list[str]:
    names = (path.name.removeprefix("models--") for path in hub_cache().glob("models--*"))
    return [name.replace("--", "/", 1) for name in names]


def _revisions(address: Address) -> list[str]:
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(address.repo)
    except Exception:  # noqa: BLE001  it was only for advice
        return []
    return [ref.name for ref in (*refs.branches, *refs.tags)]


@contextmanager
def quiet() -> Iterator[None]:
    """No bars of huggingface_hub for files of a few kilobytes."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
