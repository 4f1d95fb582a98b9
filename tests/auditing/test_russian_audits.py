"""Whatever an audit finds and answers is Russian in a Russian view, to the last word."""

from __future__ import annotations

import re
import time
from pathlib import Path

import defects
import defects_rows
import pytest
from deep_shapes import trained
from planting import Defect, Make, built, config, with_files

from english import words_left, words_of
from small_qwen import cut
from tokengraft import auditing
from tokengraft.auditing.deep.reading import read_rows
from tokengraft.checkpoint import Checkpoint
from tokengraft.findings import GOALS, Finding
from tokengraft.formats.loading import load
from tokengraft.reporting import catalogue, github, sarif
from tokengraft.reporting.catalogue import RUSSIAN, Words
from tokengraft.reporting.fixes import recipe_of
from tokengraft.reporting.screen import Screen
from tokengraft.reporting.text import Beside, view

REPO = Path(__file__).resolve().parents[2]
SAMPLE = REPO / "models" / "tiny-qwen3-moe-base"
SCREEN = Screen(width=100_000, words=RUSSIAN)
PLANTED = [(defect, make) for defect in defects.DEFECTS for make in defect.bad]
OF_ROWS = [(defect, make) for defect in defects_rows.DEFECTS for make in defect.bad]
# Pieces of the vocabulary, words that templates ask for, and keys that a file should have had.
PARTS = frozenset({"er", "in", "on", "he", "factor", "invoice"})
# Folders whose verdicts say different things.
FOLDERS: dict[str, Make] = {
    "in step": built(),
    "tied": built(tied=True),
    "one file": built(shards=0),
    "no spare row": built(n_rows=294),
    "stretched": config(rope_scaling={"rope_type": "yarn", "factor": 2.0}),
    "stretched by layers": config(rope_scaling={"full_attention": {"rope_type": "default"}}),
    "not rotary": config(model_type="gpt2"),
    "of no family": config(model_type="unheard_of"),
    "no template": built(template=None),
    "no config": with_files({"config.json": None}),
    "no tokenizer": with_files({"tokenizer.json": None, "tokenizer_config.json": None}),
    "no generation config": with_files({"generation_config.json": None}),
    "broken": with_files({"generation_config.json": {"eos_token_id": [9999]}}),
    "trained": trained,
}


def _names(cases: list[tuple[Defect, Make]]) -> list[str]:
    return [f"{defect.rule}-{number}" for number, (defect, _) in enumerate(cases)]


def _left(findings: tuple[Finding, ...], folder: Path) -> list[tuple[str, list[str]]]:
    template = folder / "chat_template.jinja"
    written = template.read_text("utf-8") if template.is_file() else ""
    known = words_of(folder) | PARTS | set(re.findall("[A-Za-z]+", written))
    texts = [text for f in findings for text in (f.summary, f.detail) if text]
    shown = [RUSSIAN.translated(text) for text in texts]
    return [(text, left) for text in shown if (left := words_left(text, known))]


@pytest.mark.parametrize(("defect", "make"), PLANTED, ids=_names(PLANTED))
def test_planted_defects_are_told_in_russian(defect: Defect, make: Make, tmp_path: Path) -> None:
    folder = make(tmp_path / "bad")
    findings = auditing.find(load(folder))
    assert defect.rule in {finding.rule for finding in findings}
    assert _left(findings, folder) == []


@pytest.mark.parametrize(("defect", "make"), OF_ROWS, ids=_names(OF_ROWS))
def test_planted_defects_of_rows_are_told_in_russian(
    defect: Defect, make: Make, tmp_path: Path
) -> None:
    folder = make(tmp_path / "bad")
    checkpoint = load(folder)
    findings = auditing.find(checkpoint, read_rows(checkpoint))
    assert defect.rule in {finding.rule for finding in findings}
    assert _left(findings, folder) == []


def _views(checkpoint: Checkpoint, *, deep: bool) -> list[str]:
    rows = read_rows(checkpoint) if deep else None
    audits = [
        auditing.audit(checkpoint, goal=goal, source="SRC", rows=rows) for goal in (None, *GOALS)
    ]
    return [
        text
        for found in audits
        for text in (
            view(found, SCREEN, Beside(everything=True)),
            view(found, SCREEN, Beside()),
            *re.findall("^# (.*)", recipe_of(found, "SRC", RUSSIAN), re.MULTILINE),
            *re.findall(
                r"^::\w+ .*?::(.*)$",
                github.findings(found, RUSSIAN).replace("%0A", " "),
                re.MULTILINE,
            ),
        )
    ]


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("deep", [False, True], ids=["small", "deep"])
def test_verdicts_of_every_goal_are_russian(name: str, deep: bool, tmp_path: Path) -> None:
    folder = FOLDERS[name](tmp_path / "folder")
    texts = _views(load(folder), deep=deep)
    known = words_of(folder)
    assert [] == [(text, left) for text in texts if (left := words_left(text, known))]


@pytest.mark.parametrize("deep", [False, True], ids=["small", "deep"])
def test_the_sample_is_audited_in_russian(deep: bool) -> None:
    texts = _views(load(SAMPLE), deep=deep)
    assert [] == [(text, left) for text in texts if (left := words_left(text))]


def test_real_folders_are_audited_in_russian(data: Path, tmp_path: Path) -> None:
    for found in sorted((data / "tokenizers").iterdir()):
        has_many = found.name.startswith("qwen") and (found / "tokenizer.json").is_file()
        folder = cut(found, tmp_path / found.name) if has_many else found
        if folder.is_dir():
            texts = _views(load(folder), deep=False)
            assert [] == [(text, left) for text in texts if (left := words_left(text))]


def test_sarif_names_its_language_and_keeps_its_fingerprints(tmp_path: Path) -> None:
    import json

    found = auditing.audit(load(SAMPLE), goal=None, source="SRC")
    english, russian = (
        json.loads(sarif.findings(found, (), "0", say=say))["runs"][0]
        for say in (Words("en"), RUSSIAN)
    )
    assert (english["language"], russian["language"]) == ("en-US", "ru-RU")
    marks = [
        [result["partialFingerprints"] for result in run["results"]] for run in (english, russian)
    ]
    assert marks[0] == marks[1]
    assert all(words_left(result["message"]["text"]) == [] for result in russian["results"])


def test_an_audit_is_translated_in_a_moment() -> None:
    """Measured: 10 ms of the processor, after the catalogue was loaded."""
    found = auditing.audit(load(SAMPLE), goal="lora", source="SRC")
    texts = [text for f in found.findings for text in (f.summary, f.detail)]
    translator = catalogue._russian()

    def seconds() -> float:
        translator.known.clear()
        start = time.process_time()
        for text in (*texts, *found.reasons):
            translator(text)
        return time.process_time() - start

    assert min(seconds() for _ in range(9)) < 0.05


def test_long_lists_are_not_read_in_every_way() -> None:
    """How much is read grows with the length of a list, and not with its square."""
    items = [f"<|x{n}|>: lstrip false here, true there" for n in range(60)]
    translator = catalogue._russian()
    translator.known.clear()
    shown = translator("; ".join(items))
    assert shown.count("здесь") == shown.count("там") == 60
    assert len(translator.known) < 12 * len(items)
