"""What a training leaves, fuzzed: PEFT's folders of an adapter, and files of rows."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

import fuzzing
from fuzzed import Reader, Shown
from raw_tensors import Tensor, encode, tensor_bytes, write_safetensors
from tiny import HEAD_DIM, HEADS, D, Tiny
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import RecipeError, TokengraftError
from tokengraft.flow.ports import matrix_port, values_port
from tokengraft.formats.adapters import CONFIG, WEIGHTS, read_adapter
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.formats.row_file import RowFile, open_rows
from tokengraft.low_rank import AddLowRank
from tokengraft.planning import Ports, plan
from tokengraft.planning.adapter_rows import adapter_rows
from tokengraft.planning.draft import Draft, NewRow
from tokengraft.planning.low_rank import LowRankPlan, plan_low_rank
from tokengraft.plans import RemapRows, Stored
from tokengraft.tensors import TensorRef
from tokengraft.vocabulary import TokenId

N_EXPERTS, N_INNER, RANK = 2, 6, 2
BASE = Tiny(dtype="F32", layers=2)
FIRST = BASE.n_tokens()
ADD = '[[add]]\ntext = "<|a|>"\ninit = "mean"\n[[add]]\ntext = "<|b|>"\ninit = "mean"\n'
ROWS = f'version = 1\n{ADD}[rows]\nvalues = "rows.safetensors"\n'
SETTINGS: dict[str, Any] = {
    "peft_type": "LORA",
    "r": RANK,
    "lora_alpha": 4,
    "bias": "none",
    "use_rslora": False,
    "target_modules": ["q_proj", "o_proj"],
    "target_parameters": ["mlp.experts.gate_up_proj"],
    "rank_pattern": {"o_proj": 2},
    "alpha_pattern": {"layers.0.self_attn.q_proj": 3, "^model.layers.1.mlp.experts": 7},
    "trainable_token_indices": {"embed_tokens": [FIRST, FIRST + 1]},
    "modules_to_save": ["lm_head"],
    "base_model_name_or_path": "org/base",
    "task_type": "CAUSAL_LM",
}
BLOCK = "base_model.model.model.layers"


def trained(folder: Path) -> dict[str, Reader]:
    """Both formats, on one small base."""
    base = BASE.build(folder / "trained")
    return {"adapter": _adapter(load(base), folder), "row file": _rows(load(base), folder)}


# ── adapters ─────────────────────────────────────────────────────────────────────────────────────


def _adapter(checkpoint: Checkpoint, folder: Path) -> Reader:
    place = folder / "adapter"
    place.mkdir()
    base = _with_experts(checkpoint)
    draft = _draft(checkpoint)
    write_safetensors(place / WEIGHTS, _factors(checkpoint.root))
    honest = {CONFIG: json.dumps(SETTINGS).encode(), WEIGHTS: (place / WEIGHTS).read_bytes()}
    cases = {
        CONFIG: fuzzing.of_json([SETTINGS]),
        WEIGHTS: fuzzing.of_safetensors([honest[WEIGHTS]]),
    }
    reader = Reader(bytes, bool)

    def make(random: Any) -> bytes:
        name = random.choice(sorted(cases))
        return name.encode() + b"\0" + cases[name](random)

    def read(data: bytes) -> None:
        name, _, changed = data.partition(b"\0")
        for file, text in (honest | {name.decode(): changed}).items():
            (place / file).write_bytes(text)
        library = _library_reads(place / WEIGHTS)
        try:
            found = read_adapter(place)
        except TokengraftError:
            if library is not None and name.decode() == WEIGHTS:
                reader.add("refused though the library reads it")
            raise
        assert library is not None, changed
        assert library == {n: (list(r.shape), found.raw(n)) for n, r in found.tensors.items()}
        planned = plan_low_rank(base, found)
        rows = adapter_rows(draft, found, matrix_port(checkpoint))
        fits = not planned.problems and not rows.problems
        reader.add("adapters that fit" if fits else "adapters that do not fit")
        assert all(problem.what for problem in planned.problems)
        assert all(rows.problems)
        _can_be_added(base, planned)
        if rows.file is not None:
            _are_its_own(rows.file, library)

    reader.make, reader.read = make, read
    read(CONFIG.encode() + b"\0" + honest[CONFIG])
    assert reader.counts == {"adapters that fit": 1}
    reader.counts.clear()
    return reader


def _are_its_own(rows: RowFile, library: dict[str, tuple[list[int], bytes]]) -> None:
    """Rows are taken bit for bit out of a tensor of the adapter, and go to new tokens alone."""
    assert set(rows.tokens) <= {"<|a|>", "<|b|>"}
    for matrix in rows.rows.values():
        data = matrix.raw(0, len(rows.tokens))
        size = len(data) // len(rows.tokens)
        cut = [data[at : at + size] for at in range(0, len(data), size)]
        assert any(all(row in theirs for row in cut) for _, theirs in library.values())


def _library_reads(path: Path) -> dict[str, tuple[list[int], bytes]] | None:
    try:
        found = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return None
    return {name: (tensor["shape"], bytes(tensor["data"])) for name, tensor in found}


def _can_be_added(base: Checkpoint, planned: LowRankPlan) -> None:
    """Every update fits its tensor, and its factors have the bytes that they announce."""
    assert base.tensors is not None
    for edit in planned.edits:
        assert AddLowRank.model_validate_json(edit.model_dump_json()) == edit
        assert math.isfinite(edit.scale)
        ref = base.tensors.tensors[edit.tensor]
        a, b = planned.factors[edit.a], planned.factors[edit.b]
        for factor in (a, b):
            assert len(factor.data()) == factor.size_bytes
        n_rows = math.prod(ref.shape[:-1])
        first, last = edit.slice or (0, n_rows)
        assert 0 <= first < last <= n_rows
        sum_ = (b.shape[0], a.shape[1])
        assert a.shape[0] == b.shape[1] > 0
        assert (last - first, ref.shape[-1]) == (sum_[::-1] if edit.transpose else sum_)


def _factors(base: Path) -> dict[str, Tensor]:
    """Of plain modules, of experts apart, of a stack of experts; rows of tokens, and a whole matrix."""
    n_heads = HEADS * HEAD_DIM
    shapes = {
        "0.self_attn.q_proj": (RANK, D, n_heads),
        "1.self_attn.o_proj": (RANK, n_heads, D),
        "0.mlp.experts": (N_EXPERTS * RANK, D, 2 * N_INNER),
        "1.mlp.experts": (N_EXPERTS * RANK, D, 2 * N_INNER),
    }
    found: dict[str, Tensor] = {}
    for name, (rank, n_in, n_out) in shapes.items():
        for side, shape in (("A", (rank, n_in)), ("B", (n_out, rank))):
            dtype = "BF16" if side == "A" else "F32"
            values = np.linspace(-1, 1, math.prod(shape), dtype=np.float32)
            found[f"{BLOCK}.{name}.lora_{side}.weight"] = (dtype, shape, encode(values, dtype))
    delta = np.linspace(-1, 1, 2 * D, dtype=np.float32)
    chosen = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
    found[chosen] = ("F32", (2, D), encode(delta, "F32"))
    head = tensor_bytes(base)["lm_head.weight"]
    found["base_model.model.lm_head.weight"] = head
    return found


def _draft(checkpoint: Checkpoint) -> Draft:
    """Two tokens that are added behind the last one."""
    assert checkpoint.tokenizer is not None
    new = tuple(NewRow(TokenId(FIRST + n), t, "mean") for n, t in enumerate(("<|a|>", "<|b|>")))
    tokenizer = checkpoint.tokenizer
    return Draft(checkpoint=checkpoint, tokenizer=tokenizer, added=tokenizer.added, new_rows=new)


def _with_experts(checkpoint: Checkpoint) -> Checkpoint:
    """The base with experts beside its own tensors; planning reads shapes alone."""
    assert checkpoint.tensors is not None
    file = next(iter(checkpoint.tensors.tensors.values())).file
    shapes: dict[str, tuple[int, ...]] = {
        "model.layers.1.mlp.experts.gate_up_proj": (N_EXPERTS, 2 * N_INNER, D),
        "model.layers.1.mlp.experts.down_proj": (N_EXPERTS, D, N_INNER),
    }
    for expert in range(N_EXPERTS):
        place = f"model.layers.0.mlp.experts.{expert}"
        shapes |= {f"{place}.{part}_proj.weight": (N_INNER, D) for part in ("gate", "up")}
        shapes[f"{place}.down_proj.weight"] = (D, N_INNER)
    more = {
        name: TensorRef(name, "BF16", shape, file, 0, 2 * math.prod(shape))
        for name, shape in shapes.items()
    }
    tensors = {**checkpoint.tensors.tensors, **more}
    return replace(checkpoint, tensors=replace(checkpoint.tensors, tensors=tensors))


# ── rows made elsewhere ──────────────────────────────────────────────────────────────────────────


def _rows(checkpoint: Checkpoint, folder: Path) -> Reader:
    path = folder / "rows.safetensors"
    show = Shown()
    wish, _ = parse_recipe(ROWS)
    seeds = [
        _row_file(path, ["<|a|>", "<|b|>"], ("input", "output"), "F32"),
        _row_file(path, ["<|b|>", "<|a|>"], ("input", "output"), "BF16"),
        _row_file(path, ["<|b|>"], ("output",), "F16"),
    ]
    reader = Reader(fuzzing.of_safetensors(seeds), bool)

    def read(data: bytes) -> None:
        path.write_bytes(data)
        library = _library_reads(path)
        with ExitStack() as opened:
            found = open_rows(path, opened)
            assert library is not None, data
            assert library == {
                part: (list(rows.ref.shape), rows.raw(0, len(found.tokens)))
                for part, rows in found.rows.items()
            }
            ports = Ports(
                lambda texts: [[0] for _ in texts],
                lambda name: name,
                values=values_port(folder, opened),
            )
            try:
                planned = plan(checkpoint, wish, text=ROWS, tool="fuzz", ports=ports)
            except RecipeError:
                reader.add("rows that do not fit")
                return
        reader.add("rows that fit")
        show(planned.plan)
        _as_given(planned, found.tokens, library)

    reader.read = read
    for seed in seeds:
        read(seed)
    assert reader.counts == {"rows that fit": len(seeds)}
    reader.counts.clear()
    return reader


def _row_file(path: Path, tokens: list[str], parts: tuple[str, ...], dtype: str) -> bytes:
    shape = (len(tokens), D)
    values = np.linspace(-1, 1, math.prod(shape), dtype=np.float32)
    write_safetensors(path, {part: (dtype, shape, encode(values, dtype)) for part in parts})
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = {"tokens": json.dumps(tokens)}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _as_given(
    planned: Any, tokens: tuple[str, ...], library: dict[str, tuple[list[int], bytes]]
) -> None:
    """The plan writes the file's own numbers, each row to its token."""
    ids = {token.text: token.id for token in planned.plan.tokens}
    n_stored = 0
    for edit in planned.plan.edits:
        if not isinstance(edit, RemapRows):
            continue
        part = "output" if "lm_head" in edit.tensor else "input"
        for source in edit.rows:
            if isinstance(source, Stored):
                n_stored += 1
                row = np.asarray(planned.values[edit.tensor][source.index])
                assert np.isfinite(row).all()
        if part in library:
            values = np.asarray(planned.values[edit.tensor])
            assert values.shape == (len(tokens), D)
            if len(library[part][1]) == values.nbytes and values.dtype == np.float32:
                assert values.tobytes() == library[part][1]
    assert n_stored == len(library) * len(tokens)
    assert set(tokens) <= set(ids)
