"""Rows that an adapter brings along, for the tokens that the recipe adds.

PEFT keeps them in two ways: chosen rows (`trainable_token_indices`), or whole matrices
(`modules_to_save`), of which old rows must be those of the base. They become values of the plan, as
a file of `[rows] values` does. Shapes: `N` rows, `D` elements a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tokengraft.checkpoint import JsonValue
from tokengraft.formats.adapters import Adapter
from tokengraft.formats.row_file import RowFile
from tokengraft.formats.rows import MemoryRows, narrow, widen
from tokengraft.layout import EmbeddingLayout, VocabTensor
from tokengraft.planning.draft import Draft
from tokengraft.planning.settling import OpenMatrix
from tokengraft.tensors import ROW_DTYPES, TensorRef

PREFIX = "base_model.model."
CHOSEN, WHOLE = "trainable_token_indices", "modules_to_save"
# `.weight` as save_pretrained writes it, the longer ones as a state dict of a running model has it.
_CHOSEN = re.compile(r"(.+)\.token_adapter\.trainable_tokens_delta(?:\.[A-Za-z0-9_-]+)?")
_WHOLE = re.compile(r"(.+?)(?:\.modules_to_save\.[A-Za-z0-9_-]+)?\.weight")
BLOCK_BYTES = 8 << 20
MATRIX = 2
SHOWN = 5  # ids that a refusal names


@dataclass(frozen=True, slots=True)
class AdapterRows:
    """The rows of an adapter, or why they cannot be used."""

    file: RowFile | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    """Rows by part and id, while tensor after tensor is read."""

    rows: dict[str, dict[int, bytes]] = field(default_factory=dict)
    kinds: dict[str, TensorRef] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def row_tensors(adapter: Adapter) -> dict[str, str]:
    """The tensors that hold rows, by name, each with the module whose rows they are."""
    found: dict[str, str] = {}
    saved = adapter.config.get(WHOLE)
    wholes = [one for one in saved if isinstance(one, str)] if isinstance(saved, list) else []
    for name in adapter.tensors:
        # An adapter may hold tens of thousands of factors, of which an expression need see none.
        if ".token_adapter." in name and (match := _CHOSEN.fullmatch(name)):
            found[name] = match.group(1).removeprefix(PREFIX)
        elif wholes and ".lora_" not in name and (match := _WHOLE.fullmatch(name)):
            module = match.group(1).removeprefix(PREFIX)
            if any(_is_named(module, one) for one in wholes):
                found[name] = module
    return found


def missing(adapter: Adapter, there: Mapping[str, str]) -> Iterator[str]:
    """What the settings promise of rows and the file does not hold; `there` is `row_tensors`."""
    chosen = [module for name, module in there.items() if _CHOSEN.fullmatch(name)]
    wholes = [module for name, module in there.items() if not _CHOSEN.fullmatch(name)]
    indices = adapter.config.get(CHOSEN)
    named = list(indices) if isinstance(indices, dict) else []
    if (indices and not chosen) or any(not _any_named(chosen, one) for one in named):
        yield f"{CHOSEN} is set, and the adapter holds no such rows"
    saved = adapter.config.get(WHOLE)
    for one in saved if isinstance(saved, list) else ():
        if not isinstance(one, str) or not _any_named(wholes, one):
            yield f"{WHOLE} names {one}, of which the adapter holds nothing"


def adapter_rows(draft: Draft, adapter: Adapter, matrix: OpenMatrix) -> AdapterRows:
    """Take the rows of new tokens out of an adapter; old ones must be what the base has.

    Args:
        matrix: opens a matrix of the base.
    """
    tensors = row_tensors(adapter)
    layout = draft.checkpoint.layout
    if not tensors or layout is None:
        return AdapterRows()
    found = _Found()
    new = {int(row.token_id): row.text for row in draft.new_rows}
    for name, module in sorted(tensors.items()):
        target = _target(layout, module)
        wrong = _misfit(adapter.tensors[name], target, module)
        if target is None or wrong:
            found.said.append(wrong)
        elif (ids := _ids(adapter, name, module, target, new, found)) is not None:
            is_output = target.part == "output" and not layout.tied
            owned = _Owned(adapter, name, ids, "output" if is_output else "input")
            _take(owned, target, new, matrix, found)
    if found.said:
        return AdapterRows(problems=tuple(found.said))
    return _as_file(adapter, new, found)


def _as_file(adapter: Adapter, new: Mapping[int, str], found: _Found) -> AdapterRows:
    rows = {part: by_id for part, by_id in found.rows.items() if by_id}
    if not rows:
        return AdapterRows(notes=(f"{adapter.name} holds no row of a token that the recipe adds",))
    ids = sorted(next(iter(rows.values())))
    for part, by_id in rows.items():
        if sorted(by_id) != ids:
            what = f"its rows for `{part}` are of other tokens than those for `{next(iter(rows))}`"
            return AdapterRows(problems=(what,))
    texts = adapter.token_texts()
    for token_id in ids:
        theirs = texts.get(token_id)
        if theirs is not None and theirs != new[token_id]:
            what = (
                f"id {token_id} is {theirs!r} in the adapter's tokenizer and {new[token_id]!r} here"
            )
            return AdapterRows(problems=(what,))
    file = RowFile(
        tuple(new[token_id] for token_id in ids),
        {part: _memory(part, found.kinds[part], ids, by_id) for part, by_id in rows.items()},
    )
    known = all(token_id in texts for token_id in ids)
    note = f"rows of {adapter.name} are matched by their ids: it has no tokenizer to compare with"
    return AdapterRows(file, notes=() if known else (note,))


def _memory(
    part: str, ref: TensorRef, ids: Sequence[int], by_id: Mapping[int, bytes]
) -> MemoryRows:
    data = b"".join(by_id[token_id] for token_id in ids)
    shape = (len(ids), ref.shape[1])
    return MemoryRows(data, TensorRef(part, ref.dtype, shape, ref.file, 0, len(data)))


# ── which matrix ─────────────────────────────────────────────────────────────────────────────────


def _is_named(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")


def _any_named(modules: Sequence[str], name: str) -> bool:
    return any(_is_named(module, name) for module in modules)


def _target(layout: EmbeddingLayout, module: str) -> VocabTensor | None:
    """The matrix of a module: by its name, else by its last part; a tied head is the embeddings."""
    matrices = [t for t in layout.tensors if t.part in ("input", "output") and t.axis == 0]
    exact = [t for t in matrices if t.name == f"{module}.weight"]
    last = module.rpartition(".")[2]
    alike = exact or [t for t in matrices if t.name.endswith(f".{last}.weight")]
    if not alike and layout.tied and last in ("lm_head", "embed_out"):
        alike = [t for t in matrices if t.part == "input"]
    return alike[0] if len(alike) == 1 else None


def _misfit(ref: TensorRef, target: VocabTensor | None, module: str) -> str:
    if target is None:
        return f"{module} is replaced, and it is no matrix with a row for each token"
    if len(ref.shape) != MATRIX or ref.shape[1] != target.width or not ref.shape[0]:
        return f"{ref.name} is {list(ref.shape)}, rows of {target.name} have {target.width} numbers"
    if ref.dtype not in ROW_DTYPES or not target.editable:
        return f"{ref.name} is {ref.dtype}, and cannot become rows of {target.name}"
    return ""


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Owned:
    """A tensor of an adapter with the ids whose rows it holds, in its order.

    Attributes:
        part: what its rows are to the plan; where one matrix reads and writes, its rows are `input`
            wherever they lie.
    """

    adapter: Adapter
    name: str
    ids: Sequence[int]
    part: Literal["input", "output"]

    def blocks(self) -> Iterator[tuple[bytes, Sequence[int]]]:
        """All rows, a few megabytes at a time, each block with the ids of its rows."""
        most = max(1, BLOCK_BYTES // self.adapter.tensors[self.name].row_bytes)
        for first in range(0, len(self.ids), most):
            ids = self.ids[first : first + most]
            yield self.adapter.raw_rows(self.name, first, len(ids)), ids


def _runs(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Places whose ids follow each other, as first place and count."""
    first = 0
    for at in range(1, len(ids) + 1):
        if at == len(ids) or ids[at] != ids[at - 1] + 1:
            yield first, at - first
            first = at


