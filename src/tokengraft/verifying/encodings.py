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
from tokengraft.verifying.records import Graft, failed, passed, several, skipped
from tokengraft.vocabulary import Tokenizer, table_digest

NAMES = ("ids-in-tokenizers", "new-tokens", "old-text", "round-trips")
FILE = "tokenizer.json"
SHOWN = 60  # characters of a text that evidence shows


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is encoded before and after: the built-in texts, or a file's."""

    name: str
    own: tuple[str, ...] | None

    @classmethod
    def of(cls, path: Path | None) -> Corpus:
        if path is None:
            return cls("the built-in corpus", None)
        return cls(path.name, tuple(corpora.from_file(path)))

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
        yield _new_tokens(plan.tokens, after, before)
        if before is None or base is None:
            why = f"the base's {FILE} could not be rebuilt; give --against"
            yield from (skipped(name, why) for name in NAMES[2:])
            return
        yield from _old_text(plan, base, (before, after), corpus)


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


def _new_tokens(
    tokens: Sequence[PlannedToken], after: TokenizerChild, before: TokenizerChild | None
) -> Check:
    """Each token of the plan is one id, alone and inside text, and comes back as it is written."""
    name = NAMES[1]
    if not tokens:
        return skipped(name, "the plan names no tokens")
    alone = after.encode([token.text for token in tokens])
    inside = after.encode([_inside(token) for token in tokens])
    back = after.decode([[token.id] for token in tokens], skip_special=False)
    expected = _expected_back(tokens, before)
    wrong = []
    for at, token in enumerate(tokens):
        if alone[at] != [token.id]:
            wrong.append(f"{token.text!r} alone is {alone[at][:8]}, not {token.id}")
        elif inside[at].count(token.id) != 1:
            wrong.append(f"{token.text!r} inside text is {inside[at][:8]}")
        elif back[at] != expected[at]:
            wrong.append(f"{token.id} decodes to {back[at]!r}, not {expected[at]!r}")
    if wrong:
        return failed(name, f"{len(wrong)} of {len(tokens)} tokens: {several(wrong)}")
    return passed(
        name,
        f"{len(tokens):,} tokens of the plan are one id each, alone and inside text, and decode to "
        "their own text",
    )


def _inside(token: PlannedToken) -> str:
    if token.use == "word":  # a word has its id where it stands whole: behind a line, before one
        return f"\n{token.text}\n"
    return f"one {token.text} two" if token.single_word else f"one{token.text}two"


def _expected_back(tokens: Sequence[PlannedToken], before: TokenizerChild | None) -> list[str]:
    """Its own text; a word may lose its first space, as it did when it was several pieces."""
    expected = [token.text for token in tokens]
    words = [at for at, token in enumerate(tokens) if token.use == "word"]
    if words and before is not None:
        pieces = before.encode([tokens[at].text for at in words])
        for at, text in zip(words, before.decode(pieces, skip_special=False), strict=True):
            expected[at] = text
    return expected


def _old_text(
    plan: Plan,
    base: Checkpoint,
    children: tuple[TokenizerChild, TokenizerChild],
    corpus: Corpus,
) -> Iterator[Check]:
    before, after = children
    literals = _literals(plan, base)
    folded = any(token.normalized for token in plan.tokens)
    new = [token.text for token in plan.tokens]
    texts, n_left_out = corpora.leave_out(corpus.texts(new), literals, folded=folded)
    if not texts:
        yield from (skipped(n, f"every text of {corpus.name} holds a new token") for n in NAMES[2:])
        return
    old_ids, new_ids = before.encode(texts), after.encode(texts)
    size_bytes = sum(len(text.encode("utf-8", "replace")) for text in texts)
    about = f"{len(texts):,} texts of {corpus.name}, {size_bytes:,} bytes"
    left_out = f"{n_left_out} texts were left out, since they hold a token that the plan writes"
    wrong = [text for text, a, b in zip(texts, old_ids, new_ids, strict=True) if a != b]
    if wrong:
        yield failed(NAMES[2], f"{len(wrong)} of {about}, are encoded otherwise: {_shown(wrong)}")
    else:
        n_ids = sum(map(len, new_ids))
        yield passed(NAMES[2], f"{about}: the same {n_ids:,} ids before and after; {left_out}")
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


def _literals(plan: Plan, base: Checkpoint) -> list[str]:
    """Texts whose encoding the plan changes: its tokens, their old names, and what the base's
    tokenizer.json lacked though another file of the base declared it.
    """
    texts = {token.text for token in plan.tokens} | {token.was or "" for token in plan.tokens}
    tokenizer = base.tokenizer
    if tokenizer is not None:
        texts |= {token.content for token in tokenizer.added.values()} - set(tokenizer.effective)
    return sorted(texts - {""})


def _shown(texts: Sequence[str]) -> str:
    return several([repr(text[:SHOWN]) for text in texts[:3]])
