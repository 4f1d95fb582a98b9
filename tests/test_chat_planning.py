"""`[roles]`, `[tools]` and `[thinking]` in a plan: files, tokens, notes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chat_templates import BRACKETS, CHATML, PIPES, TEMPLATES
from chats import renderer
from tiny import Added, build
from tokengraft.errors import RecipeError
from tokengraft.flow import making
from tokengraft.flow.recipes import check_recipe
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.planning import Outcome, Ports, plan
from tokengraft.planning.chat import Asked, Render

ROLE = '[roles]\nmy_agi_mode = "<|my_agi_mode|>"\n'
SPEAKER = '[roles]\nplanner = { token = "<|planner|>", side = "output" }\n'
TOOLS = '[tools]\nopen = "<tool_start>"\nclose = "</tool_end>"\n'
THINKING = '[thinking]\nmodules = ["<|recursion|>", "<|think|>"]\n'
CHAT_TOKENS = (
    *(Added(text, special=True) for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
    *(Added(text) for text in ("<tool_call>", "</tool_call>")),
)


@pytest.fixture(scope="module")
def render() -> Iterator[Render]:
    with renderer() as render:
        yield render


def base(folder: Path, template: Any = CHATML, **fields: Any) -> Path:
    """A checkpoint with this template in tokenizer_config.json."""
    return build(
        folder / "src", files={"tokenizer_config.json": {"chat_template": template}}, **fields
    )


def planned(folder: Path, recipe: str, render: Render | None) -> Outcome:
    wish, text = parse_recipe(f"version = 1\n{recipe}")
    ports = Ports(
        encode=lambda texts: [[10] for _ in texts],
        digest=lambda name: f"digest {name}",
        render=render,
    )
    return plan(load(folder), wish, text=text, tool="tokengraft test", ports=ports)


def problems(folder: Path, recipe: str, render: Render | None) -> str:
    with pytest.raises(RecipeError) as caught:
        planned(folder, recipe, render)
    return caught.value.detail


def config(made: Outcome) -> Any:
    return made.after.value("tokenizer_config.json")


def test_the_named_tokens_are_added_and_the_template_writes_them(
    tmp_path: Path, render: Render
) -> None:
    made = planned(base(tmp_path), ROLE + TOOLS + THINKING, render)
    added = [(token.text, token.use, token.special) for token in made.plan.tokens]
    assert added == [
        ("<|my_agi_mode|>", "role", True),
        ("<tool_start>", "tool", False),
        ("</tool_end>", "tool", False),
        ("<|recursion|>", "thinking", False),
        ("<|think|>", "thinking", False),
    ]
    template = config(made)["chat_template"]
    assert all(text in template for text, _, _ in added)
    assert "{% generation %}" in template
    assert made.after.small_files["chat_template.jinja"].decode() == template
    assert {"thoughts", "reasoning_content", "tool_calls", "content"} == set(
        config(made)["response_template"]["fields"]
    )


def test_a_template_without_a_thinking_block_gets_one_with_tokens_of_its_own(
    tmp_path: Path, render: Render
) -> None:
    made = planned(base(tmp_path, added=CHAT_TOKENS), THINKING, render)
    assert [token.text for token in made.plan.tokens] == [
        "<|recursion|>",
        "<|think|>",
        "<think>",
        "</think>",
    ]
    assert any("<think> and </think> are added" in note for note in made.plan.notes)
    there = planned(base(tmp_path / "has"), THINKING, render)
    assert [token.text for token in there.plan.tokens] == ["<|recursion|>", "<|think|>"]


def test_a_folder_without_a_template_gets_chatml_of_its_own_markers(
    tmp_path: Path, render: Render
) -> None:
    folder = build(tmp_path / "src", template=False, base=True)
    made = planned(folder, ROLE, render)
    assert any("one is written" in note for note in made.plan.notes)
    template = made.after.tokenizer
    assert template is not None
    assert {t.file for t in template.templates} == {"chat_template.jinja", "tokenizer_config.json"}
    assert len({t.text for t in template.templates}) == 1
    assert "<|im_start|><|my_agi_mode|>\\n" in template.templates[0].text
    stops = made.after.value("generation_config.json", "/eos_token_id")
    assert stops == [load(folder).tokenizer.id_of(t) for t in ("<|endoftext|>", "<|im_end|>")]  # type: ignore[union-attr]


def test_a_folder_without_template_and_markers_is_refused(tmp_path: Path, render: Render) -> None:
    folder = build(tmp_path / "src", template=False, added=("<|endoftext|>",))
    assert "no chat template, and <|im_start|> and <|im_end|> are no tokens" in problems(
        folder, ROLE, render
    )


def test_every_template_of_a_list_is_taught_and_tools_go_to_the_one_that_has_them(
    tmp_path: Path, render: Render
) -> None:
    templates = [
        {"name": "default", "template": CHATML},
        {"name": "tool_use", "template": TEMPLATES["qwen"]},
    ]
    made = planned(base(tmp_path, templates), SPEAKER + TOOLS, render)
    default, tools = (entry["template"] for entry in config(made)["chat_template"])
    assert "<|planner|>" in default
    assert "<|planner|>" in tools
    assert "<tool_start>" not in default
    assert "<tool_call>" not in tools
    assert "tool_calls" in config(made)["response_template"]["fields"]


@pytest.mark.parametrize("place", ["config", "jinja", "both"])
def test_wherever_the_template_lies_both_places_hold_the_same(
    place: Any, tmp_path: Path, render: Render
) -> None:
    folder = build(tmp_path / "src", template=place)
    made = planned(folder, ROLE, render)
    jinja = made.after.small_files["chat_template.jinja"].decode()
    assert jinja == config(made)["chat_template"]
    assert "<|my_agi_mode|>" in jinja


def test_renamed_markers_hold_in_new_turns_and_in_the_reading(
    tmp_path: Path, render: Render
) -> None:
    rename = "".join(
        f'[[rename]]\nfrom = "{old}"\nto = "{new}"\n'
        for old, new in (("<|im_start|>", "<|turn|>"), ("<|im_end|>", "<|end|>"))
    )
    made = planned(
        base(tmp_path), rename + ROLE + SPEAKER.removeprefix("[roles]\n") + THINKING, render
    )
    text = json.dumps(config(made)["response_template"]) + config(made)["chat_template"]
    assert "im_start" not in text
    assert "im_end" not in text
    assert config(made)["response_template"]["start_anchor"] == "<|turn|>assistant\n"
    assert "<|turn|><|my_agi_mode|>\\n" in config(made)["chat_template"]


@pytest.mark.parametrize("mode", ["rename", "add"])
def test_a_new_protocol_holds_in_new_turns_and_in_the_reading(
    mode: str, tmp_path: Path, render: Render
) -> None:
    protocol = f'[protocol]\nturn_start = "<|turn|>"\nturn_end = "<|end|>"\nmode = "{mode}"\n'
    made = planned(base(tmp_path), protocol + ROLE + THINKING, render)
    template, reading = config(made)["chat_template"], config(made)["response_template"]
    assert "im_start" not in template
    assert "im_end" not in template
    assert "<|turn|><|my_agi_mode|>\\n" in template
    assert reading["start_anchor"] == "<|turn|>assistant\n"
    # Where the old marker is still a token, it still ends what the model says.
    ends = reading["fields"]["content"]["close_pattern"]
    assert (r"<\|im_end\|>" in ends) == (mode == "add")
    assert r"<\|end\|>" in ends
    talk = [{"role": "user", "content": "Hi"}, {"role": "my_agi_mode", "content": "Go."}]
    said = render([Asked(template, talk, prompt=True)], {})[0]
    assert said.text == (
        "<|turn|>user\nHi<|end|>\n<|turn|><|my_agi_mode|>\nGo.<|end|>\n<|turn|>assistant\n"
    )


def test_what_was_taught_can_be_renamed_afterwards(tmp_path: Path, render: Render) -> None:
    first = tmp_path / "first.toml"
    first.write_text(f"version = 1\n{SPEAKER}{TOOLS}{THINKING}", encoding="utf-8")
    making.apply(first, base=str(base(tmp_path)), out=tmp_path / "once")
    made = planned(tmp_path / "once", '[[rename]]\nfrom = "<|im_end|>"\nto = "<|e|>"\n', render)
    template, reading = config(made)["chat_template"], config(made)["response_template"]
    assert "im_end" not in template + json.dumps(reading)
    talk = [{"role": "user", "content": "Hi"}, {"role": "planner", "content": "Plan."}]
    said = render([Asked(template, talk)], {})[0]
    assert said.text is not None
    assert [said.text[a:b] for a, b in said.generated] == ["<|planner|>\nPlan.<|e|>"]
    again = planned(
        tmp_path / "once", '[[rename]]\nfrom = "<|im_end|>"\nto = "<|e|>"\n' + ROLE, render
    )
    assert "im_end" not in json.dumps(config(again)["response_template"])


def test_a_template_can_be_taught_twice(tmp_path: Path, render: Render) -> None:
    """An output of ours, with its generation tags, is a base like any other."""
    first = tmp_path / "first.toml"
    first.write_text(f"version = 1\n{SPEAKER}", encoding="utf-8")
    making.apply(first, base=str(base(tmp_path)), out=tmp_path / "once")
    made = planned(tmp_path / "once", ROLE + TOOLS, render)
    template = config(made)["chat_template"]
    assert template.count("{% generation %}") == 1
    assert "graft2_" in template
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "planner", "content": "Plan."},
        {"role": "my_agi_mode", "content": "Go."},
    ]
    said = render([Asked(template, talk)], {})[0]
    assert said.text == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<|planner|>\nPlan.<|im_end|>\n"
        "<|im_start|><|my_agi_mode|>\nGo.<|im_end|>\n"
    )


def test_line_ends_of_windows_are_kept(tmp_path: Path, render: Render) -> None:
    made = planned(base(tmp_path, CHATML.replace("\n", "\r\n")), ROLE, render)
    assert "{%- if add_generation_prompt %}\r\n" in config(made)["chat_template"]


def test_a_response_template_that_is_there_is_written_anew(tmp_path: Path, render: Render) -> None:
    files = {"chat_template": CHATML, "response_template": {"fields": {"content": {}}}}
    folder = build(tmp_path / "src", files={"tokenizer_config.json": files})
    made = planned(folder, ROLE, render)
    assert any("written anew" in note for note in made.plan.notes)
    assert config(made)["response_template"]["start_anchor"] == "<|im_start|>assistant\n"


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────

REFUSED = {
    "calls with ids": (BRACKETS, TOOLS, "tools", "its calls carry ids"),
    "no turn for results": (PIPES, TOOLS, "tools", "name result_open and result_close"),
    "a prompt that opens thoughts": (
        TEMPLATES["prompted"],
        SPEAKER,
        "roles",
        "opens the thinking block already",
    ),
    "no loop": ("{{ messages[0].content }}", ROLE, "roles", "no loop that writes each message"),
    "not Jinja": ("{% for message in messages %}", ROLE, "roles", "no loop"),
    "it raises": (
        "{{ raise_exception('no') }}{% for message in messages %}{{ message.content }}{% endfor %}",
        ROLE,
        "roles",
        "cannot be rendered with plain messages",
    ),
    "a prompt in any case": (
        CHATML.replace("{%- if add_generation_prompt %}", "{%- if true %}"),
        SPEAKER,
        "roles",
        "where none is asked for",
    ),
    "a prompt in the loop": (
        CHATML.replace(
            "{%- endfor %}",
            "{%- if loop.last and add_generation_prompt %}x{% endif %}{%- endfor %}",
        ),
        ROLE,
        "roles",
        "inside its message loop",
    ),
    "leaving the loop": (
        CHATML.replace("{%- endfor %}", "{%- if loop.last %}{% break %}{% endif %}{%- endfor %}"),
        ROLE,
        "roles",
        "break or continue",
    ),
    "turns without an end": (
        CHATML.replace("<|im_end|>\\n", "\\n\\n"),
        ROLE,
        "roles",
        "no token ends the turns",
    ),
    "a last turn of its own": (
        CHATML.replace(
            "<|im_end|>\\n' }}", "' + ('<|im_end|>' if loop.last else '<|end|>') + '\\n' }}"
        ),
        ROLE,
        "roles",
        "ends the last turn of the assistant in another way",
    ),
    "a prompt that begins no turn": (
        CHATML.replace("'<|im_start|>assistant\\n' }}", "'Go on: ' }}"),
        THINKING,
        "thinking",
        "does not begin a turn",
    ),
    "tools without calls": (
        "{{ tools }}" + CHATML,
        TOOLS,
        "tools",
        "tells the model of tools and renders no calls",
    ),
    "calls in other words": (
        "{% if tools %}{{ tools }}{% endif %}"
        + CHATML.replace(
            "message.content", "message.content + (message.tool_calls or [{}])[0].function | string"
        ),
        TOOLS,
        "tools",
        "holds no call that could be restated",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taught_is_refused_with_the_reason(
    name: str, tmp_path: Path, render: Render
) -> None:
    template, recipe, section, reason = REFUSED[name]
    detail = problems(base(tmp_path, template), recipe, render)
    assert detail.startswith(
        f"{section}: the chat template in tokenizer_config.json cannot be edited"
    )
    assert reason in detail


WRONG = {
    '[roles]\nuser = "<|user|>"\n': "roles.user: 'user' is a role that every chat has already",
    ROLE
    + '[thinking]\nmodules = ["<|my_agi_mode|>"]\n': "'<|my_agi_mode|>' is roles.my_agi_mode as well",
    '[tools]\nopen = "<a>"\nclose = "<a>"\n': "tools.close: '<a>' is tools.open as well",
    '[tools]\nopen = "<a>"\nclose = "</a>"\nresult_open = "<b>"\n': "belong together",
    THINKING + 'field = "content"\n': "thinking.field: 'content' cannot be the key of thoughts",
    THINKING + 'field = "a b"\n': "thinking.field: 'a b' cannot be the key of thoughts",
    '[roles]\na = { token = "<|one|>", side = "output" }\nb = { token = "<|b|>", side = "output" }\n': (
        "roles.a: '<|one|>' does not hold the role's name"
    ),
}


@pytest.mark.parametrize("recipe", WRONG)
def test_sections_that_contradict_themselves_are_refused(
    recipe: str, tmp_path: Path, render: Render
) -> None:
    assert WRONG[recipe] in problems(base(tmp_path), recipe, render)
    path = tmp_path / "recipe.toml"
    path.write_text(f"version = 1\n{recipe}", encoding="utf-8")
    assert any(WRONG[recipe] in str(problem) for problem in check_recipe(path, None))


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path, render: Render) -> None:
    detail = problems(
        base(tmp_path), '[roles]\nuser = "<|user|>"\n' + THINKING + 'field = "role"\n', render
    )
    assert len(detail.splitlines()) == 2


def test_planning_without_a_port_for_templates_says_so(tmp_path: Path) -> None:
    assert "no chat template may be run here" in problems(base(tmp_path), ROLE, None)


def test_a_folder_without_tokenizer_config_keeps_its_template_and_has_no_reading(
    tmp_path: Path, render: Render
) -> None:
    folder = build(tmp_path / "src", template="jinja", files={"tokenizer_config.json": None})
    made = planned(folder, ROLE, render)
    assert any("nothing says how responses are read back" in note for note in made.plan.notes)
    assert "<|my_agi_mode|>" in made.after.small_files["chat_template.jinja"].decode()


def test_two_plans_have_the_same_bytes(tmp_path: Path, render: Render) -> None:
    folder = base(tmp_path, TEMPLATES["qwen"])
    one, other = (planned(folder, ROLE + TOOLS + THINKING, render).plan for _ in range(2))
    assert one.to_json() == other.to_json()
