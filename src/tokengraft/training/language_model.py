"""A causal language model whose rows are in reach: look-up, hidden states, logits.

Everything between the two matrices runs in the model's own modules. What this file does itself is
the look-up (so that new rows can stand beside old ones) and the last product (so that new rows can
be written), and both are compared with the model before anything is trusted: a family that does
more is refused, with what differs.

Shapes: V old rows, N new rows, D width, B sequences, T positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.errors import MissingExtra, UnsupportedFormat

Ids = NDArray[np.int64]
Singles = NDArray[np.float32]
Values = NDArray[np.float64]

BATCH_POSITIONS = 4096  # positions of a forward pass: small models stay in a CPU's caches
_ROUNDED, _ROUGH = 1e-3, 5e-2  # the latter where numbers have 8 or 11 bits
_FINAL = -1


@dataclass(frozen=True, slots=True)
class Written:
    """From the product of an output row and a hidden state to a logit.

    `logit = cap(scale * (u . h) + bias)`, `cap(z) = limit * tanh(z / limit)` where there is a limit.

    Attributes:
        scale: what products are multiplied with (Cohere's `logit_scale`, 1 / Granite's
            `logits_scaling`).
        limit: of soft-capping (Gemma 2); None without.
        bias_V: of the output matrix; None without. A new row has the bias 0.
    """

    scale: float = 1.0
    limit: float | None = None
    bias_V: Singles | None = None

    def logits(self, products: Values) -> Values:
        """Logits of new rows, whose bias is 0."""
        scaled = products * self.scale
        return (
            scaled if self.limit is None else np.asarray(self.limit * np.tanh(scaled / self.limit))
        )

    def products(self, logits: Values) -> Values:
        """The products that give these logits; what soft-capping cannot reach is cut to 0.999 of it."""
        if self.limit is None:
            return logits / self.scale
        reached = np.clip(logits / self.limit, -0.999, 0.999)
        return np.asarray(self.limit * np.arctanh(reached) / self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class LanguageModel:
    """A model in evaluation mode, in float32 unless it was loaded otherwise.

    Attributes:
        network: the transformers model.
        embedding, head: its two matrices' modules.
        tied: whether they are one matrix, by memory and not by config.
        written: from products to logits.
        embed_scale: what the look-up multiplies rows with inside the embedding module (Gemma).
    """

    network: Any
    embedding: Any
    head: Any
    tied: bool
    written: Written
    embed_scale: float

    @property
    def device(self) -> Any:
        return self.embedding.weight.device

    @property
    def n_rows(self) -> int:
        return int(self.embedding.weight.shape[0])

    @property
    def width(self) -> int:
        return int(self.embedding.weight.shape[1])

    @property
    def n_layers(self) -> int:
        return int(text_config(self.network.config).num_hidden_layers)

    def input_VD(self) -> Singles:
        """Input rows, as stored (without the look-up's scale)."""
        return _array(self.embedding.weight)

    def output_VD(self) -> Singles:
        """Output rows, as stored."""
        return _array(self.head.weight)

    def output_row(self, old_id: int) -> Singles:
        """One of them [D]."""
        return _array(self.head.weight[old_id])

    def embed(self, ids_BT: Any, new_ND: Any | None = None) -> Any:
        """Look ids up; id `n_rows + i` is row i of `new_ND`. A tensor [B, T, D] on the model's device."""
        import torch

        ids_BT = ids_BT.to(self.device)
        is_new = ids_BT >= self.n_rows
        looked_up = self.embedding(torch.where(is_new, 0, ids_BT))
        if new_ND is None:
            assert not bool(is_new.any()), "new ids without new rows"
            return looked_up
        rows = new_ND.to(self.device)[torch.where(is_new, ids_BT - self.n_rows, 0)]
        rows = rows * self.embed_scale
        return torch.where(is_new[..., None], rows.to(looked_up.dtype), looked_up)

    def hidden(
        self, ids_BT: Any, new_ND: Any | None = None, layers: Sequence[int] = (_FINAL,)
    ) -> tuple[Any, ...]:
        """Hidden states after these layers; -1 is what the output matrix reads. Tensors [B, T, D]."""
        wants_all = tuple(layers) != (_FINAL,)
        answer = self.network.base_model(
            inputs_embeds=self.embed(ids_BT, new_ND),
            use_cache=False,
            output_hidden_states=wants_all,
        )
        return tuple(
            answer.last_hidden_state if layer == _FINAL else answer.hidden_states[layer]
            for layer in layers
        )

    def logits(self, hidden: Any) -> Any:
        """Logits of the old rows, as the model itself gives them; a tensor [..., V] on its device."""
        import torch

        weight = self.head.weight
        scaled = self.head(hidden.to(device=weight.device, dtype=weight.dtype)) * self.written.scale
        limit = self.written.limit
        return scaled if limit is None else limit * torch.tanh(scaled / limit)

    def batches(self, n: int, length: int) -> Iterator[slice]:
        """Slices of n sequences of this length that make one forward pass each."""
        size = max(1, BATCH_POSITIONS // max(1, length))
        for first in range(0, n, size):
            yield slice(first, min(n, first + size))


def load_model(folder: Path, dtype: str = "float32", device: str = "cpu") -> LanguageModel:
    """Load a checkpoint folder.

    Raises:
        MissingExtra: torch or transformers are not installed.
        UnsupportedFormat: the model cannot be used with rows beside its own; says what differs.
    """
    try:
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise MissingExtra(
            "fitting rows needs torch and transformers",
            detail=str(error),
            hint="pip install 'tokengraft[train]'",
        ) from error
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # progress is told by events
    network = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), local_files_only=True, trust_remote_code=False
    )
    return language_model(network.to(device))


