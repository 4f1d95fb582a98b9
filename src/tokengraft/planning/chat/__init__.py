"""`[roles]`, `[tools]` and `[thinking]`: chat templates that write them, and how they are read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tokengraft.checkpoint import Checkpoint
from tokengraft.documents import Problem
from tokengraft.planning.chat.checking import Edit, check
from tokengraft.planning.chat.designing import design, own_tokens
from tokengraft.planning.chat.learning import learn
from tokengraft.planning.chat.probing import NotUnderstoodError
from tokengraft.planning.chat.problems import recipe_problems
from tokengraft.planning.chat.responding import response_template
from tokengraft.planning.chat.shapes import (
    Asked,
    Design,
    Render,
    Said,
    Shape,
    Wanted,
    design_with,
    shape_with,
    wanted,
)
from tokengraft.planning.chat.turn_lines import CHATML
from tokengraft.planning.chat.writing import write
from tokengraft.planning.draft import Draft
from tokengraft.planning.named import stop_ids
from tokengraft.planning.wishes import Wish
from tokengraft.recipes import Add, Recipe
from tokengraft.vocabulary import NAMED_TOKENS, ChatTemplate, TokenId

__all__ = ["Asked", "Render", "Said", "chat_problems", "chat_refusals", "set_chat", "teach"]

CONFIG, KEY = "tokenizer_config.json", "/response_template"
BY_HAND = "take the section out; [[add]] adds the tokens, and the template is then yours to edit"


def chat_problems(recipe: Recipe) -> tuple[Problem, ...]:
    """What is wrong with the sections, whatever the checkpoint."""
    want = wanted(recipe)
    return () if want is None else tuple(recipe_problems(recipe, want))


def chat_refusals(checkpoint: Checkpoint, recipe: Recipe, render: Render) -> tuple[Problem, ...]:
    """What stands against the sections where this checkpoint's templates are concerned."""
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:
        return (Problem(where=_first(recipe), what="the folder has no tokenizer"),)
    draft = Draft(checkpoint=checkpoint, tokenizer=tokenizer, added=tokenizer.added)
    return set_chat(draft, recipe, render)[0].problems


def set_chat(draft: Draft, recipe: Recipe, render: Render | None) -> tuple[Draft, tuple[Wish, ...]]:
    """Teach every chat template what the recipe wants, and write how responses are read back.

    Args:
        draft: with its markers renamed or added already.
        render: runs templates; None where nothing may be run.
    Returns:
        The draft, and tokens that the templates need beside those that the recipe names.
    """
    want = wanted(recipe)
    if want is None:
        return draft, ()
    problems = chat_problems(recipe)
    draft = replace(draft, problems=(*draft.problems, *problems))
    if render is None:
        draft = draft.with_problem(_first(recipe), "no chat template may be run here")
        return draft, ()
    if problems:
        return draft, ()
    draft = _with_template(draft, recipe)
    named = _named(draft)
    shapes: dict[str, Shape] = {}
    refused: set[str] = set()
    for template in draft.tokenizer.templates:
        text = draft.template_text(template)
        if text in shapes or text in refused:
            continue  # the same template in another file
        try:
            shapes[text] = learn(text, render, named)
        except NotUnderstoodError as error:
            refused.add(text)
            draft = _refused(draft, template, recipe, error)
    return (draft, ()) if refused or not shapes else _taught(draft, recipe, shapes, render)


@dataclass(frozen=True, slots=True)
class Taught:
    """A template as it shall be, what was decided for it, and sentences on what needs care."""

    text: str
    made: Design
    notes: tuple[str, ...] = ()


def teach(
    text: str, shape: Shape, want: Wanted, render: Render, named: Mapping[str, str]
) -> Taught:
    """Edit one template, and show the edit conversations before anybody relies on it.

    Raises:
        NotUnderstoodError: the template cannot be edited so that everything holds.
    """
    made = design(shape, want)
    new = write(text, shape, want, made)
    return Taught(new, made, check(Edit(text, new, shape, want, made), render, named))


