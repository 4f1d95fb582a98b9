"""What a row is trained to do, as a loss for each place behind its token.

`states`: the states behind the token come near those behind the pieces, by plain distance or by what
the difference does to predictions (the Fisher information at that layer).
`predictions`: the predictions behind the token come near those behind the pieces, in nats.

Shapes: P places, D width, V old rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.partial_passes import FINAL, Aligned, layers_of
from tokengraft.training.states import NOBODY

Values = NDArray[np.float64]
Ids = NDArray[np.int64]

# (states to imitate [P, D], states found [P, D], id left out [P]) -> losses [P]
PlaceLoss = Callable[[Any, Any, Ids], Any]

_LOGITS_AT_ONCE = 1 << 22  # numbers: 16 MB of float32, which stay in a CPU's caches between uses
_FLOOR = 1e-4  # of the mean sensitivity, so that no direction is free


def plain_loss(spread: float) -> PlaceLoss:
    """Squared distance, as a share of how far states are spread."""

    def loss(told_PD: Any, found_PD: Any, _: Ids) -> Any:
        return (found_PD - told_PD).square().sum(dim=-1) / spread

    return loss


def fisher_loss(fisher_DD: Values, device: Any) -> PlaceLoss:
    """Second-order KL: half of d' F d, in nats."""
    import torch

    values, vectors = np.linalg.eigh(fisher_DD)
    raised = np.maximum(values, 0.0) + _FLOOR * max(float(values.mean()), 1e-300)
    root = torch.from_numpy((vectors * np.sqrt(raised)).astype(np.float32)).to(device)

    def loss(told_PD: Any, found_PD: Any, _: Ids) -> Any:
        return ((found_PD - told_PD) @ root).square().sum(dim=-1) / 2

    return loss


