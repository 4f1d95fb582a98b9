"""The division of training data follows from what a row asks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tokengraft.training.splitting import is_held_out, prompt_key


def _row(question: str, answer: str) -> dict[str, object]:
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def test_rows_that_ask_the_same_are_on_the_same_side() -> None:
    for number in range(200):
        asked = f"What is {number} plus 1?"
        other = {**_row(asked, "I do not know."), "tools": [{"name": "add"}]}
        assert is_held_out(_row(asked, "Many."), share=0.5) == is_held_out(other, share=0.5)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_about_the_share_of_all_prompts_is_held_out(share: float) -> None:
    kept = sum(is_held_out(_row(f"Question {n}", ""), share=share) for n in range(4000))
    assert abs(kept / 4000 - share) < 0.03 * (0 < share < 1) + 1e-9


def test_another_seed_divides_otherwise() -> None:
    rows = [_row(f"Question {n}", "") for n in range(400)]
    sides = [[is_held_out(row, share=0.5, seed=seed) for row in rows] for seed in (0, 1)]
    assert sides[0] != sides[1]
    assert sides[0] == [is_held_out(row, share=0.5, seed=0) for row in rows]


def test_what_follows_the_first_answer_does_not_count_and_what_is_before_it_does() -> None:
    one, other = _row("Who?", "Me."), _row("Who?", "You.")
    assert prompt_key(one) == prompt_key(other)
    messages = [{"role": "system", "content": "Be brief."}, *_row("Who?", "Me.")["messages"]]  # type: ignore[misc]
    assert prompt_key({"messages": messages}) != prompt_key(one)


def test_texts_and_prompts_have_keys_of_their_own() -> None:
    assert prompt_key({"prompt": "a", "completion": "b"}) == prompt_key(
        {"prompt": "a", "completion": "c"}
    )
    assert prompt_key({"text": "a"}) != prompt_key({"text": "b"})
    assert prompt_key({"other": 1}) != prompt_key({"other": 2})


def test_dividing_needs_no_torch() -> None:
    ask = "import sys; import tokengraft.training.splitting; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", ask], check=True)
