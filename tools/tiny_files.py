"""Tokenizer and folder writing for the tiny model: the file layout of a Qwen3-MoE checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

BPE_SIZE = 4000
ROWS = 4096
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
PLAIN = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
]
ADDED = SPECIAL + PLAIN
IN_BASE_FILE = 22
ENDOFTEXT, IM_START, IM_END = BPE_SIZE, BPE_SIZE + 1, BPE_SIZE + 2
THINK, THINK_END = BPE_SIZE + ADDED.index("<think>"), BPE_SIZE + ADDED.index("</think>")

CHAT_TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- 'You may call the functions listed here, one JSON object per line.\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' + (tool | tojson) }}
    {%- endfor %}
    {{- '\\n</tools>\\nA call looks like this:\\n' }}
    {{- '<tool_call>\\n{"name": NAME, "arguments": {KEY: VALUE}}\\n</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- set text = message.content if message.content is string else '' %}
    {%- if message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + text + '\\n</tool_response><|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if message.reasoning_content is string %}
            {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- text }}
        {%- for tool_call in message.tool_calls or [] %}
            {%- set call = tool_call.function or tool_call %}
            {{- '\\n' if text or not loop.first else '' }}
            {{- '<tool_call>\\n{"name": "' + call.name + '", "arguments": ' }}
            {{- call.arguments if call.arguments is string else call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'user' or not loop.first %}
        {{- '<|im_start|>' + message.role + '\\n' + text + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is true %}
        {{- '<think>\\n' }}
    {%- elif enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""


def learn_bpe(texts: Iterable[str]) -> dict[str, Any]:
    """Learn the byte-level BPE; returns its vocabulary and merges."""
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=BPE_SIZE,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tok.train_from_iterator(texts, trainer)
    model = json.loads(tok.to_str())["model"]
    if len(model["vocab"]) != BPE_SIZE:
        raise SystemExit(f"the text is too poor: only {len(model['vocab'])} tokens")
    merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    return {"vocab": model["vocab"], "merges": merges}


def added(index: int, *, with_id: bool) -> dict[str, Any]:
    """One added token as tokenizer.json (with id) or tokenizer_config.json wants it."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    special = index < len(SPECIAL)
    if with_id:
        return {"id": BPE_SIZE + index, "content": ADDED[index], **flags, "special": special}
    return {"content": ADDED[index], **dict(sorted(flags.items())), "special": special}


def tokenizer_json(bpe: dict[str, Any], *, chat: bool) -> dict[str, Any]:
    """tokenizer.json; the base variant is the older dialect and lacks the last four tokens."""
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    split = {
        "type": "Split",
        "pattern": {"Regex": PATTERN},
        "behavior": "Isolated",
        "invert": False,
    }
    model: dict[str, Any] = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
    }
    if chat:
        model["ignore_merges"] = False
    model["vocab"] = bpe["vocab"]
    model["merges"] = bpe["merges"] if chat else [" ".join(pair) for pair in bpe["merges"]]
    count = len(ADDED) if chat else IN_BASE_FILE
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(i, with_id=True) for i in range(count)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": level,
        "decoder": level,
        "model": model,
    }


def write_json(path: Path, value: object, indent: int | None = 2) -> None:
    """Write JSON as the reference checkpoints do: UTF-8, not ASCII-escaped."""
    separators = None if indent else (",", ":")
    path.write_text(
        json.dumps(value, indent=indent, separators=separators, ensure_ascii=False),
        encoding="utf-8",
    )


def write_tokenizer(folder: Path, bpe: dict[str, Any], *, chat: bool) -> None:
    """Write the four tokenizer files of one variant."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "tokenizer.json", tokenizer_json(bpe, chat=chat))
    write_json(folder / "vocab.json", bpe["vocab"], indent=None)
    rows = ["#version: 0.2", *(" ".join(pair) for pair in bpe["merges"])]
    (folder / "merges.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": {
                str(BPE_SIZE + i): added(i, with_id=False) for i in range(len(ADDED))
            },
            "additional_special_tokens": SPECIAL[1:],
            "bos_token": None,
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>" if chat else "<|endoftext|>",
            "errors": "replace",
            "model_max_length": 2048,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )


def config(shape: dict[str, int], *, chat: bool) -> dict[str, Any]:
    """config.json in the dialect of transformers 4."""
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": ENDOFTEXT,
        "decoder_sparse_step": 1,
        "eos_token_id": IM_END if chat else ENDOFTEXT,
        "head_dim": shape["head_dim"],
        "hidden_act": "silu",
        "hidden_size": shape["hidden"],
        "initializer_range": 0.02,
        "intermediate_size": 3 * shape["hidden"],
        "max_position_embeddings": 512,
        "max_window_layers": shape["layers"],
        "mlp_only_layers": [],
        "model_type": "qwen3_moe",
        "moe_intermediate_size": shape["expert"],
        "norm_topk_prob": True,
        "num_attention_heads": shape["heads"],
        "num_experts": shape["experts"],
        "num_experts_per_tok": 2,
        "num_hidden_layers": shape["layers"],
        "num_key_value_heads": shape["kv_heads"],
        "output_router_logits": False,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "router_aux_loss_coef": 0.001,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": ROWS,
    }


def generation_config(*, chat: bool) -> dict[str, Any]:
    """generation_config.json: the base knows only the end of text, the chat also its turn end."""
    if chat:
        return {
            "bos_token_id": ENDOFTEXT,
            "do_sample": True,
            "eos_token_id": [IM_END, ENDOFTEXT],
            "pad_token_id": ENDOFTEXT,
            "temperature": 0.6,
            "top_k": 20,
            "top_p": 0.95,
            "transformers_version": "4.51.0",
        }
    return {
        "bos_token_id": ENDOFTEXT,
        "do_sample": False,
        "eos_token_id": ENDOFTEXT,
        "max_new_tokens": 256,
        "transformers_version": "4.37.0",
    }


def per_expert(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name the weights as on disk: one tensor per expert instead of the fused ones in memory."""
    out: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        head, dot, last = name.rpartition(".experts.")
        if not dot or last not in ("gate_up_proj", "down_proj"):
            out[name] = value
            continue
        for number, matrix in enumerate(value):
            prefix = f"{head}.experts.{number}"
            if last == "down_proj":
                out[f"{prefix}.down_proj.weight"] = matrix
            else:
                gate, up = matrix.chunk(2, dim=0)
                out[f"{prefix}.gate_proj.weight"], out[f"{prefix}.up_proj.weight"] = gate, up
    return {
        name: value.detach().to("cpu", torch.bfloat16).clone().contiguous()
        for name, value in out.items()
    }


def write_weights(folder: Path, state: dict[str, torch.Tensor], layers: int) -> None:
    """Write two shards and their index; the first half of the layers goes with the embedding."""
    tensors = per_expert(state)
    shards: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]] = ({}, {})
    for name, value in tensors.items():
        part = name.split(".")
        early = name == "model.embed_tokens.weight" or (
            part[1] == "layers" and int(part[2]) < layers // 2
        )
        shards[0 if early else 1][name] = value
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    size = sum(value.numel() * value.element_size() for value in tensors.values())
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))},
    )


def write_configs(folder: Path, shape: dict[str, int], *, chat: bool) -> None:
    """Write config.json and generation_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config(shape, chat=chat))
    write_json(
        folder / "generation_config.json", generation_config(chat=chat), indent=4 if chat else 2
    )
