"""Malformed files of every format that is read

Hypothesis draws seeds, each of which changes a valid file where its format has structure (keys, values, places, lengths,
numbers), or byte by byte. Headers of safetensors, tokenizer.json and SentencePiece models are given to the library of each
format too: what it refuses must not be accepted, and ids and pieces must be those that it loads. The cases of a
format run in one process that may take 512 MB of address space; configurations, added tokens and templates are judged by the
whole audit and shown as text, plans are laid out against their base. An error that is not one of ours, or a case of more
than two seconds of processor time, ends the campaign.
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
    assert n_cases >= CASES * 0.95  # hypothesis may find that it has drawn them all
    assert counts["cases read"] > 0
    figures.add("formats")
    figures.add("cases", n_cases)
    for kind, count in counts.items():
        figures.add(kind, count)
    for nothing in ("errors that are none of ours", "cases over 2 seconds", "cases over 512 MB"):
        figures.add(nothing, 0)
