"""Views of every value: what they say, and that no token speaks to the terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import strategies as st

import samples
from tokengraft.documents import Document
from tokengraft.plans import COLUMNS_ABOVE, Mix
from tokengraft.reporting import (
    catalogue,
    escape,
    text_plan,
)
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
        Beside(place="out", seconds=3.21, undone=samples.RUN.undone),
    ),
    "verified": (samples.VERIFIED, Beside()),
    "refuted": (samples.REFUTED, Beside()),
    "measured": (samples.MEASURED, Beside()),
    "diff": (samples.DIFF, Beside()),
    "tokens": (samples.CUT, Beside()),
    "doctor": (samples.DOCTOR, Beside()),
    "rule": (samples.RULE, Beside()),
    "folder": (samples.FOLDER, Beside()),
    "recipe": (samples.RECIPE, Beside()),
    "data": (samples.DATA, Beside()),
    "report": (samples.REPORT, Beside(next=("tokengraft verify out",))),
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
        for v in (samples.VERIFIED, samples.REFUTED, samples.MEASURED, samples.PLAN, samples.DIFF)
    )
    assert shown.isascii()
    assert "<-" in shown


def _many(number: int) -> Document:
    found = [
        samples.FINDINGS[at % len(samples.FINDINGS)].model_copy(
            update={"rule": f"T{100 + at % 12}", "detail": "why, in many words " * 12}
        )
        for at in range(number)
    ]
    update = {"findings": tuple(found), "reasons": tuple(f"reason {n}" for n in range(30))}
    return samples.AUDIT.model_copy(update=update)


@pytest.mark.parametrize("number", [0, 1, 5, 40, 400])
def test_an_audit_is_one_screen_unless_all_is_asked_for(number: int) -> None:
    value = _many(number)
    assert view(value, PLAIN, Beside(next=("tokengraft plan",))).count("\n") <= 55
    whole = view(value, PLAIN, Beside(everything=True))
    assert number * 2 < whole.count("\n")
    assert "reason 29" in whole
    assert "--all" not in whole


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
