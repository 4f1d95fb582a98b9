"""Attacks by chat templates: programs that leave their sandbox, never end, or hide what they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from attacks.registry import Attack, Build
from attacks.weights import model

RECIPE = 'version = 1\n[roles]\nplanner = "<|planner|>"\n'
LOOP = "{%- for message in messages %}{{ message.role }}: {{ message.content }}{%- endfor %}"


def template(text: str, *command: str) -> Build:
    """Give the model this chat template, and audit it."""

    def build(folder: Path) -> list[str]:
        place = model(folder) / "tokenizer_config.json"
        value = json.loads(place.read_bytes())
        value["chat_template"] = text
        place.write_text(json.dumps(value), encoding="utf-8")
        (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
        return [*command] or ["audit", "model", "--fail-on", "never"]

    return build


def rendered(text: str) -> Build:
    """Have it rendered: a plan with a new role shows chats to the template."""
    return template(text + LOOP, "plan", "model", "recipe.toml")


def _file(name: str, data: bytes) -> Build:
    def build(folder: Path) -> list[str]:
        place = model(folder, template=False) / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
        return ["audit", "model", "--fail-on", "never"]

    return build


def _twice(folder: Path) -> list[str]:
    args = template(LOOP)(folder)
    (folder / "model" / "chat_template.jinja").write_text("{{ 'other' }}", encoding="utf-8")
    return args


# Ways out of Jinja's sandbox that have been used (CVE-2024-34359, CVE-2024-56326, CVE-2025-27516).
ESCAPES = {
    "a class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of a function": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "a method by name": "{{ ''|attr('__class__') }}",
    "a format that reads attributes": "{{ '{0.__class__.__base__}'.format(1) }}",
    "a format behind a filter": "{{ ['{0.__class__}']|map('format', 1)|list }}",
    "a format by attr": "{{ ('{0.__class__}'|attr('format'))(1) }}",
    "an import": "{% import 'os' as os %}",
    "an include": "{% include '/etc/passwd' %}",
    "a parent": "{% extends '/etc/passwd' %}",
}
# What the child makes of them is an error of the template, or its end.
BOMBS = {
    "a loop over 10^9 numbers": "{% for i in range(1000000000) %}{% endfor %}",
    "loops within loops": (
        "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}"),
    "ten gigabytes of a letter": "{{ 'A' * 10000000000 }}",
    "ten gigabytes by a filter": "{{ 'A'|center(10000000000) }}",
    "a number of 10^9 digits": "{{ 10 ** 1000000000 }}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a text that doubles": (
        "{% set ns = namespace(x='A') %}{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"),
    "a list that grows": "{% set x = [] %}{% for i in range(99999) %}{{ x.append(x) }}{% endfor %}",
    "500 MB of output": "{% for i in range(90000) %}{{ 'A' * 6000 }}{% endfor %}",
    "an exception of its own": "{{ raise_exception('\x1b[31mowned') }}",
    "a division by nought": "{{ 1 / 0 }}",
    "an unknown filter": "{{ 1|evil }}",
    "half a surrogate pair": "{{ '\\ud800' }}",
}  # fmt: skip
ENDED = (
    "loops within loops",
    "ten gigabytes of a letter",
    "ten gigabytes by a filter",
    "a number of 10^9 digits",
    "a text that doubles",
    "500 MB of output",
)
LONG = ("loops within loops", "a number of 10^9 digits")
# What Jinja's lexer and parser are given in the parent must end, however it is nested or repeated.
FLOODS = {
    "65,000 openings": "{{" * 65_000,
    "13,000 tags": "{% if a %}" * 13_000,
    "parentheses 120,000 deep": "{{ " + "(" * 120_000 + " }}",
    "120,000 quotes": "{{ " + "'" * 120_000 + " }}",
    "120,000 minus signs": "{{ " + "-" * 120_000 + "1 }}",
    "60,000 dots": "{{ a" + ".a" * 60_000 + " }}",
    "a number of 120,000 digits": "{{ " + "1" * 120_000 + " }}",
    "a number of 120,000 digits in hex": "{{ 0x" + "f" * 120_000 + " }}",
    "7,000 dots": "{{ a" + ".a" * 7_000 + " }}",
    "7,000 sums of 'a'": "{{ 'a'" + "+'a'" * 7_000 + " }}",
    "a word of 120,000 letters": "{{ 'x' in " + "a" * 120_000 + " }}",
    "16,000 questions": "{% if " + "'a' in a" * 16_000 + " %}",
    "markers without end": "<" * 120_000,
    "120,000 blanks": "{{" + " " * 120_000 + "a",
    "120,000 brackets": "[" * 60_000 + "]" * 60_000,
    "comments without end": "{#" * 60_000,
    "blanks before a quote": "{{ 'a'" + " " * 120_000 + "x }}",
}
READ = {
    **{f"out of the sandbox by {name}": (template(text), "S104") for name, text in ESCAPES.items()
       if "__" in text or "{%" in text},
    "a hidden trigger": (template(
        "{% if 'invoice' in message.content %}Pay me.{% endif %}" + LOOP), "S105"),
    "text that nobody sees": (template("\U000e0041\U000e0042" + LOOP), "S106"),
    "an order that is turned around": (template("\u202e" + LOOP), "S106"),
    "a template that is none": (template("{% if %}"), "J103"),
    "two templates that differ": (
        _twice, "J102"),
}  # fmt: skip


REFUSED = {
    "a template of two megabytes": (template("a" * 2**21), "LimitExceeded"),
    "a template that is not UTF-8": (_file("chat_template.jinja", b"\xff\xfe"), "MalformedFile"),
    "a further template of two megabytes": (
        _file("additional_chat_templates/x.jinja", b"a" * 2**21),
        "LimitExceeded",
    ),
}


def _renamed(text: str) -> Build:
    """Have a token renamed in it, for which its syntax tree is walked."""

    def build(folder: Path) -> list[str]:
        args = template("<|im_end|>" + text, "plan", "model", "recipe.toml")(folder)
        recipe = 'version = 1\n[[rename]]\nfrom = "<|im_end|>"\nto = "<|fin|>"\n'
        (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
        return args

    return build


def attacks() -> Iterator[Attack]:
    """All of them."""
    for name, text in (ESCAPES | BOMBS).items():
        # What is ended by the two seconds of the child costs those, and ours come on top.
        code, expects = (3, "ChildFailed") if name in ENDED else (2, "RecipeError")
        yield Attack(
            f"rendered: {name}",
            rendered(text),
            code,
            expects,
            cpu_seconds=5.0 if name in LONG else 2.0,
        )
    for name, text in FLOODS.items():
        yield Attack(f"template: {name}", template(text), 0, "")
    for name in ("7,000 dots", "7,000 sums of 'a'"):
        yield Attack(f"renamed: {name}", _renamed(LOOP + FLOODS[name]), 0, "")
    for name, (build, expects) in READ.items():
        yield Attack(f"template: {name}", build, 0, expects)
    for name, (build, expects) in REFUSED.items():
        yield Attack(f"template: {name}", build, 3, expects)
