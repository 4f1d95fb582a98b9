"""Say what stands in the way of editing, one sentence each, and whether outputs are tied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tokengraft.families.configs import Claims
from tokengraft.families.naming import guessed_part, quantised_stem
from tokengraft.layout import EmbeddingLayout, Family, Part, VocabTensor

_NAMED = 4  # names in a sentence; the layout's tensors hold them all
_GENERIC = "generic"


def is_tied(family: Family, claims: Claims, found: Iterable[VocabTensor]) -> bool:
    """Whether logits come from the input matrix.

    The config decides where it speaks with one voice, the family where it is silent. Where its
    levels contradict each other, or nobody knows the family, the weights decide: an output matrix
    on disk is one that somebody wrote to be used.
    """
    values = set(claims.ties.values())
    if len(values) == 1:
        return values.pop()
    if not values and family.name != _GENERIC:
        return family.tied_default
    tensors = tuple(found)
    if not tensors:
        return family.tied_default
    has_output = any(tensor.part == "output" or _is_head_piece(tensor) for tensor in tensors)
    return not has_output


def doubts_of(
    family: Family, claims: Claims, layout: EmbeddingLayout, missing_files: Sequence[str] = ()
) -> tuple[str, ...]:
    """Every doubt about a layout, the gravest first; what was not found may lie in a missing file."""
    if layout.certainty == "config":
        return tuple(_about_the_config(family, claims, layout))
    return (
        *_about_what_is_missing(claims, layout, missing_files),
        *_about_rows(claims, layout),
        *_about_ties(family, claims, layout),
        *_about_what_cannot_be_edited(layout),
        *_about_guesses(family, claims, layout),
    )


def _about_the_config(family: Family, claims: Claims, layout: EmbeddingLayout) -> Iterator[str]:
    if claims.n_rows is None:
        keys = " or ".join(family.vocab_keys)
        lacking = f"There are no weights and config.json has no {keys}"
        if layout.n_rows:
            yield f"{lacking}: the number of rows is the tokenizer's {layout.n_rows} tokens."
        else:
            yield f"{lacking}: the number of rows is not known."
    yield from _about_contradicting_ties(claims, layout)


def _about_what_is_missing(
    claims: Claims, layout: EmbeddingLayout, missing_files: Sequence[str]
) -> Iterator[str]:
    files = ", ".join(missing_files[:_NAMED])
    perhaps = f" It may lie in {files}." if files else ""
    if not layout.part("input"):
        wanted = "No input matrix was found among the weights: nothing can be edited."
        if claims.n_rows is not None:
            wanted = (
                f"No input matrix with {claims.n_rows} rows was found among the weights: nothing can"
                " be edited."
            )
        yield f"{wanted}{perhaps}"
    if not layout.part("output") and not layout.tied:
        if any(map(_is_head_piece, layout.tensors)):
            yield "The model has an output matrix of its own, which is quantised: it cannot be edited."
        else:
            lacking = "The output matrix of the model was not found: it cannot be edited."
            yield f"{lacking}{perhaps}"


def _about_rows(claims: Claims, layout: EmbeddingLayout) -> Iterator[str]:
    inputs = [tensor for tensor in layout.part("input") if tensor.n_rows == layout.n_rows]
    if claims.n_rows is not None and claims.n_rows != layout.n_rows and inputs:
        where = claims.n_rows_pointer
        yield (
            f"config.json says {where} {claims.n_rows}, and {inputs[0].name} has"
            f" {layout.n_rows} rows: loaders refuse that."
        )
    for tensor in layout.tensors:
        if tensor.part != "other" and tensor.n_rows != layout.n_rows:
            yield f"{tensor.name} has {tensor.n_rows} rows where {layout.n_rows} were expected."


def _about_ties(family: Family, claims: Claims, layout: EmbeddingLayout) -> Iterator[str]:
    yield from _about_contradicting_ties(claims, layout)
    outputs = layout.part("output")
    if layout.tied and outputs:
        says = (
            "By config.json the model is tied"
            if claims.ties
            else f"config.json does not say so, but {family.name} is tied"
        )
        yield (
            f"{says}. {_names(outputs)} lies in the weights too: loaders disagree on which one counts"
            " where the bytes differ, so both are edited alike."
        )
    if not claims.ties and family.name == _GENERIC:
        found = "an output matrix was found" if outputs else "no output matrix was found"
        yield (
            f"config.json does not say whether the model is tied; {found}, so it counts as"
            f" {'tied' if layout.tied else 'untied'}."
        )


def _about_contradicting_ties(claims: Claims, layout: EmbeddingLayout) -> Iterator[str]:
    if len(set(claims.ties.values())) > 1:
        told = " and ".join(f"{at} {str(tie).lower()}" for at, tie in claims.ties.items())
        yield (
            f"config.json says both {told}; by the weights the model counts as"
            f" {'tied' if layout.tied else 'untied'}."
        )


def _about_what_cannot_be_edited(layout: EmbeddingLayout) -> Iterator[str]:
    """One sentence a reason, tensors without rows of their own kind named together."""
    reasons: dict[str, list[VocabTensor]] = {}
    for tensor in layout.tensors:
        if not tensor.editable and (tensor.part == "other" or tensor.n_rows == layout.n_rows):
            reasons.setdefault(tensor.why_not, []).append(tensor)
    for why_not, tensors in reasons.items():
        yield f"{_names(tensors)} cannot be edited: {why_not}."


def _about_guesses(family: Family, claims: Claims, layout: EmbeddingLayout) -> Iterator[str]:
    if layout.certainty == "family" or not layout.part("input"):
        return
    parts: tuple[Part, ...] = ("input", "output")
    for part in parts:
        found = layout.part(part)
        if len(found) > 1:
            yield (
                f"{len(found)} tensors may be the {'input' if part == 'input' else 'output'} matrix: "
                f"{_names(found)}."
            )
    knows = "No family file describes this model."
    if family.name != _GENERIC:
        knows = f"The family file of {family.name} names no tensor that is here."
    named, sure = _names(_guessed(layout)), _how_sure(claims, layout)
    if claims.n_rows == layout.n_rows:
        yield f"{knows} By name and by the config's {claims.n_rows} rows it is {named}: {sure}."
    else:
        yield f"{knows} By name and by their rows it is {named}: {sure}."


def _guessed(layout: EmbeddingLayout) -> list[VocabTensor]:
    return [tensor for tensor in layout.tensors if tensor.part != "other"]


def _how_sure(claims: Claims, layout: EmbeddingLayout) -> str:
    if claims.n_rows != layout.n_rows:
        return "a guess, because the config does not confirm the number of rows"
    if layout.n_rows in claims.other_sizes:
        return "a guess, because another size of the model has the same length"
    if len(layout.part("input")) > 1 or len(layout.part("output")) > 1:
        return "likely, but there is more than one candidate"
    if layout.part("other"):
        return "likely, but other tensors have an axis of that length"
    return "almost certain, because nothing else has an axis of that length"


def _is_head_piece(tensor: VocabTensor) -> bool:
    stem = quantised_stem(tensor.name)
    return bool(stem) and guessed_part(f"{stem}.weight", 2) == "output"


def _names(tensors: Sequence[VocabTensor]) -> str:
    names = [tensor.name for tensor in tensors]
    rest = len(names) - _NAMED
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {rest} more" if rest > 0 else shown
