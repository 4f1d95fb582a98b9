"""Find every tensor with a vocabulary axis, and say how sure that is.

Three sources, in this order: the names in the family's file, the habits of naming where no file
knows the model, and shapes, which find what names do not (formats research, 2.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tokengraft.checkpoint import JsonValue
from tokengraft.families.configs import Claims, read_claims
from tokengraft.families.doubting import doubts_of, is_tied
from tokengraft.families.naming import (
    guessed_part,
    named_part,
    quantised_stem,
    refusal,
    sounds_like_vocabulary,
)
from tokengraft.layout import EmbeddingLayout, Family, Part, VocabTensor
from tokengraft.tensors import ROW_DTYPES, TensorIndex, TensorRef

_MATRIX = 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tensor that a name speaks for, before anything is known of its rows."""

    ref: TensorRef
    part: Part
    sure: Literal["family", "shape"]


def find_layout(
    family: Family,
    *,
    config: Mapping[str, JsonValue],
    text_config: str = "",
    tensors: TensorIndex | None = None,
    n_tokens: int | None = None,
) -> EmbeddingLayout:
    """Describe the vocabulary axis of a checkpoint. Reads no tensor, changes nothing.

    Args:
        family: where the names come from; the generic family has none.
        config: config.json, whole.
        text_config: pointer to the language model's part of it, "" for the top.
        tensors: headers of the weights; without them the config alone is believed.
        n_tokens: what the tokenizer counts; helps only where the config names no vocabulary size.
    """
    claims = read_claims(family, config, text_config)
    if tensors is None or not tensors.tensors:
        return _without_weights(family, claims, n_tokens)
    chosen = _by_family(family, tensors)
    if not any(candidate.part == "input" for candidate in chosen):
        chosen = (*chosen, *_by_habit(chosen, tensors, claims, n_tokens))
    n_rows = _rows_of(chosen, claims, n_tokens)
    found = tuple(_vocab_tensor(family, candidate, n_rows) for candidate in chosen)
    found = (*found, *_by_shape(chosen, tensors, claims, n_rows))
    found = _without_strangers(_without_quantised(family, found, tensors, n_rows), n_rows)
    sure = [tensor.sure for tensor in found if tensor.part == "input"]
    layout = EmbeddingLayout(
        tensors=tuple(sorted(found, key=lambda tensor: tensor.name)),
        n_rows=n_rows,
        n_rows_from="weights" if any(tensor.part != "other" for tensor in found) else "config",
        tied=is_tied(family, claims, found),
        certainty="family" if "family" in sure else "shape",
    )
    return replace(layout, doubts=doubts_of(family, claims, layout, tensors.missing_files))


def _without_weights(family: Family, claims: Claims, n_tokens: int | None) -> EmbeddingLayout:
    layout = EmbeddingLayout(
        tensors=(),
        n_rows=claims.n_rows or n_tokens or 0,
        n_rows_from="config",
        tied=is_tied(family, claims, ()),
        certainty="config",
    )
    return replace(layout, doubts=doubts_of(family, claims, layout))


def _by_family(family: Family, tensors: TensorIndex) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(ref, part, "family")
        for ref in tensors.tensors.values()
        if ref.shape and (part := named_part(family, ref.name)) is not None
    )


def _by_habit(
    chosen: tuple[Candidate, ...], tensors: TensorIndex, claims: Claims, n_tokens: int | None
) -> Iterator[Candidate]:
    """Candidates by habit of naming, kept where their first axis can be the vocabulary."""
    taken = {candidate.ref.name for candidate in chosen}
    guesses = [
        Candidate(ref, part, "shape")
        for ref in tensors.tensors.values()
        if ref.shape and ref.name not in taken
        if (part := guessed_part(ref.name, len(ref.shape))) is not None
    ]
    exact = claims.n_rows if _any_rows(guesses, {claims.n_rows}) else None
    if exact is None:
        exact = _likely_rows(guesses, n_tokens)
    for guess in guesses:
        rows = guess.ref.shape[0]
        near = guess.part != "bias" and rows in claims.vocab_sizes
        if rows == exact or (near and not _any_rows(guesses, {exact}, part=guess.part)):
            yield guess


def _any_rows(
    guesses: list[Candidate], sizes: set[int | None], *, part: Part | None = None
) -> bool:
    """Whether a matrix among the guesses has one of these numbers of rows."""
    return any(
        len(guess.ref.shape) >= _MATRIX and guess.ref.shape[0] in sizes
        for guess in guesses
        if part is None or guess.part == part
    )


def _likely_rows(guesses: list[Candidate], n_tokens: int | None) -> int | None:
    """Rows of the longest matrix that is named like an input and can hold every token."""
    rows = [
        guess.ref.shape[0]
        for guess in guesses
        if guess.part == "input" and guess.ref.dtype in ROW_DTYPES
        if len(guess.ref.shape) == _MATRIX and guess.ref.shape[0] >= (n_tokens or 0)
    ]
    return max(rows, default=None)


