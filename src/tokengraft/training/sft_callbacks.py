"""What a training tells while it runs: curves as JSON Lines, and progress to whoever listens."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from tokengraft.events import Done, Listen, Progress, Started

STAGE = "sft"
# The trainer's names of figures, and ours.
_FIGURES = {
    "loss": "loss",
    "learning_rate": "lr",
    "grad_norm": "grad_norm",
    "num_tokens": "tokens",
    "mean_token_accuracy": "accuracy",
    "epoch": "epoch",
    "eval_loss": "held_out_loss",
    "eval_mean_token_accuracy": "held_out_accuracy",
}


def callback(listen: Listen, curves: Path) -> Any:
    """A callback of transformers' trainer; the first process alone writes and tells."""
    from transformers import TrainerCallback

    class Curves(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
        """Writes one line a figure's step, and begins again where a resumed training does."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if state.is_world_process_zero:
                self.began = time.monotonic()
                self.before, self.tokens = keep_curve(curves, state.global_step)
                listen(Started(STAGE, "", state.max_steps, "steps"))

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
            found = {ours: logs[name] for name, ours in _FIGURES.items() if name in (logs or {})}
            if not state.is_world_process_zero or not {"loss", "held_out_loss"} & set(found):
                return
            if "tokens" in found:  # TRL counts them from where a training went on
                found["tokens"] = int(found["tokens"]) + self.tokens
            seconds = round(self.before + time.monotonic() - self.began, 3)
            line = {"stage": STAGE, "step": state.global_step, **found, "seconds": seconds}
            line = {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in line.items()
            }
            with curves.open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(line) + "\n")

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if state.is_world_process_zero:
                listen(Progress(STAGE, "", state.global_step, state.max_steps, "steps"))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if state.is_world_process_zero:
                listen(Done(STAGE))

    return Curves()


def keep_curve(curves: Path, step: int) -> tuple[float, int]:
    """Keep the lines up to a step, from where a training goes on.

    Returns:
        The seconds and the tokens that they tell.
    """
    seconds, tokens = 0.0, 0
    kept = []
    if curves.exists():
        for text in curves.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # the last line of a process that was killed
                continue
            if line["step"] <= step:
                kept.append(text + "\n")
                seconds = max(seconds, float(line["seconds"]))
                tokens = max(tokens, int(line.get("tokens", 0)))
    curves.write_text("".join(kept), encoding="utf-8", newline="\n")
    return seconds, tokens
