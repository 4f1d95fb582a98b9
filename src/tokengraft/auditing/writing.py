"""J: what a chat template does with a chat, told from its text. Nothing here renders one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokengraft.auditing.asking import TOKENIZER_CONFIG, stop_ids_of, text_of, trusted_tokenizer
from tokengraft.auditing.ending import ENDS
from tokengraft.auditing.rule import Found, listed, place, rule, shown
from tokengraft.auditing.template import CHAT_GOALS
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.template_jinja import syntax_error
from tokengraft.formats.template_text import MARKER, own_templates, turn_ends
from tokengraft.vocabulary import ChatTemplate

_CODE = re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)
_CLOCK = re.compile(r"\bstrftime_now\b|\bnow\s*\(|\brandom\b")
_PROMPT = re.compile(
    r"\{%-?\s*if\s+add_generation_prompt\b.*?%\}(.*?)(?=\{%-?\s*(?:endif|else|elif)\b)", re.DOTALL
)
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}(.*?)\{%-?\s*endgeneration\s*-?%\}", re.DOTALL)


def _templates(checkpoint: Checkpoint) -> Iterator[ChatTemplate]:
    """Templates that Jinja can read; J103 speaks of the others."""
    for template in own_templates(checkpoint.tokenizer).values() if checkpoint.tokenizer else ():
        if syntax_error(template.text) is None:
            yield template


@rule("J104", severity="note", title="a chat model has a chat template", bears_on=CHAT_GOALS)
def template_is_missing(checkpoint: Checkpoint) -> Iterator[Found]:
    """A model that stops at the end of a turn was made for chats; how a chat looks says the template.

    What it checks:
        Where generation stops at <|im_end|>, <|eot_id|> or <end_of_turn>, some file has a chat template.

    Why it matters:
        Chat requests fail, or programs guess a format that the model was not trained with.

    Example:
        tokenizer_config.json lost its "chat_template".

    Fix and its safety:
        Take the template from the publisher again. `[roles]` and its kin need one to edit.

    Sources:
        transformers 4.57 and 5.23, `apply_chat_template`; vLLM 0.33 entrypoints/chat_utils.py.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or tokenizer.templates or TOKENIZER_CONFIG not in checkpoint.json:
        return
    stops = {text_of(tokenizer, token_id) for token_id in stop_ids_of(checkpoint)[0]}
    ends = sorted((stops | {tokenizer.named_content("eos")}) & set(ENDS[:3]), key=str)
    if ends:
        yield Found(
            place(TOKENIZER_CONFIG, "/chat_template"),
            f"turns end with {shown(str(ends[0]))}, and no file has a chat template",
        )


