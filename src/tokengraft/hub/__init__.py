"""A folder, a repo id or an hf:// address -> a folder with files, or a repository to be read by range.

Nothing here writes into the cache: what must be fetched, huggingface_hub fetches.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from tokengraft.errors import UsageError
from tokengraft.events import Listen, ignore
from tokengraft.hub.address import Address, parse
from tokengraft.hub.repositories import Repository, download, hub_cache, look

__all__ = ["Address", "Repository", "download", "find", "hub_cache", "locate", "look"]


def find(source: str) -> Path | Address:
    """Tell folders from addresses.

    Raises:
        UsageError: neither a folder nor an address.
    """
    folder = Path(source).expanduser()
    if not source.strip():
        raise UsageError("the source is empty", hint="name a folder, org/name, or hf://org/name")
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UsageError(
            f"{source} is a file",
            detail="a checkpoint is a folder",
            subject=source,
            hint=f"give its folder: {shlex.quote(str(folder.parent))}",
        )
    address = parse(source)
    if address is None:
        raise UsageError(
            f"{source} is not there",
            detail="it is neither a folder nor a repo id such as Qwen/Qwen3-0.6B",
            subject=source,
            hint="give the folder that holds config.json, or org/name, or hf://org/name@revision",
        )
    return address


def locate(source: str, *, listen: Listen = ignore) -> Path:
    """Find the folder of a source, fetching it whole from the Hub if it is no folder.

    Raises:
        UsageError: neither a folder nor an address.
        Offline: it is not in the cache and the Hub cannot be reached, or must not be.
    """
    found = find(source)
    return found if isinstance(found, Path) else download(found, listen)
