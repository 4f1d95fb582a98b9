"""What huggingface_hub and servers refuse, as errors of ours.

What a server writes into its answer is never repeated: it may hold what we sent, the token included.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from typing import Final

from tokengraft.errors import (
    MalformedFile,
    NoAccess,
    Offline,
    RefusedError,
    SourceChanged,
    TokengraftError,
    UsageError,
)
from tokengraft.hub.address import Address

UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404
# Answers that may be another one in a minute.
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


def transport_errors() -> tuple[type[Exception], ...]:
    """What the library under huggingface_hub raises where a connection fails.

    huggingface_hub 0.x stands on requests (whose errors are OSErrors), 1.x on httpx, 2.x on httpx2.
    """
    found: list[type[Exception]] = [OSError]
    for name in ("httpx2", "httpx"):
        library = sys.modules.get(name)
        if library is not None:
            found += [library.HTTPError, library.StreamError, library.InvalidURL]
    urllib3 = sys.modules.get("urllib3")  # under requests, where a body is read piece by piece
    if urllib3 is not None:
        found.append(urllib3.exceptions.HTTPError)
    return tuple(found)


def offline(address: Address) -> Offline:
    """Nothing is in the cache, and no connection is allowed."""
    return Offline(
        f"{address.repo} is neither a folder here nor in the cache, and offline mode is on",
        detail="HF_HUB_OFFLINE forbids to ask the Hub",
        subject=address.text,
        hint=f"{address.download('--local-dir', 'DIR')}, where there is a network; then give DIR",
    )


def _later(address: Address) -> str:
    command = address.download("--local-dir", "DIR")
    return f"run the same command again in a minute; or, once it answers: {command}"


def unreachable(address: Address, why: str) -> Offline:
    """The Hub does not answer, or not in a way that helps."""
    return Offline(
        f"{address.repo} is not in the cache, and the Hub cannot be reached",
        detail=why,
        subject=address.text,
        hint=_later(address),
    )


def interrupted(address: Address, path: str, why: str) -> Offline:
    """A file could not be read to its end."""
    return Offline(
        f"{path} could not be read from the Hub",
        detail=why,
        subject=f"{address.text}/{path}",
        hint=_later(address),
    )


def no_access(address: Address, *, gated: bool) -> NoAccess:
    """The repository is there and not for everybody."""
    if gated:
        why = "its authors ask everyone to accept their terms first, on the page of the model"
        hint = f"accept the terms at https://huggingface.co/{address.repo}, then: hf auth login"
    else:
        why = "the token in use does not allow it, or there is none"
        hint = "hf auth login"
    return NoAccess(
        f"the Hub does not give {address.repo} to you", detail=why, subject=address.text, hint=hint
    )


def no_repository(address: Address, cached: Iterable[str]) -> UsageError:
    """There is no such repository, or none that may be seen."""
    near = difflib.get_close_matches(address.repo, list(cached), n=1, cutoff=0.7)
    return UsageError(
        f"{address.repo} is neither a folder here nor a repository that the Hub shows",
        detail=f"the name is misspelt, or the repository is private; in the cache is {near[0]}"
        if near
        else "the name is misspelt, or the repository is private",
        subject=address.text,
        hint=f"tokengraft audit {near[0]}"
        if near
        else "hf auth login, if it is private; else look the name up at https://huggingface.co/models",
    )


def no_revision(address: Address, known: Iterable[str]) -> UsageError:
    """The repository is there, and has no such branch, tag or commit."""
    names = list(known)
    near = difflib.get_close_matches(address.revision or "", names, n=3, cutoff=0.4)
    told = ", ".join(near or names[:5])
    return UsageError(
        f"{address.repo} has no revision {address.revision}",
        detail=f"there are {told}" if told else "",
        subject=address.text,
        hint=f"give hf://{address.repo}@{(near or names or ['main'])[0]}",
    )


def no_hub(address: Address, why: str) -> MalformedFile:
    """Something answers that is no Hub."""
    return MalformedFile(
        "the answer is not one that a Hub gives",
        detail=f"{why}; a portal of the network in between, or a wrong HF_ENDPOINT?",
        subject=address.text,
        hint=f"{address.download('--local-dir', 'DIR')}, then give DIR",
    )


def moved(address: Address, path: str, why: str) -> SourceChanged:
    """What is served is not what was listed."""
    return SourceChanged(
        f"{path} is not what the repository's list says",
        detail=why,
        subject=f"{address.text}/{path}",
        hint="run the same command again: it asks for the newest commit",
    )


def of_status(address: Address, status: int, code: str) -> TokengraftError:
    """An answer that is a refusal, by its number and the Hub's `X-Error-Code`."""
    if code == "GatedRepo" or status in (UNAUTHORIZED, FORBIDDEN):
        return no_access(address, gated=code == "GatedRepo")
    if status in PASSING:
        return unreachable(address, f"it answers with status {status}")
    if status == NOT_FOUND:
        return RefusedError(
            f"the Hub does not give a file of {address.repo} that it lists",
            detail="it answers with status 404",
            subject=address.text,
        )
    return RefusedError(
        f"the Hub does not give {address.repo}",
        detail=f"it answers with status {status}",
        subject=address.text,
    )
