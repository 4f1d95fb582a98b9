"""The model to fine-tune: loaded frozen, with new rows and, if asked for, low-rank factors to train.

Both matrices' rows are trained by PEFT's `trainable_token_indices`, so that checkpoints, engines
that shard, and folders that plain PEFT loads come with it. It is told to PEFT as a LoRA adapter even
where there is no factor: TRL takes log-probabilities from `lm_head.weight`, which a LoRA adapter's
wrapper gives with its trained rows, while an adapter of PEFT's own kind for tokens is refused there.
"""

from __future__ import annotations

from typing import Any

from tokengraft.training.language_model import text_config
from tokengraft.training.sft_settings import NotTrainable, Settings

ADAPTER = "default"
ROWS = "trainable_tokens_delta"
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "c_attn", "query_key_value")


def load_frozen(settings: Settings, *, on_cpu: bool) -> Any:
    """Load the staged folder, in float32 on a CPU, else in bfloat16 (or four bits)."""
    import torch
    from transformers import AutoModelForCausalLM

    more: dict[str, Any] = {}
    if settings.wish.quantize:
        from transformers import BitsAndBytesConfig

        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    model = AutoModelForCausalLM.from_pretrained(
        settings.staged,
        dtype=torch.float32 if on_cpu else torch.bfloat16,
        local_files_only=True,
        trust_remote_code=False,
        **more,
    )
    model.config.use_cache = False
    return model.requires_grad_(requires_grad=False)


def is_tied(model: Any) -> bool:
    """Whether input and output embeddings are one matrix, by memory and not by config."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None:
        raise NotTrainable(
            "the model has no output matrix",
            detail=f"{type(model).__name__} writes no tokens",
            hint="fine-tune a causal language model",
        )
    return bool(
        head.weight is embedding.weight or head.weight.data_ptr() == embedding.weight.data_ptr()
    )


def adapter_config(model: Any, settings: Settings) -> Any:
    """What PEFT is told: rows of both matrices, and modules for factors where they are wanted."""
    from peft import LoraConfig
    from peft.utils.constants import DUMMY_TARGET_MODULES

    wish, ids = settings.wish, list(settings.ids)
    names = matrix_names(model)
    rows = {names["input"]: ids} if is_tied(model) else dict.fromkeys(names.values(), ids)
    common: dict[str, Any] = {
        "task_type": "CAUSAL_LM",
        "trainable_token_indices": rows,
        "base_model_name_or_path": settings.base,
    }
    if wish.method == "rows":
        return LoraConfig(target_modules=DUMMY_TARGET_MODULES, r=1, **common)
    parameters = _experts(model) if wish.experts else []
    return LoraConfig(
        target_modules=_targets(model, settings),
        target_parameters=parameters or None,
        r=wish.rank,
        lora_alpha=wish.alpha or 2 * wish.rank,
        lora_dropout=0.0 if parameters else wish.dropout,  # PEFT has none for parameters
        **common,
    )


def matrix_names(model: Any) -> dict[str, str]:
    """The names of the modules with the two matrices, as `input` and `output`."""
    return {
        "input": _name(model, model.get_input_embeddings()),
        "output": _name(model, model.get_output_embeddings()),
    }


def _name(model: Any, module: Any) -> str:
    return str(next(name for name, found in model.named_modules() if found is module))


def _targets(model: Any, settings: Settings) -> list[str]:
    """The last parts of names of modules that get factors; never the two matrices of tokens."""
    wanted = settings.wish.targets
    head = model.get_output_embeddings()
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if hasattr(module, "in_features") and module is not head
    } | {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if type(module).__name__ == "Conv1D"
    }
    if wanted == "all-linear":
        found = linear
    elif wanted == "attention":
        found = linear & set(_ATTENTION)
    else:
        found = set(wanted) & linear
        if unknown := sorted(set(wanted) - linear):
            raise NotTrainable(
                f"no module is called {', '.join(unknown)}",
                detail="linear modules of this model: " + ", ".join(sorted(linear)),
                subject="train.sft.targets",
                hint="targets = 'all-linear' takes all of them",
            )
    if not found:
        raise NotTrainable(
            "no module of this model can get a low-rank adapter",
            detail="linear modules of this model: " + ", ".join(sorted(linear)),
            subject="train.sft.targets",
            hint="name modules in targets, or train with method = 'rows'",
        )
    return sorted(found)


def _experts(model: Any) -> list[str]:
    """Parameters that hold all experts of a layer, by the last parts of their names."""
    found = {
        ".".join(name.split(".")[-2:])
        for name, parameter in model.named_parameters()
        if parameter.ndim == 3 and "experts" in name  # noqa: PLR2004 - experts, outputs, inputs
    }
    if not found:
        raise NotTrainable(
            "the model keeps no experts in tensors of their own",
            detail=f"{text_config(model.config).model_type} as it is loaded here",
            subject="train.sft.experts",
            hint="leave experts out, or name their linear modules in targets",
        )
    return sorted(found)


def set_rows(model: Any, rows: dict[str, Any]) -> dict[str, float]:
    """Start from these rows, unrounded and in float32.

    Args:
        model: with its adapter.
        rows: `input` and, where not tied, `output`, as tensors [N, D].
    Returns:
        The root mean square of each matrix's numbers, by the name of the parameter with its rows.
    """
    import torch

    head = model.get_output_embeddings()
    if not hasattr(
        head, "bias"
    ):  # TRL asks for it, and PEFT's wrapper of rows hands on weights alone
        head.bias = getattr(head.token_adapter.base_layer, "bias", None)
    sizes = {}
    for name, given in (
        ("input", model.get_input_embeddings()),
        ("output", model.get_output_embeddings()),
    ):
        if name not in rows:
            continue
        layer = given.token_adapter
        parameter = layer.trainable_tokens_delta[ADAPTER]
        with torch.no_grad():
            parameter.data = rows[name].to(parameter.device, torch.float32)
        weight = layer.base_layer.weight
        sizes[_parameter_name(model, parameter)] = float(weight.float().square().mean().sqrt())
    return sizes


def _parameter_name(model: Any, parameter: Any) -> str:
    return str(next(name for name, found in model.named_parameters() if found is parameter))
