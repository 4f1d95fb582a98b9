"""Views of every value: what they say, in which words, and that no token speaks to the terminal."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st

from tokengraft.documents import Document
from tokengraft.findings import Finding, Fix
from tokengraft.plans import COLUMNS_ABOVE, Mix
from tokengraft.reporting import (
    catalogue,
    escape,
    github,
    sarif,
    schemas,
    sizes,
    text_audit,
    text_plan,
    words_ru,
)
from tokengraft.reporting import json as json_view
from tokengraft.reporting.fixes import recipe_of
from tokengraft.reporting.row_texts import row_texts
from tokengraft.reporting.screen import Screen
from tokengraft.reporting.text import Beside, chapter, view
from tokengraft.vocabulary import AddedToken, TokenId, Tokenizer

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


# ── views ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("screen", [PLAIN, COLOUR, RUSSIAN], ids=["plain", "colour", "russian"])
@pytest.mark.parametrize("value", samples.hostile_everywhere(), ids=_kind)
def test_no_view_lets_hostile_text_through(value: Document, screen: Screen) -> None:
    shown = view(value, screen, Beside(texts={1: samples.HOSTILE}, place=samples.HOSTILE))
    assert _raw(shown) == []
    assert "\\u202e" in shown


@pytest.mark.parametrize(
    "value", samples.hostile_everywhere("[/INST] [gMASK] [bold]x[/bold] :smile:")
)
def test_markup_and_emoji_codes_are_shown_as_they_are(value: Document) -> None:
    shown = " ".join(view(value, replace(PLAIN, width=400)).split())
    assert "[/INST] [gMASK] [bold]x[/bold] :smile:" in shown


@pytest.mark.parametrize(
    "value", [v for v in samples.EVERY if v.kind not in ("version", "error")], ids=_kind
)
def test_every_view_ends_with_the_next_command(value: Document) -> None:
    command = "tokengraft audit 'a folder with a name that is longer than any line' " + "x" * 120
    shown = view(value, PLAIN, Beside(next=(command,)))
    assert shown.endswith(f"Next\n  {command}\n")


@pytest.mark.parametrize("value", samples.EVERY, ids=_kind)
def test_views_without_colour_hold_no_escape_sequences(value: Document) -> None:
    if value.kind in ("version", "error"):
        return  # printed as a line by the command line
    shown = view(value, PLAIN)
    assert "\x1b" not in shown
    assert all(line == line.rstrip() for line in shown.splitlines())
    assert "\x1b[" in view(value, COLOUR)


GOLDEN: dict[str, tuple[Document, Beside]] = {
    "audit": (samples.AUDIT, Beside(next=("tokengraft recipe new base -o recipe.toml",))),
    "plan": (
        samples.PLAN,
        Beside(texts=samples.TEXTS, next=("tokengraft apply plan.json -o out",)),
    ),
    "plan-nothing": (samples.NOTHING, Beside()),
    "receipt": (
        samples.RECEIPT,
        Beside(place="out", seconds=3.21, undone=("[train] was left undone",)),
    ),
    "verified": (samples.VERIFIED, Beside()),
    "refuted": (samples.REFUTED, Beside()),
    "diff": (samples.DIFF, Beside()),
    "tokens": (samples.CUT, Beside()),
    "doctor": (samples.DOCTOR, Beside()),
    "rule": (samples.RULE, Beside()),
    "folder": (samples.FOLDER, Beside()),
    "run": (samples.RUN, Beside(texts=samples.TEXTS, place="out")),
}


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_views_are_as_reviewed(
    name: str, language: str, golden: Callable[[str, str], None]
) -> None:
    value, beside = GOLDEN[name]
    golden(
        f"{name}.{language}.txt",
        view(value, replace(PLAIN, words=catalogue.BY_LANGUAGE[language]), beside),
    )


def test_where_ticks_cannot_be_encoded_ascii_stands_for_them() -> None:
    ascii_screen = replace(PLAIN, unicode=False)
    shown = "".join(
        view(v, ascii_screen, Beside(texts=samples.TEXTS))
        for v in (samples.VERIFIED, samples.REFUTED, samples.PLAN, samples.DIFF)
    )
    assert shown.isascii()
    assert "<-" in shown


def test_an_audit_without_findings_says_so() -> None:
    shown = view(samples.AUDIT.model_copy(update={"findings": ()}), PLAIN)
    assert "Findings\n  none\n" in shown


def test_a_plan_says_in_words_where_rows_come_from() -> None:
    shown = view(samples.PLAN, PLAIN, Beside(texts=samples.TEXTS))
    assert "row 151669 ← mean of 3 old rows ('agent', ' that', ' plans')" in shown
    assert "row 151669 ← mean of 3 old rows (row 1, row 2, row 3)" in view(samples.PLAN, PLAIN)
    assert "row 151670 ← copy of '<|im_start|>' (model.embed_tokens.weight)" in shown


def test_the_sum_of_a_plan_is_one_line() -> None:
    assert text_plan.summary(catalogue.ENGLISH, samples.PLAN) == (
        "3 tokens added into spare rows, 1 token renamed, 2 tensors patched (6 rows), 1 file edited, "
        "18,865 tensors untouched, 5.1 GB written"
    )
    assert text_plan.summary(catalogue.ENGLISH, samples.NOTHING) == "nothing to change"


def test_a_plan_of_many_tokens_shows_some_and_counts_the_rest() -> None:
    many = tuple(samples.token(f"<|t{at}|>", 151669 + at) for at in range(COLUMNS_ABOVE))
    shown = view(samples.PLAN.model_copy(update={"tokens": many}), PLAIN)
    assert "... and 960 tokens more" in shown
    assert len(shown.splitlines()) < 100
    in_columns = view(samples.PLAN.model_copy(update={"tokens": ()}), PLAIN)
    assert "... and 3 tokens more" in in_columns


def test_parents_with_unequal_weights_are_a_weighted_sum() -> None:
    mix = Mix(parents=((1, 0.5), (2, 0.25)))
    said = text_plan.source_words(catalogue.ENGLISH, mix, samples.TEXTS)
    assert said == "weighted sum of 2 old rows ('agent', ' that')"
    many = Mix(parents=tuple((at, 1 / 20) for at in range(20)))
    assert text_plan.source_words(catalogue.ENGLISH, many, {}).endswith(", row 7, ...)")


def test_a_chapter_of_the_demo_shows_its_command() -> None:
    assert chapter(2, "Prove it", "tokengraft verify out", PLAIN) == (
        "\n2. Prove it\n$ tokengraft verify out\n\n"
    )


def test_rows_are_told_by_the_text_that_they_stand_for() -> None:
    tokenizer = Tokenizer(
        kind="BPE",
        vocab={"agent": TokenId(1), "Ġthat": TokenId(2), "ÐĿ": TokenId(3), "Ð": TokenId(9)},
        declared=(),
        effective={},
        added={TokenId(4): AddedToken("Ġx")},
        added_ids={"Ġx": TokenId(4)},
        n_tokens=10,
        conflicts=(),
        named=(),
        templates=(),
        byte_level=True,
        tokenizer_class=None,
    )
    mix = Mix(parents=tuple((at, 0.2) for at in (1, 2, 3, 4, 9)))
    plan = samples.PLAN.model_copy(update={"tokens": (samples.token("<|a|>", 10, mix),)})
    assert row_texts(plan, tokenizer) == {1: "agent", 2: " that", 3: "Н", 4: "Ġx", 9: "Ð"}
    assert row_texts(plan, None) == {}


# ── words and sizes ──────────────────────────────────────────────────────────────────────────────


def _said() -> Iterator[str]:
    """Every literal that a view hands to the catalogue."""
    for path in (*REPORTING.glob("*.py"), REPORTING.parent / "cli" / "errors.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (
                (isinstance(node.func, ast.Name) and node.func.id == "say")
                or (isinstance(node.func, ast.Attribute) and node.func.attr == "say")
            ):
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield part.value


# Words that reach the catalogue through a table or a value.
TABLED = {
    *(words for words, _ in text_audit.VERDICTS.values()),
    *("error", "warning", "note", "safe", "unsafe", "display-only"),
    *("pass", "fail", "skipped", "unknown", "yes", "no"),
    *("edited", "as it is", "left out", "where", "why", "try"),
    "a bug of ours, please report it with the traceback above",
}


def test_every_word_of_the_views_has_a_russian_one() -> None:
    needed = set(_said()) | TABLED
    assert needed - set(words_ru.TEXTS) == set()
    assert set(words_ru.TEXTS) - needed == set(), "these are said nowhere"
    assert set(catalogue.ENGLISH_NOUNS) == set(words_ru.NOUNS)
    assert set(sizes.UNITS) == set(words_ru.UNITS)


def test_translations_fill_the_same_places() -> None:
    for english, russian in words_ru.TEXTS.items():
        places = [sorted(re.findall(r"\{(\w+)\}", text)) for text in (english, russian)]
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


# ── JSON and its schemas ─────────────────────────────────────────────────────────────────────────


def test_the_published_schemas_are_current(tmp_path: Path) -> None:
    assert schemas.main([str(tmp_path / "new")]) == 0
    published = REPO / "docs" / "reference" / "schemas"
    made = {path.name: path.read_text("utf-8") for path in (tmp_path / "new").iterdir()}
    kept = {path.name: path.read_text("utf-8") for path in published.glob("*.json")}
    assert made == kept, f"python -m tokengraft.reporting.schemas {published.relative_to(REPO)}"


def test_schemas_are_written_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas.main([]) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("value", (*samples.EVERY, *samples.hostile_everywhere()), ids=_kind)
def test_every_document_is_as_its_schema_says(value: Document) -> None:
    shown = json.loads(json_view.document(value, {"a key of a later version": 1}))
    if value.kind == "recipe":
        shown = json.loads(json_view.document(value))
    schema = schemas.schema(type(value))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(shown, schema)


def test_every_kind_of_document_has_a_schema_and_a_view() -> None:
    assert {type(value) for value in samples.EVERY} == set(schemas.KINDS)
    kinds = [kind.kind for kind in schemas.KINDS]
    assert len(set(kinds)) == len(kinds)


def test_a_receipt_may_say_how_long_it_took() -> None:
    shown = json.loads(json_view.document(samples.RECEIPT, {"seconds": 1.5, "undone": []}))
    jsonschema.validate(shown, schemas.schema(type(samples.RECEIPT)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**shown, "seconds": "long"}, schemas.schema(type(samples.RECEIPT)))


# ── SARIF, GitHub, fixes ─────────────────────────────────────────────────────────────────────────


def _sarif(audit: Any) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(sarif.findings(audit, [samples.RULE], "0.1.0"))
    return log


def test_sarif_names_rule_level_and_place() -> None:
    log = _sarif(samples.AUDIT)
    assert log["version"] == "2.1.0"
    run = log["runs"][0]
    assert [r["id"] for r in run["tool"]["driver"]["rules"]] == ["T101"]
    first, second, third = run["results"]
    assert (first["ruleId"], first["level"]) == ("R301", "error")
    assert "ruleIndex" not in first
    assert second["ruleIndex"] == 0
    place = first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place == "generation_config.json"
    assert third["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "."
    logical = third["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
    assert logical == "model.embed_tokens.weight[151669]"


def test_sarif_shows_hostile_text_without_links_and_placeholders() -> None:
    raw = sarif.findings(samples.hostile_everywhere()[0], [], "0.1.0")  # type: ignore[arg-type]
    assert _raw(raw) == []
    said = json.loads(raw)["runs"][0]["results"][0]["message"]["text"]
    assert _raw(said) == []
    assert "{{0}}" in said
    assert "\\[a\\](http://b)" in said


def test_github_annotations_are_one_line_each_and_cannot_be_forged() -> None:
    shown = github.findings(samples.hostile_everywhere()[0])  # type: ignore[arg-type]
    assert _raw(shown) == []
    assert len(shown.splitlines()) == 1
    assert shown.startswith("::error file=")
    assert "%250A" in shown
    command = shown[2:].split("::", 1)[0]
    assert ":" not in command
    assert (
        github.findings(samples.AUDIT)
        .splitlines()[0]
        .startswith(
            "::error file=generation_config.json,title=R301 generation_config.json#/eos_token_id::the turn"
        )
    )


def test_fixes_become_a_recipe_that_can_be_read() -> None:
    more = (
        Finding(
            rule="R103",
            severity="error",
            subject="x",
            summary=samples.HOSTILE[:-1],
            fix=Fix(operation="add", settings={"text": '<|a\u202e"|>'}),
        ),
        Finding(
            rule="R103",
            severity="error",
            subject="x",
            summary="s",
            fix=Fix(operation="add", settings={"text": "<|b|>", "special": True, "into": 7}),
        ),
        Finding(
            rule="R301",
            severity="error",
            subject="y",
            summary="again",
            fix=Fix(operation="stop", settings={"tokens": "auto"}),
        ),
    )
    audit = samples.AUDIT.model_copy(update={"findings": (*samples.FINDINGS, *more)})
    text = recipe_of(audit, 'a "folder"')
    assert _raw(text) == []
    read = tomllib.loads(text)
    assert read == {
        "version": 1,
        "base": 'a "folder"',
        "stop": {"tokens": "auto"},
        "add": [{"text": '<|a\u202e"|>'}, {"text": "<|b|>", "special": True, "into": 7}],
    }
    assert text.count("R301 error") == 2
    nothing = recipe_of(samples.AUDIT.model_copy(update={"findings": ()}), "base")
    assert tomllib.loads(nothing) == {"version": 1, "base": "base"}
