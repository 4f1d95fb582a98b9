"""The `tokenizers` library as a witness: what it loads, what it makes of text, before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tokengraft.checkpoint import Checkpoint
from tokengraft.plans import Plan, PlannedToken
from tokengraft.results import Check
from tokengraft.sandbox.tokenizers import TokenizerChild
from tokengraft.verifying import texts as corpora
from tokengraft.verifying.grown import Grown, check_pieces, grown, near_pieces
from tokengraft.verifying.records import Graft, failed, passed, several, skipped
from tokengraft.verifying.renumbered import Moves
from tokengraft.vocabulary import Tokenizer, table_digest

NAMES = ("ids-in-tokenizers", "new-tokens", "old-text", "round-trips")
FILE = "tokenizer.json"
SHOWN = 60  # characters of a text that evidence shows


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is encoded before and after: the built-in texts, or those of files."""

    name: str
    own: tuple[str, ...] | None

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Corpus:
        if not paths:
            return cls("the built-in corpus", None)
        names = ", ".join(path.name for path in paths)
        return cls(names, tuple(text for path in paths for text in corpora.from_file(path)))

    def texts(self, new: Sequence[str]) -> Sequence[str]:
        return list(corpora.built_in(new)) if self.own is None else self.own


def check_encodings(graft: Graft, base: Checkpoint | None, corpus: Corpus) -> Iterator[Check]:
    """Ask the library about every id, every new token, and a corpus of old text."""
    checkpoint, plan = graft.checkpoint, graft.plan
    if checkpoint is None or plan is None:
        yield from (skipped(name, "the checkpoint or the plan cannot be read") for name in NAMES)
        return
    if FILE not in checkpoint.small_files or checkpoint.tokenizer is None:
        yield from (skipped(name, f"no {FILE}: nothing that the library loads") for name in NAMES)
        return
    with ExitStack() as stack:
        after = stack.enter_context(TokenizerChild())
        after.load(checkpoint.small_files[FILE])
        yield _same_ids(checkpoint.tokenizer, after)
        before = None
        if base is not None and FILE in base.small_files:
            before = stack.enter_context(TokenizerChild())
            before.load(base.small_files[FILE])
        there = [token for token in plan.tokens if token.action != "remove"]
        added = [token for token in there if token.piece is None]
        yield _new_tokens(added, after)
        if before is None or base is None:
            why = f"the base's {FILE} could not be rebuilt; give --against"
            yield from (skipped(name, why) for name in NAMES[2:])
            return
        pieces = grown(plan, base, before)
        yield from check_pieces(pieces, before, after)
        yield from _old_text(plan, base, (before, after), corpus, pieces)


def _same_ids(tokenizer: Tokenizer, child: TokenizerChild) -> Check:
    ours = tokenizer.table()
    if child.table_digest() == table_digest(ours):
        return passed(
            NAMES[0], f"the library loads {len(ours):,} ids, each with the text that the files say"
        )
    theirs = child.id_table()
    wrong = [
        f"{token_id} is {theirs.get(token_id)!r} there and {ours.get(token_id)!r} here"
        for token_id in sorted({*ours, *theirs})
        if ours.get(token_id) != theirs.get(token_id)
    ]
    return failed(NAMES[0], f"{len(wrong)} ids differ: {'; '.join(wrong[:10])}")


def _new_tokens(tokens: Sequence[PlannedToken], after: TokenizerChild) -> Check:
    """Each added token of the plan is one id, alone and inside text, and comes back as it is written."""
    name = NAMES[1]
    if not tokens:
        return skipped(name, "the plan names no added tokens")
    alone = after.encode([token.text for token in tokens])
    inside = after.encode([_inside(token) for token in tokens])
    back = after.decode([[token.id] for token in tokens], skip_special=False)
    wrong = []
    for at, token in enumerate(tokens):
        if alone[at] != [token.id]:
            wrong.append(f"{token.text!r} alone is {alone[at][:8]}, not {token.id}")
        elif inside[at].count(token.id) != 1:
            wrong.append(f"{token.text!r} inside text is {inside[at][:8]}")
        elif back[at] != token.text:
            wrong.append(f"{token.id} decodes to {back[at]!r}, not {token.text!r}")
    if wrong:
        return failed(name, f"{len(wrong)} of {len(tokens)} tokens: {several(wrong)}")
    return passed(
        name,
        f"{len(tokens):,} tokens of the plan are one id each, alone and inside text, and decode to "
        "their own text",
    )


