"""A folder, a repo id or an hf:// address -> a folder with files.

Nothing here writes into the cache: what must be fetched, huggingface_hub fetches.
"""

from __future__ import annotations

import re
from pathlib import Path

from tokengraft.errors import Offline, RefusedError, UsageError
from tokengraft.events import Listen, Note, ignore

ADDRESS = re.compile(r"(?:hf://)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
# What an audit needs of a repository: everything but tensors.
SMALL_PATTERNS = ("*.json", "*.jinja", "*.txt", "*.model")


def locate(source: str, *, weights: bool, listen: Listen = ignore) -> Path:
    """Find the folder of a source, fetching it from the Hub only if it is no folder.

    Args:
        weights: whether tensors are needed; without them the small files alone are fetched.
    Raises:
        UsageError: neither a folder nor an address.
        Offline: it is not in the cache and the Hub cannot be reached, or must not be.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    match = ADDRESS.fullmatch(source)
    if match is None or source.startswith((".", "/", "~")):
        raise UsageError(
            f"{source} is not there",
            detail="it is neither a folder nor a repo id such as Qwen/Qwen3-0.6B",
            subject=source,
            hint="give the folder that holds config.json, or org/name, or hf://org/name@revision",
        )
    return _fetch(match["repo"], match["revision"], weights=weights, listen=listen)


def hub_cache() -> Path:
    """The Hugging Face cache, into which nothing of ours is ever written."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _fetch(repo: str, revision: str | None, *, weights: bool, listen: Listen) -> Path:
    # Imported late: it costs more than all the rest of an audit of a local folder.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    patterns = None if weights else list(SMALL_PATTERNS)
    ignored = ["*.bin", "*.pt", "*.pth", "*.gguf", "*.msgpack", "*.h5"]
    listen(Note("fetch", f"{repo} is no folder here; asking the Hugging Face cache and the Hub"))
    try:
        return Path(
            snapshot_download(
                repo, revision=revision, allow_patterns=patterns, ignore_patterns=ignored
            )
        )
    except HFValidationError as error:
        raise UsageError(f"{repo} is no repo id", detail=str(error), subject=repo) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
        raise Offline(
            f"{repo} is neither a folder nor in the cache, and the Hub cannot be reached",
            detail=str(error).splitlines()[0],
            subject=repo,
            hint=f"hf download {repo} --local-dir DIR, where there is a network; then give DIR",
        ) from error
    except HfHubHTTPError as error:
        raise RefusedError(
            f"the Hub does not give {repo}", detail=str(error).splitlines()[0], subject=repo
        ) from error
    except OSError as error:
        raise Offline(
            f"{repo} could not be fetched", detail=str(error).splitlines()[0], subject=repo
        ) from error
