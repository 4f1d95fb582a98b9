"""Whatever tokengraft says has its Russian, and no Russian is left of what it no longer says."""

from __future__ import annotations

import json
import re
from typing import Final

import pytest

import said
from tokengraft.reporting import russian, translating
from tokengraft.reporting.words_ru import TEXTS as RUSSIAN_TEXTS
from unsaid import UNSAID

SAID: Final = said.rooms()
ROOMS: Final = russian.rooms()
EMPTY: Final = russian.Room({}, {}, {})
_PLACES = re.compile(r"\{(\d+)(?:[:?,][^{}]*)?\}")


def _templates(room: str) -> set[str]:
    return set(SAID[room].templates) - UNSAID.get(room, frozenset())


def _missing(room: str) -> list[str]:
    unsaid = UNSAID.get(room, frozenset())
    return SAID[room].missing({*ROOMS.get(room, EMPTY).texts, *unsaid})


def _lines(room: str) -> list[str]:
    """What is missing, ready to be pasted into the room's file and to be translated there."""
    lines = [
        f"{json.dumps(text, ensure_ascii=False)} = {json.dumps(_numbered(text), ensure_ascii=False)}"
        for text in _missing(room)
    ]
    nouns = {noun for one in ROOMS.values() for noun in one.nouns}
    wanted = [noun for noun in SAID[room].nouns if noun not in nouns]
    return lines + (["", "[counted]"] if wanted else []) + [f'"{noun}" = "||"' for noun in wanted]


def _numbered(english: str) -> str:
    chunks = translating.chunks_of(english)
    doubled = [said.doubled(chunk) for chunk in chunks]
    return "".join(
        f"{chunk}{{{number}}}" if number < len(chunks) - 1 else chunk
        for number, chunk in enumerate(doubled)
    )


@pytest.mark.parametrize("room", sorted(SAID))
def test_every_text_of_a_room_has_its_russian(room: str) -> None:
    missing = _lines(room)
    assert missing == [], f"add to reporting/ru/{room}.toml:\n" + "\n".join(missing)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_russian_is_left_of_what_is_no_longer_said(room: str) -> None:
    assert set(ROOMS[room].texts) - SAID[room].all() == set()
    assert set(ROOMS[room].texts) & UNSAID.get(room, frozenset()) == set()
    nouns = {noun for one in SAID.values() for noun in one.nouns}
    assert set(ROOMS[room].nouns) - nouns == set()


@pytest.mark.parametrize("room", sorted(UNSAID))
def test_what_is_not_said_is_still_in_the_code(room: str) -> None:
    assert UNSAID[room] - set(SAID[room].templates) == set()


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_russian_templates_fill_every_place(room: str) -> None:
    """A value may be dropped only by name, as `{1:}`; three forms of a word, never two."""
    wrong = []
    for english, text in {**ROOMS[room].texts, **ROOMS[room].foreign}.items():
        n_values = len(translating.chunks_of(english)) - 1
        parts = [part for part in translating.target_of(text) if not isinstance(part, str)]
        forms = [part[2].split("|") for part in parts if part[2]]
        bare = _PLACES.sub("", text).replace("{{", "").replace("}}", "")
        if (
            {number for number, _, _ in parts} != set(range(n_values))
            or any(len(cut) != 3 for cut in forms)
            or "{" in bare
            or "}" in bare
        ):
            wrong.append(f"{english!r}: {text!r}")
    assert wrong == []
    assert [n for n, f in ROOMS[room].nouns.items() if len(f.split("|")) != 3] == []


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_russian_templates_are_russian(room: str) -> None:
    texts = {**ROOMS[room].texts, **ROOMS[room].foreign}
    assert [key for key, text in texts.items() if not re.search("[а-яё]", text)] == []


def test_templates_can_be_told_apart() -> None:
    """Two values side by side, or a template without a whole word of its own, cannot be read back."""
    texts = [text for room in SAID for text in _templates(room)]
    assert [text for text in texts if "{}{}" in text] == []
    assert [text for text in texts if not translating.anchors(translating.chunks_of(text))] == []


def test_no_two_rooms_translate_one_text_differently() -> None:
    known: dict[str, str] = {}
    differ = []
    for room in ROOMS.values():
        for english, text in {**room.texts, **room.foreign}.items():
            if known.setdefault(english, text) != text:
                differ.append(english)
    assert differ == []


# "Piece" in another sense than a piece of a vocabulary.
OTHER_PIECES = (
    "it is a piece of a quantised matrix; edit the checkpoint that it was made from",
    "it is quantised: pieces of it lie beside it",
)


def test_a_piece_of_a_vocabulary_has_one_name_in_russian() -> None:
    texts = {**RUSSIAN_TEXTS, **{k: v for room in ROOMS.values() for k, v in room.texts.items()}}
    pieces = {k: v for k, v in texts.items() if re.search(r"\b(?<!{)pieces?\b(?!})", k)}
    assert len(pieces) > 50
    others = {k for k, v in pieces.items() if not re.search(r"подсл[оа]", v.casefold())}
    assert others == set(OTHER_PIECES)
    assert [v for v in texts.values() if re.search(r"\bкус(ок|к)", v.casefold())] == []
