"""The model itself: its shape, a faster expert forward pass, the optimizer and the loss."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional
from transformers import PreTrainedModel, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

import tiny_files as files
from tiny_data import IGNORE

SHAPE = {
    "hidden": 96,
    "layers": 4,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 32,
    "experts": 8,
    "expert": 80,
}


def sorted_experts(
    self: Qwen3MoeExperts, x: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """The forward pass of the experts, with one gather and one scatter for all of them.

    The library's loop gathers per expert, and its backward pass fills a whole weight tensor with
    zeros for each expert, which costs time on a CPU.
    """
    order = torch.argsort(chosen.reshape(-1), stable=True)
    token = order // chosen.shape[1]
    counts = torch.bincount(chosen.reshape(-1), minlength=self.num_experts).tolist()
    inputs = x.index_select(0, token).split(counts)
    gates, downs = self.gate_up_proj.unbind(0), self.down_proj.unbind(0)
    parts = []
    for part, gate_up, down in zip(inputs, gates, downs, strict=True):
        gate, up = functional.linear(part, gate_up).chunk(2, dim=-1)
        parts.append(functional.linear(functional.silu(gate) * up, down))
    scaled = torch.cat(parts) * weights.reshape(-1).index_select(0, order)[:, None]
    return torch.zeros_like(x).index_add_(0, token, scaled)


def use_sorted_experts(model: PreTrainedModel) -> None:
    """Switch to `sorted_experts` after checking that it gives the library's result."""
    model.set_experts_implementation("eager")
    ids = torch.arange(64, device=model.device)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        Qwen3MoeExperts.forward = sorted_experts
        if not torch.allclose(model(input_ids=ids).logits, expected, atol=1e-5):
            raise SystemExit("the faster expert forward pass differs from the library's")


def new_model(device: str) -> PreTrainedModel:
    """A fresh model; input rows of tokens that never occur stay as they are drawn here."""
    values = files.config(SHAPE, chat=False)
    for key in ("architectures", "torch_dtype", "transformers_version", "model_type"):
        values.pop(key)
    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**values)).float().to(device)
    use_sorted_experts(model)
    return model


def saved_model(folder: Path, device: str) -> PreTrainedModel:
    """A model read back from its folder, rounding included, to be trained further in float32."""
    model = Qwen3MoeForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
    use_sorted_experts(model)
    return model


def optimizer_for(model: torch.nn.Module, peak: float) -> torch.optim.AdamW:
    """AdamW; no decay on embeddings and norms, so that rows never seen are not changed by it."""
    decay, plain = [], []
    for name, value in model.named_parameters():
        matrix = value.dim() > 1 and "embed_tokens" not in name and "lm_head" not in name
        (decay if matrix else plain).append(value)
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.95), eps=1e-8)


def loss_of(
    model: PreTrainedModel, ids: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy on the marked tokens and the router's balance loss."""
    hidden = model.model(input_ids=ids[:, :-1], output_router_logits=True, use_cache=False)
    targets = labels[:, 1:]
    keep = targets != IGNORE
    logits = model.lm_head(hidden.last_hidden_state[keep])
    balance = logits.new_zeros(())
    for gate in hidden.router_logits:
        share = gate.float().softmax(-1)
        used = functional.one_hot(share.topk(2, -1).indices, share.shape[-1]).sum(1).float()
        balance = balance + share.shape[-1] * (used.mean(0) * share.mean(0)).sum()
    return functional.cross_entropy(logits.float(), targets[keep]), balance
