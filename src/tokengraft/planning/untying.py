"""`[rows] untie`: a second matrix for a model whose one matrix reads and writes.

The new matrix is made of the old one, row by row and bit by bit, so that no logit of an old id
changes; only new tokens get a row of their own in each. Which name loaders look for is family data,
and so is whether the two work apart at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tokengraft.checkpoint import Checkpoint
from tokengraft.families.configs import TIE_KEY
from tokengraft.formats.json_text import escape_key
from tokengraft.layout import EmbeddingLayout, VocabTensor
from tokengraft.planning.draft import Draft
from tokengraft.recipes import Recipe

WHERE = "rows.untie"
CONFIG = "config.json"
Digest = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Twins:
    """The matrix that reads, and the one that shall write, which may lie in the weights already."""

    reads: VocabTensor
    writes: str
    is_there: bool = False


def untie(draft: Draft, recipe: Recipe, digest: Digest) -> Draft:
    """Give a tied model a second matrix, if the recipe asks for it: layout, config.json and index.

    Args:
        digest: the sha256 of a tensor's bytes.
    """
    if not recipe.unties:
        return draft
    layout = draft.checkpoint.layout
    if layout is not None and layout.tensors and not layout.tied:
        names = ", ".join(tensor.name for tensor in layout.part("output"))
        return draft.with_note(
            f"[rows] untie has nothing to do: the model writes by {names} already"
        )
    twins = twins_of(draft.checkpoint, digest)
    if isinstance(twins, str):
        return draft.with_problem(WHERE, twins)
    assert layout is not None
    for prefix in dict.fromkeys(("", draft.checkpoint.text_config)):
        draft = draft.with_setting(CONFIG, prefix + TIE_KEY, False)  # noqa: FBT003 - a JSON value
    tensors = layout.tensors
    if not twins.is_there:
        tensors = (*tensors, replace(twins.reads, name=twins.writes, part="output"))
        draft = replace(draft, new_tensors={twins.writes: twins.reads.name})
        index = draft.checkpoint.tensors
        if index is not None and index.index_file is not None:
            place = f"/weight_map/{escape_key(twins.writes)}"
            file = index.tensors[twins.reads.name].file
            draft = draft.with_setting(index.index_file, place, file)
    apart = replace(layout, tensors=tuple(sorted(tensors, key=lambda t: t.name)), tied=False)
    return replace(draft, checkpoint=replace(draft.checkpoint, layout=apart))


def twins_of(checkpoint: Checkpoint, digest: Digest | None = None) -> Twins | str:
    """The two matrices of a tied model; a text says why it cannot have two.

    Args:
        digest: of a tensor's bytes; without it, two stored matrices are not compared.
    """
    layout = checkpoint.layout
    if checkpoint.tensors is None or layout is None:
        return "the folder has no weights (safetensors) that a second matrix could be made of"
    if CONFIG not in checkpoint.json:
        return "the folder has no config.json, which must say that there are two matrices"
    if checkpoint.value(CONFIG, "/quantization_config") is not None:
        return "the model is quantised, and a loader would take the new matrix for a quantised one"
    inputs = layout.part("input")
    if len(inputs) != 1 or layout.certainty != "family":
        found = ", ".join(tensor.name for tensor in inputs) or "none"
        return f"one input matrix that a family file names is needed, found: {found}"
    reads, outputs = inputs[0], layout.part("output")
    if not reads.editable or reads.axis != 0 or reads.n_rows != layout.n_rows:
        why_not = reads.why_not or "its rows are not the model's"
        return f"{reads.name} cannot be edited: {why_not}"
    if not outputs:
        names = dict(checkpoint.family.second_matrix)
        if reads.name not in names:
            return (
                f"it is not known how a loader would find a second matrix beside {reads.name} "
                f"({checkpoint.family.name})"
            )
        return Twins(reads, names[reads.name])
    return _stored(layout, reads, outputs, digest)


def _stored(
    layout: EmbeddingLayout,
    reads: VocabTensor,
    outputs: tuple[VocabTensor, ...],
    digest: Digest | None,
) -> Twins | str:
    """A tied model that keeps its matrix twice (E104): the second one, if it is the same."""
    writes = outputs[0]
    same_shape = (writes.n_rows, writes.width, writes.dtype) == (
        layout.n_rows,
        reads.width,
        reads.dtype,
    )
    if len(outputs) > 1 or not writes.editable or not same_shape:
        names = ", ".join(tensor.name for tensor in outputs)
        return f"{names} lies in the weights too, and is not a copy of {reads.name}"
    if digest is not None and digest(writes.name) != digest(reads.name):
        return (
            f"{writes.name} lies in the weights too and differs from {reads.name}: which of them "
            "writes now, loaders disagree (E104); make one of them the other first"
        )
    return Twins(reads, writes.name, is_there=True)


def cost_or_offer(
    draft: Draft, recipe: Recipe, base: Checkpoint, n_rows: int | None
) -> tuple[str, ...]:
    """What a second matrix costs: where one is made, and where training would gain by one.

    Args:
        draft: after `untie`.
        base: as it was loaded.
        n_rows: rows that each matrix will have.
    """
    asked = recipe.unties
    trains = recipe.train is not None and bool(recipe.train.stages) and bool(draft.new_rows)
    if base.layout is None or not base.layout.tied or not (asked or trains):
        return ()
    twins = twins_of(base)
    if isinstance(twins, str) or n_rows is None or base.tensors is None:
        return ()
    caution = base.family.second_matrix_caution
    told = _told(twins, n_rows, base.tensors.tensors[twins.reads.name].row_bytes, asked=asked)
    return (told, caution) if caution else (told,)


def _told(twins: Twins, n_rows: int, row_bytes: int, *, asked: bool) -> str:
    n_numbers, size, reads = n_rows * twins.reads.width, n_rows * row_bytes, twins.reads.name
    if asked and twins.is_there:
        return (
            f"{twins.writes} is the copy of {reads} that the weights hold already: from now on the "
            "model writes by it, and no byte is added for that"
        )
    if asked:
        return (
            f"{twins.writes} is new: a copy of {reads} for all old ids, with rows of its own for new "
            f"tokens. It costs {size:,} bytes on disk, as much in memory, and makes {n_numbers:,} "
            "parameters more"
        )
    return (
        "one row reads and writes each new token, a compromise that cost fitted rows 0.1 to 0.2 of "
        "reading on small models. [rows] untie = true gives each two, for "
        f"{0 if twins.is_there else size:,} bytes more on disk and {size:,} in memory "
        f"({n_numbers:,} parameters)"
    )
