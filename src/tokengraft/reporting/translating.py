"""English text of findings, plans and errors into another language, sentence by sentence.

English is what travels in documents; views translate it. Whatever code says to a person is a
*template*: its f-string with `{}` for each value. A text is read back into the template that it came
from: of all readings the one that explains the most letters wins, values are read in the same
way, and what nothing explains (token texts, file names, keys, commands) stays as it is.

A target template names values by number: `{0}` the value itself, translated; `{0:row|rows|rows}` the
number that the value begins with and the form that agrees with it; `{0?is|are|are}` the form alone;
`{0:}` nothing; `{0,}` a number with a fraction, as the language writes it. Braces that are meant are
doubled on both sides.
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
_TARGET: Final = re.compile(r"\{\{|\}\}|\{(\d+)(?:([:?,])([^{}]*))?\}")
_NUMBER: Final = re.compile(r"[+-]?(\d{1,3}(?:,\d{3})+|\d+)")
_SIZE: Final = re.compile(r"(\d+(?:\.\d)?) (B|kB|MB|GB|TB|PB)")
_COUNTED: Final = re.compile(r"(\d[\d,]*) (\S.*)", re.DOTALL)
# A quoted token is no prose: no template, no sentence and no list begins or ends inside it.
_QUOTED: Final = re.compile(r"""(?<![^\s(\[{,:=])(?:'[^'\n]*'|"[^"\n]*")(?![A-Za-z0-9])""")
# Two words in a row: a sentence, no name.
_PROSE: Final = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")
# Commands stand in texts as they are typed.
_COMMAND: Final = re.compile(r"(tokengraft|hf|pip) ")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+(?=[^a-z\s])|(?<=[:;])\s+")
# What joins the parts of a text, with the English words that are explained by it.
_JOINTS: Final = (
    *(("\n", "\n"), ("; ", "; "), (", ", ", ")),
    *((" and ", " и "), (" or ", " или ")),
)
_CLAUSES: Final = ("\n", "; ")
# Ranks: sentences above every template, one that begins with a word above all others.
_SENTENCES: Final = 1_000_000
_OPENING: Final = 10_000
_LONG: Final = 12  # letters
# So many ways to cut one text by one template are looked at; more are never needed.
_CUTS: Final = 24
# With more clauses or ends of sentences than this, a text is read part by part and in no other way.
_PARTS: Final = 8
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
    """The parts of a target template: literal text, or (number of the value, how, forms)."""
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
    """What a text says: how many of its letters templates explain, and its translation.

    `rank` decides between readings that explain as much: whole sentences before one template for all,
    then a template that begins with a word of its own, then the one with more letters, then lists.
    """

    explained: int
    text: str
    rank: int = 0


@dataclass(slots=True)
class Translator:
    """Templates and nouns of one language, ready to be asked. Asking changes only what it remembers."""

    exact: dict[str, str] = field(default_factory=dict)
    by_word: dict[str, list[Template]] = field(default_factory=dict)
    nouns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    vocabulary: set[str] = field(default_factory=set)
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
        masked = _mask(text)
        words = set(_WORD.findall(masked))
        if not words or text != text.strip():
            return self._stripped(text) if words else best
        if not words & self.vocabulary:
            return best
        most = sum(len(word) for word in _WORD.findall(masked) if word in self.vocabulary)
        many = sum(map(masked.count, _CLAUSES)) > _PARTS
        for readings in (self._joined,) if many else (self._joined, self._sentences, self._whole):
            for reading in readings(text, masked):
                if (reading.explained, reading.rank) > (best.explained, best.rank):
                    best = reading
            if best.rank == _SENTENCES and best.explained >= most:
                break  # nothing can explain more
        return best

    def _stripped(self, text: str) -> Reading:
        bare = text.strip()
        inner = self.read(bare)
        before, _, after = text.partition(bare)
        return Reading(inner.explained, before + inner.text + after)

    def _whole(self, text: str, masked: str) -> Iterator[Reading]:
        yield from self._counted(text)
        exact = self.exact.get(text) if " " in text else None
        if exact is not None:
            weight = _weight((text,))
            yield Reading(weight, exact, weight)
        for word in dict.fromkeys(_WORD.findall(masked)):
            for template in self.by_word.get(word, ()):
                quotes = any("'" in chunk or '"' in chunk for chunk in template.chunks)
                for cut in _cuts(template.chunks, text if quotes else masked):
                    raw = [text[start:end] for start, end in cut]
                    values = [self.read(value) for value in raw]
                    if _fits(template, raw, values):
                        explained = template.weight + sum(value.explained for value in values)
                        rank = template.weight + (_OPENING if template.chunks[0] else 0)
                        yield Reading(explained, _filled(template, raw, values), rank)

    def _counted(self, text: str) -> Iterator[Reading]:
        counted = _COUNTED.fullmatch(text)
        if counted is None:
            return
        number, noun = counted.groups()
        forms = self.nouns.get(noun)
        if forms is not None:
            yield Reading(_weight((noun,)), f"{_plain(number)} {_form(number, forms)}")

    def _sentences(self, text: str, masked: str) -> Iterator[Reading]:
        """Split where a sentence or a clause ends, or a colon stands; each place is tried."""
        if text.endswith((".", ":", ";")) and not text.endswith("..."):
            whole = self.read(text[:-1])
            yield Reading(whole.explained, whole.text + text[-1], whole.rank)
        for end in itertools.islice(_SENTENCE_END.finditer(masked), _PARTS):
            first, rest = self.read(text[: end.start()]), self.read(text[end.end() :])
            joint = text[end.start() : end.end()]
            explained = first.explained + rest.explained
            yield Reading(explained, first.text + joint + rest.text, _SENTENCES)

    def _joined(self, text: str, masked: str) -> Iterator[Reading]:
        for english, russian_joint in _JOINTS:
            if english in masked:
                places = list(_split(masked, english))
                parts = [self.read(text[start:end]) for start, end in places]
                strange = (
                    not part.explained and _PROSE.search(masked[start:end])
                    for part, (start, end) in zip(parts, places, strict=True)
                )
                if english not in _CLAUSES and any(strange):
                    continue  # a comma or an `and` within a sentence that is not known
                explained = sum(part.explained for part in parts)
                explained += (len(parts) - 1) * _weight((english,))
                shown = russian_joint.join(part.text for part in parts)
                yield Reading(explained, shown, _SENTENCES if english in _CLAUSES else 0)
        at = _bracket(masked)
        if at >= 0:
            outer, inner = self.read(text[:at]), self.read(text[at + 2 : -1])
            yield Reading(outer.explained + inner.explained, f"{outer.text} ({inner.text})")


def translator(templates: Mapping[str, str], nouns: Mapping[str, str]) -> Translator:
    """Index templates by their rarest word, so that a text meets few of them."""
    made = Translator()
    for noun, forms in nouns.items():
        cut = tuple(forms.split("|"))
        made.nouns[noun] = made.nouns[plural(noun)] = cut
        made.vocabulary.update(_WORD.findall(f"{noun} {plural(noun)}"))
    cut_up = {english: chunks_of(english) for english in templates}
    often: dict[str, int] = {}
    for word in itertools.chain.from_iterable(map(anchors, cut_up.values())):
        often[word] = often.get(word, 0) + 1
    joints = (english for english, _ in _JOINTS)
    for chunk in itertools.chain(joints, *cut_up.values()):
        made.vocabulary.update(_WORD.findall(chunk))
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


def _bracket(masked: str) -> int:
    """Where the bracket begins with which a text ends, the space before it included; -1 for none."""
    depth = 0
    for at in range(len(masked) - 1, 0, -1):
        depth += (masked[at] == ")") - (masked[at] == "(")
        if depth == 0:
            return at - 1 if masked.endswith(")") and masked[at - 1] == " " else -1
    return -1


def _split(masked: str, joint: str) -> Iterator[tuple[int, int]]:
    start = 0
    while (end := masked.find(joint, start)) >= 0:
        yield start, end
        start = end + len(joint)
    yield start, len(masked)


def _fits(template: Template, raw: list[str], values: list[Reading]) -> bool:
    """Whether a template may hold these values.

    What is counted is a number and its noun, and no sentence that begins with one. A short template
    holds no more words that are not known than it explains: a sentence of somebody else would come
    out half translated.
    """
    forms = [part for part in template.target if not isinstance(part, str) and part[2]]
    for at, _, _ in forms:
        if not _NUMBER.match(raw[at]):
            return False
        if any(joint in raw[at] for joint in ("; ", ". ", ": ")):
            return False
    if template.weight >= _LONG:
        return True
    left = (_mask(value.text) for text, value in zip(raw, values, strict=True) if _is_said(text))
    strange = sum(len(word) for text in left if _PROSE.search(text) for word in _WORD.findall(text))
    return strange <= template.weight + sum(value.explained for value in values)


def _is_said(text: str) -> bool:
    return _COMMAND.match(text) is None


def _mask(text: str) -> str:
    return _QUOTED.sub(lambda quoted: "\0" * len(quoted.group()), text)


def _filled(template: Template, raw: list[str], values: list[Reading]) -> str:
    shown: list[str] = []
    for part in template.target:
        if isinstance(part, str):
            shown.append(part)
            continue
        at, how, forms = part
        if not how:
            shown.append(values[at].text)
        elif how == ",":
            shown.append(russian.decimal(raw[at]))
        elif forms:
            number = _NUMBER.match(raw[at])
            assert number is not None, "what fits begins with a number"
            written = number.group()
            noun = _form(written, tuple(forms.split("|")))
            shown.append(noun if how == "?" else f"{_plain(written)} {noun}")
    return "".join(shown)


def _form(shown: str, forms: tuple[str, ...]) -> str:
    """The form that agrees with a number."""
    return forms[russian.form(int("".join(filter(str.isdigit, shown))))]


def _plain(text: str) -> str:
    """A number or a size in the other language; anything else as it is."""
    if _NUMBER.fullmatch(text):
        return russian.number(text)
    sized = _SIZE.fullmatch(text)
    return russian.size(*sized.groups()) if sized else text


def _weight(chunks: tuple[str, ...]) -> int:
    return sum(character.isalpha() for chunk in chunks for character in chunk)