def _rows_of(chosen: tuple[Candidate, ...], claims: Claims, n_tokens: int | None) -> int:
    """Rows of the input matrix; where several disagree, the config's number decides.

    Packed matrices (bitsandbytes) have rows that are no tokens, so they are asked last.
    """
    for part in ("input", "output"):
        refs = [candidate.ref for candidate in chosen if candidate.part == part]
        refs.sort(key=lambda ref: (ref.dtype not in ROW_DTYPES, ref.name.count("."), ref.name))
        rows = [ref.shape[0] for ref in refs if len(ref.shape) == _MATRIX]
        if rows:
            packed = refs[0].dtype not in ROW_DTYPES
            return claims.n_rows if claims.n_rows and (claims.n_rows in rows or packed) else rows[0]
    return claims.n_rows or n_tokens or 0


def _vocab_tensor(family: Family, candidate: Candidate, n_rows: int) -> VocabTensor:
    ref, part = candidate.ref, candidate.part
    rank = 1 if part == "bias" else _MATRIX
    axis = 0 if ref.shape[0] == n_rows or n_rows not in ref.shape else ref.shape.index(n_rows)
    why_not = refusal(family, ref.name)
    if not why_not and ref.dtype not in ROW_DTYPES:
        why_not = f"its elements are {ref.dtype}, in which no new row can be computed and rounded"
    elif not why_not and len(ref.shape) != rank:
        why_not = f"it has {len(ref.shape)} axes instead of {rank}"
    elif not why_not and axis != 0:
        why_not = "its vocabulary axis is not the first, so that a token is no row of it"
    elif not why_not and ref.shape[0] != n_rows:
        why_not = f"it has {ref.shape[0]} rows where the vocabulary has {n_rows}"
    return _tensor(candidate, axis, why_not)


def _tensor(candidate: Candidate, axis: int, why_not: str) -> VocabTensor:
    ref = candidate.ref
    return VocabTensor(
        name=ref.name,
        part=candidate.part,
        axis=axis,
        n_rows=ref.shape[axis],
        width=ref.n_elements // max(ref.shape[axis], 1),
        dtype=ref.dtype,
        sure=candidate.sure,
        editable=not why_not,
        why_not=why_not,
    )


def _by_shape(
    chosen: tuple[Candidate, ...], tensors: TensorIndex, claims: Claims, n_rows: int
) -> Iterator[VocabTensor]:
    """What no name speaks for and has an axis as long as the vocabulary.

    Where the model has another size of the same length (a toy with 512 tokens and 512 positions),
    shapes prove nothing, and only names that sound of tokens count.
    """
    taken = {candidate.ref.name for candidate in chosen}
    sizes = {n_rows, claims.n_rows} - {None, 0}
    is_coincidence = bool(sizes & claims.other_sizes)
    for ref in tensors.tensors.values():
        axis = next((axis for axis, size in enumerate(ref.shape) if size in sizes), None)
        if axis is None or ref.name in taken:
            continue
        if is_coincidence and not sounds_like_vocabulary(ref.name):
            continue
        why_not = "nothing is known of it except that an axis is as long as the vocabulary"
        yield _tensor(Candidate(ref, "other", "shape"), axis, why_not)


def _without_quantised(
    family: Family, found: tuple[VocabTensor, ...], tensors: TensorIndex, n_rows: int
) -> tuple[VocabTensor, ...]:
    """Add the pieces of quantised heads and embeddings, and forbid to edit any part of them."""
    pieces = {
        ref.name: (ref, sure)
        for ref in tensors.tensors.values()
        if ref.shape and (stem := quantised_stem(ref.name))
        if (sure := _knows(family, stem + ".weight")) is not None
    }
    if not pieces:
        return found
    quantised = {quantised_stem(name) for name in pieces}
    why = "it is a piece of a quantised matrix; edit the checkpoint that it was made from"
    kept = tuple(
        replace(tensor, editable=False, why_not="it is quantised: pieces of it lie beside it")
        if tensor.name.removesuffix(".weight") in quantised and tensor.editable
        else tensor
        for tensor in found
        if tensor.name not in pieces
    )
    extra = tuple(
        _tensor(
            Candidate(ref, "other", sure),
            ref.shape.index(n_rows) if n_rows in ref.shape else ref.shape.index(max(ref.shape)),
            why,
        )
        for ref, sure in pieces.values()
    )
    return (*kept, *extra)


def _knows(family: Family, matrix: str) -> Literal["family", "shape"] | None:
    """Who says that this name is an input or output matrix, if anybody does."""
    if named_part(family, matrix) in {"input", "output"}:
        return "family"
    return None if guessed_part(matrix, _MATRIX) is None else "shape"


def _without_strangers(found: tuple[VocabTensor, ...], n_rows: int) -> tuple[VocabTensor, ...]:
    """Call `other` what has an input's or output's name, other rows, and a rival that has ours.

    A speech decoder beside a text model has `embed_tokens` of its own (Qwen2.5-Omni's talker).
    """
    settled = {tensor.part for tensor in found if tensor.n_rows == n_rows}
    return tuple(
        replace(tensor, part="other")
        if tensor.part in {"input", "output"} & settled and tensor.n_rows != n_rows
        else tensor
        for tensor in found
    )