def language_model(network: Any) -> LanguageModel:
    """Take a transformers model, after a comparison of its logits with those computed here.

    Raises:
        UnsupportedFormat: as `load_model`.
    """
    network.eval().requires_grad_(requires_grad=False)
    embedding, head = network.get_input_embeddings(), network.get_output_embeddings()
    if head is None or embedding is None:
        raise UnsupportedFormat(
            "the model has no output matrix",
            detail=f"{type(network).__name__} writes no tokens",
            hint="fit rows on a causal language model",
        )
    found = LanguageModel(
        network=network,
        embedding=embedding,
        head=head,
        tied=embedding.weight.data_ptr() == head.weight.data_ptr(),
        written=written_of(network),
        embed_scale=float(getattr(embedding, "scalar_embed_scale", None) or _scale_of(embedding)),
    )
    _compare(found)
    return found


def written_of(network: Any) -> Written:
    """How a transformers model comes from products to logits, as its config says."""
    config, bias = (
        text_config(network.config),
        getattr(network.get_output_embeddings(), "bias", None),
    )
    divided = getattr(config, "logits_scaling", None)
    return Written(
        scale=float(getattr(config, "logit_scale", None) or 1.0) / float(divided or 1.0),
        limit=getattr(config, "final_logit_softcapping", None),
        bias_V=None if bias is None else _array(bias),
    )


def text_config(config: Any) -> Any:
    """The part of a config that speaks of text, where a model holds several."""
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _scale_of(embedding: Any) -> float:
    scale = getattr(embedding, "embed_scale", None)
    return 1.0 if scale is None else float(scale)


def _compare(ours: LanguageModel) -> None:
    """Compare logits on a few ids, old rows handed in as new ones among them."""
    import torch

    n = min(24, ours.n_rows)
    ids = torch.linspace(0, ours.n_rows - 1, n).long()[None].to(ours.device)
    with torch.no_grad():
        expected = ours.network(input_ids=ids, use_cache=False).logits.float()
        as_new = ids.clone()
        as_new[0, ::2] = ours.n_rows + torch.arange(len(ids[0, ::2]), device=ours.device)
        try:
            (hidden,) = ours.hidden(as_new, ours.embedding.weight[ids[0, ::2]])
            found = ours.logits(hidden).float()
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise UnsupportedFormat(
                "the model takes no rows beside its own",
                detail=f"{type(ours.network).__name__}: {error}",
                hint="initialise the rows instead: tokengraft plan with an `init`",
            ) from error
    largest = float(expected.abs().max())
    apart = (
        float("inf")
        if found.shape != expected.shape
        else float((found - expected).abs().max()) / max(largest, 1e-6)
    )
    if not apart <= allowance(ours.head.weight.dtype):
        raise UnsupportedFormat(
            "the model does more with its rows than is known here",
            detail=f"{type(ours.network).__name__}: logits computed from its rows differ by "
            f"{apart:.2g} of the largest logit",
            hint="initialise the rows instead: tokengraft plan with an `init`",
        )


def allowance(dtype: Any) -> float:
    """How far the same numbers may be apart after another order of operations, by the largest."""
    import torch

    return _ROUGH if torch.finfo(dtype).bits < 32 else _ROUNDED  # noqa: PLR2004 - of a number


def _array(tensor: Any) -> Singles:
    values: Singles = tensor.detach().float().cpu().numpy()
    return values
