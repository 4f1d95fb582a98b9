"""`[protocol]`: both markers of a turn, everywhere, by renaming or by adding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from test_planning import changes, fake_encode, planned, problems
from test_verifying import evidence, status
from tiny import QWEN_LIKE, TEMPLATE, Added, Tiny, build
from tokengraft.flow import making, proving
from tokengraft.formats.loading import load
from tokengraft.plans import Mix

START, END = "<|im_start|>", "<|im_end|>"
N = Tiny().n_tokens()
ID = {token.content: token_id for token_id, token in Tiny().table().items()}
CONFIG, GENERATION = "tokenizer_config.json", "generation_config.json"


def protocol(start: str = "<|turn|>", end: str = "<|done|>", mode: str = "rename") -> str:
    return f'[protocol]\nturn_start = "{start}"\nturn_end = "{end}"\nmode = "{mode}"\n'


# ── rename ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("base", [False, True])
def test_renaming_changes_texts_and_neither_ids_nor_rows(tmp_path: Path, base: bool) -> None:
    folder = build(tmp_path / "src", base=base, template="both", legacy=True)
    before, outcome = load(folder), planned(folder, protocol())
    assert [(t.id, t.was, t.text, t.action) for t in outcome.plan.tokens] == [
        (ID[START], START, "<|turn|>", "rename"),
        (ID[END], END, "<|done|>", "rename"),
    ]
    assert outcome.plan.row_edits() == {}
    assert "config.json" not in outcome.plan.file_edits()
    for file, data in before.small_files.items():
        if file not in ("config.json", GENERATION):
            text = data.decode().replace(START, "<|turn|>").replace(END, "<|done|>")
            assert outcome.after.small_files[file].decode() == text, file
    stop = outcome.after.value(GENERATION, "/eos_token_id")
    assert stop == ([ID["<|endoftext|>"], ID[END]] if base else [ID[END], ID["<|endoftext|>"]])


def test_the_recipe_may_keep_one_marker(tmp_path: Path) -> None:
    made = planned(build(tmp_path / "src"), protocol(start=START)).plan
    assert [(t.was, t.text) for t in made.tokens] == [(END, "<|done|>")]


def test_the_plan_names_the_markers_and_who_will_not_know_them(tmp_path: Path) -> None:
    notes = planned(build(tmp_path / "a", base=True), protocol()).plan.notes
    assert notes[0] == f"'<|im_start|>' (id {ID[START]}) opens a turn now"
    assert notes[1] == f"'<|im_end|>' (id {ID[END]}) ends a turn now"
    assert "'<|done|>' is not the tokenizer's eos token: llama.cpp" in notes[2]
    # As eos, or under a name that it knows, llama.cpp stops at it.
    assert len(planned(build(tmp_path / "b"), protocol()).plan.notes) == 2
    assert (
        len(planned(build(tmp_path / "c", base=True), protocol(end="<|eot_id|>")).plan.notes) == 2
    )
    notes = planned(build(tmp_path / "d"), protocol(start="<EOT>")).plan.notes
    assert "llama.cpp ends generation at any token called '<EOT>'" in notes


# ── add ──────────────────────────────────────────────────────────────────────────────────────────


def test_added_markers_start_as_copies_and_both_end_a_turn(tmp_path: Path) -> None:
    outcome = planned(build(tmp_path / "src", legacy=True), protocol(mode="add"))
    made, after = outcome.plan, outcome.after
    assert [(t.id, t.text, t.action, t.special) for t in made.tokens] == [
        (N, "<|turn|>", "add", True),
        (N + 1, "<|done|>", "add", True),
    ]
    for token, old in zip(made.tokens, (START, END), strict=True):
        assert {row.source for row in token.rows} == {Mix(parents=((ID[old], 1.0),))}
        assert len(token.rows) == 2
    assert after.value(GENERATION, "/eos_token_id") == [ID[END], ID["<|endoftext|>"], N + 1]
    assert after.value(CONFIG, "/eos_token") == "<|done|>"
    assert after.value("special_tokens_map.json", "/eos_token/content") == "<|done|>"
    assert after.value("config.json", "/eos_token_id") == N + 1
    assert after.tokenizer is not None
    assert after.tokenizer.id_of(END) == ID[END]
    text = TEMPLATE.replace(START, "<|turn|>").replace(END, "<|done|>")
    assert {template.text for template in after.tokenizer.templates} == {text}
    listed = after.value(CONFIG, "/additional_special_tokens")
    assert listed == [START, END, "<|turn|>", "<|done|>"]


def test_eos_stays_where_it_did_not_end_turns(tmp_path: Path) -> None:
    outcome = planned(build(tmp_path / "src", base=True), protocol(mode="add"))
    assert outcome.after.value(CONFIG, "/eos_token") == "<|endoftext|>"
    assert changes(outcome.plan, "config.json") == {}
    stop = outcome.after.value(GENERATION, "/eos_token_id")
    assert stop == [ID["<|endoftext|>"], ID[END], N + 1]


def test_names_that_the_markers_bear_follow_them_in_every_file(tmp_path: Path) -> None:
    files: dict[str, dict[str, Any]] = {
        CONFIG: {
            "bos_token": {"content": START, "lstrip": False},
            "chat_template": TEMPLATE.replace("'<|im_start|>'", "bos_token").replace(
                "'<|im_end|>\\n'", "eos_token + '\\n'"
            ),
        },
        "config.json": {"bos_token_id": ID[START], "eos_token_id": [ID[END], 7]},
        GENERATION: {"bos_token_id": ID[START], "stop_strings": [END]},
    }
    outcome = planned(build(tmp_path / "src", files=files), protocol(mode="add"))
    after = outcome.after
    assert after.value(CONFIG, "/bos_token") == {"content": "<|turn|>", "lstrip": False}
    assert after.value("config.json", "/bos_token_id") == N
    assert after.value("config.json", "/eos_token_id") == [ID[END], 7, N + 1]
    assert after.value(GENERATION, "/bos_token_id") == N
    assert after.value(GENERATION, "/stop_strings") == [END, "<|done|>"]


def test_a_stop_list_is_made_where_there_is_none(tmp_path: Path) -> None:
    files = {GENERATION: None}
    outcome = planned(build(tmp_path / "src", files=files), protocol(mode="add"))
    assert outcome.after.value(GENERATION, "/eos_token_id") == [N + 1, ID[END]]


def test_a_stop_list_that_is_to_stay_stays_and_the_plan_says_so(tmp_path: Path) -> None:
    recipe = protocol(mode="add") + '[stop]\ntokens = "keep"\n'
    made = planned(build(tmp_path / "src"), recipe).plan
    assert changes(made, GENERATION) == {}
    assert any("generation does not end at '<|done|>'" in note for note in made.notes)


def test_an_add_of_a_new_marker_says_more_about_it(tmp_path: Path) -> None:
    recipe = (
        protocol(mode="add")
        + '[[add]]\ntext = "<|done|>"\nspecial = false\nrstrip = true\ninit = "mean"\n'
    )
    added = [Added(t.content, special=t.special, lstrip=t.content == START) for t in QWEN_LIKE]
    made = planned(build(tmp_path / "src", added=added), recipe).plan
    end, start = made.tokens
    assert (end.text, end.special, end.rstrip, end.init) == ("<|done|>", False, True, "mean")
    assert (start.text, start.special, start.lstrip, start.init) == ("<|turn|>", True, True, "copy")


def test_a_marker_that_exists_keeps_its_row(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", added=(*QWEN_LIKE, "<|done|>"))
    made = planned(folder, protocol(mode="add")).plan
    assert [(t.text, t.id) for t in made.tokens] == [("<|turn|>", N + 1)]
    assert f"'<|done|>' is token {N} already and keeps its row" in made.notes


def test_padding_is_neither_the_old_nor_the_new_turn_end(tmp_path: Path) -> None:
    folder = build(tmp_path / "src")
    for token in (END, "<|done|>"):
        said = problems(folder, protocol(mode="add") + f'[pad]\ntoken = "{token}"\n')
        assert f"pad.token: '{token}' is an eos token" in said


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (
            protocol(start="<|x|>", end="<|x|>"),
            "protocol.turn_end: '<|x|>' cannot both open and end",
        ),
        (protocol(end="a "), "protocol.turn_end: 'a ' begins or ends with white space"),
        (
            protocol(end="<think>"),
            "'<think>' is a token already (mode = \"add\" has templates write",
        ),
        (protocol(start=END), "protocol.turn_start: '<|im_end|>' is a token already"),
        (protocol(end="<think>", mode="add"), "chat templates write '<think>' for something else"),
        (protocol(start=END, mode="add"), "chat templates write '<|im_end|>' for something else"),
        (protocol(end="hello", mode="add"), "is an ordinary piece of the vocabulary already"),
        (
            protocol() + f'[[rename]]\nfrom = "{END}"\nto = "<|x|>"\n',
            "protocol.turn_end: [[rename]] gives '<|im_end|>' another text already",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, recipe: str, words: str) -> None:
    assert words in problems(build(tmp_path / "src"), recipe)


def test_a_folder_without_a_template_has_no_markers(tmp_path: Path) -> None:
    said = problems(build(tmp_path / "src", template=False), protocol())
    assert said == (
        "protocol: there is no chat template, so no markers (put a chat_template.jinja into the "
        "folder, or give tokens other texts by [[rename]])"
    )


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    folder = build(tmp_path / "src", files={CONFIG: {"chat_template": template}})
    said = problems(folder, protocol() + '[pad]\ntoken = "<|im_end|>"\n').splitlines()
    assert [line.partition(":")[0] for line in said] == [
        "protocol.turn_start",
        "protocol.turn_end",
        "pad.token",
    ]


@pytest.mark.parametrize("mode", ["rename", "add"])
def test_a_marker_that_a_template_computes_is_refused(tmp_path: Path, mode: str) -> None:
    template = TEMPLATE + "\n{{ '<|im_' ~ x }}{{ 'end|>' }}"
    folder = build(tmp_path / "src", files={CONFIG: {"chat_template": template}})
    assert "'<|im_end|>' could be put together there" in problems(folder, protocol(mode=mode))


# ── the proof ────────────────────────────────────────────────────────────────────────────────────


def applied(tmp_path: Path, recipe: str, **fields: Any) -> Path:
    (tmp_path / "recipe.toml").write_text(f"version = 1\n{recipe}", encoding="utf-8")
    base = build(tmp_path / "src", **fields)
    making.apply(tmp_path / "recipe.toml", base=str(base), out=tmp_path / "out")
    return tmp_path / "out"


def few(tmp_path: Path) -> Path:
    """A corpus of a few lines: other tests have old text read and written at length."""
    path = tmp_path / "texts.txt"
    path.write_text("Old text, <|im_ end|>, тест\n\tand code: {x}\n", encoding="utf-8")
    return path


def patched(out: Path, file: str, old: str, new: str) -> None:
    text = (out / file).read_text(encoding="utf-8")
    assert old in text
    (out / file).write_text(text.replace(old, new), encoding="utf-8")


def test_a_renamed_protocol_is_proved(tmp_path: Path) -> None:
    out = applied(tmp_path, protocol(), template="both", legacy=True)
    found = proving.verify(out, texts=(few(tmp_path),))
    assert found.passed
    assert evidence(found, "old-names").startswith("2 old texts stand in none of 6 JSON files")
    assert "open with '<|turn|>' and end with '<|done|>'" in evidence(found, "protocol")


@pytest.mark.parametrize(
    ("file", "old", "new", "place"),
    [
        (GENERATION, '"do_sample"', f'"stop_strings": ["x{END}"], "do_sample"', "/stop_strings/0"),
        (CONFIG, '"add_bos_token"', f'"{START}": 1, "add_bos_token"', f"#/{START}"),
        (CONFIG, '"add_bos_token"', r'"p": "<\\|im_end\\|>", "add_bos_token"', "#/p"),
        ("vocab.json", '"!"', f'"{END}"', "vocab.json"),
        ("chat_template.jinja", "<think>", END, "chat_template.jinja#"),
        ("chat_template.jinja", "'<think>", "'<|im_' + 'end|>", "chat_template.jinja"),
    ],
)
def test_an_old_marker_left_anywhere_is_found(
    tmp_path: Path, file: str, old: str, new: str, place: str
) -> None:
    out = applied(tmp_path, protocol(), template="both")
    patched(out, file, old, new)
    found = proving.verify(out, texts=(few(tmp_path),))
    assert status(found)["old-names"] == "fail"
    assert place in evidence(found, "old-names")


def test_an_added_protocol_is_proved(tmp_path: Path) -> None:
    found = proving.verify(applied(tmp_path, protocol(mode="add")), texts=(few(tmp_path),))
    assert found.passed
    assert "old-names" not in status(found)
    said = evidence(found, "protocol")
    assert f"generation ends at '<|im_end|>' ({ID[END]}) and '<|done|>' ({N + 1})" in said


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (GENERATION, str(N + 1), str(N), f"generation does not end at '<|done|>' ({N + 1})"),
        (CONFIG, "<think>", END, "tokenizer_config.json writes '<|im_end|>'"),
        (CONFIG, "'<|done|>", "'<|turn|>", "turns open with"),
    ],
)
def test_half_a_protocol_is_found(
    tmp_path: Path, file: str, old: str, new: str, words: str
) -> None:
    out = applied(tmp_path, protocol(mode="add"))
    (out / "chat_template.jinja").unlink()
    patched(out, file, old, new)
    found = proving.verify(out, against=str(tmp_path / "src"), texts=(few(tmp_path),))
    assert status(found)["protocol"] == "fail"
    assert words in evidence(found, "protocol")


@pytest.mark.parametrize("mode", ["rename", "add"])
def test_undo_gives_the_base_back(tmp_path: Path, mode: str) -> None:
    out = applied(tmp_path, protocol(mode=mode), legacy=True, base=True)
    making.undo(out, target=tmp_path / "back")
    names = {path.name for path in (tmp_path / "src").iterdir()}
    assert {path.name for path in (tmp_path / "back").iterdir()} == names
    for name in names:
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "src" / name).read_bytes()


def test_the_plan_is_the_same_to_the_byte(tmp_path: Path) -> None:
    folder = build(tmp_path / "src")
    one, other = (planned(folder, protocol(mode="add"), fake_encode).plan for _ in range(2))
    assert one.to_json() == other.to_json()
    assert json.loads(one.to_json())["version"] == 1
