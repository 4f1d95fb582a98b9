"""Sample texts as base and result cut them: each new token, conversations, whatever the user gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import RefusedError, TokengraftError
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.formats.template_text import chosen_template
from tokengraft.plans import Plan, PlannedToken
from tokengraft.recipes import Recipe
from tokengraft.reports import TextPiece, TextView
from tokengraft.sandbox.templates import TemplateChild
from tokengraft.sandbox.tokenizers import TokenizerChild
from tokengraft.verifying.chats import TOOL, Talk, talks
from tokengraft.vocabulary import NAMED_TOKENS

MAX_TOKENS: Final = 12  # of which a text is shown
MAX_TALKS: Final = 6
MAX_CHARACTERS: Final = 4_000
ORDINARY: Final = "The quick brown fox jumps over 13 lazy dogs. Съешь ещё этих мягких булок."
NO_LIBRARY: Final = "it has no tokenizer.json, which is what can be run here"


@dataclass(frozen=True, slots=True)
class _Sample:
    title: str
    before: str | None
    after: str | None
    why_not: str = ""
    is_token: bool = False


def text_views(
    plan: Plan, base: Checkpoint | None, result: Checkpoint, texts: Sequence[str]
) -> tuple[TextView, ...]:
    """Cut samples with both tokenizers, each in a limited child.

    Args:
        texts: what the user wants to see, beside new tokens and conversations.
    """
    new = frozenset(t.id for t in plan.tokens if t.action in ("add", "claim", "rename"))
    samples = list(_samples(plan, base, result, texts))
    with ExitStack() as stack:
        before = None if base is None else _Cutter(base, frozenset(), stack)
        after = _Cutter(result, new, stack)
        return tuple(_view(sample, before, after) for sample in samples)


def _view(sample: _Sample, before: _Cutter | None, after: _Cutter) -> TextView:
    told = [sample.why_not]
    sides: list[tuple[TextPiece, ...] | None] = []
    for cutter, text in ((before, sample.before), (after, sample.after)):
        if cutter is None or text is None:
            sides.append(None)
            continue
        try:
            sides.append(cutter.cut(text))
        except TokengraftError as error:
            sides.append(None)
            told.append(error.summary)
    return TextView(sample.title, sides[0], sides[1], next(filter(None, told), ""), sample.is_token)


class _Cutter:
    """One tokenizer, started when it is first asked."""

    def __init__(self, checkpoint: Checkpoint, new: frozenset[int], stack: ExitStack) -> None:
        self._checkpoint, self._new, self._stack = checkpoint, new, stack
        self._child: TokenizerChild | None = None
        self._table: Mapping[int, str] = {}

    def cut(self, text: str) -> tuple[TextPiece, ...]:
        text = text[:MAX_CHARACTERS]
        child = self._started()
        pieces: list[TextPiece] = []
        end = 0
        for token_id, first, last in child.encode_offsets(text):
            # Parts of one letter all name the whole letter: they are shown as they are spelled.
            shown = text[first:last] if first >= end and last > first else ""
            end = max(end, last)
            name = shown or self._table.get(token_id, "")
            pieces.append(TextPiece(name, token_id, token_id in self._new, not shown))
        return tuple(pieces)

    def _started(self) -> TokenizerChild:
        if self._child is None:
            data = self._checkpoint.small_files.get("tokenizer.json")
            tokenizer = self._checkpoint.tokenizer
            if data is None or tokenizer is None:
                raise RefusedError(NO_LIBRARY)
            child = self._stack.enter_context(TokenizerChild())
            child.load(data)
            self._child, self._table = child, tokenizer.table()
        return self._child


def _samples(
    plan: Plan, base: Checkpoint | None, result: Checkpoint, texts: Sequence[str]
) -> Iterator[_Sample]:
    for text in texts:
        yield _Sample("a text of yours", text, text)
    recipe = parse_recipe(plan.recipe, file="the plan's recipe")[0]
    yield from _conversations(recipe, base, result)
    shown = [t for t in plan.tokens if t.action in ("add", "claim") and t.text]
    for token in shown[:MAX_TOKENS]:
        sentence = _sentence(token)
        yield _Sample(token.text, sentence, sentence, is_token=True)
    yield _Sample("a text without new tokens", ORDINARY, ORDINARY)


def _sentence(token: PlannedToken) -> str:
    if token.use == "word" or token.piece is not None:
        gap = "" if token.text.startswith(" ") else " "
        return f"This is{gap}{token.text} again."
    return f"Say {token.text} here."


def _conversations(
    recipe: Recipe, base: Checkpoint | None, result: Checkpoint
) -> Iterator[_Sample]:
    """Talks with everything that the recipe is about, as both templates write them."""
    found = list(talks(recipe))[:MAX_TALKS]
    if not found:
        return
    with ExitStack() as stack:
        writers = [
            None if checkpoint is None else _Writer(checkpoint, stack)
            for checkpoint in (base, result)
        ]
        for talk in found:
            told = [("", "") if writer is None else writer.write(talk) for writer in writers]
            why = told[1][1] or (f"the base's template: {told[0][1]}" if told[0][1] else "")
            yield _Sample(talk.what, told[0][0] or None, told[1][0] or None, why)


class _Writer:
    """A checkpoint's chat template in a limited child."""

    def __init__(self, checkpoint: Checkpoint, stack: ExitStack) -> None:
        self._tokenizer, self._stack = checkpoint.tokenizer, stack
        self._child: TemplateChild | None = None

    def write(self, talk: Talk) -> tuple[str, str]:
        """The conversation as a text, and why there is none."""
        tokenizer = self._tokenizer
        template = None if tokenizer is None else chosen_template(tokenizer, with_tools=talk.tools)
        if tokenizer is None or template is None:
            return "", "there is no chat template"
        if self._child is None:
            self._child = self._stack.enter_context(TemplateChild())
        named = {name: tokenizer.named_content(name) for name in NAMED_TOKENS}
        try:
            written = self._child.render(
                template.text,
                messages=talk.messages,
                tools=[TOOL] if talk.tools else None,
                named_tokens={name: text for name, text in named.items() if text is not None},
            )
        except TokengraftError as error:
            return "", error.detail or error.summary
        return written.text, ""
