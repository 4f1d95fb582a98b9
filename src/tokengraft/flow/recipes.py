"""Write recipes for a checkpoint, and check them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tokengraft.checkpoint import Checkpoint
from tokengraft.documents import Problem
from tokengraft.errors import RecipeError, UsageError
from tokengraft.events import Listen, ignore
from tokengraft.families import trained_length
from tokengraft.flow.corpora import corpus_problem
from tokengraft.flow.library import AskedTemplates
from tokengraft.flow.making import load, plan_recipe
from tokengraft.flow.ports import adapter_port, values_problem
from tokengraft.formats.recipe_file import parse_recipe, read_recipe, sound_sections, toml_text
from tokengraft.formats.turns import Turns, turns
from tokengraft.planning import contradictions
from tokengraft.planning.chat import chat_problems, chat_refusals
from tokengraft.planning.low_rank import WHERE, complaints
from tokengraft.planning.renumbering import recipe_problems as renumbering_problems
from tokengraft.positions import RopeConfig, config_of, kind_of, stretch, usual
from tokengraft.positions.methods import METHODS
from tokengraft.recipes import Recipe
from tokengraft.vocabulary import Tokenizer

# Presets in the order in which their sections are written.
PRESETS = ("roles", "tools", "thinking", "protocol", "pad", "context")


def new_recipe(source: str, presets: Sequence[str] = (), listen: Listen = ignore) -> str:
    """Write a commented recipe for this checkpoint, with what each preset usually wants.

    Raises:
        UsageError: a preset that does not exist.
    """
    unknown = [preset for preset in presets if preset not in PRESETS]
    if unknown:
        raise UsageError(
            f"there is no preset {unknown[0]!r}", hint=f"presets: {', '.join(PRESETS)}"
        )
    checkpoint = load(source, listen, weights=False)
    parts = [_head(checkpoint, source)]
    parts += [WRITERS[preset](checkpoint) for preset in PRESETS if preset in presets]
    if not presets:
        parts.append(_menu())
    return "\n".join(parts)


def preset_section(source: str, preset: str, listen: Listen = ignore) -> str:
    """What a preset wants of this checkpoint, as sections of a recipe without its head."""
    return WRITERS[preset](load(source, listen, weights=False))


def check_recipe(
    recipe: Path,
    source: str | None,
    overrides: Sequence[str] = (),
    listen: Listen = ignore,
) -> tuple[Problem, ...]:
    """Say everything that is wrong with a recipe, for a checkpoint if one is given.

    Where sections cannot be read, the others are checked all the same.
    """
    try:
        wish, text = read_recipe(recipe, overrides=overrides)
    except RecipeError as error:
        left = sound_sections(recipe, overrides=overrides)
        more = () if left is None else _checked(left, "", recipe.parent, source, listen)
        return (*_problems(error), *more)
    return _checked(wish, text, recipe.parent, source, listen)


def _checked(
    wish: Recipe, text: str, folder: Path, source: str | None, listen: Listen
) -> tuple[Problem, ...]:
    source = source if source is not None else wish.base
    if source is None:
        seen = (*contradictions(wish), *chat_problems(wish), *renumbering_problems(wish))
        return (*seen, *_files(wish, folder))
    checkpoint = load(source, listen)
    try:
        plan_recipe(checkpoint, wish, text=text, source=source, folder=folder, listen=listen)
    except RecipeError as error:
        return _problems(error)
    return ()


def _files(wish: Recipe, folder: Path) -> Iterator[Problem]:
    """What is wrong with files that it names, as far as no checkpoint is needed to see it."""
    made = None if wish.rows is None else wish.rows.values
    if made is not None and (what := values_problem(folder / made)):
        yield Problem(where="rows.values", what=what)
    corpora = [(f"extend[{number}].corpus", one.corpus) for number, one in enumerate(wish.extend)]
    if wish.trim is not None and wish.trim.corpus is not None:
        corpora.append(("trim.corpus", wish.trim.corpus))
    for where, corpus in corpora:
        if what := corpus_problem(folder / corpus):
            yield Problem(where=where, what=what)
    if wish.lora is not None:
        adapter = adapter_port(folder)(wish.lora.adapter)
        for what in [adapter] if isinstance(adapter, str) else complaints(adapter):
            yield Problem(where=WHERE, what=what)


def _problems(error: RecipeError) -> tuple[Problem, ...]:
    """The problems of an error; one that is about the whole recipe is one problem."""
    if error.problems:
        return tuple(Problem(where=a, what=b, suggestion=c) for a, b, c in error.problems)
    where, more = error.subject or "recipe", error.detail or error.hint
    return (Problem(where=where, what=error.summary, suggestion=more),)


def recipe_schema() -> dict[str, object]:
    """The JSON Schema of recipes, for editors."""
    return Recipe.model_json_schema(by_alias=True)


def _head(checkpoint: Checkpoint, source: str) -> str:
    tokenizer, layout = checkpoint.tokenizer, checkpoint.layout
    lines = ["version = 1", f"base = {toml_text(source)}", ""]
    if tokenizer is not None:
        rows = 0 if layout is None else layout.n_rows
        spare = 0 if layout is None else max(0, layout.n_rows - tokenizer.n_tokens)
        size = f"{tokenizer.n_tokens} tokens, {rows} embedding rows"
        size = size if rows else f"{tokenizer.n_tokens} tokens"
        lines.append(f"# {checkpoint.family.name}: {size}.")
        if spare:
            lines.append(
                f"# {spare} rows are spare: so many tokens fit without any matrix growing."
            )
    if tokenizer is None or tokenizer.conflicts:
        why = (
            "the folder has no tokenizer"
            if tokenizer is None
            else f"the tokenizer's files contradict each other ({tokenizer.conflicts[0].text})"
        )
        lines.append(f"# Nothing can be planned before this is mended: {why}.")
    lines.append("# A new token has a starting value, not a meaning: only training gives it one.")
    return "\n".join(lines) + "\n"


def _menu() -> str:
    return (
        "# Nothing is asked for yet. Presets write sections to start from:\n"
        f"#   tokengraft recipe new SRC --preset {' | '.join(PRESETS)}\n"
    )


def _token(text: str, use: str, meaning: str) -> str:
    return f'[[add]]\ntext = {toml_text(text)}\nuse = "{use}"\nmeaning = {toml_text(meaning)}\n'


def _roles(checkpoint: Checkpoint) -> str:
    note = "# A role token opens the turns of a chat role of your own. It is a special token.\n"
    section = (
        "# A table gives a side, too: that of a role which the model itself takes is output.\n"
        f"[roles]\nmy_agi_mode = {toml_text('<|my_agi_mode|>')}\n"
    )
    token = _token("<|my_agi_mode|>", "role", "an agent that plans first and then answers")
    return _chat(checkpoint, note, (section,), token)


def _tools(checkpoint: Checkpoint) -> str:
    note = (
        "# Markers around a tool call. They carry content, so they are not special: parsers that\n"
        "# skip special tokens would lose them.\n"
    )
    section = '[tools]\nopen = "<tool_start>"\nclose = "</tool_end>"\n'
    results = 'result_open = "<tool_result>"\nresult_close = "</tool_result>"\n'
    opening = _token("<tool_start>", "tool", "here begins the call of a tool")
    closing = _token("</tool_end>", "tool", "here ends the call of a tool")
    return _chat(checkpoint, note, (section, section + results), f"{opening}\n{closing}")


def _thinking(checkpoint: Checkpoint) -> str:
    note = "# Modules of thought: the model writes the token, then the thought.\n"
    modules = (
        ("<|recursion|>", "think again about the thought before"),
        ("<|think|>", "think step by step"),
        ("<|conflict|>", "name what contradicts itself"),
    )
    names = ", ".join(toml_text(text) for text, _ in modules)
    section = (
        "# Servers read the field `reasoning_content` or `thinking`; `thoughts` keeps modules apart.\n"
        f'[thinking]\nmodules = [{names}]\nfield = "thoughts"\n'
    )
    tokens = "\n".join(_token(text, "thinking", meaning) for text, meaning in modules)
    return _chat(checkpoint, note, (section,), tokens)


def _chat(checkpoint: Checkpoint, note: str, sections: Sequence[str], tokens: str) -> str:
    """The first section that the chat template of this checkpoint can be taught, and its tokens."""
    with AskedTemplates() as render:
        for section in sections:
            wish, _ = parse_recipe(f"version = 1\n{section}")
            if not chat_refusals(checkpoint, wish, render):
                return f"{note}{section}\n{tokens}"
    why = (
        "# The chat template here cannot be edited for this, so the tokens alone are added: the\n"
        "# template is yours to edit.\n"
    )
    return f"{note}\n{why}{tokens}"


def _protocol(checkpoint: Checkpoint) -> str:
    tokenizer = checkpoint.tokenizer
    template = tokenizer.template() if tokenizer is not None else None
    if tokenizer is None or template is None:
        return "# There is no chat template, so there are no markers to replace.\n"
    found = turns(tokenizer, template)
    if found.start is None or found.end is None:
        return _markers_one_by_one(tokenizer, found)
    return (
        f"# Turns open with {toml_text(found.start)} and end with {toml_text(found.end)} now.\n"
        "# Renaming keeps ids and rows: nothing must be trained, and templates, stop lists and\n"
        "# configuration follow. Programs that look for the old text no longer find it.\n"
        f"[protocol]\nturn_start = {toml_text(_free(tokenizer, 'turn'))}\n"
        f"turn_end = {toml_text(_free(tokenizer, 'turn_end'))}\n"
        'mode = "rename"   # "add": new ids that start as copies, and old and new both end a turn\n'
    )


def _markers_one_by_one(tokenizer: Tokenizer, found: Turns) -> str:
    """For templates without one pair of markers: what there is, and a rename for what ends turns."""
    why = [f"# {text}.\n" for text in (found.why_no_start, found.why_no_end) if text]
    lines = [
        "# [protocol] replaces the one token that opens every turn and the one that ends it:\n",
        *why,
    ]
    if found.end is not None:
        new = _free(tokenizer, "turn_end")
        lines += [
            "# Each marker can be given another text for itself; its id and its row stay.\n",
            f"[[rename]]\nfrom = {toml_text(found.end)}\nto = {toml_text(new)}\n",
        ]
    return "".join(lines)


def _free(tokenizer: Tokenizer, name: str) -> str:
    """A marker of this name that is no token yet."""
    texts = (f"<|{name}{number}|>" for number in ("", *(f"_{n}" for n in range(2, 100))))
    return next(text for text in texts if tokenizer.id_of(text) is None)


def _pad(checkpoint: Checkpoint) -> str:
    del checkpoint
    return (
        "# A pad token of its own: with pad = eos, training that masks padding also masks the stop.\n"
        '[pad]\ntoken = "auto"   # an existing unused token first; or a text such as "<|pad|>"\n'
    )


def _context(checkpoint: Checkpoint) -> str:
    config, wish = config_of(checkpoint), usual(checkpoint)
    if config is None or config.length is None:
        return _no_context("no config.json says a length")
    if wish is None:
        return (
            f"# Positions are scaled already: {kind_of(config.in_force())}. A [context] with another "
            "length states that\n# anew, from the length that was trained.\n"
        )
    found = stretch(checkpoint, wish)
    if found.problems:
        return _no_context(found.problems[0].what)
    original, source = found.original
    known = f"config.json names {original} positions; what was trained is unknown"
    if trained_length(checkpoint.family, config.length)[0] is not None:
        known = f"{original} positions were trained ({source})"
    short = "The scaling is static: it also touches shorter texts."
    if wish.method == "longrope":
        short = "Shorter texts have factors of their own."
    return (
        f"# {known}.\n"
        f"# {short}\n"
        "# Take the least length that does: verify --deep --texts FILE measures what becomes of texts.\n"
        "# Where you know the trained length better, add original = N.\n"
        f'[context]\nlength = {wish.length}\nmethod = "{wish.method}"   # {_others(config, wish.method)}\n'
    )


def _others(config: RopeConfig, method: str) -> str:
    """The other methods that the model's classes read."""
    known = config.family.rope_facts.methods.get(config.model_type, METHODS)
    others = ", ".join(one for one in known if one != method)
    return f"other methods: {others}" if others else "the model's classes read no other method"


def _no_context(why: str) -> str:
    return f"# The context of this checkpoint cannot be lengthened by a recipe: {why}.\n"


WRITERS: Mapping[str, Callable[[Checkpoint], str]] = {
    "roles": _roles,
    "tools": _tools,
    "thinking": _thinking,
    "protocol": _protocol,
    "pad": _pad,
    "context": _context,
}
