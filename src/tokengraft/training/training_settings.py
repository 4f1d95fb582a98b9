"""How rows are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.partial_passes import FINAL


@dataclass(frozen=True, slots=True)
class Settings:
    """How rows are trained.

    Attributes:
        objective: `states` behind the token, or `predictions` (their KL; needs the last layer).
        layer: whose states are compared; -1 is the last one, normed; None three quarters of the depth.
            Ignored for `predictions`.
        metric: of states: `fisher`, what their difference does to predictions, or `plain`.
        optimizer: `adam` (a step a group), or `lbfgs` (all windows a pass, a line search for each
            row), which needs more passes and no rate.
        passes: over all windows, at most.
        patience: validations without a token that got better, after which it ends.
        validate_each: passes from one validation to the next.
        rate, warm_up: of Adam: in standard deviations of trained rows; share of steps that it rises
            over. It then falls to 0 along a cosine.
        group: windows of a step of Adam, and of a backward pass.
        writing: `solve` (output rows in closed form; joint descent where tied), `keep` (output rows
            as they are; where tied, reading alone).
        recompute: keep the states between layers alone (gradient checkpointing), for large models.
        share_past: compute passes from the token on, where that gives what whole passes give.
        in_memory: bytes of teacher's states; further ones lie in files of the work folder.
        save_seconds: from one stored state to the next.
    """

    objective: Literal["states", "predictions"] = "states"
    layer: int | None = None
    metric: Literal["fisher", "plain"] = "fisher"
    optimizer: Literal["adam", "lbfgs"] = "adam"
    passes: int = 10
    patience: int = 3
    validate_each: int = 2
    rate: float = 0.5
    warm_up: float = 0.1
    group: int = 32
    writing: Literal["solve", "keep"] = "solve"
    recompute: bool = False
    share_past: bool = True
    in_memory: int = 1 << 29
    save_seconds: float = 20.0

    def layer_of(self, model: LanguageModel) -> int:
        """The layer whose states are read; the last one is -1."""
        if self.objective == "predictions":
            return FINAL
        layer = (3 * model.n_layers + 1) // 4 if self.layer is None else self.layer
        return FINAL if layer >= model.n_layers else layer
