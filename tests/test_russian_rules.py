"""The pages of audit rules in Russian: complete, in Russian, and about the same things."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokengraft import auditing
from tokengraft.auditing import RULES
from tokengraft.cli.rule_pages import rule_of
from tokengraft.reporting import russian
from tokengraft.reporting.catalogue import ENGLISH, RUSSIAN

REPO = Path(__file__).resolve().parents[1]
PAGES = REPO / "src" / "tokengraft" / "reporting" / "ru" / "rules"
SECTIONS = (
    "Что проверяет",
    "Почему это важно",
    "Пример",
    "Исправление и его безопасность",
    "Источники",
)
CODES = sorted(RULES)
# What stays as it is in every language: code, quoted texts, markers, names with a mark inside.
QUOTED = re.compile(r"`[^`\n]+`|\"[^\"\n]*\"|\{% if.*?endif %\}|\{\{.*?\}\}|\{%.*?%\}|<[^\s<>]+>")
NAMES = re.compile(r"[A-Za-z][\w-]*(?:[./#:_*][\w*-]+)+|[a-z]+[A-Z]\w*|[A-Z]\w*[A-Z0-9]\w*")
LIBRARIES = re.compile(r"\b(?:transformers|tokenizers|safetensors)\b")
HYPHENED = re.compile(r"\b\w+(?:-\w+)+\b")
NUMBERS = re.compile(r"\d+(?:\.\d+)*")
# Small words that no English sentence does without.
ENGLISH_WORDS = re.compile(
    r"\b(?:the|of|and|is|are|not|that|with|by|both|where|which|its|from|measured)\b"
)
LEAST_CYRILLIC = 0.6


def russian_page(code: str) -> tuple[str, dict[str, str]]:
    found = russian.rule_page(code)
    assert found is not None, f"{code} has no Russian page"
    title, page = found
    heads, *parts = re.split(r"^## (.+)\n\n", page, flags=re.MULTILINE)
    assert heads == ""
    texts = (" ".join(text.split()) for text in parts[1::2])
    return title, dict(zip(parts[::2], texts, strict=True))


def one_line(text: str) -> str:
    return " ".join(text.split())


def digits(text: str) -> str:
    """Numbers without what sets thousands apart: `151,643` and `151 643`."""
    return re.sub(r"(?<=\d)[, ](?=\d{3}(?!\d))", "", text)


def kept(english: str) -> set[str]:
    """What a translation has to hold unchanged."""
    prose = QUOTED.sub(" ", english)
    names = {re.sub(r"\.$|(?<=[A-Z])s$", "", name) for name in NAMES.findall(prose)}
    return {*QUOTED.findall(english), *names, *NUMBERS.findall(digits(english))}


def prose_of(text: str) -> str:
    for kind in (QUOTED, NAMES, HYPHENED, LIBRARIES):
        text = kind.sub(" ", text)
    return text


def test_every_rule_has_its_russian_page_and_no_page_is_without_a_rule() -> None:
    assert CODES == sorted(path.stem for path in PAGES.iterdir())


@pytest.mark.parametrize("code", CODES)
def test_a_russian_page_has_a_title_and_all_five_sections(code: str) -> None:
    title, sections = russian_page(code)
    assert tuple(sections) == SECTIONS
    assert all(sections.values())
    assert re.search("[а-яё]{3}", title)
    assert not title.endswith(".")


@pytest.mark.parametrize("code", CODES)
def test_nothing_of_a_page_is_lost_in_translation(code: str) -> None:
    title, sections = russian_page(code)
    pairs = zip(RULES[code].sections.values(), sections.values(), strict=True)
    for english, translated in ((RULES[code].title, title), *pairs):
        told = digits(translated)
        missing = {text for text in kept(one_line(english)) if text not in translated}
        assert set() == {text for text in missing if text not in told}, translated


@pytest.mark.parametrize("code", CODES)
def test_no_section_has_stayed_english(code: str) -> None:
    title, sections = russian_page(code)
    *prose, sources = map(prose_of, (title, *sections.values()))
    assert [] == [text for text in (*prose, sources) if ENGLISH_WORDS.search(text)]
    for text in prose:
        letters = re.findall("[A-Za-zА-Яа-яЁё]", text)
        words = re.findall("[A-Za-z]{2,} [A-Za-z]{2,}", text)
        share = len(re.findall("[А-Яа-яЁё]", text)) / max(len(letters), 1)
        assert share >= LEAST_CYRILLIC or (not words and len(letters) < 16), (share, text)


def test_the_measures_see_what_they_are_for() -> None:
    english = (
        'vocab_size `a b` is 151,643 in <think> of config.json, v4.57, RopeX, GPUs; "x y" (T101).'
    )
    assert kept(english) == {
        *("vocab_size", "`a b`", "151643", "<think>", "config.json"),
        *("v4.57", "4.57", "RopeX", "GPU", '"x y"', "T101", "101"),
    }
    assert digits("151 643 токена, 1 из 20") == "151643 токена, 1 из 20"
    assert ENGLISH_WORDS.search(prose_of("rows of zeros")) is not None
    assert ENGLISH_WORDS.search(prose_of('"rows of zeros"')) is None


def test_a_page_is_shown_in_the_language_that_is_asked_for() -> None:
    page = rule_of(auditing.explain("T101"))
    assert ENGLISH.rule(page) is page
    shown = RUSSIAN.rule(page)
    assert (shown.code, shown.severity) == ("T101", "error")
    assert shown.title.startswith("tokenizer.json и tokenizer_config.json")
    assert shown.text.startswith("## Что проверяет\n\nТексты из `added_tokens`")


@pytest.mark.parametrize("code", ["T999", "../rules/T101", "t101", "T101\n", ""])
def test_a_rule_that_this_version_does_not_have_stays_english(code: str) -> None:
    page = rule_of(auditing.explain("T101")).model_copy(update={"code": code})
    assert RUSSIAN.rule(page) is page
