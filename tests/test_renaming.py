"""A rename reaches every file that names the token, and moves nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Library

from test_planning import changes, planned, problems
from tiny import DROP, QWEN_LIKE, Tiny, build
from tokengraft.formats.loading import load
from tokengraft.planning import Outcome
from tokengraft.plans import PatchJson, RenameKey, WriteFile

END, NEW = "<|im_end|>", "<|done|>"
RECIPE = f'[[rename]]\nfrom = "{END}"\nto = "{NEW}"\n'
ID = {token.content: token_id for token_id, token in Tiny().table().items()}
PROCESSOR = {
    "type": "TemplateProcessing",
    "single": [
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": END, "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {END: {"id": END, "ids": [ID[END]], "tokens": [END]}},
}
EVERYWHERE: dict[str, dict[str, Any]] = {
    "tokenizer.json": {
        "post_processor": PROCESSOR,
        "padding": {"strategy": "BatchLongest", "pad_id": ID[END], "pad_token": END}
        | {"direction": "Left", "pad_to_multiple_of": None, "pad_type_id": 0},
    },
    "tokenizer_config.json": {
        "image_token": END,
        "extra_special_tokens": {"my_end": END},
        "chat_template": [
            {"name": "default", "template": "{{ '<|im_end|>' }}"},
            {"name": "tool_use", "template": "a<|im_end|>{# <|im_end|> #}"},
        ],
        "response_template": {
            "defaults": {"role": "assistant"},
            "start_anchor": "<|im_start|>assistant\n",
            "fields": {
                "content": {"close_pattern": r"\s*<\|im_end\|>\s*", "close": "<|im_end|>\n"}
            },
        },
    },
    "generation_config.json": {"stop_strings": ["x", END]},
    "processor_config.json": {"image_token": END, "processor_class": "X"},
    "config_sentence_transformers.json": {"prompts": {"query": "q: <|im_end|>\n<|im_end|>"}},
    "chat_template.json": {"chat_template": "{{ '<|im_end|>' }}"},
}


def whole(outcome: Outcome) -> dict[str, Any]:
    return {name: document.value for name, document in outcome.after.json.items()}


def texts(folder: Path) -> dict[str, Any]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}


def renamed(value: Any) -> Any:
    """Every text of the old token replaced the blunt way, which is right for this folder."""
    text = json.dumps(value)
    return json.loads(text.replace(END, NEW).replace(r"<\\|im_end\\|>", r"<\\|done\\|>"))


def test_every_file_that_names_a_token_names_it_anew(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", legacy=True, files=EVERYWHERE)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ '<|im_end|>' }}\n")
    before = load(folder)
    outcome = planned(folder, RECIPE)
    assert whole(outcome) == {name: renamed(d.value) for name, d in before.json.items()}
    jinja = outcome.after.small_files["additional_chat_templates/rag.jinja"]
    assert jinja == b"{{ '<|done|>' }}\n"
    assert not any(END.encode() in data for data in outcome.after.small_files.values())
    assert outcome.plan.row_edits() == {}


def test_keys_keep_their_places(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", legacy=True, files=EVERYWHERE)
    outcome = planned(folder, RECIPE)
    for file in ("added_tokens.json", "tokenizer.json"):
        before, after = load(folder).small_files[file], outcome.after.small_files[file]
        assert after == before.replace(END.encode(), NEW.encode())
    edits = [e for e in outcome.plan.edits if isinstance(e, PatchJson)]
    keys = [(e.path, c) for e in edits for c in e.changes if isinstance(c, RenameKey)]
    pointers = {(path, change.pointer) for path, change in keys}
    assert pointers == {
        ("added_tokens.json", f"/{END}"),
        ("tokenizer.json", f"/post_processor/special_tokens/{END}"),
    }
    library = Library.from_str(outcome.after.small_files["tokenizer.json"].decode())
    assert library.token_to_id(NEW) == ID[END]
    assert library.encode("hello").ids[-1] == ID[END]


def test_stale_entries_of_added_tokens_json_are_put_right_and_renamed(tmp_path: Path) -> None:
    stale = {END: 7, "<gone>": 9}
    files = {"added_tokens.json": {**dict.fromkeys(ID, DROP), **stale}}
    outcome = planned(build(tmp_path / "src", legacy=True, files=files), RECIPE)
    right = {(NEW if text == END else text): token_id for text, token_id in ID.items()}
    assert outcome.after.value("added_tokens.json") == right


def with_vocabulary(folder: Path, kind: str) -> Path:
    """A checkpoint whose vocabulary holds its special tokens, as GPT-2's and BERT's do."""
    made = Tiny()
    vocab = {**made.vocab(), **{t.content: i for i, t in made.table().items()}}
    model: dict[str, Any] = {"type": "BPE", "vocab": vocab, "merges": [["h", "e"]]}
    if kind == "WordPiece":
        model = {"type": "WordPiece", "vocab": vocab, "unk_token": END}
        model |= {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    if kind == "Unigram":
        model = {"type": "Unigram", "vocab": [[text, -1.5] for text in vocab], "unk_id": 0}
    files: dict[str, Any] = {"tokenizer.json": {"model": model}, "vocab.json": vocab}
    build(folder, files=files)
    (folder / "vocab.txt").write_bytes("".join(f"{text}\r\n" for text in vocab).encode())
    return folder


@pytest.mark.parametrize("kind", ["BPE", "WordPiece", "Unigram"])
def test_a_vocabulary_that_holds_the_token_has_the_new_text_at_its_place(
    tmp_path: Path, kind: str
) -> None:
    folder = with_vocabulary(tmp_path / "src", kind)
    before = load(folder)
    outcome = planned(folder, RECIPE)
    for file in ("tokenizer.json", "vocab.json", "vocab.txt"):
        old = before.small_files[file]
        assert old.count(END.encode()) >= 1
        assert outcome.after.small_files[file] == old.replace(END.encode(), NEW.encode())
    library = Library.from_str(outcome.after.small_files["tokenizer.json"].decode())
    assert library.token_to_id(NEW) == ID[END]
    assert library.encode(f"hello{NEW}").ids[-1] == ID[END]
    written = [edit.path for edit in outcome.plan.edits if isinstance(edit, WriteFile)]
    assert written == ["chat_template.jinja", "vocab.txt"]


def test_a_text_that_merges_make_is_refused(tmp_path: Path) -> None:
    made = Tiny()
    vocab = {**made.vocab(), **{t.content: i for i, t in made.table().items()}}
    model = {"type": "BPE", "vocab": vocab, "merges": ["<|im_ end|>"]}
    folder = build(tmp_path / "src", files={"tokenizer.json": {"model": model}})
    said = problems(folder, RECIPE)
    assert "tokenizer.json#/model/merges: '<|im_end|>' is a piece of ordinary text" in said


@pytest.mark.parametrize("file", ["vocab.json", "vocab.txt"])
def test_a_vocabulary_that_gives_the_token_another_id_is_refused(tmp_path: Path, file: str) -> None:
    folder = build(tmp_path / "src")
    (folder / file).write_text('{"<|im_end|>": 1}' if file == "vocab.json" else f"a\n{END}\n")
    assert f"{file}: '<|im_end|>' is 1 there, and not {ID[END]}" in problems(folder, RECIPE)


def test_a_token_spelled_like_a_word_is_renamed_where_it_is_a_token_alone(tmp_path: Path) -> None:
    files = {
        "tokenizer_config.json": {"pad_token": "left", "padding_side": "left"},
        "config.json": {"hidden_act": "left"},
        "generation_config.json": {"stop_strings": ["left", "left over"]},
    }
    folder = build(tmp_path / "src", files=files, added=(*QWEN_LIKE, "left"))
    made = planned(folder, '[[rename]]\nfrom = "left"\nto = "<|left|>"\n').plan
    assert changes(made, "config.json") == {}
    assert changes(made, "generation_config.json") == {"/stop_strings/0": "<|left|>"}
    named = changes(made, "tokenizer_config.json")
    assert {p: v for p, v in named.items() if "added_tokens" not in p} == {"/pad_token": "<|left|>"}


def test_a_longer_token_keeps_the_text_that_it_shares(tmp_path: Path) -> None:
    files = {
        "generation_config.json": {"stop_strings": ["<|im_end|>", "a<|im_end|>s", "<|im_end|>s"]}
    }
    folder = build(tmp_path / "src", files=files, added=(*QWEN_LIKE, "<|im_end|>s"))
    made = planned(folder, RECIPE).plan
    assert changes(made, "generation_config.json") == {"/stop_strings/0": NEW}


def test_a_template_that_computes_the_token_is_refused_with_the_line(tmp_path: Path) -> None:
    template = "{{ '<|im_start|>' }}\n{{ '<|im_' ~ message.x ~ '|>' }}{{ 'end' }}"
    files = {"tokenizer_config.json": {"chat_template": template}}
    said = problems(build(tmp_path / "src", files=files), RECIPE)
    assert said == (
        "tokenizer_config.json#/chat_template, line 2: '<|im_end|>' could be put together there, "
        "from '<|im_' + 'end' + '|>'"
    )


def test_a_token_compared_and_split_in_expressions_is_renamed(tmp_path: Path) -> None:
    template = "{% if '</think>' in m %}{{ m.split('</think>')[-1] ~ '</think>' }}{% endif %}"
    files = {"tokenizer_config.json": {"chat_template": template}}
    recipe = '[[rename]]\nfrom = "</think>"\nto = "</thought>"\n'
    made = planned(build(tmp_path / "src", files=files), recipe).plan
    after = changes(made, "tokenizer_config.json")["/chat_template"]
    assert after == template.replace("</think>", "</thought>")