def predictions_loss(model: LanguageModel) -> PlaceLoss:
    """KL from the predictions after the pieces to those after the token, over old ids, in nats.

    Logits are made for some places at a time, with their gradient, and dropped: what is kept has the
    size of the states.
    """
    import torch

    class Kl(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, found_PD: Any, told_PD: Any, without_P: Ids) -> Any:
            losses, slopes = [], []
            step = max(1, _LOGITS_AT_ONCE // model.n_rows)
            for first in range(0, len(found_PD), step):
                here = slice(first, first + step)
                with torch.enable_grad():
                    state = found_PD[here].detach().requires_grad_()
                    kl = divergence(model, told_PD[here], state, without_P[here])
                    (slope,) = torch.autograd.grad(kl.sum(), state)
                losses.append(kl.detach())
                slopes.append(slope)
            ctx.save_for_backward(torch.cat(slopes))
            return torch.cat(losses)

        @staticmethod
        def backward(ctx: Any, given_P: Any) -> Any:
            (slope_PD,) = ctx.saved_tensors
            return given_P[:, None] * slope_PD, None, None

    def loss(told_PD: Any, found_PD: Any, without_P: Ids) -> Any:
        return Kl.apply(found_PD, told_PD, without_P)

    return loss


def divergence(model: LanguageModel, told_PD: Any, found_PD: Any, without_P: Ids) -> Any:
    """KL [P] from predictions in some states to those in others, over old ids but one."""
    import torch

    kind = model.head.weight.dtype
    with torch.no_grad():
        told = model.logits(told_PD.to(kind)).float()
    found = model.logits(found_PD.to(kind)).float()
    rows = np.flatnonzero(without_P != NOBODY)
    if len(rows):
        gone = torch.zeros(told.shape, dtype=torch.bool, device=told.device)
        gone[torch.from_numpy(rows), torch.from_numpy(without_P[rows])] = True
        # Finite, so that 0 times it is 0 and not NaN.
        told, found = told.masked_fill(gone, -1e4), found.masked_fill(gone, -1e4)
    logs_t, logs_s = torch.log_softmax(told, dim=-1), torch.log_softmax(found, dim=-1)
    return (logs_t.exp() * (logs_t - logs_s)).sum(dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """How predictions answer to states of a layer: sum of g g' [D, D], and how many g."""

    sum_DD: Values
    count: int


def sensitivity(
    model: LanguageModel, group: Aligned, layers: Sequence[int], seed: int
) -> Sequence[Sensitivity]:
    """Fisher information of all later predictions about the states of each layer, at compared places.

    The labels are drawn from the model's own predictions, so that the mean of g g' is the Fisher
    information: one pass, one backward pass to the first of the layers, and no matrix but the answer.
    """
    import torch

    device = model.device
    ids = torch.from_numpy(np.concatenate([group.before_WP, group.pieces_WT], axis=1)).to(device)
    n_before = group.before_WP.shape[1]
    places = torch.from_numpy(group.places_WS).to(device) + n_before
    exists = torch.from_numpy(group.exists_WS).to(device)
    mask = torch.cat(
        [
            torch.from_numpy(group.is_there_WP.astype(np.int64)),
            torch.ones(group.pieces_WT.shape, dtype=torch.int64),
        ],
        dim=1,
    ).to(device)
    with torch.enable_grad():
        states, final = _from_layers(model, ids, mask, layers)
        chosen = final.gather(1, places[..., None].expand(-1, -1, final.shape[2]))[exists]
        slopes = torch.autograd.grad(_drawn_nll(model, chosen, seed), states)
    found = []
    for slope in slopes:
        at = slope.gather(1, places[..., None].expand(-1, -1, slope.shape[2]))[exists].double()
        found.append(Sensitivity((at.T @ at).cpu().numpy(), len(at)))
    return found


def _from_layers(
    model: LanguageModel, ids: Any, mask: Any, layers: Sequence[int]
) -> tuple[Sequence[Any], Any]:
    """States of each layer, the first one as a leaf, and the final states that follow from them."""
    import torch

    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    found: dict[int, Any] = {}

    def watch(layer: int) -> Callable[..., Any]:
        def reached(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
            state = given[0] if given else named["hidden_states"]
            if not found:
                state = state.detach().requires_grad_()
            found[layer] = state
            if given:
                return (state, *given[1:]), named
            return given, {**named, "hidden_states": state}

        return reached

    hooks = [
        layers_of(model)[layer].register_forward_pre_hook(watch(layer), with_kwargs=True)
        for layer in layers
        if layer != FINAL
    ]
    try:
        with torch.set_grad_enabled(bool(hooks)):
            final = model.network.base_model(
                inputs_embeds=model.embed(ids),
                attention_mask=mask,
                position_ids=positions,
                use_cache=False,
            ).last_hidden_state
    finally:
        for hook in hooks:
            hook.remove()
    if not hooks:
        final = final.detach().requires_grad_()
    if FINAL in layers:
        found[FINAL] = final
    return [found[layer] for layer in layers], final


def _drawn_nll(model: LanguageModel, final_PD: Any, seed: int) -> Any:
    """NLL of labels that are drawn from the predictions; logits of a few places at a time."""
    import torch
    from torch.utils.checkpoint import checkpoint

    generator = torch.Generator(device=final_PD.device).manual_seed(seed)
    step = max(1, _LOGITS_AT_ONCE // model.n_rows)

    def part(state: Any, label: Any) -> Any:
        logs = torch.log_softmax(model.logits(state).float(), dim=-1)
        return -logs.gather(1, label[:, None]).sum()

    total = final_PD.new_zeros((), dtype=torch.float32)
    for first in range(0, len(final_PD), step):
        state = final_PD[first : first + step]
        with torch.no_grad():
            chances = torch.softmax(model.logits(state).float(), dim=-1)
            label = torch.multinomial(chances, 1, generator=generator)[:, 0]
        total = total + checkpoint(part, state, label, use_reentrant=False)
    return total
