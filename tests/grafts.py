"""Plans made by hand, so that applying is tested without planning."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tiny
from tokengraft import applying
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.loading import load
from tokengraft.formats.plan_files import pack
from tokengraft.formats.sidecars import PackedSidecar
from tokengraft.plans import (
    CopyCost,
    Edit,
    Fingerprint,
    InsertTokens,
    Keep,
    Mean,
    Mix,
    PatchJson,
    Plan,
    PlannedToken,
    RemapRows,
    RowSource,
    SetKey,
    Stored,
    Totals,
)
from tokengraft.results import Receipt

NEW = ("<|think|>", "<tool_start>", "</tool_end>")
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@dataclass(frozen=True)
class Graft:
    """A plan with its text, its sidecar and the base that it was made for."""

    checkpoint: Checkpoint
    plan: Plan
    text: bytes
    sidecar: PackedSidecar | None

    @property
    def sidecar_bytes(self) -> bytes:
        return b"" if self.sidecar is None else b"".join(self.sidecar.blocks())

    def apply(self, target: Path, **options: Any) -> Receipt:
        return applying.apply(
            self.checkpoint,
            self.plan,
            target=target,
            plan_text=self.text,
            sidecar=self.sidecar,
            **options,
        )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fingerprint(checkpoint: Checkpoint, *, whole_files: bool = False) -> Fingerprint:
    rows: dict[str, str] = {}
    if checkpoint.tensors is not None:
        for name in (EMBED, HEAD):
            if ref := checkpoint.tensors.tensors.get(name):
                data = (checkpoint.root / ref.file).read_bytes()[ref.begin : ref.end]
                rows[name] = hashlib.sha256(data).hexdigest()
    files: dict[str, str | None] = {
        path: digest(entry.real) if whole_files or path in checkpoint.small_files else None
        for path, entry in checkpoint.files.items()
        if not path.startswith("tokengraft/") and path != "MANIFEST.sha256"
    }
    return Fingerprint(layout=checkpoint.layout_digest, rows=rows, files=files)


def remap(
    checkpoint: Checkpoint,
    tensor: str,
    *new: RowSource,
    at: int,
    grow: int = 0,
    of: str | None = None,
) -> RemapRows:
    """Keep all rows but those from `at` on that `new` replaces; fill up with zeros."""
    assert checkpoint.tensors is not None
    before = checkpoint.tensors.tensors[of or tensor].shape[0]
    after = before + grow
    n_new = sum(source.n_rows for source in new)
    rows: list[RowSource] = [Keep(first=0, count=at), *new]
    if at + n_new < before:
        rows.append(Keep(first=at + n_new, count=before - at - n_new))
    zeros = after - max(before, at + n_new)
    if zeros:
        rows.append(Mix(parents=(), rows=zeros))
    sizes: Any = {"n_rows_before": before, "n_rows_after": after}
    return RemapRows(tensor=tensor, of=of, **sizes, rows=tuple(rows))


def make_plan(
    checkpoint: Checkpoint,
    edits: Sequence[Edit],
    *,
    tokens: Sequence[PlannedToken] = (),
    values: Mapping[str, NDArray[np.generic]] | None = None,
    base: Fingerprint | None = None,
) -> Graft:
    plan = Plan(
        tool="tokengraft test",
        base=base or fingerprint(checkpoint),
        recipe="version = 1\n# тест\n",
        edits=tuple(edits),
        tokens=tuple(tokens),
        totals=Totals(
            rows_written=0,
            bytes_written=0,
            bytes_copied=CopyCost(),
            tensors_patched=0,
            tensors_untouched=0,
        ),
    )
    text, sidecar = pack(plan, values or {})
    return Graft(checkpoint, plan, text, sidecar)


def add_tokens(folder: Path, *, grow: int = 0, untie: bool = False) -> Graft:
    """A typical plan: three tokens in tokenizer files, config and rows of every kind.

    With `untie`, a tied base gets a second matrix.
    """
    checkpoint = load(folder)
    assert checkpoint.tokenizer is not None
    first = checkpoint.tokenizer.n_tokens
    tokens = [PlannedToken(text=t, id=first + n, action="add") for n, t in enumerate(NEW)]
    count: Any = {"first_id": first, "count": len(NEW)}
    edits: list[Edit] = [
        PatchJson(
            path="tokenizer.json",
            changes=(InsertTokens(pointer="/added_tokens", form="added_tokens", **count),),
        ),
        PatchJson(
            path="tokenizer_config.json",
            changes=(
                InsertTokens(pointer="/added_tokens_decoder", form="added_tokens_decoder", **count),
            ),
        ),
    ]
    values: dict[str, NDArray[np.generic]] = {}
    if checkpoint.tensors is not None:
        n_rows = checkpoint.tensors.tensors[EMBED].shape[0]
        settings = {"/vocab_size": n_rows + grow} if grow else {}
        settings |= {"/tie_word_embeddings": False} if untie else {}
        changes = tuple(SetKey(pointer=key, value=value) for key, value in settings.items())
        if changes:
            edits.append(PatchJson(path="config.json", changes=changes))
        index = checkpoint.tensors.index_file
        if untie and index is not None:
            file = checkpoint.tensors.tensors[EMBED].file
            change = SetKey(pointer=f"/weight_map/{HEAD}", value=file)
            edits.append(PatchJson(path=index, changes=(change,)))
        for name in (EMBED, HEAD):
            of = EMBED if untie and name == HEAD else None
            if (of or name) in checkpoint.tensors.tensors:
                ref = checkpoint.tensors.tensors[of or name]
                stored = np.full((1, ref.shape[1]), 0.25, _NUMPY[ref.dtype])
                values[name] = stored
                mix = Mix(parents=((7, 0.5), (3, 0.5)))
                mean = Mean(first=0, count=first)
                edits.append(
                    remap(checkpoint, name, mix, mean, Stored(index=0), at=first, grow=grow, of=of)
                )
    return make_plan(checkpoint, edits, tokens=tokens, values=values)


def patch_config(graft: Graft) -> Graft:
    """A plan that edits config.json and nothing else."""
    change = SetKey(pointer="/use_cache", value=False)
    return make_plan(graft.checkpoint, [PatchJson(path="config.json", changes=(change,))])


def _bf16() -> Any:
    import ml_dtypes

    return ml_dtypes.bfloat16


_NUMPY: dict[str, Any] = {"BF16": _bf16(), "F16": np.float16, "F32": np.float32}


def link_into_cache(folder: Path, cache: Path) -> Path:
    """Lay a checkpoint out as the Hugging Face cache does: a snapshot of links to blobs."""
    repo = cache / "models--org--tiny"
    snapshot = repo / "snapshots" / ("0" * 40)
    (repo / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        blob = repo / "blobs" / digest(path)
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


def tiny_graft(folder: Path, **fields: Any) -> Graft:
    grow, untie = fields.pop("grow", 0), fields.pop("untie", False)
    return add_tokens(tiny.build(folder, **fields), grow=grow, untie=untie)
