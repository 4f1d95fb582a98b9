"""The id table: as planned, the same in every file, and nothing old has moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from tokengraft.plans import Plan, PlannedToken
from tokengraft.results import Check
from tokengraft.verifying.records import Graft, failed, passed, several, skipped
from tokengraft.verifying.renumbered import Moves
from tokengraft.vocabulary import TokenId, Tokenizer, table_digest

RENAMING = ("rename", "claim")


def check_ids(graft: Graft, before: Tokenizer | None) -> Iterator[Check]:
    """Every id of the result is what the plan says, and what it was unless the plan says so."""
    name = "ids"
    tokenizer = graft.checkpoint.tokenizer if graft.checkpoint is not None else None
    if graft.plan is None or tokenizer is None:
        yield skipped(name, "no tokenizer in this folder, or no plan that can be read")
        return
    table = tokenizer.table()
    said = [*_as_planned(graft.plan, tokenizer, table), *_files_agree(graft.plan, tokenizer)]
    old = None if before is None else before.table()
    if old is not None:
        said += _old_ids(graft.plan, old, table)
    if said:
        yield failed(name, "; ".join(said))
        return
    counted = f"{len(table):,} ids give the digest that the plan names, and all files agree on them"
    if old is None:
        yield passed(name, f"{counted}; what they were before could not be rebuilt")
        return
    renamed = sum(token.action in RENAMING for token in graft.plan.tokens)
    removed = graft.plan.removed_ids()
    if removed:
        yield passed(
            name,
            f"{counted}; {len(removed):,} old ids are gone as planned, and {len(table):,} have their "
            "old texts under the ids that they move to",
        )
        return
    yield passed(
        name,
        f"{counted}; {len(old):,} old ids have their old texts ({renamed} renamed as planned), "
        f"{len(table) - len(old):,} are new",
    )


def _as_planned(plan: Plan, tokenizer: Tokenizer, table: Mapping[int, str]) -> Iterator[str]:
    if plan.ids is not None:
        digest = table_digest(table)
        if digest != plan.ids.after.digest or tokenizer.n_tokens != plan.ids.after.n_tokens:
            yield (
                f"the table has {tokenizer.n_tokens} tokens and the digest {digest[:12]}, planned "
                f"are {plan.ids.after.n_tokens} and {plan.ids.after.digest[:12]}"
            )
    wrong = [
        f"{token.id} {token.text!r}"
        for token in plan.tokens
        if token.action != "remove"
        if table.get(token.id) != (token.text if token.piece is None else token.piece)
        or not _has_its_flags(tokenizer, token)
    ]
    if wrong:
        yield f"{len(wrong)} tokens are not as planned: {several(wrong)}"


def _has_its_flags(tokenizer: Tokenizer, token: PlannedToken) -> bool:
    found = tokenizer.added.get(TokenId(token.id))
    if token.piece is not None:  # it lives in the model's own vocabulary, and is no added token
        return found is None and tokenizer.vocab.get(token.piece) == token.id
    return found == token.added_token()


def _files_agree(plan: Plan, tokenizer: Tokenizer) -> Iterator[str]:
    for conflict in tokenizer.conflicts[:20]:
        yield f"{conflict.subject}: {conflict.text}"
    full = [declared for declared in tokenizer.declared if declared.complete]
    # A rename leaves flags as they are, and they may have differed in the base.
    planned = {token.id for token in plan.tokens if token.action != "rename"}
    for one, other in pairwise(full):
        ours, theirs = one.by_id(), other.by_id()
        wrong = [
            str(i)
            for i in sorted({*ours, *theirs})
            if (ours[i].content if i in ours else None)
            != (theirs[i].content if i in theirs else None)
            or (i in planned and ours.get(i) != theirs.get(i))
        ]
        if wrong:
            yield f"{one.file} and {other.file} differ on {len(wrong)} ids: {several(wrong)}"
    for short in tokenizer.declared:
        known = tokenizer.added_ids
        odd = [text for text, i in short.by_content().items() if known.get(text) != i]
        if not short.complete and odd:
            yield f"{short.file} differs on {len(odd)} tokens: {several(odd)}"


def _old_ids(plan: Plan, old: Mapping[int, str], new: Mapping[int, str]) -> Iterator[str]:
    if plan.ids is not None and table_digest(old) != plan.ids.before.digest:
        yield f"the base's table has the digest {table_digest(old)[:12]}, not the planned one"
    moves = Moves.of(plan.tokens)
    if moves.removed:
        yield from _moved_ids(moves, old, new)
        return
    planned = {token.id: token for token in plan.tokens}
    moved = [
        f"{i} was {text!r} and is {new.get(i)!r}"
        for i, text in old.items()
        if new.get(i) != text and not _may_change(planned.get(i), text)
    ]
    if moved:
        yield f"{len(moved)} old ids changed: {several(moved)}"
    unplanned = [f"{i} {text!r}" for i, text in new.items() if i not in old and i not in planned]
    if unplanned:
        yield f"{len(unplanned)} ids are new and in no plan: {several(unplanned)}"


def _moved_ids(moves: Moves, old: Mapping[int, str], new: Mapping[int, str]) -> Iterator[str]:
    """Every old id that stays has its text where the plan says, and nothing else is there."""
    wanted = {moves.new[i]: text for i, text in old.items() if i in moves.new}
    wrong = [
        f"{i} is {new.get(i)!r} and was to be {wanted.get(i)!r}"
        for i in sorted({*wanted, *new})
        if wanted.get(i) != new.get(i)
    ]
    if wrong:
        yield f"{len(wrong)} moved ids are not as planned: {several(wrong)}"
    still = sorted(moves.texts.intersection(new.values()))
    if still:
        yield f"{len(still)} removed tokens are still there: {several(still)}"
    lost = [str(i) for i in sorted(moves.removed) if i not in old]
    if lost:
        yield f"{len(lost)} removed ids never were: {several(lost)}"


def _may_change(token: PlannedToken | None, was: str) -> bool:
    return token is not None and token.action in RENAMING and token.was in (was, None)
