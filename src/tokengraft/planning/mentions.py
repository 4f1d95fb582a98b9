"""Every place of the JSON files that names a token by its text, for tokens that get another one.

A whole string that is a token's text names that token, whatever its key: programs of ten years keep
such texts under many names (`stop_strings`, `image_token`, `unk_token`, a post-processor's keys). A
token spelled like a word could be anything, and counts under keys that speak of tokens alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tokengraft.checkpoint import JsonValue
from tokengraft.formats.folders import is_graft_record
from tokengraft.formats.json_text import escape_key
from tokengraft.formats.template_markers import pattern
from tokengraft.planning.draft import Draft
from tokengraft.plans import JsonChange, RenameKey, SetKey

# Parts that have a writer of their own: tables of ids, vocabularies, chat templates.
ELSEWHERE = frozenset(
    {
        ("added_tokens.json", ""),
        ("vocab.json", ""),
        ("tokenizer.json", "/added_tokens"),
        ("tokenizer.json", "/model/vocab"),
        ("tokenizer.json", "/model/merges"),
        ("tokenizer_config.json", "/added_tokens_decoder"),
    }
)
# Steps of a pointer below which a text is a token's, even one that is spelled like a word.
_OF_TOKENS = re.compile(r".*tokens?|SpecialToken|sep|cls|stop_strings")
_PATTERNS = re.compile(r".*pattern|.*regex|Regex", re.IGNORECASE)


@dataclass(frozen=True)
class Renamer:
    """Give texts of the base their new names.

    Attributes:
        renamed: old text to new text.
        known: texts of all other tokens, which may hold an old text inside.
    """

    renamed: Mapping[str, str]
    known: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, draft: Draft) -> Renamer:
        return cls(draft.renamed, frozenset(draft.tokenizer.added_ids))

    def text(self, said: str, steps: tuple[str, ...]) -> str:
        """A string as it shall be, given the steps of the pointer to it."""
        if said in self.renamed:
            return self.renamed[said] if self._may_be(said, steps) else said
        if not any(map(self._spelled.__contains__, said)):
            return said
        if steps and _PATTERNS.fullmatch(steps[-1]):
            return self._escaped.sub(lambda found: self._in_pattern(found.group()), said)
        return self._inner.sub(lambda found: self.renamed.get(found.group(), found.group()), said)

    def key(self, key: str, steps: tuple[str, ...]) -> str:
        """A key as it shall be; `steps` lead to the object that has it."""
        return self.renamed[key] if key in self.renamed and self._may_be(key, steps) else key

    def value(self, value: JsonValue, steps: tuple[str, ...] = ()) -> JsonValue:
        """A whole value with all texts in it as they shall be."""
        if isinstance(value, str):
            return self.text(value, steps)
        if isinstance(value, list):
            return [self.value(entry, (*steps, str(at))) for at, entry in enumerate(value)]
        if isinstance(value, dict):
            return {
                self.key(key, steps): self.value(entry, (*steps, key))
                for key, entry in value.items()
            }
        return value

    def _may_be(self, text: str, steps: tuple[str, ...]) -> bool:
        return not text.isidentifier() or any(map(_OF_TOKENS.fullmatch, steps))

    @cached_property
    def _markers(self) -> list[str]:
        return [text for text in self.renamed if not text.isidentifier()]

    @cached_property
    def _spelled(self) -> frozenset[str]:
        """Characters of which a text that holds an old one has at least one."""
        return frozenset(c for text in self._markers for c in text if not c.isalnum())

    @cached_property
    def _inner(self) -> re.Pattern[str]:
        holding = [k for k in self.known if any(text in k for text in self._markers)]
        return pattern([*self._markers, *holding])

    @cached_property
    def _escaped(self) -> re.Pattern[str]:
        """Old texts as regular expressions write them, each sign with a backslash or without."""
        return re.compile("|".join(map(loosely, sorted(self._markers, key=len, reverse=True))))

    def _in_pattern(self, found: str) -> str:
        plain = re.sub(r"\\(?=[^\w\s])", "", found)
        return re.escape(self.renamed[plain])


def loosely(text: str) -> str:
    """Match a text in a regular expression that means it: what is special there is escaped.

    A line end may stand as itself, behind a backslash, or as a backslash and an n.
    """
    special = re.compile(r"[\\^$.|?*+()\[\]{}]")
    signs = (
        rf"\\{re.escape(c)}"
        if special.match(c)
        else r"(?:\\?\n|\\n)"
        if c == "\n"
        else rf"\\?{re.escape(c)}"
        if not c.isalnum()
        else c
        for c in text
    )
    return "".join(signs)


def mention_changes(draft: Draft) -> Iterator[tuple[str, JsonChange]]:
    """The places of all JSON files that name a renamed token, in file order."""
    if not draft.renamed:
        return
    renamer = Renamer.of(draft)
    templates = {(template.file, template.pointer) for template in draft.tokenizer.templates}
    anew = {*draft.settings, *draft.removed, *ELSEWHERE, *templates}
    for file in sorted(draft.checkpoint.json):
        if is_graft_record(file) or file.endswith(".index.json"):
            continue
        skipped = {pointer for name, pointer in anew if name == file}
        value = draft.checkpoint.value(file)
        yield from ((file, change) for change in _changes(renamer, value, (), skipped))


def _changes(
    renamer: Renamer, value: JsonValue, steps: tuple[str, ...], skipped: set[str]
) -> Iterator[JsonChange]:
    pointer = "".join(f"/{escape_key(step)}" for step in steps)
    if pointer in skipped:
        return
    if isinstance(value, str):
        text = renamer.text(value, steps)
        if text != value:
            yield SetKey(pointer=pointer, value=text)
    elif isinstance(value, list):
        for at, entry in enumerate(value):
            yield from _changes(renamer, entry, (*steps, str(at)), skipped)
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _changes(renamer, entry, (*steps, key), skipped)
            if renamer.key(key, steps) != key:
                place = f"{pointer}/{escape_key(key)}"
                yield RenameKey(pointer=place, key=renamer.key(key, steps))