def _ids(
    adapter: Adapter,
    name: str,
    module: str,
    target: VocabTensor,
    new: Mapping[int, str],
    found: _Found,
) -> Sequence[int] | None:
    """Whose rows a tensor holds; None, and why it cannot be told, or must not be."""
    n_rows = adapter.tensors[name].shape[0]
    if not _CHOSEN.fullmatch(name):
        return range(n_rows)
    ids = _chosen_ids(adapter.config.get(CHOSEN), module)
    if ids is None or len(ids) != n_rows:
        found.said.append(f"{CHOSEN} does not say whose the {n_rows} rows of {name} are")
        return None
    found.said += [
        f"{name} has a row for id {token_id}, where the recipe adds no token"
        for token_id in ids
        if token_id >= target.n_rows and token_id not in new
    ]
    return ids


def _take(
    owned: _Owned,
    target: VocabTensor,
    new: Mapping[int, str],
    matrix: OpenMatrix,
    found: _Found,
) -> None:
    """Keep rows of new tokens, and tell of rows of old ones that are not the base's."""
    ref = owned.adapter.tensors[owned.name]
    size = ref.row_bytes
    changed: list[int] = []
    for data, ids in owned.blocks():
        for at, token_id in enumerate(ids):
            if token_id in new:
                _keep(found, owned.part, token_id, data[at * size : (at + 1) * size], ref)
        for at, count in _runs(ids):
            old = min(count, target.n_rows - ids[at])
            if old > 0:
                theirs = data[at * size : (at + old) * size]
                differing = _differing(theirs, ref, target, ids[at], matrix)
                changed += [token_id for token_id in differing if token_id not in new]
    _tell_changed(found, owned.name, changed, target)


