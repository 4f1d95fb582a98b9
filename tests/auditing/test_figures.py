"""The page of figures says what is so: its findings and its counts are those of the tests."""

from __future__ import annotations

import re
from pathlib import Path

import defects_rows
from defects import DEFECTS
from test_audit import REAL

from tokengraft import auditing

PAGE = (
    Path(__file__).resolve().parents[2] / "docs" / "explanation" / "audit-figures.md"
).read_text(encoding="utf-8")
NAMES = {
    "Qwen3-30B-A3B-Base": "tokenizers/qwen3-30b-a3b-base",
    "Qwen3-30B-A3B": "tokenizers/qwen3-30b-a3b",
    "Qwen3-8B, config.json alone": "tokenizers/qwen3-8b",
    "Qwen2.5": "tokenizers/qwen2.5",
    "Qwen2.5 as transformers 5 writes it, tokenizer_config.json alone": "tokenizers/qwen2.5/v5",
    "minimind": "tokenizers/minimind",
    "GPT-2": "tokenizers/gpt2",
    "Phi-2": "tokenizers/phi-2",
    "RoBERTa": "tokenizers/roberta",
    "stories260K": "models/stories260K",
    **{f"{name}": f"edge/{name}" for name in ("ort-added-tokens", "qwen2-boundless-crlf")},
    **{f"{name}": f"edge/{name}" for name in ("qwen3-bitdance", "qwen3-pilot-tts")},
}
_ROW = re.compile(r"\| ([^|]+) \| `([\w-]+)` \| ([^|]+) \| (.*) \|")
_PART = re.compile(r"((?:[A-Z]\d{3}(?:, )?)+) \((error|warning|note)s?\)")


def _rows() -> dict[str, tuple[str, set[tuple[str, str]]]]:
    found = {}
    for name, verdict, findings, _ in _ROW.findall(PAGE):
        parts = _PART.findall(findings)
        codes = {
            (code, severity) for codes, severity in parts for code in codes.split(", ") if code
        }
        found[NAMES[name]] = (verdict, codes)
    return found


def test_the_page_names_every_finding_of_the_real_folders() -> None:
    assert {name: codes for name, (_, codes) in _rows().items()} == REAL


def test_the_page_gives_the_verdicts_of_the_real_folders(data: Path) -> None:
    from tokengraft.formats.loading import load

    for name, (verdict, _) in _rows().items():
        assert verdict == auditing.audit(load(data / name), source="SRC").verdict, name


def test_the_page_counts_the_planted_defects() -> None:
    n_rows = len(defects_rows.DEFECTS)
    numbers = (
        f"Each of the {len(auditing.RULES) - n_rows} rules of files",
        f"{sum(len(d.bad) for d in DEFECTS)} in all, and each of the {n_rows} rules of rows",
        f"{sum(len(d.bad) for d in defects_rows.DEFECTS)} together",
        f"{sum(len(d.good) for d in (*DEFECTS, *defects_rows.DEFECTS))} checkpoints that come close",
    )
    text = " ".join(PAGE.split())
    assert [] == [number for number in numbers if number not in text]


def test_every_rule_that_the_page_names_is_there() -> None:
    assert set(re.findall(r"\b[TRECJFS]\d{3}\b", PAGE)) <= set(auditing.RULES)
