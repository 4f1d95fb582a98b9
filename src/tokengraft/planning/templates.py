"""Chat templates as they shall be, in every place that holds one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tokengraft.formats.template_layouts import with_tokens
from tokengraft.formats.template_markers import replaced
from tokengraft.planning.draft import Draft
from tokengraft.plans import JsonChange, SetKey
from tokengraft.vocabulary import ChatTemplate

# What `chat.turn_lines` compares the beginning of a turn with.
HEADS = re.compile(r"set graft\w*_head = '((?:[^'\\]|\\.)*)'")
JINJA, CONFIG = "chat_template.jinja", "tokenizer_config.json"


@dataclass(slots=True)
class TemplateEdits:
    """Changes of JSON files that hold templates, whole files, and what stands in the way."""

    changes: list[tuple[str, JsonChange]] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def template_edits(draft: Draft) -> TemplateEdits:
    """State what becomes of each template; tokens with another text have it there."""
    found = TemplateEdits()
    new = {**draft.renamed, **draft.markers}
    for template in draft.tokenizer.templates:
        text = draft.template_text(template)
        if draft.layouts:
            text = _with_layouts(draft, template, text, found)
        if new:
            text = _with_new_texts(draft, template, text, new, found)
        if text != template.text:
            for file, pointer in (
                (template.file, template.pointer),
                *_other_place(draft, template),
            ):
                if pointer:
                    found.changes.append((file, SetKey(pointer=pointer, value=text)))
                else:
                    found.written[file] = text
    return found


def _with_new_texts(
    draft: Draft, template: ChatTemplate, text: str, new: Mapping[str, str], found: TemplateEdits
) -> str:
    known = (token.content for token in draft.added.values())
    edited = replaced(text, new, (*known, *draft.tokenizer.added_ids))
    place = _place(template)
    found.problems += [(f"{place}, line {at.line}", at.why) for at in edited.places]
    return edited.text


def _with_layouts(draft: Draft, template: ChatTemplate, text: str, found: TemplateEdits) -> str:
    """Write tokens for whole beginnings of turns; what still writes a beginning is understood."""
    edited = with_tokens(text, draft.layouts, draft.tokenizer.added_ids)
    if edited.text == text:
        sequences = ", ".join(map(repr, draft.layouts))
        found.notes.append(
            f"{_place(template)} is left alone: it writes {sequences} in no one place"
        )
        return text
    for sequence, token in draft.layouts.items():
        left = [at for at in edited.places if repr(sequence) in at.why]
        if left and sequence in _heads(text):
            what = (
                f"line {left[0].line} puts {sequence!r} together from parts, where {token!r} cannot be "
                "written, and [roles] and [thinking] know the model's turns by how they begin"
            )
            found.problems.append((_place(template), what))
    found.notes += [
        f"{_place(template)}, line {at.line}, is left as it is: {at.why}" for at in edited.places
    ]
    return edited.text


def _heads(text: str) -> str:
    """The beginnings by which a taught template knows the model's turns, one after the other."""
    return "\0".join(found.replace("\\n", "\n") for found in HEADS.findall(text))


def _place(template: ChatTemplate) -> str:
    return template.file + (f"#{template.pointer}" if template.pointer else "")


def _other_place(draft: Draft, template: ChatTemplate) -> Iterator[tuple[str, str]]:
    """Where a changed template is missing: programs disagree on which of two places they read.

    transformers takes chat_template.jinja first, llama.cpp and older servers the key alone.
    """
    places = [(t.file, t.pointer) for t in draft.tokenizer.templates if t.name == template.name]
    if template.name != "default" or len(places) != 1:
        return
    if places == [(JINJA, "")] and CONFIG in draft.checkpoint.json:
        yield CONFIG, "/chat_template"
    elif places == [(CONFIG, "/chat_template")]:
        yield JINJA, ""
