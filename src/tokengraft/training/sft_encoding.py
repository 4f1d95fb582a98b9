"""Examples as ids, each with whether it is in the loss.

The checkpoint's own chat template writes a conversation, and what stands within `{% generation %}`
is in the loss: nothing is guessed. Template and tokenizer run in limited children.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

from tokengraft.boundaries import generation_ends, opening_of
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import ChildFailed, ConflictingFiles, MalformedFile
from tokengraft.formats.template_text import chosen_template
from tokengraft.sandbox.templates import TemplateChild, TemplateFailed
from tokengraft.sandbox.tokenizers import TokenizerChild
from tokengraft.training.sft_forms import BadRow, Continued, Conversation, Example
from tokengraft.vocabulary import NAMED_TOKENS

_TAG = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as T ids.

    Attributes:
        ids: of the whole text.
        said: whether each is in the loss.
        stops: whether the last one in the loss is a stop token.
    """

    ids: tuple[int, ...]
    said: tuple[bool, ...]
    stops: bool


class Encoder:
    """Encodes with the template and the tokenizer of a folder; a context manager.

    Attributes:
        stop_ids: what ends generation.
        pad_id: of the tokenizer; None without.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        tokenizer = checkpoint.tokenizer
        data = checkpoint.small_files.get("tokenizer.json")
        if tokenizer is None or data is None:
            raise MalformedFile(
                "the folder has no tokenizer.json",
                detail="training encodes with the fast tokenizer that the folder brings",
                subject=str(checkpoint.root),
            )
        self._data = data
        self._tokenizer = tokenizer
        self.stop_ids = frozenset(generation_ends(checkpoint))
        self.pad_id = tokenizer.named_id("pad")
        names = {name: tokenizer.named_content(name) for name in NAMED_TOKENS}
        self._named = {name: content for name, content in names.items() if content is not None}
        self._opening = opening_of(checkpoint)
        self._opened = ExitStack()
        self._template: TemplateChild | None = None

    def __enter__(self) -> Self:
        self._library = self._opened.enter_context(TokenizerChild())
        self._library.load(self._data)
        return self

    def __exit__(self, *_: object) -> None:
        self._end_template()
        self._opened.close()

    def _writer(self) -> TemplateChild:
        if self._template is None:
            self._template = TemplateChild().__enter__()
        return self._template

    def _end_template(self) -> None:
        child, self._template = self._template, None
        if child is not None:
            child.__exit__()

    def encode(self, examples: Sequence[Example]) -> list[Encoded | BadRow]:
        """Encode examples, each as itself or as the reason why not.

        Raises:
            ConflictingFiles: there is no chat template, or it marks nothing as said.
        """
        written: list[tuple[str, tuple[tuple[int, int], ...]] | BadRow] = []
        for example in examples:
            try:
                written.append(self._written(example))
            except BadRow as bad:
                written.append(bad)
        good = [one for one in written if not isinstance(one, BadRow)]
        spans = iter(self._library.encode_spans([text for text, _ in good]))
        return [
            one if isinstance(one, BadRow) else self._marked(example, next(spans), one[1])
            for example, one in zip(examples, written, strict=True)
        ]

    def _marked(
        self,
        example: Example,
        spans: list[tuple[int, int, int]],
        said: tuple[tuple[int, int], ...],
    ) -> Encoded | BadRow:
        begins = [begin for begin, _ in said]
        marks = []
        for _, begin, end in spans:
            at = bisect.bisect_right(begins, begin) - 1
            marks.append(at >= 0 and begin < said[at][1] and end <= said[at][1])
        if not any(marks):
            return BadRow(
                "nothing in it is said by the model, so there is nothing to learn from it"
            )
        # A template writes what a conversation begins with itself.
        opening = self._opening if isinstance(example, Continued) else ()
        marks = [False] * len(opening) + marks
        ids = (*opening, *(token_id for token_id, _, _ in spans))
        last = ids[len(marks) - 1 - marks[::-1].index(True)]
        return Encoded(ids, tuple(marks), last in self.stop_ids)

    def _written(self, example: Example) -> tuple[str, tuple[tuple[int, int], ...]]:
        """The text of an example, and the characters that are in the loss."""
        if isinstance(example, Continued):
            text = example.prompt + example.completion + self._named.get("eos", "")
            return text, ((len(example.prompt), len(text)),)
        text, said = self._rendered(example)
        if example.n_given:
            prompt, _ = self._rendered(
                replace(example, messages=example.messages[: example.n_given]), prompt=True
            )
            if not text.startswith(prompt):
                raise BadRow("the template writes its prompt in another way once it is answered")
            said = tuple((b, e) for b, e in said if b >= len(prompt))
        return text, said

    def _rendered(
        self, example: Conversation, *, prompt: bool = False
    ) -> tuple[str, tuple[tuple[int, int], ...]]:
        template = self._chosen(with_tools=example.tools is not None)
        try:
            rendered = self._writer().render(
                template,
                messages=example.messages,
                tools=example.tools,
                add_generation_prompt=prompt,
                named_tokens=self._named,
                extra=example.variables,
            )
        except (TemplateFailed, ChildFailed) as error:
            if isinstance(error, ChildFailed):  # the rows behind this one get a new child
                self._end_template()
            detail = error.detail.splitlines()[0] if error.detail else error.summary
            raise BadRow(f"the chat template refuses it: {detail}") from error
        return rendered.text, tuple(sorted(rendered.generated))

    def _chosen(self, *, with_tools: bool) -> str:
        chosen = chosen_template(self._tokenizer, with_tools=with_tools)
        if chosen is None:
            raise ConflictingFiles(
                "the folder has no chat template, and the data are conversations",
                subject=str(self._checkpoint.root),
                hint="give the data as prompt and completion, or as text",
            )
        if not _TAG.search(chosen.text):
            raise ConflictingFiles(
                "the chat template does not say what the model itself writes",
                detail="without {% generation %} the mask of assistant tokens is empty, and training "
                "would learn nothing, or the prompts",
                subject="chat_template",
                hint="a recipe with [roles], [tools] or [thinking] writes the tags; or give the data "
                "as prompt and completion",
            )
        return chosen.text
