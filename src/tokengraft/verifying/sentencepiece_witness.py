"""The `sentencepiece` library as a witness: the pieces it loads, and what it makes of old text."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.sentencepiece_file import SENTENCEPIECE_FILES
from tokengraft.plans import PatchPieces, Plan
from tokengraft.results import Check
from tokengraft.sandbox.sentencepiece import SentencepieceChild
from tokengraft.verifying import texts as corpora
from tokengraft.verifying.records import Graft, failed, passed, several, skipped

NAME = "sentencepiece"


def ask_sentencepiece(graft: Graft, base: Checkpoint | None) -> Iterator[Check]:
    """Load each SentencePiece model before and after, and compare ids, names and encodings.

    Raises:
        MissingExtra: the library is not installed.
    """
    out, plan = graft.checkpoint, graft.plan
    if out is None or plan is None:
        yield skipped(NAME, "the checkpoint or the plan cannot be read")
        return
    files = [file for file in SENTENCEPIECE_FILES if file in out.small_files]
    if not files:
        yield skipped(NAME, "the folder holds no SentencePiece model")
        return
    for file in files:
        before = None if base is None else base.small_files.get(file)
        if before is None:
            yield skipped(NAME, f"the base's {file} could not be rebuilt; give --against")
            continue
        yield _compared(file, before, out.small_files[file], plan)


def _compared(file: str, before: bytes, after: bytes, plan: Plan) -> Check:
    edit = plan.file_edits().get(file)
    renamed = {p.id: p.text for p in edit.renamed} if isinstance(edit, PatchPieces) else {}
    appended = [p.text for p in edit.appended] if isinstance(edit, PatchPieces) else []
    with SentencepieceChild() as old, SentencepieceChild() as new:
        n_old = old.load(before)
        new.load(after)
        wanted = [renamed.get(at, text) for at, text in enumerate(old.pieces())] + appended
        found = new.pieces()
        if found != wanted:
            at = next(
                (i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), -1
            )
            return failed(NAME, f"{file}: the library loads {len(found)} pieces; the first that is "
                          f"not as planned is {at}")  # fmt: skip
        if old.named_ids() != new.named_ids():
            return failed(NAME, f"{file}: {new.named_ids()}, before {old.named_ids()}")
        new_texts = [*appended, *renamed.values()]
        literals = sorted({*new_texts, *(t.was or "" for t in plan.tokens)} - {""})
        texts, _ = corpora.leave_out(list(corpora.built_in(new_texts)), literals, folded=False)
        pairs = zip(texts, old.encode(texts), new.encode(texts), strict=True)
        wrong = [repr(text[:60]) for text, one, other in pairs if one != other]
    if wrong:
        return failed(NAME, f"{file}: {len(wrong)} texts are encoded otherwise: {several(wrong)}")
    return passed(
        NAME,
        f"{file}: the library loads {len(found):,} pieces, the {n_old:,} old ones under their ids, "
        f"and encodes {len(texts):,} old texts as before",
    )
