"""Recipes: every mistake with its place, all at once."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengraft.errors import ReadFailed, RecipeError
from tokengraft.formats.recipe_file import parse_recipe, read_recipe, settings_toml, toml_text


def problems(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text)
    return f"{caught.value.summary}\n{caught.value.detail}"


def test_every_section_of_the_contract_is_read() -> None:
    recipe, _ = parse_recipe(
        """
        version = 1
        base = "Qwen/Qwen3-30B-A3B-Base"
        [[add]]
        text = "<|my_agi_mode|>"
        use = "role"
        meaning = "an agent that plans first and then answers"
        like = "<|im_start|>"
        init = "auto"
        [[rename]]
        from = "<|fim_pad|>"
        to = "<|spare_1|>"
        [protocol]
        turn_start = "<|turn|>"
        turn_end = "<|end|>"
        mode = "rename"
        [roles]
        my_agi_mode = "<|my_agi_mode|>"
        other = { token = "<|o|>", side = "output" }
        [tools]
        open = "<tool_start>"
        close = "</tool_end>"
        [thinking]
        modules = ["<|recursion|>", "<|think|>", "<|conflict|>"]
        [pad]
        token = "auto"
        [stop]
        tokens = "auto"
        [context]
        length = 131072
        method = "yarn"
        [[extend]]
        corpus = "domain.txt"
        tokens = 2000
        [train]
        stages = ["fit", "distil", "sft"]
        data = "chat.jsonl"
        [train.distil]
        layer = -1
        [train.sft]
        method = "rows"
        [rows]
        values = "rows.safetensors"
        [lora]
        adapter = "DIR"
        """
    )
    assert recipe.add[0].is_special
    assert recipe.rename[0].from_ == "<|fim_pad|>"
    assert recipe.context is not None
    assert recipe.context.length == 131072


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not say its version"),
        ("version = 2", "version: input should be 1"),
        ("version = 1\nadds = 1", "adds: no such key (did you mean 'add'?)"),
        ('version = 1\n[[add]]\ntxt = "x"', "add[0].text: is missing"),
        ('version = 1\n[[add]]\ntxt = "x"', "add[0].txt: no such key (did you mean 'text'?)"),
        ("version = 1\n[[add]]\ntext = 5", "add[0].text: input should be a valid string, found 5"),
        ('version = 1\n[context]\nlength = "long"', "context.length: input should be a valid int"),
        ("version = 1\n[context]\nlength = 0", "greater than 0"),
        ('version = 1\n[context]\nlength = 5\nmethod = "magic"', "context.method"),
        ('version = 1\n[stop]\ntokens = "all"', "stop.tokens"),
        ("version = 1\n[thinking]\nmodules = []", "thinking.modules"),
        ("version = 1\n[train.distil]\npasses = 0", "train.distil.passes"),
        ("version = 1\n[train.distil]\nrate = 1000.0", "less than or equal to 100"),
        ('version = 1\n[train.distil]\ndtype = "int8"', "train.distil.dtype"),
        ("version = 1\n[train.distil]\ngroup = 8", "train.distil.group: no such key"),
        ("version = 1\n[train.distil]\nlayer = 0", "layers are counted from 1"),
        ("version = 1\n[train.distil]\ncross_entropy = -1.0", "train.distil.cross_entropy"),
        (
            'version = 1\n[train.distil]\noptimizer = "lbfgs"\ncross_entropy = "auto"',
            "new tokens compete",
        ),
        (
            'version = 1\n[train.distil]\nobjective = "predictions"\nlayer = 2',
            "predictions are those of the last layer",
        ),
        ("version = 1\n[pad]\ntoken = 1979-05-27", None),
        ("version = [", "is not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, said: str | None) -> None:
    if said is None:  # a date is a text in the end, and no harm: the token would be named so
        assert parse_recipe(text)[0].pad is not None
        return
    assert said in problems(text)


def test_all_mistakes_are_named_at_once() -> None:
    said = problems('version = 1\nadds = 1\n[pad]\ntokn = "x"\n[context]\nlength = -1\n')
    assert said.startswith("the recipe has 3 problems")


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("5", ["roles.critic: input should be a valid string, found 5"]),
        ('""', []),
        (
            '{tokn = "<|c|>"}',
            [
                "roles.critic.token: is missing",
                "roles.critic.tokn: no such key (did you mean 'token'?)",
            ],
        ),
        (
            '{token = "<|c|>", side = "up", zz = 1}',
            [
                "roles.critic.side: input should be 'input' or 'output', found 'up'",
                "roles.critic.zz: no such key (known keys: token, side)",
            ],
        ),
        ("{token = 5}", ["roles.critic.token: input should be a valid string, found 5"]),
    ],
)
def test_a_role_is_refused_as_the_kind_that_was_written(role: str, said: list[str]) -> None:
    text = f"version = 1\n[roles]\ncritic = {role}\n"
    if not said:
        assert parse_recipe(text)[0].roles == {"critic": ""}
        return
    with pytest.raises(RecipeError) as raised:
        parse_recipe(text)
    assert said == raised.value.detail.splitlines()


def test_settings_given_beside_the_recipe_win_and_are_kept_in_its_text() -> None:
    recipe, text = parse_recipe(
        "version = 1\n[context]\nlength = 5\n",
        overrides=["context.length=131072", "pad.token=<|pad|>"],
    )
    assert recipe.context is not None
    assert recipe.context.length == 131072
    assert recipe.pad is not None
    assert recipe.pad.token == "<|pad|>"
    assert "# --set context.length=131072" in text


@pytest.mark.parametrize("override", ["nothing", "=3", "a..b=3", "version.x=1"])
def test_a_setting_that_is_none_is_refused(override: str) -> None:
    with pytest.raises(RecipeError):
        parse_recipe("version = 1\n", overrides=[override])


def test_a_recipe_that_is_not_there_is_a_read_error(tmp_path: Path) -> None:
    with pytest.raises(ReadFailed):
        read_recipe(tmp_path / "none.toml")


def test_a_recipe_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(b"version = 1\n# \xff\n")
    with pytest.raises(RecipeError, match="not UTF-8"):
        read_recipe(path)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_any_text_survives_the_quotes_of_toml(text: str) -> None:
    assert tomllib.loads(f"x = {toml_text(text)}")["x"] == text


def test_settings_are_written_as_a_recipe_that_reads_back() -> None:
    text = settings_toml({"pad": {"token": "<|pad|>"}, "context": {"length": 5}})
    recipe, _ = parse_recipe(text)
    assert recipe.pad is not None
    assert recipe.pad.token == "<|pad|>"
