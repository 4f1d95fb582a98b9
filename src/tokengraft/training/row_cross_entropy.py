"""Cross-entropy of the next token, new tokens among the targets, for new rows alone.

The same objective that a library has for trainable tokens, without its costs: logits of old and new
rows are two products and never one matrix of V + N rows; they are made for some positions at a time,
turned in place into the gradient and dropped. What is kept has the size of the hidden states. Old rows
get no gradient: that would be a third product of the same size and a matrix.

Shapes: B sequences, T positions, P = B (T - 1) predicted ones, V old rows, N new ones, D width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tokengraft.errors import UnsupportedFormat
from tokengraft.training.language_model import LanguageModel

_LOGITS_AT_ONCE = 1 << 24  # numbers: 64 MB of float32, one buffer for the whole pass


def text_loss(
    model: LanguageModel,
    ids_BT: Any,
    input_ND: Any,
    output_ND: Any | None = None,
    weight_BT: Any | None = None,
) -> Any:
    """Mean cross-entropy of every next token, in nats; gradients reach the new rows.

    Args:
        ids_BT: new ids are `model.n_rows + n`.
        input_ND: rows that are read; also those that are written where `output_ND` is None.
        weight_BT: of each position as a target; all alike if None.
    """
    (hidden,) = model.hidden(ids_BT, input_ND)
    states = hidden[:, :-1].reshape(-1, hidden.shape[-1])
    targets = ids_BT[:, 1:].reshape(-1)
    written = input_ND if output_ND is None else output_ND
    if weight_BT is None:
        weights = states.new_full(targets.shape, 1 / len(targets), dtype=_float32())
    else:
        weights = weight_BT[:, 1:].reshape(-1).to(_float32())
        weights = weights / weights.sum()
    return cross_entropy(model, states, targets, written, weights)


def cross_entropy(
    model: LanguageModel, states_PD: Any, targets_P: Any, rows_ND: Any, weights_P: Any
) -> Any:
    """The weighted sum of cross-entropies over V + N tokens; logits of some positions at a time."""
    return cross_entropies(model, states_PD, targets_P, rows_ND, weights_P)[0]


def cross_entropies(
    model: LanguageModel, states_PD: Any, targets_P: Any, rows_ND: Any, weights_P: Any
) -> tuple[Any, Any]:
    """The weighted sum, with gradients in states and rows; and each position's own, without."""
    require_plain(model)
    total, losses_P = _function().apply(states_PD, rows_ND, model, targets_P, weights_P)
    return total, losses_P


def require_plain(model: LanguageModel) -> None:
    """Refuse a model whose logits are capped.

    Raises:
        UnsupportedFormat: they are.
    """
    if model.written.limit is not None:
        raise UnsupportedFormat(
            "cross-entropy of rows is not there for soft-capped logits",
            detail=f"{type(model.network).__name__} caps at {model.written.limit:g}",
            subject="train.distil.cross_entropy",
            hint="leave cross_entropy out: rows are distilled all the same",
        )


def _float32() -> Any:
    import torch

    return torch.float32


@lru_cache(maxsize=1)
def _buffer(n_positions: int, n_rows: int, kind: Any, device: Any) -> Any:
    """One buffer for all parts and all steps.

    Memory of this size that is given back is given to the system, which clears every page again when
    it is next asked for: 16,000 page faults a step for 64 MB.
    """
    import torch

    return torch.empty((n_positions, n_rows), dtype=kind, device=device)


def _function() -> Any:
    import torch

    class CrossEntropy(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(
            ctx: Any, states_PD: Any, rows_ND: Any, model: Any, targets_P: Any, weights_P: Any
        ) -> tuple[Any, Any]:
            losses_P, *slopes = _losses_and_slopes(
                model, states_PD, rows_ND, targets_P, weights_P, any(ctx.needs_input_grad)
            )
            ctx.save_for_backward(*slopes)
            ctx.mark_non_differentiable(losses_P)
            return (weights_P * losses_P).sum(), losses_P

        @staticmethod
        def backward(ctx: Any, given: Any, _: Any) -> Any:
            state_slope, row_slope = ctx.saved_tensors
            return given * state_slope, given * row_slope, None, None, None

    return CrossEntropy


def _losses_and_slopes(
    model: LanguageModel,
    states_PD: Any,
    rows_ND: Any,
    targets_P: Any,
    weights_P: Any,
    wants_slopes: bool,  # noqa: FBT001
) -> tuple[Any, ...]:
    """Losses, and the gradients of their sum in states and in new rows.

    These are (p - 1[target]) times rows or states.
    """
    import torch

    head_VD, bias_V = model.head.weight, getattr(model.head, "bias", None)
    kind, n_old, scale = head_VD.dtype, model.n_rows, model.written.scale
    rows = rows_ND.to(kind)
    losses = states_PD.new_zeros(len(states_PD), dtype=torch.float32)
    state_slope = torch.empty_like(states_PD)
    row_slope = torch.zeros(rows_ND.shape, dtype=torch.float32, device=rows_ND.device)
    step = max(1, min(len(states_PD), _LOGITS_AT_ONCE // n_old))
    buffer = _buffer(step, n_old, kind, states_PD.device)
    for first in range(0, len(states_PD), step):
        here = slice(first, min(first + step, len(states_PD)))
        state, target, weight = states_PD[here].to(kind), targets_P[here], weights_P[here]
        old = torch.mm(state, head_VD.t(), out=buffer[: len(state)])
        if bias_V is not None:
            old += bias_V
        new = state @ rows.t()
        if scale != 1.0:
            old *= scale
            new = new * scale
        old, new = old.float(), new.float()  # float32 logits stay in the buffer
        most = torch.maximum(old.amax(dim=1), new.amax(dim=1))[:, None]
        is_new = target >= n_old
        at_old, at_new = (
            torch.where(is_new, *pair)[:, None] for pair in ((0, target), (target - n_old, 0))
        )
        chosen = torch.where(is_new, new.gather(1, at_new)[:, 0], old.gather(1, at_old)[:, 0])
        old.sub_(most).exp_()
        new = new.sub_(most).exp_()
        norm = old.sum(dim=1) + new.sum(dim=1)
        losses[here] = norm.log() + most[:, 0] - chosen
        if not wants_slopes:
            continue
        taken = (weight * scale)[:, None]
        old.mul_(taken / norm[:, None])
        new.mul_(taken / norm[:, None])
        old.scatter_add_(1, at_old, torch.where(is_new[:, None], 0.0, -taken))
        new.scatter_add_(1, at_new, torch.where(is_new[:, None], -taken, 0.0))
        old, new = old.to(kind), new.to(kind)
        torch.mm(old, head_VD, out=state_slope[here])
        state_slope[here] += new @ rows
        row_slope += (new.t() @ state).float()
    if not wants_slopes:
        return (losses,)
    return losses, state_slope, row_slope.to(rows_ND.dtype)
