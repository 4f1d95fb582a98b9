"""Other people's libraries read a renumbered folder as they read its base, id for id moved."""

from __future__ import annotations

from pathlib import Path

import pytest

import renumbered
from oracles.asking import ask
from renumbering import KINDS, ONE, gone, grafted

pytestmark = [pytest.mark.oracle4, pytest.mark.oracle5]

TEXTS = [
    "hello world of the cat",
    " тест\n\n",
    "<|im_start|>user<|im_end|>",
    "é 中 1234",
    "def in er",
]
TRIM = '[trim]\ncorpus = "corpus.txt"\nunused_added = true\nrenumber = true\n'
CASES = {"bpe": TRIM, "fallback-sharded": TRIM, "unigram-unpadded": TRIM, "wordpiece-sharded": ONE}


def test_both_majors_of_transformers_give_the_moved_ids(
    tmp_path: Path, tf4: Path, tf5: Path
) -> None:
    jobs, moves = [], {}
    for name, recipe in CASES.items():
        source = KINDS[name].build(tmp_path / name / "src")
        out, plan = grafted(source, recipe)
        removed, texts = gone(plan)
        moves[name] = removed, texts, renumbered.id_map(KINDS[name].n_tokens(), removed)
        jobs += [{"folder": str(f), "texts": TEXTS, "table": True} for f in (source, out)]
    for python, major in ((tf4, "four"), (tf5, "five")):
        answers = ask(python, "ask_tokenizers.py", jobs, home=tmp_path / major)
        for at, (name, (removed, texts, moved)) in enumerate(moves.items()):
            for library in ("auto", "raw"):
                before, after = (answers[2 * at + n][library] for n in (0, 1))
                assert "error" not in after, (name, major, after)
                wanted = {t: moved[i] for t, i in before["table"].items() if i not in removed}
                assert wanted == after["table"], (name, major, library)
                assert not texts & set(after["table"])
                for old, new in zip(before["texts"], after["texts"], strict=True):
                    if not removed & set(old):
                        assert [moved[i] for i in old] == new, (name, major, library)
            before, after = (answers[2 * at + n]["auto"] for n in (0, 1))
            assert before["names"] == after["names"]
            assert set(before["special"]) - texts == set(after["special"])
            assert before["decoded"] == after["decoded"]
