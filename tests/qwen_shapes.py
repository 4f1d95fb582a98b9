"""Qwen3-30B-A3B with its real small files, real vocabulary axis, and little else.

The 151,936 rows are all there; hidden size, layers and experts are small, so that a test can
afford it. transformers loads the result.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from raw_tensors import encode

V = 151_936  # rows of both matrices
N_TOKENS = 151_669  # tokens of the instruct sister; the rows behind them are spare
BLOCK_ROWS = 16_384
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
Shapes = dict[str, tuple[int, ...]]


def build_qwen3_base(
    folder: Path,
    data: Path,
    *,
    hidden: int = 64,
    shards: int = 4,
    tied: bool = False,
    layers: int = 2,
    seed: int = 0,
    source: str = "qwen3-30b-a3b-base",
) -> Path:
    """Write the checkpoint and return its folder.

    Args:
        folder: made if missing.
        data: the folder of real files (the fixture `data`).
        hidden: the hidden size; both matrices are bfloat16, 304 kB a column of theirs.
        shards: 1 is a single file without an index; otherwise input rows lie in the first shard,
            output rows in the last, layers in between (in the first too if there are two).
        tied: no `lm_head.weight`.
        layers: transformer layers of four experts each.
        seed: of all weights.
        source: which folder of `<data>/tokenizers`; `qwen3-30b-a3b` is the instruct sister.
    """
    folder.mkdir(parents=True, exist_ok=True)
    small = data / "tokenizers" / source
    for path in sorted(small.iterdir()):
        if path.name not in ("SOURCE.txt", "model.safetensors.index.json"):
            shutil.copyfile(path, folder / path.name)
    _shrink_config(folder / "config.json", hidden=hidden, tied=tied, layers=layers)
    shapes = tensor_shapes(hidden=hidden, tied=tied, layers=layers)
    where = _assign(shapes, shards)
    for at, file in enumerate(sorted(set(where.values()))):
        part = {name: shape for name, shape in shapes.items() if where[name] == file}
        _write_shard(folder / file, part, seed=seed * 1000 + at)
    if shards > 1:
        total = sum(2 * int(np.prod(shape)) for shape in shapes.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
        text = json.dumps(index, indent=2) + "\n"
        (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    return folder


def tensor_shapes(*, hidden: int, tied: bool, layers: int) -> Shapes:
    """Names and shapes in the model's own order."""
    shapes: Shapes = {EMBED: (V, hidden)}
    for layer in range(layers):
        own: Shapes = {
            "self_attn.q_proj": (64, hidden),
            "self_attn.k_proj": (32, hidden),
            "self_attn.v_proj": (32, hidden),
            "self_attn.o_proj": (hidden, 64),
            "self_attn.q_norm": (16,),
            "self_attn.k_norm": (16,),
            "mlp.gate": (4, hidden),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }
        for expert in range(4):
            own[f"mlp.experts.{expert}.gate_proj"] = (32, hidden)
            own[f"mlp.experts.{expert}.up_proj"] = (32, hidden)
            own[f"mlp.experts.{expert}.down_proj"] = (hidden, 32)
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in own.items()}
    shapes["model.norm.weight"] = (hidden,)
    if not tied:
        shapes[HEAD] = (V, hidden)
    return shapes


def _shrink_config(path: Path, *, hidden: int, tied: bool, layers: int) -> None:
    """Replace numbers in the text, so that the rest of the file keeps its bytes."""
    text = path.read_bytes().decode()
    for key, old, new in (
        ("head_dim", "128", "16"),
        ("hidden_size", "2048", str(hidden)),
        ("intermediate_size", "6144", "64"),
        ("moe_intermediate_size", "768", "32"),
        ("num_attention_heads", "32", "4"),
        ("num_experts", "128", "4"),
        ("num_experts_per_tok", "8", "2"),
        ("num_hidden_layers", "48", str(layers)),
        ("num_key_value_heads", "4", "2"),
        ("tie_word_embeddings", "false", "true" if tied else "false"),
    ):
        assert text.count(f'"{key}": {old}') == 1, key
        text = text.replace(f'"{key}": {old}', f'"{key}": {new}')
    path.write_bytes(text.encode())


def _assign(shapes: Mapping[str, tuple[int, ...]], shards: int) -> dict[str, str]:
    """Give each tensor a file: the input rows the first, what follows the layers the last."""
    if shards == 1:
        return dict.fromkeys(shapes, "model.safetensors")
    inner = [name for name in shapes if name.startswith("model.layers.")]
    first, middle = (0, 1) if shards == 2 else (1, shards - 2)
    number = {name: first + at * middle // len(inner) for at, name in enumerate(inner)}
    files = [f"model-{n + 1:05d}-of-{shards:05d}.safetensors" for n in range(shards)]
    return {name: files[0 if name == EMBED else number.get(name, shards - 1)] for name in shapes}


def _write_shard(path: Path, shapes: Mapping[str, tuple[int, ...]], *, seed: int) -> None:
    """Write one file, sorted by name as the library does for a single dtype, block by block."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in sorted(shapes):
        end = at + 2 * int(np.prod(shapes[name]))
        header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(shapes):
            file.writelines(_values(rng, shapes[name]))


def _values(rng: np.random.Generator, shape: tuple[int, ...]) -> Iterator[bytes]:
    """Random bfloat16; spare rows are a hundred times smaller, as rows that never trained are."""
    for start in range(0, shape[0], BLOCK_ROWS):
        n_rows = min(BLOCK_ROWS, shape[0] - start)
        block = rng.standard_normal((n_rows, *shape[1:]), dtype=np.float32)
        block *= np.float32(0.02)
        if shape[0] == V:
            block[max(0, N_TOKENS - start) :] *= np.float32(0.01)
        yield encode(block, "BF16")
