"""The views' own words in each language, and text that wants to be more than text."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import nodes

from tokengraft.documents import Document
from tokengraft.reporting import (
    catalogue,
    escape,
    sizes,
    text_audit,
    text_reports,
    text_training,
    words_ru,
)
from tokengraft.reporting import json as json_view
from tokengraft.reporting import russian as russian_rooms
from tokengraft.reporting.html import told
from tokengraft.reporting.html.contents import SAID as MISSING
from tokengraft.reporting.screen import Page, Screen

REPO = Path(__file__).resolve().parents[1]
REPORTING = REPO / "src" / "tokengraft" / "reporting"
PLAIN = Screen()
COLOUR = Screen(colour=True)
RUSSIAN = Screen(words=catalogue.RUSSIAN)
ANY_TEXT = st.text(st.characters(), max_size=40) | st.text(
    st.sampled_from("\x1b[]\u202e\u200b\x9b\n\r\t\\'\"a{0}\u0301\ud800\U000e0041\u3164"),
    max_size=12,
)
# Colours of rich: the only escape sequences that a view may hold.
SGR = re.compile(r"\x1b\[[0-9;]*m")


def _raw(text: str) -> list[str]:
    """Characters that should not have come through."""
    return [c for c in SGR.sub("", text) if c != "\n" and not escape.is_visible(c)]


def _kind(value: Document) -> str:
    return value.kind


# ── escape ───────────────────────────────────────────────────────────────────────────────────────


@given(ANY_TEXT)
def test_inline_text_is_one_visible_line(text: str) -> None:
    shown = escape.inline(text)
    assert all(escape.is_visible(character) for character in shown)
    assert "\n" not in shown
    assert escape.inline(shown) == shown


@given(ANY_TEXT, ANY_TEXT)
def test_two_tokens_never_look_the_same(one: str, other: str) -> None:
    assert (escape.quoted(one) == escape.quoted(other)) == (one == other)


@given(ANY_TEXT)
def test_json_text_keeps_its_value_and_hides_nothing(text: str) -> None:
    shown = json_view.text({"a": [text, {text: 1}]})
    assert json.loads(shown) == {"a": [text, {text: 1}]}
    assert _raw(shown) == []
    shown.encode("utf-8")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_toml_string_is_read_back_as_it_was(text: str) -> None:
    assert tomllib.loads(f"a = {escape.toml_string(text)}") == {"a": text}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<|im_start|>", "'<|im_start|>'"),
        ("[/INST]", "'[/INST]'"),
        ("\x1b[2J", r"'\x1b[2J'"),
        ("\u202etxt", r"'\u202etxt'"),
        ("a\u200bb", r"'a\u200bb'"),
        ("\U000e0041", r"'\U000e0041'"),
        ("\\x1b", r"'\\x1b'"),
        ("it's", '"it\'s"'),
        ("привет 你好", "'привет 你好'"),
        ("e\u0301", "'e\u0301'"),
        ("\u0301", r"'\u0301'"),
        ("\n", r"'\n'"),
        ("\ud800", r"'\ud800'"),
        ("\ufe0f", r"'\ufe0f'"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, shown: str) -> None:
    assert shown == escape.quoted(text)


def test_towers_of_marks_do_not_climb_into_other_lines() -> None:
    assert escape.inline("a" + "\u0301" * 4) == "a\u0301\u0301\\u0301\\u0301"


def test_a_number_is_never_broken_at_its_thousands() -> None:
    page = Page(Screen(width=24, words=catalogue.RUSSIAN))
    told = "те же 1 078 763 id до и 1 078 763 после"
    page.line(told)
    page.item("-", told)
    page.table((), [("a", told)])
    lines = page.text.splitlines()
    assert 6 == sum(line.count("1 078 763") for line in lines)
    assert max(map(len, lines)) <= 24
    page.line("\ue000 1\ue000234")
    assert r"\ue000 1\ue000234" == page.text.splitlines()[-1], "nobody else can write the glue"


# ── words and sizes ──────────────────────────────────────────────────────────────────────────────


def _said() -> Iterator[str]:
    """Every literal that a view hands to the catalogue."""
    faces = (REPORTING.parent / "cli" / name for name in ("errors.py", "progress.py"))
    for path in (*REPORTING.rglob("*.py"), *faces):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (
                (isinstance(node.func, ast.Name) and node.func.id == "say")
                or (isinstance(node.func, ast.Attribute) and node.func.attr in ("say", "_words"))
            ):
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield part.value
    yield from _said_in_templates()


def _said_in_templates() -> Iterator[str]:
    """Every literal that a template of the HTML report hands to the catalogue."""
    for path in sorted((REPORTING / "html" / "templates").glob("*.html")):
        parsed = jinja2.Environment(autoescape=True).parse(path.read_text(encoding="utf-8"))
        for call in parsed.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name == "say":
                first = call.args[0]
                if isinstance(first, nodes.Const):
                    yield first.value


# What `train --estimate` counts memory for.
PARTS = {
    *("program", "weights", "old rows", "states", "a pass", "solving"),
    *("activations", "rows and optimizer", "copies of matrices", "logits"),
}
# Words that reach the catalogue through a table or a value.
TABLED = {
    *(words for words, _ in text_audit.VERDICTS.values()),
    *("error", "warning", "note", "safe", "unsafe", "display-only"),
    *("pass", "fail", "skipped", "unknown", "yes", "no"),
    *("small", "other"),  # kinds of files
    *("edited", "unchanged", "left out", "where", "why", "try"),
    *("trained", "untrained", "distance", "direction"),
    *text_reports.TITLES.values(),
    *told.VERDICT_WORDS.values(),
    *told.SHARE_NAMES.values(),
    *told.EXAMPLE_KINDS.values(),
    *MISSING,
    *("Usage", "Options", "Commands"),
    # steps of a run, as events name them
    *("read", "fetch", "fingerprint", "compare tensors", "apply", "undo", "verify"),
    *("train", "fit", "judge"),
    *(name for name, _ in text_training.ANSWERS.values()),
    *PARTS,
    *("report", "neighbours"),
    "a bug of ours, please report it with the traceback above",
}


def test_every_word_of_the_views_has_a_russian_one() -> None:
    needed = set(_said()) | TABLED
    assert needed - set(words_ru.TEXTS) == set()
    assert set(words_ru.TEXTS) - needed == set(), "these are said nowhere"
    assert set(catalogue.ENGLISH_NOUNS) == set(words_ru.NOUNS)
    assert set(sizes.UNITS) == set(russian_rooms.UNITS)


def test_translations_fill_the_same_places() -> None:
    for english, translated in words_ru.TEXTS.items():
        places = [sorted(re.findall(r"\{(\w+)\}", text)) for text in (english, translated)]
        assert places[0] == places[1], english


@pytest.mark.parametrize(
    ("number", "english", "russian"),
    [
        (0, "0 tokens", "0 токенов"),
        (1, "1 token", "1 токен"),
        (3, "3 tokens", "3 токена"),
        (11, "11 tokens", "11 токенов"),
        (21, "21 tokens", "21 токен"),
        (112, "112 tokens", "112 токенов"),
        (151_669, "151,669 tokens", "151 669 токенов"),
    ],
)
def test_numbers_agree_with_their_nouns(number: int, english: str, russian: str) -> None:
    assert english == catalogue.ENGLISH.count(number, "token")
    assert russian == catalogue.RUSSIAN.count(number, "token")


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (24_576, "25 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (5_087_000_000, "5.1 GB"),
        (61_064_245_248, "61 GB"),
    ],
)
def test_sizes_are_decimal(size_bytes: int, shown: str) -> None:
    assert shown == catalogue.ENGLISH.size(size_bytes)
