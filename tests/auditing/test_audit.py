"""The verdict for each goal, on tiny checkpoints and on the files of published models."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import get_args

import pytest
from tokenizers import Tokenizer

import tiny
from tokengraft import auditing
from tokengraft.checkpoint import Checkpoint
from tokengraft.findings import GOALS, Audit, Goal, Judgement
from tokengraft.flow.making import plan_recipe
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import read_recipe
from tokengraft.padding import unused_pads
from tokengraft.recipes import Pad, Recipe
from tokengraft.reporting.fixes import recipe_of

# Every finding on the real folders: rule and severity. Each reason is in the comment.
REAL: dict[str, set[tuple[str, str]]] = {
    # 22 against 26 added tokens; <|im_end|> does not stop; eos and pad are <|endoftext|>; decoration;
    # a demonstration's cap.
    "tokenizers/qwen3-30b-a3b-base": {
        ("T101", "error"),
        ("R301", "error"),
        ("R201", "warning"),
        ("C201", "note"),
        ("C202", "note"),
    },
    "tokenizers/qwen3-30b-a3b": {("C201", "note")},  # 131072 against 40960
    "tokenizers/qwen3-8b": set(),  # config.json alone
    "tokenizers/qwen2.5": set(),
    # A hand-made file that names no pad, of a class that transformers 4 lacks.
    "tokenizers/qwen2.5/v5": {("R202", "note"), ("F202", "note")},
    "tokenizers/minimind": set(),
    "tokenizers/gpt2": {("R202", "note")},  # GPT-2 has no pad token
    "tokenizers/phi-2": {("R202", "note")},  # nor has Phi-2
    # Its class names the tokens, no file does; and nothing but the publisher's config names the class.
    "tokenizers/roberta": {("F209", "note")},
    # Cut for a test of another project: its merges are {} and no library loads it; 8 tokens would get
    # other ids, 3 are missing; eos is pad.
    "edge/ort-added-tokens": {
        ("T101", "error"),
        ("T104", "error"),
        ("T401", "error"),
        ("R201", "warning"),
    },
    "edge/qwen2-boundless-crlf": set(),
    # <|im_end|> is eos and there is no template; how many rows there are is not at hand.
    "edge/qwen3-bitdance": {("J104", "note")},
    "edge/qwen3-pilot-tts": set(),
    "models/stories260K": {("R202", "note"), ("C202", "note")},  # no pad; 200 tokens an answer
}


def _audit(folder: Path, goal: Goal | None = None, source: str = "SRC") -> Audit:
    return auditing.audit(load(folder), goal=goal, source=source)


@pytest.fixture(scope="module")
def base(data: Path) -> Checkpoint:
    return load(data / "tokenizers" / "qwen3-30b-a3b-base")


@pytest.fixture(scope="module")
def sister(data: Path) -> Checkpoint:
    return load(data / "tokenizers" / "qwen3-30b-a3b")


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_folders_yield_their_real_defects_and_nothing_else(name: str, data: Path) -> None:
    found = auditing.find(load(data / name))
    assert REAL[name] == {(finding.rule, finding.severity) for finding in found}
    assert len(found) == len(REAL[name])


@pytest.mark.parametrize("name", sorted(REAL))
def test_the_library_reads_what_the_audit_does_not_call_unreadable(name: str, data: Path) -> None:
    path = data / name / "tokenizer.json"
    if not path.exists():
        assert ("T401", "error") not in REAL[name]
        return
    if ("T401", "error") in REAL[name]:
        with pytest.raises(Exception, match="did not match any variant"):
            Tokenizer.from_file(str(path))
    else:
        assert Tokenizer.from_file(str(path)).get_vocab_size() > 0


def test_the_base_model_is_out_of_step_in_two_places(base: Checkpoint) -> None:
    audit = auditing.audit(base, goal="inference", source="SRC")
    assert audit.verdict == "safe-change"
    errors = {f.rule: f for f in audit.findings if f.severity == "error"}
    tokens, stop = errors["T101"], errors["R301"]
    assert tokens.summary == "tokenizer.json declares 22 added tokens, tokenizer_config.json 26"
    for text in ("<tool_response> (151665)", "</tool_response> (151666)"):
        assert text in tokens.detail
    for text in ("<think> (151667)", "</think> (151668)"):
        assert text in tokens.detail
    assert stop.subject == "generation_config.json#/eos_token_id"
    assert "<|im_end|> (151645), generation stops at 151643 only" in stop.summary
    about = [reason for reason in audit.reasons if "#" in reason]
    assert len(about) == 2, "only what bears on the verdict is a reason"
    assert audit.next == "tokengraft audit SRC --write-recipe recipe.toml"


def test_the_sister_is_left_alone_with_reasons_in_numbers(sister: Checkpoint) -> None:
    audit = auditing.audit(sister, goal="inference", source="SRC")
    said = " ".join(audit.reasons)
    assert audit.verdict == "leave-as-is"
    assert {"note"} == {finding.severity for finding in audit.findings}
    for part in ("26 added tokens", "151,936", "151,669", "267", "40,960", "<|im_end|>"):
        assert part in said


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ("inference", "safe-change"),
        ("roles", "needs-training"),
        ("tools", "needs-training"),
        ("thinking", "needs-training"),
        ("protocol", "safe-change"),
        ("context", "safe-change"),
        ("pad", "safe-change"),
        ("lora", "needs-training"),
    ],
)
def test_the_base_model_has_a_verdict_for_each_goal(
    base: Checkpoint, goal: Goal, expected: Judgement
) -> None:
    audit = auditing.audit(base, goal=goal, source="SRC")
    assert (goal, expected) == (audit.goal, audit.verdict)
    assert len(audit.reasons) >= 2
    assert audit.next.startswith("tokengraft ")
    assert " SRC" in audit.next


def test_the_fixes_of_the_base_model_put_it_into_step(base: Checkpoint, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe_of(auditing.audit(base, source="SRC"), "SRC"), encoding="utf-8")
    wish, text = read_recipe(recipe)
    planned = plan_recipe(base, wish, text=text, source="SRC")
    assert {"C201", "C202"} == {finding.rule for finding in planned.plan.predicted}


def test_verdicts_name_ids_rows_keys_and_tokens(base: Checkpoint) -> None:
    def said(goal: Goal) -> str:
        return " ".join(auditing.audit(base, goal=goal, source="SRC").reasons)

    assert "id 151669" in said("roles")
    assert "267 spare rows" in said("roles")
    assert "ids 151669 to 151670" in said("tools")
    assert "<tool_call> (151657)" in said("tools")
    assert "ids 151669 to 151671" in said("thinking")
    assert "config.json#/max_position_embeddings = 131072" in said("context")
    assert '"original_max_position_embeddings": 32768' in said("context")
    assert "<|vision_pad|> (151654)" in said("pad")
    assert "<|im_end|> (151645)" in said("lora")
    assert "not read" in said("lora")


def test_without_a_goal_there_is_a_table_of_all(base: Checkpoint) -> None:
    audit = auditing.audit(base, source="SRC")
    assert audit.verdicts is not None
    assert tuple(GOALS) == tuple(audit.verdicts)
    assert audit.verdicts["inference"] == audit.verdict
    assert set(audit.verdicts.values()) <= set(get_args(Judgement))


def test_the_same_folder_gives_the_same_answer_to_the_byte(base: Checkpoint) -> None:
    first = auditing.audit(base, source="SRC").to_json()
    assert first == auditing.audit(base, source="SRC").to_json()
    assert Audit.from_dict(auditing.audit(base, source="SRC").as_dict()).to_json() == first


def test_the_gravest_findings_come_first(base: Checkpoint) -> None:
    found = [(finding.severity, finding.rule) for finding in auditing.find(base)]
    order = {"error": 0, "warning": 1, "note": 2}
    assert sorted(found, key=lambda pair: (order[pair[0]], pair[1])) == found


def test_rules_take_as_long_as_a_few_readings_of_the_tokenizer(data: Path) -> None:
    """Three to four, a fifth of a second, where it is quiet; both alternate, so that load is shared."""
    folder = data / "tokenizers" / "qwen3-30b-a3b-base"
    text = (folder / "tokenizer.json").read_bytes()
    rules, reading = [], []
    for _ in range(4):
        started = time.process_time()
        json.loads(text)
        reading.append(time.process_time() - started)
        checkpoint = load(folder)
        started = time.process_time()
        auditing.audit(checkpoint, source="SRC")
        rules.append(time.process_time() - started)
    assert min(rules) < 7 * min(reading)


def test_the_source_is_shown_as_it_was_typed(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "a", base=True)
    audit = _audit(folder, source="my models/base")
    assert audit.source == "my models/base"
    assert "'my models/base'" in audit.next
    assert str(tmp_path) not in audit.to_json()


@pytest.mark.parametrize("shards", [0, 1, 2])
def test_a_checkpoint_in_step_is_left_as_it_is(shards: int, tmp_path: Path) -> None:
    audit = _audit(tiny.build(tmp_path / "a", shards=shards))
    assert audit.verdict == "leave-as-is"
    assert audit.verdicts is not None
    assert audit.verdicts["pad"] == audit.verdicts["lora"] == "leave-as-is"
    weights = [reason for reason in audit.reasons if reason.startswith("Weights")]
    assert ("not at hand" in weights[0]) == (shards == 0)


def test_what_no_recipe_mends_is_answered_with_do_not(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "a", shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    audit = _audit(folder)
    assert audit.verdicts is not None
    assert {"do-not"} == set(audit.verdicts.values())
    assert audit.next == "tokengraft explain F101"
    assert "1 weight file of the index is missing" in audit.reasons[0]


def test_growth_is_counted_where_no_row_is_spare(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "a", n_rows=294)
    said = " ".join(_audit(folder, "tools").reasons)
    assert "ids 294 to 295" in said
    assert "from 294 to 320 rows" in said
    assert "16 bytes in lm_head.weight" in said
    assert "64 bytes in all" in said


def test_a_tied_model_has_one_row_a_token(tmp_path: Path) -> None:
    said = " ".join(_audit(tiny.build(tmp_path / "a", tied=True), "roles").reasons)
    assert "lm_head" not in said
    assert "16 bytes in all" in said


def test_a_stretched_context_is_not_stretched_again(tmp_path: Path) -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    folder = tiny.build(tmp_path / "a", files={"config.json": {"rope_scaling": yarn}})
    assert _audit(folder, "context").verdict == "leave-as-is"


def test_positions_that_are_not_rotary_are_not_stretched(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "a", files={"config.json": {"model_type": "gpt2"}})
    assert _audit(folder, "context").verdict == "do-not"


def test_a_folder_with_config_alone_is_called_unknown_where_it_is(data: Path) -> None:
    audit = _audit(data / "tokenizers" / "qwen3-8b")
    assert audit.facts.n_tokens is None
    assert audit.facts.spare_rows is None
    assert audit.verdicts is not None
    assert {"unknown"} == {v for goal, v in audit.verdicts.items() if goal != "context"}
    context = _audit(data / "tokenizers" / "qwen3-8b", "context")
    assert context.verdict == "safe-change"
    assert context.next == "tokengraft show SRC", "no plan is made without a tokenizer"


# What each verdict rests on: the vocabulary, and how many rows there are.
@pytest.mark.parametrize(
    ("name", "unknown", "said"),
    [
        ("edge/qwen3-bitdance", {"context", "lora", "roles", "tools", "thinking", "protocol"}, 2),
        ("edge/qwen3-pilot-tts", {"context", "lora", "roles", "tools", "thinking"}, 2),
        ("tokenizers/qwen2.5/v5", set(GOALS), 2),
        ("tokenizers/gpt2", {"context", "lora"}, 1),
        ("tokenizers/roberta", {"context", "lora", "pad"}, 1),
        ("tokenizers/minimind", {"context", "lora"}, 1),
    ],
)
def test_what_was_not_at_hand_makes_a_verdict_unknown(
    name: str, unknown: set[str], said: int, data: Path
) -> None:
    audit = _audit(data / name)
    assert audit.verdict == "unknown"
    assert audit.verdicts is not None
    assert unknown | {"inference"} == {g for g, v in audit.verdicts.items() if v == "unknown"}
    last = audit.reasons[-1]
    assert ("the vocabulary is not at hand" in last) == (said == 2)
    assert "neither config.json nor weights say how many rows there are" in last
    assert not any("every token has one and" in reason for reason in audit.reasons)


def test_what_is_mended_says_what_else_was_read_and_what_was_not(tmp_path: Path) -> None:
    whole = _audit(tiny.build(tmp_path / "a", base=True)).reasons[-1]
    assert whole.startswith("The rest is in step. ")
    config = {"config.json": None, "vocab.json": None}
    part = _audit(tiny.build(tmp_path / "b", base=True, shards=0, files=config)).reasons[-1]
    assert part.startswith("What else was read is in step. ")
    assert "Embedding rows: unknown" in part


def test_a_known_defect_outweighs_what_is_unknown(data: Path) -> None:
    assert _audit(data / "edge" / "ort-added-tokens").verdict == "do-not"


@pytest.mark.parametrize(
    "added",
    [
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_pad|>", "<|reserved_1|>"),
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>"),
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"),
    ],
)
def test_the_pad_that_is_named_is_the_one_that_a_plan_takes(
    added: tuple[str, ...], tmp_path: Path
) -> None:
    checkpoint = load(tiny.build(tmp_path / "a", base=True, added=added))
    recipe = Recipe(version=1, pad=Pad())
    planned = plan_recipe(checkpoint, recipe, text="version = 1\n[pad]\n", source="SRC")
    named = next(unused_pads(checkpoint), None)
    token_id, text = (287 + len(added), "<|pad|>") if named is None else named
    texts = [
        change.value
        for edit in planned.plan.edits
        if edit.kind == "patch-json" and edit.path == "tokenizer_config.json"
        for change in edit.changes
        if change.kind == "set" and change.pointer == "/pad_token"
    ]
    assert [text] == texts
    said = " ".join(auditing.audit(checkpoint, goal="pad", source="SRC").reasons)
    assert text in said
    assert str(token_id) in said
