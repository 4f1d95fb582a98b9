"""Renamed tokens that the model's own vocabulary holds too, in every file that lists it.

The libraries give an added token the id that the vocabulary has for its text, so both must change
together. A text that takes part in merges is an ordinary piece, whatever else it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tokengraft.checkpoint import JsonValue
from tokengraft.formats.json_text import escape_key, parse_json
from tokengraft.planning.draft import Draft
from tokengraft.plans import JsonChange, PlannedToken, RenameKey, SetKey

WORDS, LINES = "vocab.json", "vocab.txt"


@dataclass(slots=True)
class VocabularyEdits:
    """Changes of JSON vocabularies, vocabularies of lines, and what stands in the way."""

    changes: list[tuple[str, JsonChange]] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


def vocabulary_edits(draft: Draft) -> VocabularyEdits:
    """State what changes where a vocabulary holds a token that gets another text."""
    found = VocabularyEdits()
    renamed = {t.was: t for t in draft.planned.values() if t.was is not None and t.was != t.text}
    held = [token for was, token in renamed.items() if draft.tokenizer.vocab.get(was) is not None]
    if held:
        _tokenizer_json(draft, held, found)
    _vocab_json(draft, renamed, found)
    _lines(draft, renamed, found)
    return found


def _tokenizer_json(draft: Draft, held: list[PlannedToken], found: VocabularyEdits) -> None:
    joined = {text for merge in _merges(draft) for text in (*merge, "".join(merge))}
    vocab = draft.checkpoint.value("tokenizer.json", "/model/vocab")
    for token in held:
        assert token.was is not None
        if token.was in joined:
            why = f"{token.was!r} is a piece of ordinary text: merges make it, or make others of it"
            found.problems.append(("tokenizer.json#/model/merges", why))
        elif isinstance(vocab, list):
            change: JsonChange = SetKey(pointer=f"/model/vocab/{token.id}/0", value=token.text)
            found.changes.append(("tokenizer.json", change))
        elif isinstance(vocab, dict):
            change = RenameKey(pointer=f"/model/vocab/{escape_key(token.was)}", key=token.text)
            found.changes.append(("tokenizer.json", change))


def _merges(draft: Draft) -> Iterator[tuple[str, ...]]:
    """The merges of tokenizer.json, or of merges.txt where that is read."""
    merges = draft.checkpoint.value("tokenizer.json", "/model/merges")
    if "tokenizer.json" not in draft.checkpoint.json:
        text = draft.checkpoint.small_files.get("merges.txt", b"").decode(errors="replace")
        merges = [line for line in text.splitlines() if not line.startswith("#version")]
    yield from _pairs(merges if isinstance(merges, list) else ())


def _pairs(merges: Iterable[JsonValue]) -> Iterator[tuple[str, ...]]:
    for merge in merges:
        if isinstance(merge, str):
            yield tuple(merge.split(" "))
        elif isinstance(merge, list):
            yield tuple(str(part) for part in merge)


def _vocab_json(draft: Draft, renamed: Mapping[str, PlannedToken], found: VocabularyEdits) -> None:
    """The file that slow tokenizers read; it is parsed only if one of the texts is in it."""
    data = draft.checkpoint.small_files.get(WORDS, b"")
    if not any(form in data for was in renamed for form in _as_written(was)):
        return
    vocab = parse_json(data, file=WORDS).value
    for was, token in renamed.items():
        there = vocab.get(was) if isinstance(vocab, dict) else None
        if there == token.id:
            change = RenameKey(pointer=f"/{escape_key(was)}", key=token.text)
            found.changes.append((WORDS, change))
        elif there is not None:
            found.problems.append((WORDS, f"{was!r} is {there} there, and not {token.id}"))


def _as_written(text: str) -> tuple[bytes, bytes]:
    return (
        json.dumps(text, ensure_ascii=False).encode(),
        json.dumps(text).encode(),
    )


def _lines(draft: Draft, renamed: Mapping[str, PlannedToken], found: VocabularyEdits) -> None:
    """A vocabulary with a token a line; its line ends stay."""
    data = draft.checkpoint.small_files.get(LINES)
    if data is None or not renamed:
        return
    lines = data.decode().split("\n")
    ids = {line.rstrip("\r"): at for at, line in enumerate(lines)}
    for was, token in renamed.items():
        at = ids.get(was)
        if at == token.id:
            lines[at] = token.text + lines[at][len(was) :]
            found.written[LINES] = "\n".join(lines)
        elif at is not None:
            found.problems.append((LINES, f"{was!r} is {at} there, and not {token.id}"))
