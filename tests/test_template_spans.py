"""Spans of a template: nothing of its text is lost, and string constants mean what Jinja says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengraft.formats.template_jinja import tokens
from tokengraft.formats.template_spans import line_of, meaning, quoted, spans, splice, units


def texts_of(data: Path) -> dict[str, str]:
    folder = data / "templates"
    return {p.stem: p.read_bytes().decode() for p in sorted(folder.glob("*.jinja"))}


def lexed(text: str) -> list[tuple[str, str]]:
    """Data and string constants as Jinja's own stream gives them to its parser."""
    stream = tokens(text)
    return [(t.type, t.value) for t in stream if t.type in ("data", "string")]


def test_the_spans_of_every_real_template_join_to_its_text(data: Path) -> None:
    texts = texts_of(data)
    assert len(texts) == 28
    for name, text in texts.items():
        found = spans(text)
        assert found, name
        assert "".join(text[begin:end] for _, begin, end in found) == text, name
        literal = [(s.kind, meaning(text, s)) for s in found if s.kind in ("data", "string")]
        assert literal == lexed(text), name


def test_carriage_returns_keep_their_places(data: Path) -> None:
    text = texts_of(data)["moonshotai-Kimi-K2"]
    assert text.count("\r\n") == 43
    at = text.index("<|im_end|>")
    span = next(s for s in spans(text) if s.begin <= at < s.end)
    assert span.kind == "data"
    assert "<|im_end|>" in meaning(text, span)
    assert line_of(text, at) == text[:at].count("\n") + 1


def test_white_space_that_jinja_takes_away_has_spans_of_its_own() -> None:
    text = "a \n  {%- if x -%} \n b {% endif %}\n\tc\n"
    kinds = [(s.kind, text[s.begin : s.end]) for s in spans(text)]
    assert kinds == [
        ("data", "a"),
        ("trimmed", " \n  "),
        ("block_begin", "{%-"),
        ("whitespace", " "),
        ("name", "if"),
        ("whitespace", " "),
        ("name", "x"),
        ("whitespace", " "),
        ("block_end", "-%} \n "),
        ("data", "b "),
        ("block_begin", "{%"),
        ("whitespace", " "),
        ("name", "endif"),
        ("whitespace", " "),
        ("block_end", "%}\n"),
        ("data", "\tc"),
        ("trimmed", "\n"),
    ]


def test_a_template_that_jinja_cannot_read_has_no_spans() -> None:
    assert spans("{% if %}") == ()
    assert spans("{{ '\\N{NO SUCH NAME}' }}") == ()
    assert spans("x" * ((1 << 20) + 1)) == ()


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@given(st.text(st.sampled_from("a'\\nrx41uN{}\n\r\tд0789 "), max_size=24), st.sampled_from("'\""))
def test_string_constants_mean_what_jinja_makes_of_them(body: str, quote: str) -> None:
    text = f"{{{{ {quote}{body}{quote} }}}}"
    found = spans(text)
    if not found:
        return
    assert "".join(text[begin:end] for _, begin, end in found) == text
    constants = [s for s in found if s.kind == "string"]
    assert [(s.kind, meaning(text, s)) for s in found if s.kind in ("data", "string")] == lexed(
        text
    )
    for span in constants:
        chars = list(units(text, span))
        assert all(span.begin < u.begin < u.end < span.end for u in chars)


@given(st.text(max_size=30), st.sampled_from("'\""))
def test_what_is_quoted_is_read_back(value: str, quote: str) -> None:
    text = f"{{{{ {quote}{quoted(value, quote)}{quote} }}}}"
    assert lexed(text) == [("string", value)]


def test_a_splice_replaces_places_alone() -> None:
    assert splice("abcdef", [(4, 5, "E"), (1, 3, "--"), (6, 6, "!")]) == "a--dE" + "f!"
