"""Prove what can be proved about a finished folder, and say what was not tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokengraft.behaviour import Behaviour
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import PreconditionError, RefusedError, TokengraftError, UsageError
from tokengraft.events import Done, Listen, Started, ignore
from tokengraft.results import Check, Verification
from tokengraft.verifying.against import check_against
from tokengraft.verifying.base import Rebuilt, rebuild, without_the_base
from tokengraft.verifying.behaviour import SAID, Questions, check_behaviour
from tokengraft.verifying.chats import check_chats
from tokengraft.verifying.chats_witness import ask_about_chats
from tokengraft.verifying.documents import files_as_planned
from tokengraft.verifying.embeddings import check_rows
from tokengraft.verifying.encodings import Corpus, check_encodings
from tokengraft.verifying.files import hash_files, manifest, plan_and_receipt, untouched_files
from tokengraft.verifying.ids import check_ids
from tokengraft.verifying.logits import check_logits
from tokengraft.verifying.long_texts import asks_for_context, check_long_texts
from tokengraft.verifying.low_rank import NAME as LOW_RANK
from tokengraft.verifying.low_rank import check_low_rank
from tokengraft.verifying.markers import check_protocol, check_renames
from tokengraft.verifying.positions import ask_positions, check_positions
from tokengraft.verifying.records import Graft, failed, read_graft, skipped
from tokengraft.verifying.sentencepiece_witness import ask_sentencepiece
from tokengraft.verifying.shapes import check_shapes, safetensors_witness
from tokengraft.verifying.transformers_witness import ask_transformers

__all__ = ["Questions", "verify"]

# Libraries of other people that can be asked; those without an extra always are.
WITNESSES = ("safetensors", "sentencepiece", "tokenizers", "transformers")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for beyond what is always proved."""

    base: Checkpoint | None
    witnesses: Sequence[str]
    texts: Sequence[Path]
    deep: bool


def verify(  # noqa: PLR0913 - one keyword an option of the command
    out: Path,
    *,
    against: Checkpoint | None = None,
    witnesses: Sequence[str] = (),
    texts: Sequence[Path] = (),
    deep: bool = False,
    questions: Questions | None = None,
    listen: Listen = ignore,
) -> Verification:
    """Prove that a folder is what its plan says, and that nothing else moved.

    Args:
        out: a folder that `apply` made.
        against: its base, to compare every byte directly; without it the base is put together
            again from the folder and its undo record.
        witnesses: further libraries to ask, of `WITNESSES`.
        texts: files of text to encode before and after, instead of the built-in corpus; with `deep`
            and other positions, long texts are taken from them.
        deep: also run the base and the result, and compare what they say (needs `against`).
        questions: what to ask the model, to see what it does with its new tokens.
        listen: hears of progress in bytes.
    Raises:
        UsageError: nothing in the folder says that a graft was made there, or a witness is unknown.
        EnvironmentProblem: a file cannot be read.
    """
    unknown = sorted(set(witnesses) - set(WITNESSES))
    if unknown:
        raise UsageError(
            f"no witness is named {', '.join(unknown)}",
            hint=f"known are {', '.join(WITNESSES)}",
        )
    graft = read_graft(out)
    listen(Started("verify", str(out)))
    corpus = Corpus.of(texts)
    wish = Wish(against, witnesses, texts, deep)
    checks = list(_checks(graft, wish, corpus, listen))
    behaviour: Behaviour | None = None
    if questions is not None:
        try:
            behaviour, more = check_behaviour(graft, questions)
        except (RefusedError, PreconditionError) as error:
            more = [_stumbled(SAID, error)]
        checks += more
    listen(Done("verify", str(out)))
    passed = all(check.status != "fail" for check in checks)
    return Verification(passed=passed, checks=tuple(checks), behaviour=behaviour)


def _checks(graft: Graft, wish: Wish, corpus: Corpus, listen: Listen) -> Iterator[Check]:
    digests = hash_files(graft, listen)
    yield from _guarded("manifest", lambda: manifest(graft, digests))
    yield from _guarded("plan-and-receipt", lambda: plan_and_receipt(graft, digests))
    yield from _guarded("untouched-files", lambda: untouched_files(graft))
    if graft.checkpoint is None:
        yield failed("loads", graft.unreadable["checkpoint"])
    rebuilt: Rebuilt | None = None
    if graft.plan is not None and graft.receipt is not None and graft.checkpoint is not None:
        rebuilt = rebuild(graft, listen)
    snapshot = None if rebuilt is None else rebuilt.snapshot(graft)
    yield from _guarded("base-without-the-base", lambda: without_the_base(graft, rebuilt, snapshot))
    yield from _guarded("kept-rows", lambda: check_rows(graft, rebuilt, wish.base))
    base = wish.base
    if base is not None:
        yield from _guarded("against-the-base", lambda: check_against(graft, base, listen))
    yield from _guarded(LOW_RANK, lambda: check_low_rank(graft, base, listen))
    known = snapshot if base is None else base
    yield from _guarded("files-as-planned", lambda: files_as_planned(graft, known))
    yield from _guarded("shapes", lambda: check_shapes(graft, known))
    yield from _guarded("safetensors", lambda: safetensors_witness(graft))
    yield from _guarded("positions", lambda: check_positions(graft, known))
    before = None if known is None else known.tokenizer
    yield from _guarded("ids", lambda: check_ids(graft, before))
    yield from _guarded("old-names", lambda: check_renames(graft))
    yield from _guarded("protocol", lambda: check_protocol(graft, known))
    yield from _guarded("tokenizers", lambda: check_encodings(graft, known, corpus))
    yield from _guarded("chat-template", lambda: check_chats(graft))
    yield from _asked_for(graft, wish, known)


def _asked_for(graft: Graft, wish: Wish, known: Checkpoint | None) -> Iterator[Check]:
    if "transformers" in wish.witnesses:
        yield from _guarded("transformers", lambda: ask_transformers(graft))
        yield from _guarded("chat-read-back", lambda: ask_about_chats(graft))
        yield from _guarded("transformers-positions", lambda: ask_positions(graft))
    else:
        yield skipped("transformers", "not asked for: --with transformers")
    if "sentencepiece" in wish.witnesses:
        yield from _guarded("sentencepiece", lambda: ask_sentencepiece(graft, known))
    if wish.deep:
        yield from _guarded("logits", lambda: check_logits(graft, wish.base))
        yield from _guarded("long-texts", lambda: check_long_texts(graft, wish.base, wish.texts))
    else:
        yield skipped("logits", "not asked for: --deep")
        if graft.plan is not None and asks_for_context(graft.plan):
            yield skipped("long-texts", "not asked for: --deep --texts FILE")


def _guarded(name: str, run: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Run a check; a folder that makes it stumble is a folder that failed it."""
    try:
        yield from run()
    except (RefusedError, PreconditionError) as error:
        yield _stumbled(name, error)


def _stumbled(name: str, error: TokengraftError) -> Check:
    return failed(name, "; ".join(part for part in (error.summary, error.detail) if part))
