"""Other texts for tokens in a template: at their places, or refused with the place."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengraft.formats.template_markers import Edited, pattern, replaced
from tokengraft.formats.template_pieces import Place

END, NEW = "<|im_end|>", "<|done|>"
# Everything in the 28 templates that is spelled like a token.
SPELLED = re.compile(r"<[|｜]?/?[^<>\s]{1,60}>|\[/?[A-Z_]{2,40}\]")


def edited(text: str, *known: str) -> Edited:
    return replaced(text, {END: NEW}, known)


def said(text: str) -> str:
    """What a template without variables writes."""
    return jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(text).render()  # noqa: S701


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a<|im_end|>\n", "a<|done|>\n"),
        ("{{ '<|im_end|>\\n' }}", "{{ '<|done|>\\n' }}"),
        ('{{- "x\\t<|im_end|>\\"" -}}', '{{- "x\\t<|done|>\\"" -}}'),
        ("{{ '\\x3c|im_end\\u007c>' }}", "{{ '<|done|>' }}"),
        ("{{ 'a<|im_\\\nend|>' }}", "{{ 'a<|done|>' }}"),
        ("{{ x.split('<|im_end|>')[0] }}", "{{ x.split('<|done|>')[0] }}"),
        ("{%- if '<|im_end|>' in x %}y{% endif %}", "{%- if '<|done|>' in x %}y{% endif %}"),
        ("{% raw %}{{ <|im_end|> }}{% endraw %}", "{% raw %}{{ <|done|> }}{% endraw %}"),
        ("{#- turns end with <|im_end|> #}", "{#- turns end with <|done|> #}"),
        ("{{ '<|im_' + 'end|>' }}", "{{ '<|done|>' + '' }}"),
        ("{{ x ~ 'a<|im' ~ '_end' ~ '|>b' }}", "{{ x ~ 'a<|done|>' ~ '' ~ 'b' }}"),
        ("{{ 'a<|im' '_end|>' | trim }}", "{{ 'a<|done|>' '' | trim }}"),
        ("{{ f('<|im_end|>' + x) }}<|im_end|>", "{{ f('<|done|>' + x) }}<|done|>"),
        ("a\r\n<|im_end|>\r\n{{ 'b\r\n<|im_end|>' }}\r\n", None),
    ],
)
def test_a_token_gets_its_new_text_where_it_stands(before: str, after: str | None) -> None:
    expected = before.replace(END, NEW) if after is None else after
    assert edited(before) == Edited(expected)


def test_code_and_all_else_keep_their_characters() -> None:
    text = "{{ a <b> c }}\n{%- set b = [ 1,2 ] -%}  {{ b|join( '<b>' ) }}{{ '\\d' }}"
    with pytest.warns(DeprecationWarning, match="invalid escape"):
        found = replaced(text, {"<b>": "<d>"})
    assert found == Edited(text.replace("'<b>'", "'<d>'"))


def test_new_texts_are_quoted_as_the_constant_is() -> None:
    text = "{{ '<|im_end|>' }}{{ \"<|im_end|>\" }}"
    found = replaced(text, {END: "<it's \"\\it>"})
    assert found.places == ()
    assert said(found.text) == "<it's \"\\it>" * 2


def test_tokens_that_hold_one_another_are_told_apart() -> None:
    text = "<|end|><|end|>x{{ '<|end|>xy' }}"
    assert replaced(text, {"<|end|>": "E"}, ["<|end|>x"]).text == "E<|end|>x{{ '<|end|>xy' }}"
    both = replaced("<a><b>", {"<a>": "<b>", "<b>": "<a>"})
    assert both.text == "<b><a>"
    assert replaced("<a>", {"<a>": "<a>b"}) == Edited("<a>b")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("\n{{ '<|' + message.x + '|>' }}{{ 'im_end' }}", 2, "'<|' + 'im_end' + '|>'"),
        ("{% set a = '<|im_' %}\n{{ a + 'end|>' }}", 1, "'<|im_' + 'end|>'"),
        ("{{ '<|%s|>' % 'im_end' }}", 1, "'<|' + 'im_end' + '|>'"),
        ("{{ '<|{}|>'.format('im_end') }}", 1, "put together"),
        ("<|im_{{ 'end|>' }}", 1, "'<|im_' + 'end|>'"),
        ("<|im_{# #}end|>", 1, "'<|im_' + 'end|>'"),
        ("{{ ['<|im_', 'end|>'] | join }}", 1, "put together"),
        ("{{ '<|im_' + 'end|>' * 2 }}", 1, "put together"),
        ("{{ '<|im_start|>'\n.replace('start', 'end') }}", 2, "`replace('start', 'end')` makes"),
        ("{{ '<|im_start|>' | replace('start', 'end') }}", 1, "`replace('start', 'end')` makes"),
        ("\n\n{{ '<|IM_END|>' | lower }}", 3, "`lower` makes"),
        ("{{ '<|im_end|>x'[:10] }}", 1, "cut by position"),
        ("{% if x.startswith('<|im_end|>') %}\n{{ x[10:] }}{% endif %}", 2, "10 characters"),
        ("{% if '<|im_end|>' in x %}{{ x[:-10] }}{% endif %}", 1, "10 characters"),
        ("{% if %}<|im_end|>", 1, "Jinja cannot read the template: line 1"),
    ],
)
def test_a_text_that_is_computed_is_refused_with_its_place(
    text: str, line: int, words: str
) -> None:
    places = edited(text, "<|im_start|>").places
    assert [place.line for place in places] == [line]
    assert words in places[0].why


@pytest.mark.parametrize(
    "text",
    [
        "{{ '<|im_start|>' + message.role + '|>' }}",  # the piece before belongs to a token
        "{{ '<' + name + '>' }}{{ 'im_end' }}",  # no constant holds the bars
        "{% if x.startswith('<|im_end|>') %}{{ x[1:] }}{% endif %}",
        "{{ messages[10:] }}<|im_end|>",
        "{{ '<|IM_END|>' | upper }}",
    ],
)
def test_what_cannot_make_the_token_is_no_obstacle(text: str) -> None:
    assert edited(text, "<|im_start|>").places == ()


def test_a_role_between_two_constants_makes_the_token_of_a_role() -> None:
    text = "{{ '<|' + message.role + '|>' }}"
    assert replaced(text, {"<|user|>": "<|human|>"}).places == (
        Place(1, "'<|user|>' could be put together there, from '<|' + 'user' + '|>'"),
    )
    assert replaced(text, {"<|end|>": "<|done|>"}).places == ()


def test_a_slice_is_right_if_the_new_text_is_as_long() -> None:
    text = "{% if x.endswith('<|im_end|>') %}{{ x[:-10] }}{% endif %}"
    assert replaced(text, {END: "<|my_end|>"}) == Edited(text.replace(END, "<|my_end|>"))


def test_a_word_is_not_taken_for_a_token() -> None:
    found = replaced("a tool{# a tool #}\n{{ message.tool }}", {"tool": "TOOL"})
    assert found.text == "a TOOL{# a TOOL #}\n{{ message.tool }}"
    why = "'tool' is a plain word there, and may be something else than the token"
    assert found.places == (Place(1, why),)


@pytest.mark.parametrize("new", ["{{x}}", "{%x%}", "{#x"])
def test_a_new_text_that_jinja_would_read_is_refused(new: str) -> None:
    assert replaced("a\n<|im_end|>", {END: new}).places == (
        Place(1, f"{new!r} would be read as code of the template there"),
    )
    assert replaced("{{ '<|im_end|>' }}", {END: new}).places == ()


def test_a_comment_is_not_ended_by_a_new_text() -> None:
    found = replaced("{# <|im_end|> #}{{ '<|im_end|>' }}", {END: "<#}>"})
    assert found.places == (Place(1, "'<#}>' would be read as code of the template there"),)


def test_every_marker_of_every_real_template_can_be_replaced(data: Path) -> None:
    count = 0
    for path in sorted((data / "templates").glob("*.jinja")):
        text = path.read_bytes().decode()
        tokens = sorted(set(SPELLED.findall(text)))
        for token in tokens:
            found = replaced(text, {token: "<|n0w|>"}, tokens)
            assert found.places == (), (path.stem, token)
            inside = sum(token in other and token != other for other in tokens)
            assert inside or found.text == text.replace(token, "<|n0w|>"), (path.stem, token)
            count += 1
    assert count == 273


PIECES = ("<|im_end|>", "<|im_", "end|>", "a", " ", "\n", "'", "\\", "{", "|>")


@given(st.lists(st.sampled_from(PIECES), max_size=6), st.sampled_from("'\""))
def test_a_constant_says_the_same_but_for_the_token(pieces: list[str], quote: str) -> None:
    from tokengraft.formats.template_spans import quoted

    texts = [quoted(piece, quote) for piece in pieces]
    template = "{{ " + " + ".join(f"{quote}{text}{quote}" for text in texts or [""]) + " }}"
    found = edited(template)
    assert said(found.text) == said(template).replace(END, NEW)
    assert said(found.text).count(END) == 0
    assert all("put together" in place.why for place in found.places)


def test_tokens_are_found_as_a_tokenizer_finds_them() -> None:
    found = pattern(["ab", "abc", "bcd", "x"]).findall("abcd xbcdab")
    assert found == ["abc", "x", "bcd", "ab"]
    assert pattern([]).findall("abc") == []
