"""Each rule finds its defect, and nothing else finds anything in what is in step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from defects import DEFECTS
from planting import Defect, Make

import tiny
from tiny import Added
from tokengraft import auditing
from tokengraft.auditing.rule import SECTIONS, Found, listed, rule, shown
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import UsageError
from tokengraft.findings import Finding
from tokengraft.flow.making import plan_recipe
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import read_recipe
from tokengraft.formats.template_text import MARKER
from tokengraft.reporting.fixes import recipe_of

BY_RULE = {defect.rule: defect for defect in DEFECTS}
BAD = [(defect, make) for defect in DEFECTS for make in defect.bad]
GOOD = [(defect, make) for defect in DEFECTS for make in defect.good]


def _names(cases: list[tuple[Defect, Make]]) -> list[str]:
    return [f"{defect.rule}-{number}" for number, (defect, _) in enumerate(cases)]


def _find(folder: Path) -> tuple[Finding, ...]:
    return auditing.find(load(folder))


@dataclass(frozen=True)
class Planted:
    """A checkpoint with a defect, read once for all that is asked of it."""

    defect: Defect
    checkpoint: Checkpoint
    findings: tuple[Finding, ...]


@pytest.fixture(scope="module", params=BAD, ids=_names(BAD))
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    defect, make = request.param
    checkpoint = load(make(tmp_path_factory.mktemp("planted") / "bad"))
    return Planted(defect, checkpoint, auditing.find(checkpoint))


def test_every_rule_has_a_checkpoint_that_breaks_it_and_one_that_does_not() -> None:
    of_files = {code for code, found in auditing.RULES.items() if found.check is not None}
    assert of_files == set(BY_RULE)
    assert len(BY_RULE) == len(DEFECTS)
    assert all(len(defect.bad) >= 2 and defect.good for defect in DEFECTS)


def test_a_defect_is_found_by_its_rule_and_by_at_most_one_other(planted: Planted) -> None:
    found = {finding.rule for finding in planted.findings}
    assert planted.defect.rule in found
    assert found - {planted.defect.rule} <= planted.defect.also
    assert len(found) <= 2


@pytest.mark.parametrize(("defect", "make"), GOOD, ids=_names(GOOD))
def test_what_comes_close_to_a_defect_is_left_alone(
    defect: Defect, make: Make, tmp_path: Path
) -> None:
    found = [f for f in _find(make(tmp_path / "good")) if f.rule == defect.rule]
    assert [] == found


@pytest.mark.parametrize("kind", ["bpe", "byte-fallback"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tied": True, "dtype": "F32"},
        {"shards": 2, "template": "both"},
        {"shards": 0, "template": "jinja"},
        {"legacy": True, "merges": "pairs", "newline": "\r\n"},
        {"n_rows": 1024},
        {"n_rows": 294, "indent": None, "final_newline": False},
    ],
    ids=str,
)
def test_a_checkpoint_in_step_yields_no_finding(
    kind: str, fields: dict[str, object], tmp_path: Path
) -> None:
    if kind == "byte-fallback" and "n_rows" in fields:
        fields = {**fields, "n_rows": 1024}
    assert () == _find(tiny.build(tmp_path / "good", kind=kind, **fields))


def test_a_finding_is_one_plain_line_with_a_place(planted: Planted) -> None:
    for finding in planted.findings:
        assert finding.summary
        assert "\n" not in finding.summary
        assert not finding.summary.endswith(".")
        assert finding.subject
        assert str(planted.checkpoint.root.parent) not in finding.model_dump_json()
        assert (finding.fix is None) or finding.safety is not None


def test_a_fix_is_a_recipe_that_mends_its_finding(planted: Planted, tmp_path: Path) -> None:
    checkpoint = planted.checkpoint
    if all(finding.fix is None for finding in planted.findings):
        return  # nothing is offered
    if checkpoint.tokenizer is None or checkpoint.tokenizer.conflicts:
        return  # the plan refuses what contradicts itself
    audit = auditing.audit(checkpoint, source="SRC")
    mended = [finding for finding in audit.findings if finding.fix is not None]
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe_of(audit, "SRC"), encoding="utf-8")
    wish, text = read_recipe(recipe)
    planned = plan_recipe(checkpoint, wish, text=text, source="SRC")
    left = {(finding.rule, finding.subject) for finding in planned.plan.predicted}
    assert set() == left & {(finding.rule, finding.subject) for finding in mended}


@pytest.mark.parametrize("code", sorted(auditing.RULES))
def test_a_rule_has_a_page_in_five_sections(code: str) -> None:
    found = auditing.explain(code.lower())
    assert SECTIONS == tuple(found.sections)
    assert all(len(text) > 8 for text in found.sections.values())
    assert not found.title.endswith(".")
    assert found.text.startswith("## What it checks\n\n")


def test_an_unknown_code_is_answered_with_near_ones() -> None:
    with pytest.raises(UsageError) as raised:
        auditing.explain("T199")
    assert "explain T1" in raised.value.hint
    assert "T101" in raised.value.detail
    assert "C101" not in raised.value.detail
    with pytest.raises(UsageError, match="no rule X9") as raised:
        auditing.explain("X9")
    assert "tokengraft explain" == raised.value.hint


def test_two_rules_cannot_share_a_code() -> None:
    with pytest.raises(AssertionError, match="T101"):
        rule("T101", severity="note", title="taken")


def test_a_rule_without_a_page_is_not_registered() -> None:
    with pytest.raises(AssertionError, match="T999"):

        @rule("T999", severity="note", title="bare")
        def bare(checkpoint: object) -> object:
            return iter([Found("a", "b")])

    assert "T999" not in auditing.RULES


def test_hostile_texts_are_shown_as_one_harmless_line() -> None:
    assert shown("<|im_end|>") == "<|im_end|>"
    assert shown("a b") == "'a b'"
    assert shown("a\n\x1b[31m") == r"'a\n\x1b[31m'"
    assert shown("") == "''"
    assert len(shown("x" * 500)) == 60
    assert shown("\u202eevil") == r"'\u202eevil'"


def test_long_lists_are_counted() -> None:
    assert listed(["a", "b"], limit=1) == "a and 1 more"
    assert listed(iter("abc")) == "a, b, c"


def test_published_templates_raise_no_alarm(data: Path, tmp_path: Path) -> None:
    """Their markers are no tokens of the tiny model (J101), four look at the clock (J107)."""
    told: dict[str, set[tuple[str, str]]] = {}
    for path in sorted((data / "templates").glob("*.jinja")):
        folder = tiny.build(tmp_path / path.stem, template=False)
        (folder / "chat_template.jinja").write_bytes(path.read_bytes())
        found = {
            (f.rule, f.severity) for f in _find(folder) if f.rule[0] in "JS" and f.rule != "J101"
        }
        if found:
            told[path.stem] = found
    clock = {("J107", "note")}
    assert told == {
        "Mistral-Small-3.2-24B-Instruct-2506": clock,
        "ibm-granite-granite-3.3-2B-Instruct": clock,
        "meta-llama-Llama-3.2-3B-Instruct": clock,
        "openai-gpt-oss-120b": clock,
    }


# What the publishers of these templates name as eos (base models' documents end in another way).
EOS = {
    "ByteDance-Seed-OSS": "<seed:eos>",
    "CohereForAI-c4ai-command-r-plus-tool_use": "<|END_OF_TURN_TOKEN|>",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "<|END_OF_TURN_TOKEN|>",
    "Mistral-Small-3.2-24B-Instruct-2506": "</s>",
    "NVIDIA-Nemotron-Nano-v2": "<SPECIAL_12>",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": "<｜end▁of▁sentence｜>",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": "<｜end▁of▁sentence｜>",
    "deepseek-ai-DeepSeek-V3.1": "<｜end▁of▁sentence｜>",
    "fireworks-ai-llama-3-firefunction-v2": "<|eot_id|>",
    "google-gemma-2-2b-it": "<eos>",
    "ibm-granite-granite-3.3-2B-Instruct": "<|end_of_text|>",
    "llama-cpp-deepseek-r1": "<｜end▁of▁sentence｜>",
    "meetkai-functionary-medium-v3.1": "<|eot_id|>",
    "meetkai-functionary-medium-v3.2": "<|eot_id|>",
    "meta-llama-Llama-3.1-8B-Instruct": "<|eot_id|>",
    "meta-llama-Llama-3.2-3B-Instruct": "<|eot_id|>",
    "meta-llama-Llama-3.3-70B-Instruct": "<|eot_id|>",
    "microsoft-Phi-3.5-mini-instruct": "<|endoftext|>",
    "mistralai-Mistral-Nemo-Instruct-2407": "</s>",
    "openai-gpt-oss-120b": "<|return|>",
    "unsloth-mistral-Devstral-Small-2507": "</s>",
}


def test_the_eos_of_published_templates_is_an_end(data: Path, tmp_path: Path) -> None:
    """Their markers are special tokens here, so that each template's ends are seen (R107, R305)."""
    for path in sorted((data / "templates").glob("*.jinja")):
        eos = EOS.get(path.stem, "<|im_end|>")
        texts = dict.fromkeys(MARKER.findall(path.read_text(encoding="utf-8")))
        added = tuple(Added(text, special=True) for text in dict.fromkeys((*texts, eos)))
        files = {"tokenizer_config.json": {"eos_token": eos}}
        folder = tiny.build(tmp_path / path.stem, template=False, added=added, files=files)
        (folder / "chat_template.jinja").write_bytes(path.read_bytes())
        assert not {"R107", "R108"} & {finding.rule for finding in _find(folder)}, path.stem


def test_every_contradiction_that_stops_a_plan_is_found(tmp_path: Path) -> None:
    for number, make in enumerate((*BY_RULE["T102"].bad, *BY_RULE["T104"].bad)):
        checkpoint = load(make(tmp_path / str(number)))
        assert checkpoint.tokenizer is not None
        assert checkpoint.tokenizer.conflicts
        assert {"T102", "T104"} & {finding.rule for finding in auditing.find(checkpoint)}
