"""What a new row takes from old tokens when it is written, where that can be bounded.

With logits z = U·h of V old tokens and Z = Σ exp(z), a row that is a sum Σ w·U of old rows whose
weights add up to one has the logit Σ w·z, so that exp(logit) / Z is the weighted geometric mean g
of its parents' probabilities, and its own is g / (1 + g). The mean of n rows has g ≤ 1/n, since a
geometric mean is not above the arithmetic one. Biases follow the same weights. Nothing of the kind
holds where weights add up to something else, or where logits are capped before the softmax.

Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models", for the mean.
"""

from __future__ import annotations

from math import isclose
from typing import assert_never

from tokengraft.checkpoint import Checkpoint
from tokengraft.plans import Mean, Mix, RowSource, Stored, Taken

UNKNOWN = Taken(kind="unknown")
FROM_PARENTS = Taken(kind="parents", at_most=0.5)


def taken_by(checkpoint: Checkpoint, source: RowSource) -> Taken:
    """Bound the probability of a new token by the source of the row that writes it."""
    is_capped = bool(checkpoint.config("/final_logit_softcapping"))
    match source:
        case Mean():
            return (
                UNKNOWN if is_capped else Taken(kind="bounded", at_most=1 / (source.n_parents + 1))
            )
        case Mix(parents=((_, 1.0),)):
            return FROM_PARENTS  # a copy has its parent's logit, capped or not
        case Mix():
            weights = [weight for _, weight in source.parents]
            is_mean = bool(weights) and min(weights) >= 0 and isclose(sum(weights), 1)
            return FROM_PARENTS if is_mean and not is_capped else UNKNOWN
        case Stored():
            return UNKNOWN
        case _:
            assert_never(source)  # type: ignore[arg-type]  # no new row keeps an old one
