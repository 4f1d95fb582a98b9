"""The reference of audit rules in each language: an index by family, and one page a rule."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from docs_pages import escaped, paragraph, table
from tokengraft.answers import Rule
from tokengraft.auditing import RULES
from tokengraft.cli.rule_pages import rule_of
from tokengraft.findings import GOALS
from tokengraft.reporting.catalogue import ENGLISH, RUSSIAN, Words


@dataclass(frozen=True, slots=True)
class Edition:
    """The words of one language around the rules' own.

    Attributes:
        folder: where its pages lie, below docs/.
        families: what the first letter of a code stands for.
        other: the path from a rule's page to the folder of the other language's pages.
    """

    say: Words
    folder: str
    families: Mapping[str, str]
    index: str
    heads: tuple[str, ...]
    facts: str
    all_goals: str
    no_goal: str
    terminal: str
    command: str
    back: str
    other: tuple[str, str]


IN_ENGLISH: Final = Edition(
    say=ENGLISH,
    folder="reference",
    families={
        "T": "Tokens and ids",
        "R": "Named tokens and stop lists",
        "E": "Embedding rows",
        "C": "Config and context",
        "J": "Chat template",
        "F": "Files",
        "S": "Safety",
    },
    index=(
        "# Audit rules\n\n"
        "{count} rules. A code's letter names its subject. Each rule has a page: what it checks, why it "
        "matters,\nan example, the fix and its safety, and sources. `tokengraft explain CODE` prints the "
        "same page.\nThe pages exist in [Russian](../ru/reference/rules.md) too.\n\n"
        "A finding of a rule can change the verdict of the goals that it bears on.\n"
        "The last column begins what the page says about mending it.\n"
    ),
    heads=("code", "severity", "a good checkpoint", "bears on", "fix and its safety"),
    facts="Severity: {severity}. Bears on: {goals}.",
    all_goals="all goals",
    no_goal="no verdict",
    terminal="In the terminal",
    command="tokengraft explain {code}",
    back="All rules",
    other=("Russian", "../../ru/reference/rules"),
)
IN_RUSSIAN: Final = Edition(
    say=RUSSIAN,
    folder="ru/reference",
    families={
        "T": "Токены и id",
        "R": "Именованные токены и списки стоп-токенов",
        "E": "Строки эмбеддингов",
        "C": "Конфигурация и контекст",
        "J": "Шаблон чата",
        "F": "Файлы",
        "S": "Безопасность",
    },
    index=(
        "# Правила проверки\n\n"
        "Всего правил: {count}. Буква кода называет предмет правила. У каждого правила есть страница: что "
        "оно проверяет,\nпочему это важно, пример, исправление и его безопасность, источники. Ту же страницу "
        "показывает\n`tokengraft explain CODE --lang ru`. Есть и [по-английски](../../reference/rules.md).\n\n"
        "Находка правила может изменить вердикт для тех целей, на которые правило влияет.\n"
        "В последнем столбце — начало того, что сказано на странице об исправлении.\n"
    ),
    heads=(
        "код",
        "важность",
        "в исправном чекпойнте",
        "влияет на",
        "исправление и его безопасность",
    ),
    facts="Важность: {severity}. Цели, на вердикт которых влияет: {goals}.",
    all_goals="все",
    no_goal="нет",
    terminal="В терминале",
    command="tokengraft explain {code} --lang ru",
    back="Все правила",
    other=("По-английски", "../../../reference/rules"),
)
EDITIONS: Final = (IN_ENGLISH, IN_RUSSIAN)


def rule_pages() -> Mapping[str, Callable[[], str]]:
    """Each generated file below docs/, and what writes it."""
    pages: dict[str, Callable[[], str]] = {}
    for edition in EDITIONS:
        pages[f"{edition.folder}/rules.md"] = functools.partial(index, edition)
        for code in sorted(RULES):
            path = f"{edition.folder}/rules/{code}.md"
            pages[path] = functools.partial(page, edition, code)
    return pages


def told(edition: Edition, code: str) -> Rule:
    """A rule in the language of an edition."""
    return edition.say.rule(rule_of(RULES[code]))


def sections(text: str) -> Mapping[str, str]:
    """The texts of a page by their headings."""
    parts = re.split(r"^## (.+)\n\n", text, flags=re.MULTILINE)
    return {head: paragraph(said) for head, said in zip(parts[1::2], parts[2::2], strict=True)}


def index(edition: Edition) -> str:
    """All rules by family, one line each."""
    return "".join([edition.index.format(count=len(RULES)), *_families(edition)])


def _families(edition: Edition) -> Iterator[str]:
    for letter, subject in edition.families.items():
        yield f"\n## {letter}: {subject}\n\n"
        codes = [code for code in sorted(RULES) if code[0] == letter]
        yield table(edition.heads, [_row(edition, code) for code in codes])


def _row(edition: Edition, code: str) -> tuple[str, ...]:
    rule = told(edition, code)
    *_, fix, _sources = sections(rule.text).values()
    severity, goals = edition.say(rule.severity), _goals(edition, code)
    link = f"[{code}](rules/{code}.md)"
    return link, severity, escaped(rule.title), goals, escaped(first_sentence(fix))


def _goals(edition: Edition, code: str) -> str:
    """The goals whose verdict a finding can change; empty for none."""
    goals = RULES[code].bears_on
    return edition.all_goals if set(goals) == set(GOALS) else ", ".join(goals)


def first_sentence(text: str) -> str:
    """A text up to its first full stop: file names, numbers and lists of keys hold none."""
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def page(edition: Edition, code: str) -> str:
    """One rule."""
    rule = told(edition, code)
    severity, goals = edition.say(rule.severity), _goals(edition, code) or edition.no_goal
    parts = [f"# {code}: {escaped(rule.title)}\n\n"]
    parts.append(edition.facts.format(severity=severity, goals=goals) + "\n")
    for heading, text in sections(rule.text).items():
        parts.append(f"\n## {heading}\n\n{linked(escaped(text), code)}\n")
    command = edition.command.format(code=code)
    parts.append(f"\n## {edition.terminal}\n\n```sh\n{command}\n```\n\n")
    other, folder = edition.other
    parts.append(
        f"[{edition.back}](../rules.md#{anchor(edition, code)}) · [{other}]({folder}/{code}.md)\n"
    )
    return "".join(parts)


def anchor(edition: Edition, code: str) -> str:
    """The heading of a rule's family in the index, as GitHub makes an anchor of it."""
    return f"{code[0]}-{edition.families[code[0]]}".lower().replace(" ", "-")


def linked(prose: str, own: str) -> str:
    """Prose with the codes of other rules as links to their pages."""
    return re.sub(
        r"`[^`]*`|\b[TRECJFS]\d{3}\b",
        lambda code: f"[{code[0]}]({code[0]}.md)" if code[0] in RULES.keys() - {own} else code[0],
        prose,
    )
