"""J: the chat template, as text. Nothing here renders one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokengraft.auditing.asking import knows_every_token, trusted_tokenizer
from tokengraft.auditing.rule import Found, counted, listed, place, rule, shown
from tokengraft.checkpoint import Checkpoint
from tokengraft.findings import Goal
from tokengraft.formats.template_jinja import syntax_error
from tokengraft.formats.template_text import markers, own_templates
from tokengraft.vocabulary import ChatTemplate, Tokenizer

CHAT_GOALS: tuple[Goal, ...] = ("inference", "roles", "tools", "thinking", "protocol", "lora")
_BARRED = re.compile(r"<\|[^<>|\s]+\|>|<｜[^<>｜\s]+｜>")
_NAMED = re.compile(r"(<|\[)(/?)([^<>\[\]/\s]+)(>|\])")


@rule(
    "J101",
    severity="warning",
    title="every marker that the chat template writes is one token",
    bears_on=CHAT_GOALS,
)
def marker_is_no_token(checkpoint: Checkpoint) -> Iterator[Found]:
    """A marker works because it is a single id that cannot be confused with text.

    What it checks:
        Texts spelled <|like this|> in the template's literal text are tokens; and of a pair such as
        <think> and </think>, or [INST] and [/INST], either both are added tokens or neither is.
        Other texts in angle brackets are left alone: templates write <tools> and <function-name>
        as plain words on purpose. Without the model's own vocabulary the rule says nothing.

    Why it matters:
        A marker that is not a token is cut into ordinary pieces. The model was then trained on
        something else, or sees a half-open pair.

    Example:
        A template of another model was copied, and its <|start_header_id|> became seven pieces.

    Fix and its safety:
        If the model was trained with this marker as a token, add it with `[[add]]`; the new row has
        to be trained. If not, take a template that belongs to this model.

    Sources:
        axolotl docs/faq.qmd on end-of-turn tokens that become several tokens.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or not knows_every_token(tokenizer):
        return
    for template in own_templates(tokenizer).values():
        missing = [
            text
            for text in markers(tokenizer, template)
            if tokenizer.id_of(text) is None and _is_meant_as_token(tokenizer, text)
        ]
        if missing:
            verb = "is no token" if len(missing) == 1 else "are no tokens"
            yield Found(
                _subject(template),
                f"{counted(len(missing), 'marker')} of the chat template {verb}: "
                f"{listed(map(shown, missing), limit=3)}",
                f"cut into several pieces: {listed(map(shown, missing))}",
            )


def _is_meant_as_token(tokenizer: Tokenizer, text: str) -> bool:
    if _BARRED.fullmatch(text):
        return True
    match = _NAMED.fullmatch(text)
    if match is None:
        return False
    opening, slash, name, closing = match.groups()
    partner = f"{opening}{'' if slash else '/'}{name}{closing}"
    return partner in tokenizer.added_ids


def _subject(template: ChatTemplate) -> str:
    return place(template.file, template.pointer)


@rule(
    "J102",
    severity="warning",
    title="chat_template.jinja and the template in tokenizer_config.json are the same",
    bears_on=CHAT_GOALS,
)
def templates_differ(checkpoint: Checkpoint) -> Iterator[Found]:
    """A chat template can stand in two places, and programs disagree on which one counts.

    What it checks:
        Where a template of the same name is in a .jinja file and in tokenizer_config.json, both
        are the same text. A final newline and the kind of line ends are not compared: Jinja
        removes the one and unifies the other.

    Why it matters:
        transformers takes chat_template.jinja. llama.cpp, Ollama and text-generation-inference take
        the one in tokenizer_config.json. The same chat becomes two different prompts.

    Example:
        A fine-tune saved a new chat_template.jinja and kept the key of its base model.

    Fix and its safety:
        Copy the one you mean over the other. Safe, if you know which one the model was trained with;
        therefore it is not done for you.

    Sources:
        transformers 4.57 and 5.23; llama.cpp gguf-py/gguf/vocab.py; Ollama convert/tokenizer.go.
    """
    tokenizer = checkpoint.tokenizer
    templates = tokenizer.templates if tokenizer is not None else ()
    for alone in templates:
        for other in templates:
            if alone.pointer or not other.pointer or alone.name != other.name:
                continue
            if _text(alone) != _text(other):
                yield Found(
                    place(alone.file),
                    f"the template in {alone.file} is not the one in {other.file}",
                    f"transformers takes {alone.file}, llama.cpp takes {other.file}"
                    if alone.name == "default"
                    else "",
                )


def _text(template: ChatTemplate) -> str:
    return template.text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


@rule("J103", severity="error", title="the chat template can be read by Jinja", bears_on=CHAT_GOALS)
def template_does_not_parse(checkpoint: Checkpoint) -> Iterator[Found]:
    """A template is a small program; one with a syntax error makes no prompt at all.

    What it checks:
        Each chat template is parsed with the extensions that transformers turns on (loop controls,
        `generation`). It is not run.

    Why it matters:
        The first chat request fails.

    Example:
        {% for message in messages %} without {% endfor %}

    Fix and its safety:
        None here: take the template from the publisher again, or correct it.

    Sources:
        transformers 4.57 and 5.23, utils/chat_template_utils.py.
    """
    for template in checkpoint.tokenizer.templates if checkpoint.tokenizer is not None else ():
        problem = syntax_error(template.text)
        if problem is not None:
            yield Found(_subject(template), "Jinja cannot read the chat template", problem)
