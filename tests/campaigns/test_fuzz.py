"""Malformed files of every format that is read

Hypothesis draws seeds, each of which changes valid files ten times over, where their format has structure (keys, values,
places, lengths, numbers) or byte by byte. The libraries of safetensors, tokenizers and SentencePiece are given the same cases, the
last two in limited children. A header that safetensors refuses must not be accepted; tables of ids and pieces that both
accept must be equal. What the tokenizers library alone refuses (the steps of a tokenizer.json, which are not read) is refused by
`plan`, which asks it; what SentencePiece alone refuses is a broken normalizer, which is not read. The cases of a format run in
one process that may take 512 MB of address space. Configurations, added tokens and templates are judged by the whole audit,
plans laid out against their base, every tenth value shown as text. An error that is none of ours, or a case of more than two
seconds of processor time, ends the campaign.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from figures import Figures
from fuzzed_all import FORMATS

ORDER = 20
CASES = 10_000
HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("name", FORMATS)
def test_a_malformed_file_is_read_or_refused(name: str, tmp_path: Path, figures: Figures) -> None:
    command = [sys.executable, str(HERE / "fuzz_worker.py"), name, str(CASES), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    told = json.loads(ended.stdout)
    counts = told["counts"]
    n_cases = counts["cases read"] + counts["cases refused"]
    assert n_cases >= CASES
    assert counts["cases read"] > 0
    figures.add("formats")
    figures.add("cases", n_cases)
    for kind, count in counts.items():
        figures.add(kind, count)
    for nothing in ("errors that are none of ours", "cases over 2 seconds", "cases over 512 MB"):
        figures.add(nothing, 0)