def _taught(
    draft: Draft, recipe: Recipe, shapes: Mapping[str, Shape], render: Render
) -> tuple[Draft, tuple[Wish, ...]]:
    want, named = wanted(recipe), _named(draft)
    assert want is not None
    able = {text for text, shape in shapes.items() if shape.calls.declared or shape.calls.shown}
    taught: dict[str, Taught] = {}
    for template in draft.tokenizer.templates:
        text = draft.template_text(template)
        # In a list of templates the one for tools is chosen where there are tools.
        its = want if text in able or not able else replace(want, tools=None)
        try:
            taught[text] = taught.get(text) or teach(text, shapes[text], its, render, named)
        except NotUnderstoodError as error:
            return _refused(draft, template, recipe, error), ()
    leading = _leading(draft, shapes, able)
    for template in draft.tokenizer.templates:
        draft = draft.with_template(template, taught[draft.template_text(template)].text)
    for note in dict.fromkeys(note for one in taught.values() for note in one.notes):
        draft = draft.with_note(note)
    draft = _with_responses(draft, want, shapes[leading], taught[leading].made)
    tokens = dict.fromkeys(token for shape in shapes.values() for token in own_tokens(shape, want))
    missing = [token for token in tokens if draft.id_of(token) is None]
    if missing:
        draft = draft.with_note(
            f"the chat template has no thinking block: {' and '.join(missing)} are added, and "
            "thoughts stand between them"
        )
    return draft, tuple(Wish("thinking", Add(text=text, use="thinking")) for text in missing)


def _leading(draft: Draft, shapes: Mapping[str, Shape], able: set[str]) -> str:
    """The template whose turns responses are read by: one with tools, else the default."""
    default = draft.tokenizer.template()
    text = "" if default is None else draft.template_text(default)
    if text in able or (text in shapes and not able):
        return text
    return next(text for text in shapes if text in able or not able)


def _with_responses(draft: Draft, want: Wanted, shape: Shape, made: Design) -> Draft:
    if CONFIG not in draft.checkpoint.json:
        return draft.with_note(f"there is no {CONFIG}, so nothing says how responses are read back")
    stops = [TokenId(token_id) for token_id in stop_ids(draft)]
    ends = [draft.added[token_id].content for token_id in stops if token_id in draft.added]
    eos = draft.tokenizer.named_content("eos")
    ends += [] if eos is None else [_with_new_names(eos, draft)]
    shape = shape_with(shape, lambda text: _with_new_names(text, draft))
    made = design_with(made, lambda text: _with_new_names(text, draft))
    value = response_template(shape, want, made, [shape.end, *ends])
    if draft.value(CONFIG, KEY) not in (None, value):
        draft = draft.with_note(f"{CONFIG} has a response_template already, which is written anew")
    return draft.with_setting(CONFIG, KEY, value)


def _with_new_names(text: str, draft: Draft) -> str:
    for old, new in {**draft.renamed, **draft.markers}.items():
        text = text.replace(old, new)
    return text


def _refused(
    draft: Draft, template: ChatTemplate, recipe: Recipe, error: NotUnderstoodError
) -> Draft:
    where = error.section or _first(recipe)
    place = template.file if template.name == "default" else f"{template.file} ({template.name})"
    what = f"the chat template in {place} cannot be edited: {error.why}"
    return draft.with_problem(where, what, error.instead or BY_HAND)


def _first(recipe: Recipe) -> str:
    """The first of the sections that the recipe has."""
    return next(name for name in ("roles", "tools", "thinking") if getattr(recipe, name))


def _named(draft: Draft) -> dict[str, str]:
    """bos, eos … as the template sees them, before anything is renamed."""
    found: dict[str, str] = {}
    for name in NAMED_TOKENS:
        for named in draft.tokenizer.named:
            if named.name == name and named.content is not None:
                value = draft.settings.get((named.file, named.pointer), named.content)
                content = value.get("content") if isinstance(value, dict) else value
                found[name] = content if isinstance(content, str) else named.content
                break
    return found


def _with_template(draft: Draft, recipe: Recipe) -> Draft:
    """A chat template for a folder that has none, of markers that are tokens."""
    if draft.tokenizer.templates:
        return draft
    pair = ("<|im_start|>", "<|im_end|>")
    if any(draft.tokenizer.id_of(marker) is None for marker in pair):
        return draft.with_problem(
            _first(recipe),
            f"the folder has no chat template, and {' and '.join(pair)} are no tokens to write one of",
            "put a chat_template.jinja into the folder",
        )
    places = [("chat_template.jinja", "")]
    if CONFIG in draft.checkpoint.json:
        places.append((CONFIG, "/chat_template"))
    templates = tuple(ChatTemplate("default", CHATML, file, key) for file, key in places)
    draft = replace(draft, tokenizer=replace(draft.tokenizer, templates=templates))
    return draft.with_note(
        f"the folder has no chat template: one is written, with turns between {pair[0]} and {pair[1]}"
    )