@rule(
    "J105", severity="warning", title="training masks cover the end of a turn", bears_on=("lora",)
)
def mask_leaves_end_out(checkpoint: Checkpoint) -> Iterator[Found]:
    """Tags in a template mark what the assistant says, so that training learns that alone.

    What it checks:
        Where a template has {% generation %}, a token that ends turns is written inside the tags. A
        template without them says nothing: nearly all published ones have none, and the answer for
        `lora` tells what that means.

    Why it matters:
        The model is never taught to write the end of its turn, and goes on talking.

    Example:
        {% generation %}{{ message.content }}{% endgeneration %}<|im_end|>

    Fix and its safety:
        Move the end tag behind the marker, by hand. What is rendered stays the same.

    Sources:
        transformers#34172, huggingface/trl#4879.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    for template in _templates(checkpoint) if tokenizer is not None else ():
        assert tokenizer is not None
        inside = "".join(_GENERATION.findall(template.text))
        ends = turn_ends(tokenizer, template)
        if inside and ends and not any(end in inside for end in ends) and "eos_token" not in inside:
            yield Found(
                place(template.file, template.pointer),
                f"the tags of {template.name} leave out {shown(ends[0])}, which ends a turn",
            )


@rule(
    "J106",
    severity="note",
    title="the generation prompt opens a turn as turns are opened",
    bears_on=CHAT_GOALS,
)
def prompt_is_no_prefix(checkpoint: Checkpoint) -> Iterator[Found]:
    """The prompt for an answer must be how answers of the assistant begin in a finished chat.

    What it checks:
        The first marker that the template writes under `add_generation_prompt` is written somewhere
        else in it too. The template is not rendered, so finer differences are not seen.

    Why it matters:
        The model is asked to go on from a text that it never saw at that place; training on the
        difference of two renderings breaks.

    Example:
        Turns are opened by <|im_start|>, the generation prompt by <|start|>.

    Fix and its safety:
        None here: take the template from the publisher again.

    Sources:
        huggingface/trl data_utils; NVIDIA-NeMo/Megatron-Bridge#3927.
    """
    for template in _templates(checkpoint):
        for block in _PROMPT.findall(template.text):
            first = MARKER.search(block)
            outside = template.text.replace(block, "")
            if first is not None and first.group() not in outside and "role" not in block:
                yield Found(
                    place(template.file, template.pointer),
                    f"the generation prompt begins with {shown(first.group())}, no turn does",
                )


@rule("J107", severity="note", title="a chat template writes the same text each day")
def template_reads_the_clock(checkpoint: Checkpoint) -> Iterator[Found]:
    """A template may write today's date.

    What it checks:
        No chat template uses `strftime_now`, another clock, or chance.

    Why it matters:
        The same chat is another prompt tomorrow: caches miss, evaluations cannot be repeated, and
        programs without a clock stop.

    Example:
        {{ "Today Date: " + strftime_now("%d %b %Y") }} in Llama 3.1.

    Fix and its safety:
        Display only: many templates let the caller pass the date.

    Sources:
        transformers 4.57, utils/chat_template_utils.py; Meta's Llama 3.1 template.
    """
    for template in _templates(checkpoint):
        found = next(
            (m.group() for code in _CODE.findall(template.text) if (m := _CLOCK.search(code))), None
        )
        if found:
            yield Found(
                place(template.file, template.pointer),
                f"the chat template asks for {shown(found)}",
                safety="display-only",
            )


@rule(
    "J108",
    severity="error",
    title="a list of chat templates has a default",
    bears_on=("inference",),
)
def no_default_template(checkpoint: Checkpoint) -> Iterator[Found]:
    """A file may hold several templates, by name.

    What it checks:
        Where templates are a list, one of them is called "default", unless chat_template.jinja is there.

    Why it matters:
        A chat without a named template fails: nobody knows which one is meant.

    Example:
        "chat_template": [{"name": "tool_use", "template": "..."}]

    Fix and its safety:
        Name the one that plain chats use "default", by hand. Safe.

    Sources:
        transformers 4.57 and 5.23, `get_chat_template`.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is not None and tokenizer.templates and tokenizer.template() is None:
        first = tokenizer.templates[0]
        yield Found(
            place(first.file, "/chat_template"),
            f"no template is called default, only {listed(shown(t.name) for t in tokenizer.templates)}",
        )


@rule("J109", severity="error", title="a chat template writes what is said", bears_on=CHAT_GOALS)
def template_writes_nothing(checkpoint: Checkpoint) -> Iterator[Found]:
    """A template that never looks at the messages makes the same prompt of every chat.

    What it checks:
        The default template reads `messages` somewhere in its code.

    Why it matters:
        The model never sees the question. Often another value was put into the place of the template.

    Example:
        "chat_template": "<|im_end|>"

    Fix and its safety:
        Take the template from the publisher again.

    Sources:
        transformers 4.57 and 5.23, utils/chat_template_utils.py.
    """
    template = checkpoint.tokenizer.template() if checkpoint.tokenizer is not None else None
    readable = template is not None and syntax_error(template.text) is None
    if template is not None and readable and not _reads_messages(template):
        yield Found(
            place(template.file, template.pointer), "the chat template never reads the messages"
        )
    value = checkpoint.value(TOKENIZER_CONFIG, "/chat_template")
    if value is not None and not isinstance(value, str | list):
        yield Found(place(TOKENIZER_CONFIG, "/chat_template"), "the chat template is no text")


def _reads_messages(template: ChatTemplate) -> bool:
    return any("messages" in code for code in _CODE.findall(template.text))
