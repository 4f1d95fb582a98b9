"""Attacks by what a training leaves: folders of adapters, and files of rows."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attacks.registry import Attack, Build
from attacks.weights import model
from tiny import HEAD_DIM, HEADS, D

Q = "base_model.model.model.layers.0.self_attn.q_proj"
A, B = f"{Q}.lora_A.weight", f"{Q}.lora_B.weight"
SHAPES: dict[str, list[int]] = {A: [2, D], B: [HEADS * HEAD_DIM, 2]}
DELTA = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
LORA: dict[str, Any] = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
ADD = '[[add]]\ntext = "<|a|>"\ninit = "mean"\n[[add]]\ntext = "<|b|>"\ninit = "mean"\n'
TOKENS = json.dumps(["<|a|>", "<|b|>"])


def _file(
    shapes: dict[str, list[int]],
    value: float = 0.5,
    metadata: dict[str, Any] | None = None,
    dtype: str = "F32",
) -> bytes:
    """A safetensors file in which every number is this one."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    at, size = 0, {"F32": 4, "U8": 1, "F8_E4M3": 1, "I64": 8}[dtype]
    for name, shape in shapes.items():
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [at, at := at + size * math.prod(shape)],
        }
    text = json.dumps(header).encode()
    data = struct.pack("<f", value) * (at // 4) if dtype == "F32" else bytes(at)
    return struct.pack("<Q", len(text)) + text + data


HONEST = _file(SHAPES)


def adapter(
    config: dict[str, Any] | bytes = LORA,
    weights: bytes | Callable[[Path], object] = HONEST,
    *,
    weights_name: str = WEIGHTS,
) -> Build:
    """Plan to bake this adapter."""

    def build(folder: Path) -> list[str]:
        model(folder)
        place = folder / "adapter"
        place.mkdir()
        text = config if isinstance(config, bytes) else json.dumps(config).encode()
        (place / CONFIG).write_bytes(text)
        if isinstance(weights, bytes):
            (place / weights_name).write_bytes(weights)
        else:
            weights(place / weights_name)
        return _planned(folder, '[lora]\nadapter = "adapter"\n')

    return build


def _planned(folder: Path, text: str) -> list[str]:
    (folder / "recipe.toml").write_text(f"version = 1\n{text}", encoding="utf-8")
    return ["plan", "model", "recipe.toml"]


def _sparse(size: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.write(struct.pack("<Q", 2) + b"{}")
            file.truncate(size)

    return make


def _named(text: str) -> Build:
    return lambda folder: (
        model(folder),
        _planned(folder, f"[lora]\nadapter = {json.dumps(text)}\n"),
    )[1]


ADAPTERS: dict[str, tuple[Build, int, str]] = {
    "a pickle": (adapter(weights=b"\x80\x04cos\nsystem\n(S'id'\ntR.", weights_name="adapter_model.bin"),
                 3, "UnsupportedFormat"),
    "a pickle by the name of weights": (adapter(weights=b"\x80\x04cos\nsystem\n(S'id'\ntR."), 3, ""),
    "settings that are a list": (adapter(b"[]"), 3, "MalformedFile"),
    "settings of 100,000 levels": (adapter(b'{"r":' + b"[" * 100_000), 3, "LimitExceeded"),
    "settings of five megabytes": (adapter(b" " * (5 << 20)), 3, "LimitExceeded"),
    "a setting twice": (adapter(b'{"peft_type":"LORA","peft_type":"IA3"}'), 3, "MalformedFile"),
    "NaN in the settings": (adapter(b'{"peft_type":"LORA","lora_alpha":NaN}'), 3, "MalformedFile"),
    "alpha of 10^400": (adapter(LORA | {"lora_alpha": 10**400}), 3, ""),
    "alpha of 10^308": (adapter(LORA | {"lora_alpha": 1e308}), 3, "MalformedFile"),
    "alpha that is a text": (adapter(LORA | {"lora_alpha": "4"}), 2, "RecipeError"),
    "a pattern that takes ages": (
        adapter(LORA | {"alpha_pattern": {"(a+)+$": 1, "(.*a){30}": 2}}), 2, "RecipeError"),
    "100,000 patterns": (
        adapter(LORA | {"alpha_pattern": {f"layer{n}": n for n in range(100_000)}}), 0, ""),
    "code to be run": (
        adapter(LORA | {"auto_mapping": {"parent_library": "evil", "base_model_class": "os.system"}}),
        0, ""),
    "a setting that nobody knows": (adapter(LORA | {"run": "id"}), 2, "RecipeError"),
    "a setting that a terminal obeys": (adapter(LORA | {"\x1b[2J\u202e": "id"}), 2, "RecipeError"),
    "another base whose name a terminal obeys": (
        adapter(LORA | {"base_model_name_or_path": "\x1b]0;owned\x07"}), 0, ""),
    "factors that are NaN": (adapter(weights=_file(SHAPES, math.nan)), 3, "MalformedFile"),
    "factors that are infinite": (adapter(weights=_file(SHAPES, -math.inf)), 3, "MalformedFile"),
    "factors that are far too large": (adapter(weights=_file(SHAPES, 3e38)), 3, "MalformedFile"),
    "factors of whole numbers": (adapter(weights=_file(SHAPES, dtype="I64")), 2, "RecipeError"),
    "factors of no rank": (adapter(weights=_file({A: [0, D], B: [D, 0]})), 2, "RecipeError"),
    "a rank of 2^60": (adapter(weights=_file({A: [2**60, 0], B: [0, 2**60]})), 2, "RecipeError"),
    "factors of three axes": (adapter(weights=_file({A: [2, D, 1], B: [D, 2, 1]})), 2, "RecipeError"),
    "a factor that is missing": (adapter(weights=_file({A: [2, D]})), 2, "RecipeError"),
    "a factor twice": (
        adapter(weights=_file(SHAPES | {f"{Q}.lora_A.default.weight": [2, D]})), 2, "RecipeError"),
    "a module that leads out": (
        adapter(weights=_file({n.replace("model.layers", "../../etc"): s for n, s in SHAPES.items()})),
        2, "RecipeError"),
    "every row of the embeddings": (
        adapter(weights=_file({f"base_model.model.model.embed_tokens.lora_{side}.weight": shape
                               for side, shape in (("A", [2, D]), ("B", [320, 2]))})),
        2, "RecipeError"),
    "a tensor that is no factor": (adapter(weights=_file(SHAPES | {"evil": [1]})), 2, "RecipeError"),
    "no tensors": (adapter(weights=_file({})), 2, "RecipeError"),
    "30,000 modules": (
        adapter(weights=_file({f"{Q}{n}.lora_A.weight": [0, 0] for n in range(30_000)}, dtype="U8")),
        2, "RecipeError"),
    "rows of tokens at 2^60": (
        adapter(LORA | {"trainable_token_indices": [2**60]}, _file(SHAPES | {DELTA: [1, D]})),
        2, "RecipeError"),
    "rows of tokens below nought": (
        adapter(LORA | {"trainable_token_indices": [-1]}, _file(SHAPES | {DELTA: [1, D]})),
        2, "RecipeError"),
    "a row of an old token": (
        adapter(LORA | {"trainable_token_indices": [5]}, _file(SHAPES | {DELTA: [1, D]})),
        2, "RecipeError"),
    "rows of a million tokens": (
        adapter(LORA | {"trainable_token_indices": list(range(10**6))}, _file(SHAPES | {DELTA: [0, D]})),
        3, "LimitExceeded"),
    "a million rows of no width": (
        adapter(LORA | {"modules_to_save": ["lm_head"]},
                _file(SHAPES | {"base_model.model.lm_head.weight": [10**6, 0]})), 2, "RecipeError"),
    "every old row": (
        adapter(LORA | {"modules_to_save": ["lm_head"]},
                _file(SHAPES | {"base_model.model.lm_head.weight": [320, D]})), 2, "RecipeError"),
    "a module that a terminal obeys": (
        adapter(LORA | {"modules_to_save": ["\x1b[2J"]}), 2, "RecipeError"),
    "nine gigabytes": (adapter(weights=_sparse(9 << 30)), 3, "LimitExceeded"),
    "data that are missing": (adapter(weights=_file(SHAPES)[:-1]), 3, "MalformedFile"),
    "weights that are a pipe": (adapter(weights=os.mkfifo), 5, "ReadFailed"),
    "weights that are a device": (
        adapter(weights=lambda path: path.symlink_to("/dev/zero")), 5, "ReadFailed"),
    "a folder that is a device": (_named("/dev/zero"), 2, "RecipeError"),
    "a folder with NUL in its name": (_named("a\0b"), 2, "RecipeError"),
}  # fmt: skip


# ── rows made elsewhere ──────────────────────────────────────────────────────────────────────────


def rows(data: bytes | Callable[[Path], object]) -> Build:
    """Plan with this file of rows."""

    def build(folder: Path) -> list[str]:
        model(folder, dtype="F32")
        path = folder / "rows.safetensors"
        if isinstance(data, bytes):
            path.write_bytes(data)
        else:
            data(path)
        return _planned(folder, f'{ADD}[rows]\nvalues = "rows.safetensors"\n')

    return build


def _rows(tokens: str = TOKENS, value: float = 0.5, **shapes: list[int]) -> bytes:
    return _file(shapes or {"input": [2, D], "output": [2, D]}, value, {"tokens": tokens})


ROWS: dict[str, tuple[Build, int, str]] = {
    "no tokens": (rows(_rows("[]", input=[0, D])), 2, "RecipeError"),
    "no metadata": (rows(_file({"input": [2, D]})), 2, "RecipeError"),
    "tokens that are an object": (rows(_rows('{"a": 1}')), 2, "RecipeError"),
    "tokens that are numbers": (rows(_rows("[1, 2]")), 2, "RecipeError"),
    "tokens of 100,000 levels": (rows(_rows("[" * 100_000)), 2, "RecipeError"),
    "a token twice": (rows(_rows('["<|a|>", "<|a|>"]')), 2, "RecipeError"),
    "half a surrogate pair": (rows(_rows('["<|a|>", "\\ud800"]')), 2, "RecipeError"),
    "a token that a terminal obeys": (
        rows(_rows('["<|a|>", "\\u001b[2J\\u202e"]')), 2, "RecipeError"),
    "a token of a megabyte": (rows(_rows(json.dumps(["<|a|>", "x" * 2**20]))), 2, "RecipeError"),
    "a token of the base": (rows(_rows('["<|a|>", "<|im_end|>"]')), 2, "RecipeError"),
    "a million tokens": (
        rows(_file({"input": [10**6, 0]}, 0, {"tokens": json.dumps([f"{n}" for n in range(10**6)])})),
        2, "RecipeError"),
    "rows that are NaN": (rows(_rows(value=math.nan)), 2, "RecipeError"),
    "rows that are infinite": (rows(_rows(value=math.inf)), 2, "RecipeError"),
    "rows of no width": (rows(_rows(input=[2, 0])), 2, "RecipeError"),
    "rows of another width": (rows(_rows(input=[2, D + 1])), 2, "RecipeError"),
    "2^60 rows": (rows(_rows(input=[2**60, 0])), 2, "RecipeError"),
    "rows of whole numbers": (
        rows(_file({"input": [2, D]}, dtype="I64", metadata={"tokens": TOKENS})), 2, "RecipeError"),
    "rows of eight bits": (
        rows(_file({"input": [2, D]}, dtype="F8_E4M3", metadata={"tokens": TOKENS})),
        2, "RecipeError"),
    "a tensor too many": (rows(_rows(input=[2, D], evil=[2, D])), 2, "RecipeError"),
    "bytes that are missing": (rows(_rows()[:-1]), 2, "RecipeError"),
    "a pickle": (rows(b"\x80\x04cos\nsystem\n(S'id'\ntR."), 2, "RecipeError"),
    "five gigabytes": (rows(_sparse(5 << 30)), 2, "RecipeError"),
    "a pipe": (rows(os.mkfifo), 2, "RecipeError"),
    "a device": (rows(lambda path: path.symlink_to("/dev/zero")), 2, "RecipeError"),
}  # fmt: skip


def attacks() -> Iterator[Attack]:
    """All of them."""
    for kind, found in (("adapter", ADAPTERS), ("rows", ROWS)):
        for name, (build, code, expects) in found.items():
            yield Attack(f"{kind}: {name}", build, code, expects)
