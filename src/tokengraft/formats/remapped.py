"""A weight file whose rows a plan remaps: its header as it will be, and its tensors at their new places."""

from __future__ import annotations

from collections.abc import Iterable

from tokengraft.formats.safetensors_file import rewrite_header
from tokengraft.plans import RemapRows
from tokengraft.tensors import TensorRef, WeightsFile


def remapped(
    weights: WeightsFile, edits: Iterable[RemapRows]
) -> tuple[bytes, tuple[TensorRef, ...]]:
    """Lay out a weight file anew; its header keeps its bytes unless a shape changes or a tensor is new.

    A new tensor lies directly behind the one that its rows are made of, in the same file, so that a
    folder of any number of shards keeps its files and what is read is read once.

    Args:
        edits: of tensors that are made of this file's.
    Raises:
        UsageError, LimitExceeded, MalformedFile: as `rewrite_header` and what reads its result.
    """
    refs = {ref.name: ref for ref in weights.tensors}
    shapes = {
        edit.tensor: (edit.base_tensor, (edit.n_rows_after, *refs[edit.base_tensor].shape[1:]))
        for edit in edits
    }
    old = {name: shape for name, (of, shape) in shapes.items() if of == name}
    return rewrite_header(weights, old, {n: new for n, new in shapes.items() if n not in old})
