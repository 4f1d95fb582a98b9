"""Files as bytes: the manifest, the receipt, and what the plan says of each file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from tokengraft.checkpoint import MANIFEST, names_weights
from tokengraft.events import Listen, Progress
from tokengraft.formats.folders import is_graft_record
from tokengraft.results import Check, ReceiptFile
from tokengraft.verifying.records import (
    PLAN,
    RECEIPT,
    RECIPE,
    Graft,
    failed,
    passed,
    several,
    skipped,
)
from tokengraft.verifying.streams import blocks, digest


def hash_files(graft: Graft, listen: Listen) -> dict[str, str]:
    """Digest every file but the manifest, once."""
    paths = [path for path in graft.files if path != MANIFEST]
    total = sum(graft.files[path].size_bytes for path in paths)
    done = 0
    digests: dict[str, str] = {}

    def told(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        listen(Progress("verify", path, done, total))

    for path in paths:
        span = graft.whole(path)
        assert span is not None
        digests[path] = digest(blocks(span), told)
    return digests


def manifest(graft: Graft, digests: Mapping[str, str]) -> Iterator[Check]:
    """The folder holds what the manifest lists, every byte of it, and nothing else."""
    name = "manifest"
    if graft.manifest is None:
        yield failed(name, graft.unreadable[MANIFEST])
        return
    listed = graft.manifest
    said = list(_off_the_list(graft, listed, digests))
    if said:
        yield failed(name, "; ".join(said))
        return
    size_bytes = sum(graft.files[path].size_bytes for path in digests)
    yield passed(
        name,
        f"{len(digests)} files, {size_bytes:,} bytes: each has the sha256 that {MANIFEST} gives, "
        "and there are no others",
    )


def _off_the_list(
    graft: Graft, listed: Mapping[str, str], digests: Mapping[str, str]
) -> Iterator[str]:
    """How the folder differs from its manifest, one text a kind."""
    missing = sorted(set(listed) - set(digests))
    if missing:
        yield f"{len(missing)} files are missing: {several(missing)}"
    added = sorted(set(digests) - set(listed))
    if added:
        yield f"{len(added)} files are not listed: {several(added)}"
    changed = sorted(p for p in listed if p in digests and listed[p] != digests[p])
    if changed:
        yield f"{len(changed)} files have changed: {several(changed)}"
    unsafe = sorted(f"{p.subject} ({p.text})" for p in graft.problems if p.kind == "unsafe-path")
    if unsafe:
        yield f"{len(unsafe)} files are not to be read: {several(unsafe)}"


def plan_and_receipt(graft: Graft, digests: Mapping[str, str]) -> Iterator[Check]:
    """The receipt belongs to this plan and to these files."""
    name = "plan-and-receipt"
    plan, receipt = graft.plan, graft.receipt
    if plan is None or receipt is None:
        yield failed(
            name, "; ".join(graft.unreadable[p] for p in (PLAN, RECEIPT) if p in graft.unreadable)
        )
        return
    if receipt.plan != digests[PLAN]:
        yield failed(
            name, f"the receipt is of plan {receipt.plan[:12]}, {PLAN} is {digests[PLAN][:12]}"
        )
        return
    after = {file.path: file.after for file in receipt.files if file.after is not None}
    ours = [path for path in digests if not is_graft_record(path)]
    wrong = sorted(path for path in {*after, *ours} if after.get(path) != digests.get(path))
    if wrong:
        yield failed(name, f"{len(wrong)} files are not as the receipt says: {several(wrong)}")
        return
    said = _files_against_plan(graft) or _recipe(graft, digests)
    if said:
        yield failed(name, said)
        return
    yield passed(
        name, f"the receipt names plan {receipt.plan[:12]} and the digests of {len(after)} files"
    )


def _files_against_plan(graft: Graft) -> str:
    """What the receipt says was done, against what the plan said would be; "" if they agree."""
    assert graft.plan is not None
    assert graft.receipt is not None
    planned = {file.path: file.action for file in graft.plan.files}
    done = {file.path: file for file in graft.receipt.files}
    if len(done) != len(graft.receipt.files):
        return "the receipt names a file twice"
    gone = sorted(
        path
        for path, action in planned.items()
        if path not in done or (done[path].after is None) != (action == "drop")
    )
    if gone:
        return f"planned, and not in the receipt as planned: {several(gone)}"
    for_later = not names_weights(graft.plan.base.files)
    extra = sorted(
        path
        for path in done
        if path not in planned
        and done[path].after is not None
        and not is_graft_record(path)
        and not _came_along(done[path], for_later=for_later)
    )
    return f"in the receipt, and not in the plan: {several(extra)}" if extra else ""


def _came_along(file: ReceiptFile, *, for_later: bool) -> bool:
    """Whether a file that the plan does not name may be there all the same.

    A base may hold more than the plan knew, as a whole checkpoint does for a plan made on its small
    files: what is copied as it is, and weights whose rows such a plan writes by name.
    """
    if file.before is None:
        return False
    return file.before == file.after or (for_later and names_weights([file.path]))


def _recipe(graft: Graft, digests: Mapping[str, str]) -> str:
    """The recipe in the folder is the one in the plan."""
    assert graft.plan is not None
    planned = hashlib.sha256(graft.plan.recipe.encode()).hexdigest()
    return "" if digests.get(RECIPE) == planned else f"{RECIPE} is not the plan's recipe"


def untouched_files(graft: Graft) -> Iterator[Check]:
    """Files that the plan copies are what they were, by the receipt and by the base's digests."""
    name = "untouched-files"
    if graft.plan is None or graft.receipt is None:
        yield skipped(name, "the plan or the receipt cannot be read")
        return
    done = {file.path: file for file in graft.receipt.files}
    copied = [file.path for file in graft.plan.files if file.action == "copy"]
    wrong = [
        path
        for path in copied
        if path not in done
        or done[path].before is None
        or done[path].before != done[path].after
        or graft.plan.base.files.get(path) not in (None, done[path].before)
    ]
    if wrong:
        yield failed(name, f"{len(wrong)} files that were to be copied changed: {several(wrong)}")
        return
    anchored = sum(graft.plan.base.files.get(path) is not None for path in copied)
    yield passed(
        name,
        f"{len(copied)} files have the sha256 that they had before; the plan itself names "
        f"{anchored} of these digests",
    )
