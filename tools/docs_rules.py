"""The reference of audit rules: an index by family, and one page a rule."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping

from docs_pages import escaped, paragraph, table
from tokengraft.auditing import RULES
from tokengraft.auditing.rule import Rule
from tokengraft.findings import GOALS

SUBJECTS = {
    "T": "Tokens and ids",
    "R": "Named tokens and stop lists",
    "E": "Embedding rows",
    "C": "Config and context",
    "J": "Chat template",
    "F": "Files",
    "S": "Safety",
}
INDEX = """# Audit rules

{count} rules. A code's letter names its subject. Each rule has a page: what it checks, why it matters,
an example, the fix and its safety, and sources. `tokengraft explain CODE` prints the same page.

A finding of a rule can change the verdict of the goals that it bears on.
The last column begins what the page says about mending it.
"""


def rule_pages() -> Mapping[str, Callable[[], str]]:
    """Each generated file below docs/reference, and what writes it."""
    pages = {f"rules/{code}.md": functools.partial(page, RULES[code]) for code in sorted(RULES)}
    return {"rules.md": index, **pages}


def index() -> str:
    """All rules by family, one line each."""
    return "".join([INDEX.format(count=len(RULES)), *_families()])


def _families() -> Iterator[str]:
    heads = ("code", "severity", "a good checkpoint", "bears on", "fix and its safety")
    for letter, subject in SUBJECTS.items():
        yield f"\n## {letter}: {subject}\n\n"
        yield table(heads, [_row(RULES[code]) for code in sorted(RULES) if code[0] == letter])


def _row(rule: Rule) -> tuple[str, ...]:
    fix = first_sentence(paragraph(rule.sections["Fix and its safety"]))
    link = f"[{rule.code}](rules/{rule.code}.md)"
    return link, rule.severity, escaped(rule.title), goals(rule) or "", escaped(fix)


def goals(rule: Rule) -> str:
    """The goals whose verdict a finding can change; empty for none."""
    return "all goals" if set(rule.bears_on) == set(GOALS) else ", ".join(rule.bears_on)


def first_sentence(text: str) -> str:
    """A text up to its first full stop: file names, numbers and lists of keys hold none."""
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def page(rule: Rule) -> str:
    """One rule."""
    parts = [f"# {rule.code}: {escaped(rule.title)}\n\n"]
    parts.append(f"Severity: {rule.severity}. Bears on: {goals(rule) or 'no verdict'}.\n")
    for heading, text in rule.sections.items():
        parts.append(f"\n## {heading}\n\n{linked(escaped(paragraph(text)), rule.code)}\n")
    parts.append("\n## In the terminal\n\n")
    parts.append(f"```sh\ntokengraft explain {rule.code}\n```\n\n")
    parts.append(f"[All rules](../rules.md#{anchor(rule.code)})\n")
    return "".join(parts)


def anchor(code: str) -> str:
    """The heading of a rule's family in the index, as GitHub makes an anchor of it."""
    return f"{code[0]}-{SUBJECTS[code[0]]}".lower().replace(" ", "-")


def linked(prose: str, own: str) -> str:
    """Prose with the codes of other rules as links to their pages."""
    return re.sub(
        r"`[^`]*`|\b[TRECJFS]\d{3}\b",
        lambda code: f"[{code[0]}]({code[0]}.md)" if code[0] in RULES.keys() - {own} else code[0],
        prose,
    )