def _inside(token: PlannedToken) -> str:
    return f"one {token.text} two" if token.single_word else f"one{token.text}two"


def _old_text(
    plan: Plan,
    base: Checkpoint,
    children: tuple[TokenizerChild, TokenizerChild],
    corpus: Corpus,
    pieces: Grown,
) -> Iterator[Check]:
    """Old text is encoded as before, once each new piece is taken for the old ids it stands for."""
    before, after = children
    literals = _literals(plan, base)
    folded = any(token.normalized for token in plan.tokens)
    moves = Moves.of(plan.tokens)
    new = [token.text for token in plan.tokens]
    asked = [*corpus.texts(new), *near_pieces(pieces)]
    texts, n_left_out = corpora.leave_out(asked, literals, folded=folded)
    if moves.removed:
        texts, n_left_out = _without_removed(texts, n_left_out, before, moves)
    if not texts:
        yield from (skipped(n, f"every text of {corpus.name} holds a new token") for n in NAMES[2:])
        return
    old_ids, new_ids = before.encode(texts), after.encode(texts)
    size_bytes = sum(len(text.encode("utf-8", "replace")) for text in texts)
    about = f"{len(texts):,} texts of {corpus.name}, {size_bytes:,} bytes"
    left_out = f"{n_left_out} texts were left out, since they hold a token that the plan writes"
    if moves.removed:
        left_out = f"{n_left_out} texts were left out, since they hold a token that goes"
    wanted = [[moves.new[i] for i in row] for row in old_ids] if moves.removed else old_ids
    if pieces.words:
        spans = before.encode_spans(texts)
        wanted = [pieces.expected(text, row) for text, row in zip(texts, spans, strict=True)]
    wrong = [
        text
        for text, a, b in zip(texts, wanted, new_ids, strict=True)
        if a != (pieces.expand(b) if pieces.learned else b)
    ]
    if wrong:
        yield failed(NAMES[2], f"{len(wrong)} of {about}, are encoded otherwise: {_shown(wrong)}")
    else:
        same = _sameness(pieces, old_ids, new_ids, moved=bool(moves.removed))
        yield passed(NAMES[2], f"{about}: {same}; {left_out}")
    was = before.decode(old_ids, skip_special=False)
    now = after.decode(new_ids, skip_special=False)
    wrong = [text for text, a, b in zip(texts, was, now, strict=True) if a != b]
    if wrong:
        yield failed(NAMES[3], f"{len(wrong)} of {about}, are decoded otherwise: {_shown(wrong)}")
        return
    exact = sum(text == back for text, back in zip(texts, now, strict=True))
    yield passed(
        NAMES[3],
        f"{about}: decoded as before; {exact:,} come back exactly, the others as the base's "
        "normalizer leaves them",
    )


def _without_removed(
    texts: Sequence[str], n_left_out: int, before: TokenizerChild, moves: Moves
) -> tuple[list[str], int]:
    """The texts that the base encodes without any removed id; the others are counted."""
    kept = [
        text
        for text, ids in zip(texts, before.encode(texts), strict=True)
        if moves.removed.isdisjoint(ids)
    ]
    return kept, n_left_out + len(texts) - len(kept)


def _sameness(
    pieces: Grown, old: Sequence[list[int]], new: Sequence[list[int]], *, moved: bool
) -> str:
    n_old, n_new = sum(map(len, old)), sum(map(len, new))
    if moved:
        return f"the same {n_new:,} ids before and after, each moved as the plan says"
    if not pieces.tokens:
        return f"the same {n_new:,} ids before and after"
    whole = ", words only and always where they stand whole" if pieces.words else ""
    return (
        f"{n_old:,} ids before and {n_new:,} after, and the same once each new piece is taken for "
        f"the old ids that it stands for{whole}"
    )


def _literals(plan: Plan, base: Checkpoint) -> list[str]:
    """Texts whose encoding the plan changes: its tokens, their old names, and what the base's
    tokenizer.json lacked though another file of the base declared it.
    """
    changed = [t for t in plan.tokens if t.piece is None and t.action != "keep"]
    texts = {token.text for token in changed} | {token.was or "" for token in changed}
    tokenizer = base.tokenizer
    if tokenizer is not None:
        texts |= {token.content for token in tokenizer.added.values()} - set(tokenizer.effective)
    return sorted(texts - {""})


def _shown(texts: Sequence[str]) -> str:
    return several([repr(text[:SHOWN]) for text in texts[:3]])