def _chosen_ids(indices: JsonValue, module: str) -> list[int] | None:
    """The ids of a module's rows, None if there is no telling; PEFT keeps the settings' order."""
    if isinstance(indices, dict):
        fitting = [value for key, value in indices.items() if _is_named(module, key)]
        indices = fitting[0] if len(fitting) == 1 else None
    if not isinstance(indices, list):
        return None
    ids = [one for one in indices if type(one) is int and one >= 0]
    return ids if len(ids) == len(indices) == len(set(ids)) else None


def _differing(
    data: bytes, ref: TensorRef, target: VocabTensor, first: int, matrix: OpenMatrix
) -> list[int]:
    """The ids of rows that are not the base's, as far as the coarser of both kinds can tell."""
    base = matrix(target.name)
    size = ref.row_bytes
    n_rows = len(data) // size
    ids = range(first, first + n_rows)
    if base is None:
        return list(ids)
    own = base.raw(first, n_rows)
    if ref.dtype == target.dtype:
        pairs = [(data, own, size)]
    else:
        pairs = [
            (narrow(widen(data, ref.dtype), target.dtype), own, len(own) // n_rows),
            (data, narrow(widen(own, target.dtype), ref.dtype), size),
        ]
    if any(theirs == ours for theirs, ours, _ in pairs):
        return []
    return [
        token_id
        for at, token_id in enumerate(ids)
        if not any(a[at * s : (at + 1) * s] == b[at * s : (at + 1) * s] for a, b, s in pairs)
    ]


def _keep(found: _Found, part: str, token_id: int, row: bytes, ref: TensorRef) -> None:
    kind = found.kinds.setdefault(part, ref)
    by_id = found.rows.setdefault(part, {})
    if by_id.get(token_id, row) != row or kind.dtype != ref.dtype:
        what = (
            f"embeddings and head are one matrix here, and the adapter has two rows for id {token_id}; "
            "[rows] untie = true makes it two"
        )
        if what not in found.said:
            found.said.append(what)
    by_id[token_id] = row


def _tell_changed(found: _Found, name: str, changed: Sequence[int], target: VocabTensor) -> None:
    if not changed:
        return
    shown = ", ".join(map(str, changed[:SHOWN])) + (", ..." if len(changed) > SHOWN else "")
    found.said.append(
        f"{name}: {len(changed)} rows of old tokens are not those of {target.name} (ids {shown}), and "
        "rows of old tokens are never changed: train rows with trainable_token_indices"
    )
