"""What Jinja may take in our own process: its lexer and parser, within limits, and nothing behind them.

Templates are rendered in a limited child. Reading them is done here, so every case below is as large
as may be read, and is read in every way there is, in a process of 512 MB of address space.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import nodes, optimizer

import tiny
from tokengraft.flow import audit, making
from tokengraft.formats.template_jinja import (
    MAX_DIGITS,
    MAX_NESTING,
    MAX_TEMPLATE,
    MAX_TOKENS,
    every_node,
    raw_tokens,
    syntax_error,
    tokens,
)

MEMORY_BYTES, CPU_SECONDS = 512 * 2**20, 2.0
ROOM = MAX_TOKENS - 20


def chain(link: str, n_tokens: int) -> str:
    """As many operators or calls behind one another as may be read."""
    return "{{ a" + link * (ROOM // n_tokens) + " }}"


LARGE = {
    "attributes": chain(".b", 2),
    "filters": chain("|b", 2),
    "calls": chain("()", 2),
    "sums": chain("+a", 2),
    "powers": chain("**9", 2),
    "comparisons": chain("<a", 2),
    "conjunctions": chain(" and a", 4),
    "arguments": "{{ a(" + "b=1," * (ROOM // 4) + ") }}",
    "strings": "{{ " + "'a'" * ROOM + " }}",
    "sums in brackets": ("{{ " + "(" * 30 + "a" + ")" * 30 + " }}") * (ROOM // 65),
    "blocks": ("{% if a %}" * 150 + "{% endif %}" * 150) * (ROOM // 2700),
    "lines": "{{a}}\n" * (ROOM // 4),
    "a long text": "{{ '" + "\\N{BULLET}" * (MAX_TEMPLATE // 10 - 2) + "' }}",
    "open brackets": "{{ " + "(" * (MAX_TEMPLATE - 3),
    "open blocks": "{%" * (MAX_TEMPLATE // 2),
    "a product that would be huge": "{{ 'a' * 10**9 }}{{ 9**9**9**9 }}{{ range(10**12)|list }}",
}
READ = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
from tokengraft.formats import chat_template, template_pieces, template_spans, template_text
from tokengraft.formats.template_markers import replaced
from tokengraft.planning.renumbering import using
told = {}
for name, text in json.load(sys.stdin).items():
    started = time.process_time()
    template_text.written(text)
    template_spans.spans(text)
    chat_template.literals(text)
    replaced(text, {"<|a|>": "<|b|>"}, ("<|a|>",))
    list(template_pieces.cut_by_length(text, {"<|a|>": "<|bc|>"}))
    list(using._literals(text))
    told[name] = time.process_time() - started
print(json.dumps(told))
"""


def read_in_a_process(cases: dict[str, str]) -> dict[str, float]:
    """Read every template in every way; the seconds of processor time by name."""
    ran = subprocess.run(
        [sys.executable, "-c", READ, str(MEMORY_BYTES)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    told: dict[str, float] = json.loads(ran.stdout)
    return told


def test_the_largest_templates_are_read_in_two_seconds_and_512_mb() -> None:
    for name, text in LARGE.items():
        assert len(text) <= MAX_TEMPLATE, name
    seconds = read_in_a_process(LARGE)
    assert seconds.keys() == LARGE.keys()
    assert {n: s for n, s in seconds.items() if s > CPU_SECONDS} == {}
    # Most of them are read, so that it is reading that was measured.
    assert sum(syntax_error(text) is None for text in LARGE.values()) >= 12


@pytest.mark.parametrize("base", ["", "0x", "0o", "0b", "1."])
def test_a_number_of_many_digits_is_told_and_not_read(base: str) -> None:
    """Python refuses to convert more than 4,300 digits, with an error that is not Jinja's."""
    text = "{{ 1 }}\n{{ " + base + "1" * 5000 + " }}"
    assert syntax_error(text) == f"line 2: a number of {len(base) + 5000} digits"
    assert list(tokens(text)) == list(raw_tokens(text)) == list(every_node(text)) == []
    honest = "{{ " + base + "1" * (MAX_DIGITS - len(base)) + " }}"
    assert syntax_error(honest) is None
    assert len(list(tokens(honest))) == 3


def test_what_is_too_large_is_told() -> None:
    assert syntax_error(" " * MAX_TEMPLATE) is None
    assert "characters" in str(syntax_error(" " * (MAX_TEMPLATE + 1)))
    assert "tokens" in str(syntax_error("{{a}}" * (MAX_TOKENS // 3 + 1)))
    assert syntax_error("{{ " + "(" * 5000) == "it is nested too deeply"
    assert MAX_NESTING < sys.getrecursionlimit()


def test_nodes_come_as_jinja_finds_them() -> None:
    text = tiny.TEMPLATE
    mine = [type(node) for node in every_node(text)]
    tree = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).parse(text)  # noqa: S701
    assert mine == [type(tree), *(type(node) for node in tree.find_all(nodes.Node))]


def test_nothing_is_compiled_folded_or_run_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audit and a plan that rewrites a template need the lexer and the parser alone."""
    base = tiny.build(tmp_path / "base", template="jinja")
    path = base / "chat_template.jinja"
    path.write_text(path.read_text() + "{{ 'a' * 10**9 }}{% set b = 9**9**9 %}")

    def never(*_: object, **__: object) -> Any:
        raise AssertionError("a template was compiled in this process")

    for name in ("compile", "_generate", "_compile", "from_string", "call_filter", "call_test"):
        monkeypatch.setattr(jinja2.Environment, name, never)
    monkeypatch.setattr(optimizer, "optimize", never)
    monkeypatch.setattr(optimizer.Optimizer, "generic_visit", never)
    for kind in vars(nodes).values():
        if isinstance(kind, type) and "as_const" in vars(kind):
            monkeypatch.setattr(kind, "as_const", never)
    audit(str(base))
    (tmp_path / "recipe.toml").write_text(
        'version = 1\n[[rename]]\nfrom = "<|im_end|>"\nto = "<|fin|>"\n', encoding="utf-8"
    )
    plan = making.make_plan(str(base), tmp_path / "recipe.toml").plan
    assert any(getattr(edit, "path", "") == "chat_template.jinja" for edit in plan.edits)


def test_a_template_that_cannot_be_lexed_to_its_end_has_no_tokens() -> None:
    assert not tokens('<|im_end|>{{ "\\x" }}')
