"""Renamed tokens are gone from every file, and a new protocol is whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokengraft.boundaries import stop_ids
from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.errors import RecipeError
from tokengraft.formats.json_text import escape_key, parse_json
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.formats.sentencepiece_file import is_sentencepiece, read_sentencepiece
from tokengraft.formats.template_markers import pattern
from tokengraft.formats.template_pieces import computed
from tokengraft.formats.template_spans import LITERAL, meaning, spans
from tokengraft.formats.turns import turns
from tokengraft.recipes import Protocol, Recipe
from tokengraft.results import Check
from tokengraft.verifying.records import Graft, failed, passed, several, skipped
from tokengraft.vocabulary import Tokenizer

RENAMING = ("rename", "claim")
VOCABULARY = ("/model/vocab/", "/model/merges/")


def check_renames(graft: Graft) -> Iterator[Check]:
    """No JSON file, template or SentencePiece model names a token by the text that it had."""
    name = "old-names"
    out, plan = graft.checkpoint, graft.plan
    if out is None or out.tokenizer is None or plan is None:
        return
    present = {token.content for token in out.tokenizer.added.values()}
    gone = [t.was for t in plan.tokens if t.action in RENAMING and t.was not in (None, *present)]
    # A word may stand anywhere for itself; what else it is named by, other checks compare.
    olds = [text for text in gone if text is not None and not text.isidentifier()]
    if not olds:
        return
    finder = pattern((*olds, *present))
    found = [
        place for place, text in _texts(out) if any(match in olds for match in finder.findall(text))
    ]
    found += [place for place, piece in _pieces(out) if piece in olds]
    found += [
        f"{template.file}, line {place.line}"
        for template in out.tokenizer.templates
        for old in olds
        for place in computed(template.text, old, finder)
    ]
    if found:
        yield failed(name, f"an old text is still in {several(found)}")
        return
    yield passed(
        name,
        f"{len(olds)} old texts stand in none of {len(out.json)} JSON files and "
        f"{len(out.tokenizer.templates)} chat templates, and no template can put one together",
    )


def _texts(out: Checkpoint) -> Iterator[tuple[str, str]]:
    """Every text that may have tokens in it, with its place; vocabularies left out."""
    assert out.tokenizer is not None
    templates = {(template.file, template.pointer) for template in out.tokenizer.templates}
    for file, document in out.json.items():
        for pointer, text in _strings(document.value, ""):
            if (file, pointer) not in templates and not pointer.startswith(VOCABULARY):
                yield f"{file}#{pointer}", text
                if "\\" in text:  # in a regular expression, signs have backslashes
                    yield f"{file}#{pointer}", text.replace("\\", "")
    for template in out.tokenizer.templates:
        for span in spans(template.text):
            if span.kind in LITERAL or span.kind == "comment":
                yield f"{template.file}#{template.pointer}", meaning(template.text, span)


def _pieces(out: Checkpoint) -> Iterator[tuple[str, str]]:
    """Every piece of every vocabulary, with its file. A piece is a token only as a whole."""
    vocab = out.value("tokenizer.json", "/model/vocab")
    if isinstance(vocab, dict):
        yield from (("tokenizer.json", piece) for piece in vocab)
    elif isinstance(vocab, list):
        yield from (("tokenizer.json", str(e[0])) for e in vocab if isinstance(e, list) and e)
    for file, data in out.small_files.items():
        if file == "vocab.json":
            value = parse_json(data, file=file).value
            yield from ((file, piece) for piece in (value if isinstance(value, dict) else ()))
        elif file == "vocab.txt":
            yield from ((file, line) for line in data.decode(errors="replace").splitlines())
        elif is_sentencepiece(data):
            yield from ((file, piece.text) for piece in read_sentencepiece(data, file=file).pieces)


def _strings(value: JsonValue, pointer: str) -> Iterator[tuple[str, str]]:
    """All strings and keys in a value, with JSON pointers."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, list):
        for at, entry in enumerate(value):
            yield from _strings(entry, f"{pointer}/{at}")
    elif isinstance(value, dict):
        for key, entry in value.items():
            place = f"{pointer}/{escape_key(key)}"
            yield place, key
            yield from _strings(entry, place)


def check_protocol(graft: Graft, base: Checkpoint | None) -> Iterator[Check]:
    """Turns open and end with the markers that the recipe names; added ones beside the old."""
    name = "protocol"
    recipe, out = _recipe(graft), graft.checkpoint
    if recipe is None or recipe.protocol is None or out is None or out.tokenizer is None:
        return
    protocol, template = recipe.protocol, out.tokenizer.template()
    if template is None:
        yield failed(name, "the folder has no chat template")
        return
    found = turns(out.tokenizer, template)
    if (found.start, found.end) != (protocol.turn_start, protocol.turn_end):
        yield failed(
            name, f"turns open with {found.start!r} and end with {found.end!r} in {template.file}"
        )
        return
    said = f"turns open with {found.start!r} and end with {found.end!r}"
    if protocol.mode == "rename":
        yield passed(name, f"{said}, by the template's own text")
    elif base is None or base.tokenizer is None:
        yield skipped(name, f"{said}; what they were before could not be rebuilt")
    else:
        yield _beside(recipe, protocol, base.tokenizer, out, said)


def _recipe(graft: Graft) -> Recipe | None:
    try:
        return (
            None
            if graft.plan is None
            else parse_recipe(graft.plan.recipe, file="the plan's recipe")[0]
        )
    except RecipeError:
        return None  # of another version; the plan itself was read


def _beside(
    recipe: Recipe, protocol: Protocol, before: Tokenizer, out: Checkpoint, said: str
) -> Check:
    """Templates write no old marker, and generation ends at both ends."""
    name, tokenizer = "protocol", out.tokenizer
    template = before.template()
    assert tokenizer is not None
    if template is None:
        return failed(name, "the base has no chat template, so it had no markers")
    old = turns(before, template)
    olds = {text for text in (old.start, old.end) if text is not None}
    olds -= {protocol.turn_start, protocol.turn_end}
    finder = pattern((*olds, *tokenizer.added_ids))
    left = [
        f"{t.file} writes {text!r}"
        for t in tokenizer.templates
        for text in _written(t.text, finder) & olds
    ]
    if left:
        return failed(name, several(sorted(left)))
    if recipe.stop.tokens == "keep":
        return passed(name, f"{said}; no template writes the old markers; [stop] keeps its list")
    ends = {text: tokenizer.id_of(text) for text in (old.end, protocol.turn_end) if text}
    stop, _, _ = stop_ids(out.value, out.text_config)
    missing = [f"{text!r} ({token_id})" for text, token_id in ends.items() if token_id not in stop]
    if missing:
        return failed(name, f"generation does not end at {several(missing)}")
    both = " and ".join(f"{text!r} ({token_id})" for text, token_id in ends.items())
    return passed(
        name, f"{said}; no template writes the old markers, and generation ends at {both}"
    )


def _written(text: str, finder: re.Pattern[str]) -> set[str]:
    literal = [meaning(text, span) for span in spans(text) if span.kind in LITERAL]
    return {match for said in literal for match in finder.findall(said)}
