"""Build small tied models, give each a second matrix by hand, and look at what loads.

Usage: python ask_apart.py JOBS.json ANSWERS.json, with a Python that has torch and transformers 4 or 5.
A job is {"model_type": T, "reads": NAME, "writes": NAME, "home": FOLDER}. One row of the second matrix
differs, so that an answer tells which matrix wrote it.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

Job = dict[str, Any]
V, D, ODD = 128, 32, 100
WEIGHTS = "model.safetensors"
# What config classes call their sizes; each model takes the keys that it has.
SMALL = {
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "time_step_rank"), 4),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "rotary_dim"), 4),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "word_embed_proj_dim"), D),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff"), 2 * D),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_key_value_heads"), 2),
    **dict.fromkeys(("max_position_embeddings", "max_seq_len", "n_positions"), 64),
    "vocab_size": V,
    "head_dim": 8,
    "state_size": 8,
    "moe_intermediate_size": 16,
    "num_experts_per_tok": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WITHOUT_HEAD_DIM = ("opt", "gpt2", "falcon", "mpt", "bloom")
SEEN = {"image_size": 28, "patch_size": 14, "num_attention_heads": 4, "num_hidden_layers": 1}
SEEN |= {"hidden_size": D, "intermediate_size": 2 * D, "projection_dim": D}
# Models that see: (class, vision model, language model).
SEEING = {
    "gemma3": ("Gemma3", "siglip_vision_model", "gemma3_text"),
    "paligemma": ("PaliGemma", "siglip_vision_model", "gemma"),
    "llava": ("Llava", "clip_vision_model", "llama"),
}


def main(jobs: str, answers: str) -> None:
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    found = [apart(job) for job in json.loads(Path(jobs).read_text(encoding="utf-8"))]
    Path(answers).write_text(json.dumps(found), encoding="utf-8")


def sizes(model_type: str) -> Job:
    default = transformers.AutoConfig.for_model(model_type)
    found = {key: value for key, value in SMALL.items() if hasattr(default, key)}
    if model_type in WITHOUT_HEAD_DIM:
        found.pop("head_dim", None)
    return found


def built(model_type: str) -> Any:
    """A small tied model with rows that differ from each other."""
    torch.manual_seed(0)
    if model_type in SEEING:
        name, vision, text = SEEING[model_type]
        language = {"model_type": text, **sizes(text), "tie_word_embeddings": True}
        more = {"mm_tokens_per_image": 4} if name == "Gemma3" else {"projection_dim": D}
        config = getattr(transformers, f"{name}Config")(
            text_config=language,
            vision_config={"model_type": vision, **SEEN},
            tie_word_embeddings=True,
            **(more if name != "Llava" else {"image_token_index": V - 1}),
        )
        model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    else:
        config = transformers.AutoConfig.for_model(
            model_type, **sizes(model_type), tie_word_embeddings=True
        )
        model = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.float().eval()


def apart(job: Job) -> Job:
    home, model = Path(job["home"]), built(job["model_type"])
    base, out, again = (home / name for name in ("base", "out", "again"))
    model.save_pretrained(base)
    shutil.copytree(base, out)
    tensors = load_file(base / WEIGHTS)
    if job["reads"].startswith("model.language_model."):  # as transformers 5 names them in memory
        tensors = {in_memory(name): tensor for name, tensor in tensors.items()}
    reads = tensors[job["reads"]]
    there = job["writes"] in tensors
    assert torch.equal(reads, model.get_input_embeddings().weight)
    writes = reads.clone()
    writes[ODD] += 1.0
    save_file({**tensors, job["writes"]: writes}, out / WEIGHTS, metadata={"format": "pt"})
    config = json.loads((out / "config.json").read_text())
    for level in (config, config.get("text_config")):
        if level is not None:
            level["tie_word_embeddings"] = False
    (out / "config.json").write_text(json.dumps(config))
    twin, told = type(model).from_pretrained(out, output_loading_info=True)
    twin = twin.float().eval()
    twin.save_pretrained(again)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    before, after = (m(input_ids=ids, use_cache=False).logits[..., :V] for m in (model, twin))
    old = torch.arange(V) != ODD
    saved = load_file(again / WEIGHTS)
    shutil.rmtree(home)
    return {
        "stored_once": not there,
        "same": torch.equal(before[..., old], after[..., old]),
        "writes_by_it": not torch.equal(before[..., ODD], after[..., ODD]),
        "reads_by_the_other": torch.equal(twin.get_input_embeddings().weight, reads),
        "missing": sorted(told["missing_keys"]),
        "unexpected": sorted(told["unexpected_keys"]),
        "kept": any(torch.equal(tensor, writes) for tensor in saved.values()),
    }


def in_memory(name: str) -> str:
    for here, there in (
        ("language_model.model.", "model.language_model."),
        ("vision_tower.", "model.vision_tower."),
        ("multi_modal_projector.", "model.multi_modal_projector."),
    ):
        if name.startswith(here):
            return there + name.removeprefix(here)
    return name


if __name__ == "__main__":
    main(*sys.argv[1:3])
