"""Passes that compute only what a row can change: behind the token, and up to one layer.

What stands before a token is the same whatever its row is. Its keys and values are computed once, by the
pass that also gives the states to be imitated, and every later pass begins at the token. A pass that
is asked for layer k ends there: later layers, the final norm and the output matrix are not computed.

Shapes: W windows, P positions before the token (padded on the left), S from the token on, A places
whose states are compared, D width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.errors import UnsupportedFormat, UsageError
from tokengraft.recipes import Distillation
from tokengraft.training.language_model import LanguageModel, allowance, text_config
from tokengraft.training.windows import Windows

Ids = NDArray[np.int64]

FINAL = -1


class _Reached(Exception):
    """The last layer that is asked for is reached."""


def compared(wish: Distillation, model: LanguageModel) -> tuple[int, ...]:
    """The layers whose states are compared, from the first on; the last one of the model is `FINAL`.

    Raises:
        UsageError: the model has no such layer.
    """
    depths = wish.depths(model.n_layers)
    if depths[-1] > model.n_layers:
        raise UsageError(
            f"layer = {depths[-1]} is not there",
            detail=f"the model has {model.n_layers} layers",
            subject="train.distil.layer",
            hint="name a layer that is there, or leave layer out",
        )
    return tuple(FINAL if depth == model.n_layers else depth for depth in depths)


def layers_of(model: LanguageModel) -> Any:
    """The modules of the layers, in order.

    Raises:
        UnsupportedFormat: they are not one list.
    """
    import torch

    n = model.n_layers
    found = [
        module
        for module in model.network.base_model.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == n
    ]
    if not found:
        raise UnsupportedFormat(
            "the layers of the model are not one list",
            detail=f"{type(model.network).__name__} has no list of {n} modules",
            hint="distil at the last layer: layer = -1",
        )
    return found[0]


def states_after(
    model: LanguageModel, embeds_BTD: Any, layers: Sequence[int], **settings: Any
) -> tuple[Any, ...]:
    """States [B, T, D] after each of these layers; the pass ends at the last one of them.

    `FINAL` is what the output matrix reads, behind all others.
    """
    settings = {"use_cache": False, **settings}
    last = FINAL if FINAL in layers else max(layers)
    found: dict[int, Any] = {}

    def watch(layer: int) -> Callable[..., None]:
        def reached(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            found[layer] = given[0] if given else named["hidden_states"]
            if layer == last:
                raise _Reached

        return reached

    hooks = [
        layers_of(model)[layer].register_forward_pre_hook(watch(layer), with_kwargs=True)
        for layer in dict.fromkeys(layers)
        if layer != FINAL
    ]
    try:
        answer = model.network.base_model(inputs_embeds=embeds_BTD, **settings)
        found[FINAL] = answer.last_hidden_state
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(found[layer] for layer in layers)


@contextlib.contextmanager
def recomputing(model: LanguageModel) -> Iterator[None]:
    """Keep the states between layers alone and compute the rest again for gradients.

    Only the layers' own modules are told that they train, so that nothing inside them drops out.
    """
    layers, network = layers_of(model), model.network
    # Newer transformers call it activation checkpointing, older ones know the other name alone.
    kind = "activation" if hasattr(network, "activation_checkpointing_enable") else "gradient"
    how = {f"{kind}_checkpointing_kwargs": {"use_reentrant": False}}
    getattr(network, f"{kind}_checkpointing_enable")(**how)
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        getattr(network, f"{kind}_checkpointing_disable")()
        for layer in layers:
            layer.training = False


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """Windows shifted so that their phrases begin in one column, P.

    Attributes:
        before_WP: what stands before the phrase, padded on the left; `is_there_WP` says where.
        pieces_WT: the phrase as pieces and what follows, padded on the right.
        merged_WS: the new id and what follows.
        last_W: column of the phrase's last piece in `pieces_WT`.
        next_WS: what follows each place of `merged_WS`.
        exists_WS: places that are compared: there, and with a successor.
    """

    before_WP: Ids
    is_there_WP: NDArray[np.bool_]
    pieces_WT: Ids
    merged_WS: Ids
    next_WS: Ids
    last_W: Ids
    exists_WS: NDArray[np.bool_]

    @property
    def places_WS(self) -> Ids:
        """Columns of `pieces_WT` that are compared."""
        columns = self.last_W[:, None] + np.arange(self.merged_WS.shape[1])[None]
        return np.asarray(np.minimum(columns, self.pieces_WT.shape[1] - 1))


def aligned(windows: Windows, n_rows: int) -> Aligned:
    """Put windows side by side at their phrases."""
    n = len(windows)
    before = int(windows.at_W.max(initial=0))
    columns = np.arange(before)[None] - (before - windows.at_W[:, None])
    there = columns >= 0
    before_WP = np.where(
        there, np.take_along_axis(windows.ids_WT, np.maximum(columns, 0), axis=1), 0
    )
    rest = windows.length_W - windows.at_W
    pieces = np.zeros((n, int((windows.n_pieces_W + windows.after).max(initial=1))), np.int64)
    at = windows.at_W[:, None] + np.arange(pieces.shape[1])[None]
    inside = np.arange(pieces.shape[1])[None] < rest[:, None]
    most = windows.ids_WT.shape[1] - 1
    pieces = np.where(inside, np.take_along_axis(windows.ids_WT, np.minimum(at, most), axis=1), 0)
    last = windows.n_pieces_W - 1
    following = last[:, None] + np.arange(windows.after)[None]
    merged, behind = (
        np.take_along_axis(pieces, np.minimum(places, pieces.shape[1] - 1), axis=1)
        for places in (following, following + 1)
    )
    merged[:, 0] = n_rows + windows.token_W
    exists = following + 1 < rest[:, None]
    merged = np.where(following < rest[:, None], merged, 0)
    return Aligned(before_WP, there, pieces, merged, behind, last, exists)


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """Keys and values of what stands before the tokens of a group of windows.

    Attributes:
        layers: pairs of tensors [W, heads, P, width of a head].
        is_there_WP: a tensor of 0 and 1.
    """

    layers: tuple[tuple[Any, Any], ...]
    is_there_WP: Any

    def cache(self, model: LanguageModel) -> Any:
        """As the model takes it; a plain layer's tensors are not copied until something is added."""
        from transformers import DynamicCache

        cache = DynamicCache(config=text_config(model.network.config))
        for number, (keys, values) in enumerate(self.layers):
            layer = cache.layers[number]
            if layer.is_sliding:
                cache.update(keys, values, number)
            else:
                layer.lazy_initialization(keys, values)
                layer.keys, layer.values = keys, values
        return cache


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What one pass over a group of windows as pieces shows.

    Attributes:
        told_LWSD: the states to imitate, of each layer that is compared.
        past: None where nobody asks, there is nothing before the tokens, or the model keeps no keys.
        before_WPD: states before the tokens, of the last layer that was computed; None where nobody asks.
    """

    told_LWSD: Any
    past: Past | None
    before_WPD: Any


def taught(
    model: LanguageModel,
    group: Aligned,
    layers: Sequence[int],
    last: int | None = None,
    *,
    has_past: bool = True,
    has_before: bool = False,
) -> Taught:
    """One pass over the windows as pieces, to the last of these layers or to a later one, `last`."""
    import torch

    device = model.device
    ids = torch.from_numpy(np.concatenate([group.before_WP, group.pieces_WT], axis=1)).to(device)
    mask = _mask(group.is_there_WP, group.pieces_WT.shape[1], device)
    n_before = group.before_WP.shape[1]
    with torch.inference_mode(mode=False), torch.no_grad():
        cache = _new_cache(model) if has_past else None
        states = states_after(
            model,
            model.embed(ids),
            (*layers, layers[-1] if last is None else last),
            attention_mask=mask,
            position_ids=_positions(mask, ids.shape[1]),
            past_key_values=cache,
            use_cache=cache is not None,
        )
        at = torch.from_numpy(group.places_WS).to(device) + n_before
        at = at[..., None].expand(-1, -1, states[0].shape[2])
        told = torch.stack([one.gather(1, at) for one in states[:-1]])
        before = states[-1][:, :n_before].clone() if has_before else None
        return Taught(told, _past(cache, mask, n_before), before)


def _new_cache(model: LanguageModel) -> Any:
    from transformers import DynamicCache

    try:
        return DynamicCache(config=text_config(model.network.config))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _past(cache: Any, mask: Any, n_before: int) -> Past | None:
    if cache is None or not n_before:
        return None
    layers = []
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None or not keys.numel():
            break  # layers that were not reached
        if keys.shape[-2] != mask.shape[1]:
            return None  # a layer that forgets has no past to begin with
        layers.append(
            (keys[..., :n_before, :].contiguous(), values[..., :n_before, :].contiguous())
        )
    return Past(tuple(layers), mask[:, :n_before].contiguous()) if layers else None


def read_behind(
    model: LanguageModel, group: Aligned, past: Past | None, rows_ND: Any, layers: Sequence[int]
) -> tuple[Any, ...]:
    """States [W, S, D] of each layer from the token on, with these rows; gradients reach the rows alone."""
    import torch

    device = model.device
    merged = torch.from_numpy(group.merged_WS).to(device)
    if past is None:
        before = torch.from_numpy(group.before_WP).to(device)
        ids = torch.cat([before, merged], dim=1)
        mask = _mask(group.is_there_WP, merged.shape[1], device)
        states = states_after(
            model,
            model.embed(ids, rows_ND),
            layers,
            attention_mask=mask,
            position_ids=_positions(mask, ids.shape[1]),
        )
        return tuple(one[:, before.shape[1] :] for one in states)
    ones = torch.ones(merged.shape, dtype=past.is_there_WP.dtype, device=device)
    mask = torch.cat([past.is_there_WP, ones], dim=1)
    return states_after(
        model,
        model.embed(merged, rows_ND),
        layers,
        attention_mask=mask,
        position_ids=_positions(mask, merged.shape[1]),
        past_key_values=past.cache(model),
        use_cache=True,
    )


def is_shared_safely(
    model: LanguageModel, group: Aligned, past: Past, rows_ND: Any, layer: int
) -> bool:
    """Whether passes that begin at the token give what whole ones give, for this model."""
    import torch

    with torch.no_grad():
        try:
            (shared,) = read_behind(model, group, past, rows_ND, (layer,))
        except (AttributeError, IndexError, TypeError, ValueError, RuntimeError):
            return False
        (whole,) = read_behind(model, group, None, rows_ND, (layer,))
    exists = group.exists_WS
    one, other = (states.float().cpu().numpy()[exists] for states in (shared, whole))
    return is_near(model, one, other)


def is_near(model: LanguageModel, one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether states are the same but for rounding in the model's type."""
    allowed = allowance(model.embedding.weight.dtype) * max(1e-6, float(np.abs(other).max()))
    return bool(np.abs(one - other).max() <= allowed)


def _mask(is_there_WP: NDArray[np.bool_], n_after: int, device: Any) -> Any:
    import torch

    there = torch.from_numpy(is_there_WP.astype(np.int64))
    after = torch.ones((len(there), n_after), dtype=torch.int64)
    return torch.cat([there, after], dim=1).to(device)


def _positions(mask: Any, n: int) -> Any:
    """Places in the text of the last n columns: padding on the left takes none."""
    return (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -n:]
