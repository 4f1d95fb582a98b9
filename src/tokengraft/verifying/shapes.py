"""Numbers that must agree: rows, vocab_size, headers and the index; safetensors as a witness."""

from __future__ import annotations

from collections.abc import Iterator

from safetensors import SafetensorError, safe_open

from tokengraft.checkpoint import Checkpoint
from tokengraft.results import Check
from tokengraft.tensors import TensorIndex
from tokengraft.verifying.records import NO_WEIGHTS, Graft, failed, passed, several, skipped


def check_shapes(graft: Graft, base: Checkpoint | None) -> Iterator[Check]:
    """Matrices, config and index speak of the same numbers."""
    name = "shapes"
    checkpoint, plan = graft.checkpoint, graft.plan
    if checkpoint is None or plan is None:
        yield skipped(name, "the checkpoint or the plan cannot be read")
        return
    said = [*_rows_and_config(checkpoint), *_planned_rows(graft)]
    tensors = checkpoint.tensors
    if tensors is not None:
        said += _index(checkpoint, tensors, base)
    if said:
        yield failed(name, "; ".join(said))
        return
    n_tokens = checkpoint.tokenizer.n_tokens if checkpoint.tokenizer is not None else 0
    n_rows = checkpoint.layout.n_rows if checkpoint.layout is not None else 0
    if not n_rows:
        yield skipped(name, "no config and no weights say how many rows there are")
        return
    if tensors is None:
        yield passed(name, f"vocab_size is {n_rows}, enough for {n_tokens} tokens; {NO_WEIGHTS}")
        return
    assert checkpoint.layout is not None
    yield passed(
        name,
        f"{len(checkpoint.layout.tensors)} tensors on the vocabulary axis have {n_rows} rows, as "
        f"vocab_size says, for {n_tokens} tokens; {len(tensors.tensors):,} tensors weigh "
        f"{tensors.size_bytes:,} bytes, as the headers"
        f"{' and the index' if tensors.index_file else ''} say",
    )


def _rows_and_config(checkpoint: Checkpoint) -> Iterator[str]:
    layout, tokenizer = checkpoint.layout, checkpoint.tokenizer
    if layout is None:
        return
    for pointer in checkpoint.family.vocab_keys:
        value = checkpoint.config(pointer)
        if isinstance(value, int) and value != layout.n_rows:
            place = checkpoint.text_config + pointer
            yield f"config.json#{place} is {value}, rows are {layout.n_rows}"
    if tokenizer is not None and tokenizer.n_tokens > layout.n_rows:
        yield f"{tokenizer.n_tokens} tokens and only {layout.n_rows} rows"
    for tensor in layout.tensors:
        if tensor.sure == "family" and tensor.part != "other" and tensor.n_rows != layout.n_rows:
            yield f"{tensor.name} has {tensor.n_rows} rows, others have {layout.n_rows}"


def _planned_rows(graft: Graft) -> Iterator[str]:
    assert graft.plan is not None
    assert graft.checkpoint is not None
    if graft.checkpoint.tensors is None:
        return
    layout = graft.checkpoint.layout
    for name, edit in graft.plan.row_edits().items():
        ref = graft.checkpoint.tensors.tensors.get(name)
        if ref is None:
            yield f"{name} was planned and is not there"
        elif not ref.shape or ref.shape[0] != edit.n_rows_after:
            yield f"{name} has the shape {list(ref.shape)}, planned are {edit.n_rows_after} rows"
        elif edit.of is not None and (layout is None or layout.tied):
            yield f"{name} was added beside {edit.of}, and config.json says that the model is tied"


def _index(checkpoint: Checkpoint, tensors: TensorIndex, base: Checkpoint | None) -> Iterator[str]:
    if tensors.missing_files:
        yield f"the index names files that are not there: {several(list(tensors.missing_files))}"
    if tensors.misplaced:
        yield f"the index puts tensors where they are not: {several(list(tensors.misplaced))}"
    if tensors.index_file is None:
        return
    for key, (said, true) in _totals(checkpoint).items():
        was_said, was_true = _totals(base).get(key, (None, 0)) if base is not None else (None, 0)
        if said is None or said == true:
            continue
        # A base that was wrong about itself stays wrong by as much: the plan adds what is added.
        if was_said is None or said - was_said != true - was_true:
            yield f"{tensors.index_file}#/metadata/{key} is {said}, the headers give {true}"


def _totals(checkpoint: Checkpoint) -> dict[str, tuple[int | None, int]]:
    """What the index says that all tensors weigh and count, and what the headers say."""
    tensors = checkpoint.tensors
    if tensors is None or tensors.index_file is None:
        return {}
    n_elements = sum(ref.n_elements for ref in tensors.tensors.values())
    true = {"total_size": tensors.size_bytes, "total_parameters": n_elements}
    said = {key: checkpoint.value(tensors.index_file, f"/metadata/{key}") for key in true}
    return {
        key: (int(value) if isinstance(value, int | float) else None, true[key])
        for key, value in said.items()
    }


def safetensors_witness(graft: Graft) -> Iterator[Check]:
    """The safetensors library opens every weight file and sees the names and shapes that we see."""
    name = "safetensors"
    checkpoint = graft.checkpoint
    if checkpoint is None or checkpoint.tensors is None:
        yield skipped(name, NO_WEIGHTS if checkpoint else "the checkpoint cannot be read")
        return
    wrong = []
    for path, file in checkpoint.tensors.files.items():
        try:
            with safe_open(graft.files[path].real, framework="numpy") as opened:
                names = opened.keys()
                theirs = {key: tuple(opened.get_slice(key).get_shape()) for key in names}
        except (SafetensorError, OSError) as error:
            wrong.append(f"{path} ({error})")
            continue
        if theirs != {ref.name: ref.shape for ref in file.tensors}:
            wrong.append(f"{path} (other names or shapes)")
    if wrong:
        yield failed(name, f"{len(wrong)} weight files: {several(wrong)}")
        return
    yield passed(
        name,
        f"the library opens {len(checkpoint.tensors.files)} weight files and sees the same "
        f"{len(checkpoint.tensors.tensors):,} names and shapes",
    )
