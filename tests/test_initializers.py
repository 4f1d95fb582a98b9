"""Where new rows start: one rule a job, chosen by use, with what it takes from old tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from test_planning import add, planned, problems
from tiny import Tiny, build
from tokengraft.plans import Mean, Mix, PlannedToken, RowSource, Taken
from tokengraft.rows.choosing import AUTO, start_of
from tokengraft.rows.initializers import INITIALIZERS, Job, NewToken, Old

N_TOKENS = Tiny().n_tokens()
INPUT, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"


def letters(texts: Sequence[str]) -> list[list[int]]:
    """One id a letter, so that pieces keep their order and their number."""
    return [[ord(letter) - ord("a") for letter in text if letter.isalpha()] for text in texts]


def row(init: str, job: Job, token: NewToken) -> RowSource | None:
    return INITIALIZERS[init](token, Old(job=job, n_tokens=100, encode=letters))


def mix(*parents: tuple[int, float]) -> Mix:
    return Mix(parents=parents)


WORD = NewToken(text="caab", use="word")  # pieces 2 0 0 1
EVEN = mix((0, 0.5), (1, 0.25), (2, 0.25))


@pytest.mark.parametrize(
    ("init", "read", "write", "both"),
    [
        ("zero", mix(), mix(), mix()),
        ("mean", *[Mean(first=0, count=100)] * 3),
        ("subword-mean", EVEN, EVEN, EVEN),
        ("eeve", EVEN, mix((2, 1.0)), EVEN),
        ("first-last", mix((1, 1.0)), mix((2, 1.0)), mix((1, 0.5), (2, 0.5))),
        ("copy", None, None, None),
        ("meaning-mean", None, None, None),
        ("sequence", None, None, None),
    ],
)
def test_a_rule_answers_for_each_job(
    init: str, read: RowSource | None, write: RowSource | None, both: RowSource | None
) -> None:
    jobs: tuple[Job, ...] = ("read", "write", "both")
    assert [read, write, both] == [row(init, job, WORD) for job in jobs]


def test_a_sequence_is_read_as_its_pieces_and_written_as_the_first() -> None:
    token = NewToken(text="<|turn|>", sequence="cab")
    third = 1 / 3
    even = mix((0, third), (1, third), (2, third))
    assert row("sequence", "read", token) == even
    assert row("sequence", "write", token) == mix((2, 1.0))
    assert row("sequence", "both", token) == even


def test_pieces_that_planning_knows_are_not_asked_for() -> None:
    token = NewToken(text="caab", pieces=(7, 9))
    assert row("subword-mean", "read", token) == mix((7, 0.5), (9, 0.5))


def test_ids_without_a_row_are_no_parents() -> None:
    old = Old(job="read", n_tokens=2, encode=letters)
    assert INITIALIZERS["subword-mean"](WORD, old) == mix((0, 2 / 3), (1, 1 / 3))


@pytest.mark.parametrize("init", sorted(INITIALIZERS))
@pytest.mark.parametrize("job", ["read", "write", "both"])
def test_weights_add_up_to_one_or_are_none(init: str, job: Job) -> None:
    token = NewToken("a bc", meaning="a thing", like=3, sequence="xy")
    source = row(init, job, token)
    if isinstance(source, Mix) and source.parents:
        assert sum(weight for _, weight in source.parents) == pytest.approx(1, abs=1e-15)
        assert list(source.parents) == sorted(source.parents)


@pytest.mark.parametrize(
    ("token", "chosen"),
    [
        (NewToken("<|a|>", "role", like=3, meaning="m"), "copy"),
        (NewToken("<|a|>", "marker", sequence="ab"), "sequence"),
        (NewToken("<|a|>", "role", meaning="an agent"), "meaning-mean"),
        (NewToken("<|a|>", "thinking"), "words-mean"),
        (NewToken("<||>", "tool", pieces=(4, 5)), "subword-mean"),
        (NewToken("<||>", "tool"), "mean"),
        (NewToken("cab", "word"), "first-last"),
        (NewToken("cab", "extend"), "eeve"),
        (NewToken("cab", "word", like=3), "copy"),
        (NewToken("...", "word"), "mean"),
    ],
)
def test_auto_goes_by_use_and_by_what_the_recipe_says(token: NewToken, chosen: str) -> None:
    matrices = [Old(job=job, n_tokens=100, encode=letters) for job in ("read", "write")]  # type: ignore[arg-type]
    start = start_of("auto", token, matrices)
    assert start is not None
    assert start.init == chosen
    assert start.why.startswith(f"use = {token.use}, and ")
    assert set(INITIALIZERS) > {name for names in AUTO.values() for name in names}


# ── in a plan ────────────────────────────────────────────────────────────────────────────────────


def tokens(folder: Path, recipe: str) -> tuple[PlannedToken, ...]:
    def encode(texts: Sequence[str]) -> list[list[int]]:
        return letters(texts)

    return planned(folder, recipe, encode=encode).plan.tokens


def rows(token: PlannedToken) -> dict[str, RowSource]:
    return {row.tensor: row.source for row in token.rows}


def test_input_and_output_rows_of_one_token_differ_where_their_rules_do(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", shards=2)
    (token,) = tokens(folder, add("<|x|>", sequence='"ca"'))
    assert rows(token) == {INPUT: mix((0, 0.5), (2, 0.5)), OUTPUT: mix((2, 1.0))}
    assert (token.init, token.why) == (
        "sequence",
        "use = marker, and `sequence` says what it replaces",
    )


def test_a_tied_model_gets_the_one_rule_for_both_jobs(tmp_path: Path) -> None:
    (token,) = tokens(build(tmp_path / "src", tied=True), add("<|x|>", sequence='"ca"'))
    assert rows(token) == {INPUT: mix((0, 0.5), (2, 0.5))}


def test_a_plan_says_what_each_token_takes(tmp_path: Path) -> None:
    recipe = (
        add("<|m|>", init='"mean"')
        + add("<|z|>", init='"zero"')
        + add("<|c|>", like='"<|im_start|>"')
        + add("<|w|>", meaning='"ab"')
    )
    takes = [token.takes for token in tokens(build(tmp_path / "src"), recipe)]
    assert takes == [
        Taken(kind="bounded", at_most=1 / (N_TOKENS + 1)),
        Taken(kind="unknown"),
        Taken(kind="parents", at_most=0.5),
        Taken(kind="parents", at_most=0.5),
    ]


def test_capped_logits_leave_a_copy_its_bound_and_nothing_else(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", files={"config.json": {"final_logit_softcapping": 30.0}})
    recipe = add("<|m|>", init='"mean"') + add("<|c|>", like='"<think>"')
    recipe += add("<|w|>", meaning='"ab"')
    kinds = [token.takes.kind for token in tokens(folder, recipe) if token.takes]
    assert kinds == ["unknown", "parents", "unknown"]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (add("<|x|>", init='"sequence"'), "sequence needs `sequence`"),
        (add("<|x|>", init='"zero"', like='"<think>"'), "init = 'zero' does not look at `like`"),
        (add("<|x|>", init='"mean"', sequence='"ab"'), "does not look at `sequence`"),
        (add("<|x|>", like='"<think>"', sequence='"ab"'), "both say where the row starts"),
        (add("<||>", init='"words-mean"'), "the tokenizer makes nothing of its text"),
    ],
)
def test_wishes_that_contradict_each_other_are_refused(
    tmp_path: Path, recipe: str, said: str
) -> None:
    assert said in problems(build(tmp_path / "src"), recipe)


def test_without_a_tokenizer_to_ask_an_initializer_of_pieces_is_refused(tmp_path: Path) -> None:
    from tokengraft.errors import RecipeError

    folder = build(tmp_path / "src")
    with pytest.raises(RecipeError, match="a problem") as caught:
        planned(folder, add("<|x|>", init='"eeve"'), encode=None)
    assert "no tokenizer.json to ask" in caught.value.detail


def test_texts_are_encoded_in_rounds_and_not_one_by_one(tmp_path: Path) -> None:
    calls: list[list[str]] = []

    def encode(texts: Sequence[str]) -> list[list[int]]:
        calls.append(list(texts))
        return [[] if "nothing" in text else [ord(text[-1])] for text in texts]

    recipe = add("<|a|>", meaning='"nothing"') + add("<|b|>") + add("<|c|>", meaning='"nothing"')
    made = planned(build(tmp_path / "src"), recipe, encode=encode).plan
    assert [token.init for token in made.tokens] == ["words-mean"] * 3
    assert calls == [[" nothing", " b"], [" a", " c"]]
