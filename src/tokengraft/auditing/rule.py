"""What a rule is: one small function with a code, a severity and a page of text.

A rule's function yields `Found`; the decorator adds the code and the severity, so a rule never
repeats them. Its docstring is the page that `tokengraft explain CODE` shows, in five sections. The
first letter of a code names the subject: T tokens and ids, R named tokens and stop lists, E
embedding rows, C config and context, J chat template, F files, S safety.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import UsageError
from tokengraft.findings import Finding, Fix, Goal, Safety, Severity
from tokengraft.row_findings import Rows

SECTIONS = ("What it checks", "Why it matters", "Example", "Fix and its safety", "Sources")
_CODE = re.compile(r"[TRECJFS]\d{3}")
_HEADING = re.compile(rf"^({'|'.join(SECTIONS)}):\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that a rule found.

    Attributes:
        subject: file with JSON pointer (see `place`), or `tensor[row]`.
        summary: one line without a period, with the numbers that make it true.
        detail: names, ids and consequences; may be empty.
        fix: the recipe section that mends it, if there is one; `safety` then says how safe it is.
        severity: only where this case weighs less or more than the rule's own severity.
    """

    subject: str
    summary: str
    detail: str = ""
    fix: Fix | None = None
    safety: Safety | None = None
    severity: Severity | None = None


Check = Callable[[Checkpoint], Iterator[Found]]
RowCheck = Callable[[Checkpoint, Rows], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as it is registered.

    Attributes:
        title: what is true of a good checkpoint, as a claim.
        bears_on: goals whose verdict a finding of this rule can change.
        sections: the page, by heading.
        check: looks at the snapshot alone; None for a rule of rows.
        check_rows: looks at what the rows have shown; says nothing where they were not read.
        answers: rules that leave open what this one then knows, and that it replaces.
    """

    code: str
    severity: Severity
    title: str
    bears_on: tuple[Goal, ...]
    sections: Mapping[str, str]
    check: Check | None
    check_rows: RowCheck | None = None
    answers: tuple[str, ...] = ()

    def __call__(self, checkpoint: Checkpoint, rows: Rows | None = None) -> Iterator[Finding]:
        """Look at a checkpoint; reads nothing but the snapshot and what was read already."""
        for found in self._found(checkpoint, rows):
            yield Finding(
                rule=self.code,
                severity=found.severity or self.severity,
                subject=found.subject,
                summary=found.summary,
                detail=found.detail,
                fix=found.fix,
                safety=found.safety,
            )

    def _found(self, checkpoint: Checkpoint, rows: Rows | None) -> Iterator[Found]:
        if self.check is not None:
            yield from self.check(checkpoint)
        if self.check_rows is not None and rows is not None and rows.matrices:
            yield from self.check_rows(checkpoint, rows)

    @property
    def text(self) -> str:
        """The page as Markdown, without the title."""
        return "\n".join(f"## {head}\n\n{text}\n" for head, text in self.sections.items())


RULES: dict[str, Rule] = {}


def rule(
    code: str, *, severity: Severity, title: str, bears_on: tuple[Goal, ...] = ()
) -> Callable[[Check], Rule]:
    """Register a function as a rule; its docstring must hold the five sections of a page."""
    _must_be_free(code)

    def register(check: Check) -> Rule:
        sections = _sections(code, inspect.getdoc(check) or "")
        RULES[code] = made = Rule(code, severity, title, bears_on, sections, check)
        return made

    return register


def row_rule(
    code: str,
    *,
    severity: Severity,
    title: str,
    bears_on: tuple[Goal, ...] = (),
    answers: tuple[str, ...] = (),
) -> Callable[[RowCheck], Rule]:
    """Register a function as a rule of rows, which is asked only where `--deep` has read them."""
    _must_be_free(code)

    def register(check: RowCheck) -> Rule:
        sections = _sections(code, inspect.getdoc(check) or "")
        RULES[code] = made = Rule(code, severity, title, bears_on, sections, None, check, answers)
        return made

    return register


def _must_be_free(code: str) -> None:
    assert _CODE.fullmatch(code), f"{code} is no rule code"
    assert code not in RULES, f"{code} is taken"


def _sections(code: str, doc: str) -> dict[str, str]:
    parts = _HEADING.split(doc)
    sections = {
        heading: inspect.cleandoc(text).strip()
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    assert tuple(sections) == SECTIONS, f"{code}: the page has {tuple(sections)}"
    assert all(sections.values()), f"{code}: a section of the page is empty"
    return sections


def explain(code: str) -> Rule:
    """Find a rule by its code, in either case.

    Raises:
        UsageError: there is no such rule.
    """
    found = RULES.get(code.upper())
    if found is None:
        same = [known for known in sorted(RULES) if known[0] == code[:1].upper()]
        near = difflib.get_close_matches(code.upper(), same, n=1) or same
        raise UsageError(
            f"there is no rule {shown(code)}",
            detail=f"the codes are {', '.join(same)}"
            if same
            else "codes begin with T, R, E, C, J, F or S",
            hint=f"tokengraft explain {near[0]}" if near else "tokengraft explain",
        )
    return found


def place(file: str, pointer: str = "") -> str:
    """The subject of a finding in a file."""
    return f"{file}#{pointer}" if pointer else file


def shown(text: str, *, limit: int = 60) -> str:
    """A token's text as one harmless line: quoted and escaped unless it is plainly readable."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    if short.isprintable() and short and " " not in short:
        return short
    return ascii(short) if not short.isprintable() else f"'{short}'"


def listed(items: Iterable[str], *, limit: int = 8) -> str:
    """Items in a row, the rest counted; semicolons part items that hold commas themselves."""
    known = items if isinstance(items, Collection) else tuple(items)
    first = [item for item, _ in zip(known, range(limit), strict=False)]
    rest = len(known) - len(first)
    joint = "; " if any(", " in item for item in first) else ", "
    return joint.join(first) + (f" and {rest:,} more" if rest else "")


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it needs one."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
