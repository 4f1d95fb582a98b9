"""`[[extend]]` with many pieces: 20,000 on the tokenizer of Qwen3, from Russian and from code."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench_extend import Texts, bytes_per_id, cut_anew, split, unreachable
from grown import checks, extend, failing, grow
from qwen_shapes import build_qwen3_base
from test_extending_real import extends

RUSSIAN, CODE = 6_000, 14_000


@pytest.mark.slow
def test_twenty_thousand_pieces_on_qwen3(data: Path, tmp_path: Path) -> None:
    texts = Texts(*split(data))
    base = build_qwen3_base(tmp_path / "base", data, hidden=8, shards=1)  # 20,000 rows are added
    recipe = extend("russian.txt", RUSSIAN) + extend("code.txt", CODE)
    corpora = {f"{name}.txt": text for name, text in texts.learned.items()}
    found = grow(base, tmp_path / "home", recipe, corpora)
    assert [e.count for e in found.plan.extensions] == [RUSSIAN, CODE]
    assert unreachable(found.before, found.after) == 0
    assert cut_anew(found.before, found.after, texts) == 0
    gains = {
        kind: bytes_per_id(found.after, text) / bytes_per_id(found.before, text)
        for kind, text in texts.held_out.items()
    }
    print({kind: round(gain, 3) for kind, gain in gains.items()})  # noqa: T201 - a figure
    assert gains["russian"] > 1.3
    assert gains["code"] > 1.03
    assert gains["english"] >= 1
    assert failing(checks(found)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("gpt2", 1.3), ("starcoder", 1.1), ("phi-2", 1.3)])
def test_other_vocabularies(name: str, least: float, data: Path, tmp_path: Path) -> None:
    extends(name, 400, least, data, tmp_path)
