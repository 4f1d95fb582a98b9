"""English text of findings, plans and errors into another language, sentence by sentence.

English is what travels in documents; views translate it. Whatever code says to a person is a
*template*: its f-string with `{}` for each value. A text is read back into the template that it came
from: of all readings the one that explains the most letters wins, values are read in the same
way, and what nothing explains (token texts, file names, keys, commands) stays as it is.

A target template names values by number: `{0}` the value itself, translated; `{0:row|rows|rows}` the
number that the value begins with and the form that agrees with it; `{0?is|are|are}` the form alone;
`{0:}` nothing. Braces that are meant are doubled on both sides.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tokengraft.reporting import russian

_WORD: Final = re.compile(r"[A-Za-z]+")
_PLACE: Final = re.compile(r"\{\{|\}\}|\{\}")
_TARGET: Final = re.compile(r"\{\{|\}\}|\{(\d+)(?:([:?])([^{}]*))?\}")
_NUMBER: Final = re.compile(r"[+-]?(\d{1,3}(?:,\d{3})+|\d+)")
_SIZE: Final = re.compile(r"(\d+(?:\.\d)?) (B|kB|MB|GB|TB|PB)")
_COUNTED: Final = re.compile(r"(\d[\d,]*) (\S.*)", re.DOTALL)
# A quoted token is no prose: no template, no sentence and no list begins or ends inside it.
_QUOTED: Final = re.compile(r"""(?<![^\s(\[{,:=])(?:'[^'\n]*'|"[^"\n]*")(?![A-Za-z0-9])""")
# Two words in a row: a sentence, no name.
_PROSE: Final = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?:])\s+(?=[^a-z\s])|\n+")
# What joins the parts of a text, with the English words that are explained by it.
_JOINTS: Final = (("; ", "; "), (", ", ", "), (" and ", " и "), (" or ", " или "), (": ", ": "))
# So many ways to cut one text by one template are looked at; more are never needed.
_CUTS: Final = 24
_KEPT: Final = 4096  # readings


@dataclass(frozen=True, slots=True)
class Template:
    """One template, cut up.

    Attributes:
        chunks: the literal text before, between and behind the values.
        weight: letters in them.
        target: literal text, or the number of a value with the way to write it.
    """

    chunks: tuple[str, ...]
    weight: int
    target: tuple[str | tuple[int, str, str], ...]


def chunks_of(english: str) -> tuple[str, ...]:
    """The literal parts of an English template, in one more piece than it has values."""
    chunks = [""]
    end = 0
    for place in _PLACE.finditer(english):
        chunks[-1] += english[end : place.start()]
        end = place.end()
        if place.group() == "{}":
            chunks.append("")
        else:
            chunks[-1] += place.group()[0]
    chunks[-1] += english[end:]
    return tuple(chunks)


def target_of(text: str) -> tuple[str | tuple[int, str, str], ...]:
    """The parts of a target template: literal text, or (number of the value, `:` or `?`, forms)."""
    parts: list[str | tuple[int, str, str]] = []
    end = 0
    for place in _TARGET.finditer(text):
        parts.append(text[end : place.start()])
        end = place.end()
        if place.group(1) is None:
            parts.append(place.group()[0])
        else:
            parts.append((int(place.group(1)), place.group(2) or "", place.group(3) or ""))
    parts.append(text[end:])
    return tuple(part for part in parts if part != "")


def anchors(chunks: tuple[str, ...]) -> list[str]:
    """Words that every text of a template holds as whole words."""
    found: list[str] = []
    for at, chunk in enumerate(chunks):
        for word in _WORD.finditer(chunk):
            torn = (at > 0 and word.start() == 0) or (
                at < len(chunks) - 1 and word.end() == len(chunk)
            )
            if not torn:
                found.append(word.group())
    return found


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says: how many of its letters templates explain, and its translation."""

    explained: int
    text: str


@dataclass(slots=True)
class Translator:
    """Templates and nouns of one language, ready to be asked. Asking changes only what it remembers."""

    exact: dict[str, str] = field(default_factory=dict)
    by_word: dict[str, list[Template]] = field(default_factory=dict)
    nouns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    known: dict[str, Reading] = field(default_factory=dict)

    def __call__(self, text: str) -> str:
        """Translate a text; what is not known stays English.

        A single word is translated only where it is the whole text: as a value it may be a token.
        """
        return self.exact.get(text) or self.read(text).text

    def read(self, text: str) -> Reading:
        """The reading that explains the most."""
        found = self.known.get(text)
        if found is None:
            if len(self.known) >= _KEPT:
                self.known.clear()
            found = self.known[text] = self._read(text)
        return found

    def _read(self, text: str) -> Reading:
        best = Reading(0, _plain(text))
        masked = _QUOTED.sub(lambda quoted: "\0" * len(quoted.group()), text)
        words = set(_WORD.findall(masked))
        if not words or text != text.strip():
            return self._stripped(text) if words else best
        for reading in itertools.chain(
            self._whole(text, masked, words),
            self._counted(text),
            self._sentences(text, masked),
            self._joined(text, masked),
        ):
            if reading.explained > best.explained:
                best = reading
        return best

    def _stripped(self, text: str) -> Reading:
        bare = text.strip()
        inner = self.read(bare)
        before, _, after = text.partition(bare)
        return Reading(inner.explained, before + inner.text + after)

    def _whole(self, text: str, masked: str, words: set[str]) -> Iterator[Reading]:
        exact = self.exact.get(text) if " " in text else None
        if exact is not None:
            yield Reading(_weight((text,)), exact)
        for word in words:
            for template in self.by_word.get(word, ()):
                quotes = any("'" in chunk or '"' in chunk for chunk in template.chunks)
                for cut in _cuts(template.chunks, text if quotes else masked):
                    values = [self.read(text[start:end]) for start, end in cut]
                    raw = [text[start:end] for start, end in cut]
                    if not _countable(template, raw):
                        continue
                    explained = template.weight + sum(value.explained for value in values)
                    yield Reading(explained, _filled(template, raw, values))

    def _counted(self, text: str) -> Iterator[Reading]:
        counted = _COUNTED.fullmatch(text)
        if counted is None:
            return
        number, noun = counted.groups()
        forms = self.nouns.get(noun)
        if forms is not None:
            yield Reading(_weight((noun,)), f"{_plain(number)} {_form(number, forms)}")

    def _sentences(self, text: str, masked: str) -> Iterator[Reading]:
        """Split at the ends of sentences, in every place that explains most of what is before it."""
        if text.endswith(".") and not text.endswith("..."):
            whole = self.read(text[:-1])
            yield Reading(whole.explained, whole.text + ".")
        for end in _SENTENCE_END.finditer(masked):
            first, rest = self.read(text[: end.start()]), self.read(text[end.end() :])
            joint = text[end.start() : end.end()]
            yield Reading(first.explained + rest.explained, first.text + joint + rest.text)

    def _joined(self, text: str, masked: str) -> Iterator[Reading]:
        for english, russian_joint in _JOINTS:
            if english in masked:
                places = list(_split(masked, english))
                parts = [self.read(text[start:end]) for start, end in places]
                strange = (
                    not part.explained and _PROSE.search(masked[start:end])
                    for part, (start, end) in zip(parts, places, strict=True)
                )
                if _WORD.search(english) and any(strange):
                    continue  # `and` within a sentence that is not known
                explained = sum(part.explained for part in parts)
                explained += (len(parts) - 1) * _weight((english,))
                yield Reading(explained, russian_joint.join(part.text for part in parts))
        if masked.endswith(")") and " (" in masked:
            at = masked.index(" (")
            outer, inner = self.read(text[:at]), self.read(text[at + 2 : -1])
            yield Reading(outer.explained + inner.explained, f"{outer.text} ({inner.text})")


def translator(templates: Mapping[str, str], nouns: Mapping[str, str]) -> Translator:
    """Index templates by their rarest word, so that a text meets few of them."""
    made = Translator()
    for noun, forms in nouns.items():
        cut = tuple(forms.split("|"))
        made.nouns[noun] = made.nouns[plural(noun)] = cut
    cut_up = {english: chunks_of(english) for english in templates}
    often: dict[str, int] = {}
    for word in itertools.chain.from_iterable(map(anchors, cut_up.values())):
        often[word] = often.get(word, 0) + 1
    for english, chunks in cut_up.items():
        target = target_of(templates[english])
        if len(chunks) == 1:
            made.exact[chunks[0]] = "".join(part for part in target if isinstance(part, str))
            continue
        words = anchors(chunks)
        assert words, f"nothing in {english!r} tells it from other texts"
        rarest = min(words, key=often.__getitem__)
        template = Template(chunks, _weight(chunks), target)
        made.by_word.setdefault(rarest, []).append(template)
    return made


def plural(noun: str) -> str:
    """The English plural of a counted noun, as `counted` makes it."""
    return noun + "s"


def _cuts(chunks: tuple[str, ...], text: str) -> Iterable[list[tuple[int, int]]]:
    """Where the values of a template lie in a text; empty if it is none of the template's."""
    first, last = chunks[0], chunks[-1]
    if not text.startswith(first) or not text.endswith(last):
        return ()
    if not all(chunk in text for chunk in chunks):
        return ()
    return itertools.islice(_cut(chunks, text, 1, len(first)), _CUTS)


def _cut(
    chunks: tuple[str, ...], text: str, number: int, start: int
) -> Iterator[list[tuple[int, int]]]:
    chunk = chunks[number]
    if number == len(chunks) - 1:
        end = len(text) - len(chunk)
        if end > start:
            yield [(start, end)]
        return
    end = text.find(chunk, start + 1)
    while end >= 0:
        for rest in _cut(chunks, text, number + 1, end + len(chunk)):
            yield [(start, end), *rest]
        end = text.find(chunk, end + 1)


def _split(masked: str, joint: str) -> Iterator[tuple[int, int]]:
    start = 0
    while (end := masked.find(joint, start)) >= 0:
        yield start, end
        start = end + len(joint)
    yield start, len(masked)


def _countable(template: Template, raw: list[str]) -> bool:
    """Whether what is to be counted is a number and its noun, and no sentence that begins with one."""
    counted = (raw[part[0]] for part in template.target if not isinstance(part, str) and part[2])
    return not any(joint in value for value in counted for joint in ("; ", ". ", ": "))


def _filled(template: Template, raw: list[str], values: list[Reading]) -> str:
    shown: list[str] = []
    for part in template.target:
        if isinstance(part, str):
            shown.append(part)
            continue
        at, how, forms = part
        if not how:
            shown.append(values[at].text)
        elif forms:
            number = _NUMBER.match(raw[at])
            written = number.group() if number else raw[at]
            noun = _form(written, tuple(forms.split("|")))
            shown.append(noun if how == "?" else f"{_plain(written)} {noun}")
    return "".join(shown)


def _form(shown: str, forms: tuple[str, ...]) -> str:
    """The form that agrees with a number; the last one where there is no number."""
    digits = "".join(filter(str.isdigit, shown))
    return forms[russian.form(int(digits))] if digits else forms[-1]


def _plain(text: str) -> str:
    """A number or a size in the other language; anything else as it is."""
    if _NUMBER.fullmatch(text):
        return russian.number(text)
    sized = _SIZE.fullmatch(text)
    return russian.size(*sized.groups()) if sized else text


def _weight(chunks: tuple[str, ...]) -> int:
    return sum(character.isalpha() for chunk in chunks for character in chunk)
