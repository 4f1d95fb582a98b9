"""Lay out Qwen3-30B-A3B as it really is, in 61 GB of sparse files.

18,867 tensors in 16 shards, with the names, shapes, header bytes and shard borders of the published
model; the rows of both matrices are really written (1.2 GB), the experts are holes. Reads of a hole
are cheaper than real reads: a time measured on it is a time for everything *but* the experts.

    python benchmarks/sparse_30b.py OUT --small-files FOLDER [--rows zeros]
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

Shapes = dict[str, tuple[int, ...]]
Rows = Literal["random", "zeros"]

SHARD_BYTES = 4 * 10**9  # the border that the published shards were cut at
ITEM_BYTES = 2  # bfloat16 throughout
BLOCK_ROWS = 4096
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
INDEX = "model.safetensors.index.json"
CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "bos_token_id": 151643,
    "decoder_sparse_step": 1,
    "eos_token_id": 151643,
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 32768,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 768,
    "norm_topk_prob": True,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 151936,
}


@dataclass(frozen=True, slots=True)
class LaidOut:
    """What was made.

    Attributes:
        size_bytes: of all tensors, holes included.
        written_bytes: what really takes room, headers and rows.
    """

    folder: Path
    n_tensors: int
    n_shards: int
    size_bytes: int
    written_bytes: int
    seconds: float


def lay_out(
    folder: Path, *, small_files: Path | None = None, rows: Rows = "random", seed: int = 0
) -> LaidOut:
    """Write the checkpoint.

    Args:
        folder: made if missing; files in it are overwritten.
        small_files: a folder whose files other than weights, index and SOURCE.txt are copied; its
            config.json gives the sizes. Without it there is a config.json and no tokenizer.
        rows: `random` writes pseudo-random rows into both matrices, `zeros` leaves holes.
        seed: of the rows.
    """
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    config = _small_files(folder, small_files)
    shapes = tensor_shapes(config)
    where = assign_shards(shapes)
    written = 0
    for file in sorted(set(where.values())):
        part = {name: shape for name, shape in shapes.items() if where[name] == file}
        written += _write_shard(folder / file, part, rows=rows, seed=seed)
    size_bytes = ITEM_BYTES * sum(prod(shape) for shape in shapes.values())
    (folder / INDEX).write_text(index_text(where, size_bytes), encoding="utf-8", newline="\n")
    return LaidOut(
        folder=folder,
        n_tensors=len(shapes),
        n_shards=len(set(where.values())),
        size_bytes=size_bytes,
        written_bytes=written,
        seconds=time.perf_counter() - started,
    )


def tensor_shapes(config: Mapping[str, Any]) -> Shapes:
    """Names and shapes in the order in which the model registers them."""
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    shapes: Shapes = {EMBED: (vocab, hidden)}
    for layer in range(config["num_hidden_layers"]):
        own = _layer_shapes(config)
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in own.items()}
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes[HEAD] = (vocab, hidden)
    return shapes


def assign_shards(
    shapes: Mapping[str, tuple[int, ...]], limit: int = SHARD_BYTES
) -> dict[str, str]:
    """Fill one file after the other in the model's order, as `save_pretrained` does."""
    numbers: dict[str, int] = {}
    number, used = 1, 0
    for name, shape in shapes.items():
        size = ITEM_BYTES * prod(shape)
        if used and used + size > limit:
            number, used = number + 1, 0
        numbers[name] = number
        used += size
    return {name: f"model-{n:05d}-of-{number:05d}.safetensors" for name, n in numbers.items()}


def index_text(where: Mapping[str, str], size_bytes: int) -> str:
    """Write an index as the published one is written, to the byte."""
    index = {"metadata": {"total_size": size_bytes}, "weight_map": dict(sorted(where.items()))}
    return json.dumps(index, indent=2) + "\n"


def _layer_shapes(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["moe_intermediate_size"]
    q = config["num_attention_heads"] * config["head_dim"]
    kv = config["num_key_value_heads"] * config["head_dim"]
    shapes: Shapes = {
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "self_attn.q_norm": (config["head_dim"],),
        "self_attn.k_norm": (config["head_dim"],),
        "mlp.gate": (config["num_experts"], hidden),
    }
    for expert in range(config["num_experts"]):
        shapes[f"mlp.experts.{expert}.gate_proj"] = (inner, hidden)
        shapes[f"mlp.experts.{expert}.up_proj"] = (inner, hidden)
        shapes[f"mlp.experts.{expert}.down_proj"] = (hidden, inner)
    shapes["input_layernorm"] = (hidden,)
    shapes["post_attention_layernorm"] = (hidden,)
    return shapes


def _small_files(folder: Path, source: Path | None) -> Mapping[str, Any]:
    if source is None:
        text = json.dumps(CONFIG, indent=2) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
        return CONFIG
    for path in sorted(source.iterdir()):
        weights = path.suffix == ".safetensors" or path.name in (INDEX, "SOURCE.txt")
        if path.is_file() and not weights:
            shutil.copyfile(path, folder / path.name)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {**CONFIG, **config}


def _write_shard(path: Path, shapes: Shapes, *, rows: Rows, seed: int) -> int:
    """Write header and rows, leave the rest a hole; return the bytes that were written."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in sorted(shapes):  # the library sorts by dtype, then by name
        end = at + ITEM_BYTES * prod(shapes[name])
        header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    prefix = struct.pack("<Q", len(text)) + text
    written = len(prefix)
    with path.open("wb") as file:
        file.write(prefix)
        file.truncate(len(prefix) + at)
        for name in (EMBED, HEAD):
            if name in shapes and rows == "random":
                file.seek(len(prefix) + _begin(header[name]))
                written += _write_rows(file, shapes[name], seed=seed + (name == HEAD))
    return written


def _begin(entry: Any) -> int:  # noqa: ANN401  an entry of a safetensors header
    begin: int = entry["data_offsets"][0]
    return begin


def _write_rows(file: BinaryIO, shape: tuple[int, ...], *, seed: int) -> int:
    written = 0
    for block in _row_blocks(shape, seed=seed):
        written += file.write(block.data)
    return written


def _row_blocks(shape: tuple[int, ...], *, seed: int) -> Iterator[NDArray[np.uint16]]:
    """Pseudo-random bfloat16 rows of norm about one.

    Drawing 311 million normals takes longer than writing them, so every block is the first one with
    its columns rotated and its rows scaled: no two rows are equal.
    """
    n_rows, width = shape
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((min(BLOCK_ROWS, n_rows), width), dtype=np.float32)
    values *= np.float32(0.02)
    for start in range(0, n_rows, BLOCK_ROWS):
        n = min(BLOCK_ROWS, n_rows - start)
        scaled = values[:n] * np.float32(rng.uniform(0.8, 1.25))
        bits = np.roll(scaled, int(rng.integers(width)), axis=1).view(np.uint32)
        bits += np.uint32(0x8000)
        yield (bits >> np.uint32(16)).astype(np.uint16)


def main() -> None:
    """Parse the command line, lay out, say what was made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--small-files", type=Path, help="folder with config.json and a tokenizer")
    parser.add_argument("--rows", choices=("random", "zeros"), default="random")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    made = lay_out(args.out, small_files=args.small_files, rows=args.rows, seed=args.seed)
    print(
        f"{made.n_tensors:,} tensors in {made.n_shards} shards, {made.size_bytes:,} bytes, "
        f"{made.written_bytes:,} of them written, in {made.seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
