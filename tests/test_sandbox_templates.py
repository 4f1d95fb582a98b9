"""Chat templates render as in transformers, and cannot do anything else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tokengraft.errors import ChildFailed, LimitExceeded, RefusedError
from tokengraft.sandbox.templates import (
    TEMPLATE_LIMITS,
    Rendered,
    TemplateChild,
    TemplateFailed,
    render,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="the limits are those of POSIX")
MESSAGES = [{"role": "user", "content": "<hi> & 'é'"}, {"role": "assistant", "content": "yes"}]


@pytest.fixture(scope="module")
def templates() -> Iterator[TemplateChild]:
    with TemplateChild() as child:
        yield child


def shown(child: TemplateChild, template: str, **arguments: Any) -> str:
    return child.render(template, messages=MESSAGES, **arguments).text


def test_a_template_sees_what_transformers_gives_it(templates: TemplateChild) -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}\n  {% if loop.first %}{% continue %}{% endif %}\n"
        "{{ m.role }}{% endfor %}|{{ tools is none }}{{ documents is none }}"
        "{{ add_generation_prompt }}{{ mode }}{{ pad_token is defined }}"
    )
    assert "<s>assistant|TrueTrueTruexFalse" == shown(
        templates,
        template,
        named_tokens={"bos": "<s>"},
        add_generation_prompt=True,
        extra={"mode": "x"},
    )


def test_json_is_written_raw_and_in_order(templates: TemplateChild) -> None:
    text = '{"role": "user", "content": "<hi> & \'é\'"}'
    assert text == shown(templates, "{{ messages[0] | tojson }}")
    assert '{\n  "b": 1\n}' == shown(templates, "{{ {'b': 1} | tojson(indent=2) }}")


def test_today_is_the_same_every_day_unless_given(templates: TemplateChild) -> None:
    template = "{{ strftime_now('%d %b %Y') }}"
    assert "01 Jan 2025" == shown(templates, template)
    assert "29 Feb 2028" == shown(templates, template, now=datetime(2028, 2, 29))  # noqa: DTZ001
    assert "01 Jan 2025" == shown(templates, template)


def test_the_spans_of_generation_are_what_the_model_says(templates: TemplateChild) -> None:
    template = (
        "é{% for m in messages %}[{{ m.role }}]{% generation %}{{ m.content }}{% endgeneration %}"
        "{% endfor %}"
    )
    made = templates.render(template, messages=MESSAGES)
    assert ["<hi> & 'é'", "yes"] == [made.text[begin:end] for begin, end in made.generated]
    assert "é[user]<hi> & 'é'[assistant]yes" == made.text
    assert Rendered("x", ()) == templates.render("x", messages=[])


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for", "TemplateSyntaxError"),
        ("\n{{ nothing.here.either }}", "line 2: UndefinedError"),
        ("{{ raise_exception('roles must \x1b alternate') }}", "roles must \\x1b alternate"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ lipsum.__globals__['os'].popen('id').read() }}", "SecurityError"),
        ("{{ cycler.__init__.__globals__.os }}", "SecurityError"),
        ("{{ range(10**9) }}", "OverflowError"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ '\ud800' }}", "surrogate"),
    ],
)
def test_a_template_that_fails_says_where_and_why(
    templates: TemplateChild, template: str, words: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        shown(templates, template)
    assert words in caught.value.detail
    assert "yes" == shown(templates, "{{ messages[1].content }}")


@pytest.mark.parametrize(
    "template",
    ["{{ '{0.__class__}'.format(1) }}", "{{ ('{0.__class__}'|attr('format'))(1) }}"],
)
def test_formatting_reaches_no_hidden_attribute(templates: TemplateChild, template: str) -> None:
    """CVE-2024-56326 and CVE-2025-27516 of Jinja: the attribute is undefined now."""
    assert "" == shown(templates, template)


@posix
@pytest.mark.parametrize(
    "template",
    [
        "{{ 'A' * 10**10 }}",
        "{{ 'A' | center(10**10) }}",
        "{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{{ [0] * 10**9 }}",
    ],
)
def test_a_bomb_of_memory_ends_in_the_child(templates: TemplateChild, template: str) -> None:
    with pytest.raises(ChildFailed, match="memory"):
        shown(templates, template)


@posix
def test_a_bomb_of_time_ends_after_its_two_seconds() -> None:
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    patient = replace(TEMPLATE_LIMITS, clock_seconds=300.0)  # a busy machine is slow, not the child
    began = os.times()
    with pytest.raises(ChildFailed, match="2 seconds of processor time"):
        render(loops, messages=[], limits=patient)
    assert os.times().children_user - began.children_user < 5


def test_a_huge_template_is_not_even_tried(templates: TemplateChild) -> None:
    with pytest.raises(LimitExceeded):
        shown(templates, "x" * (2**20 + 1))


def test_a_template_that_fails_is_a_refusal_of_its_own() -> None:
    assert issubclass(TemplateFailed, RefusedError)
    assert "x<|e|>" == render("x{{ eos_token }}", messages=[], named_tokens={"eos": "<|e|>"})


def test_real_templates_render_a_conversation(data: Path, templates: TemplateChild) -> None:
    at = {"at": {"type": "string", "description": "Where."}}
    schema = {"type": "object", "properties": at, "required": ["at"]}
    tool = {"name": "look", "description": "Look.", "parameters": schema}
    files = sorted(data.glob("templates/*.jinja"))
    assert len(files) > 20
    failed = set()
    for file in files:
        try:
            text = templates.render(
                file.read_text(encoding="utf-8"),
                messages=[{"role": "user", "content": "Who goes there?"}],
                tools=[{"type": "function", "function": tool}],
                add_generation_prompt=True,
                named_tokens={"bos": "<s>", "eos": "</s>"},
                extra={"functions": "[]", "datetime": "today"},
            ).text
        except TemplateFailed:
            failed.add(file.name)
        else:
            assert "Who goes there?" in text, file.name
    # It fails with tools in transformers 4.57 too, which renders all others to the same text.
    assert {"llama-cpp-deepseek-r1.jinja"} == failed
