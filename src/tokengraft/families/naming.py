"""Tell vocabulary tensors by their names: from family data, or by habit where no file helps."""

from __future__ import annotations

import re

from tokengraft.layout import Family, Part

# How quantisers name the pieces of a matrix: GPTQ and AWQ, compressed-tensors, FP8, bitsandbytes,
# MLX (formats research, 2.2).
_PIECE = re.compile(
    r"qweight|qzeros|scales|zeros|g_idx|biases|SCB|weight_format"
    r"|(weight|input|output)_(packed|scale|scale_inv|scale_2|shape|zero_point|g_idx)"
    r"|weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+)"
)
# Habits of naming, seen in 322 classes of transformers 5.23 (tests/families_survey.json).
_INPUT = re.compile(
    r"wte|w|shared|embed_in|embed_tokens?|(emb|embed|embedding)s?"
    r"|(tok|token|tokens|word|text)_?(emb|embed|embedding)s?(_table)?"
)
_OUTPUT = re.compile(
    r"(.*_)?head|output|output_layer|output_projection|embed_out|proj_out|vocab_projector|lm_loss"
    r"|decoder|ff_out|unembed"
)
_OUTPUT_INSIDE = re.compile(
    r"(lm_head|head|predictions|pred_layer)\.(decoder|out_proj|proj|linear)"
)
# Copies for multi-token prediction lie at the layer after the last (DeepSeek-V3: layers.61).
_MTP_INPUT, _MTP_OUTPUT = "embed_tokens", "shared_head.head"
_VOCABULARY_LIKE = re.compile(r"emb|head|vocab|logit|token|wte")
_OTHER_TABLES = re.compile(r"pos|type|patch|segment|vis|audio|image")


def named_part(family: Family, tensor: str) -> Part | None:
    """The part that the family's file gives to this name, None where it does not know it."""
    if refusal(family, tensor):
        return "other"
    known: tuple[tuple[Part, tuple[str, ...]], ...] = (
        ("input", family.input_rows),
        ("output", family.output_rows),
        ("bias", family.output_bias),
    )
    for part, patterns in known:
        if any(_matches(pattern, tensor) for pattern in patterns):
            return part
    return None


def refusal(family: Family, tensor: str) -> str:
    """Why the family's file says that this tensor cannot be extended; "" if it does not."""
    return next((why for pattern, why in family.refuse if _matches(pattern, tensor)), "")


def guessed_part(tensor: str, rank: int) -> Part | None:
    """The part that a tensor's name speaks for by habit, None where it says nothing clear.

    Tensors of a numbered layer are no guess's business, MTP copies excepted.
    """
    path = tensor.split(".")
    if rank == 1:
        return "bias" if path[-1] == "bias" else None
    module = path[:-1] if path[-1] == "weight" else path
    last, pair = module[-1] if module else "", ".".join(module[-2:])
    if any(part.isdigit() for part in path) and last != _MTP_INPUT and pair != _MTP_OUTPUT:
        return None
    if _OUTPUT.fullmatch(last) or _OUTPUT_INSIDE.fullmatch(pair):
        return "output"
    return "input" if _INPUT.fullmatch(last) else None


def sounds_like_vocabulary(tensor: str) -> bool:
    """Whether a name hints at tokens at all: the last resort where shapes prove nothing.

    Numbered layers and tables of positions, types and patches do not.
    """
    if any(part.isdigit() for part in tensor.split(".")) or _OTHER_TABLES.search(tensor):
        return False
    return _VOCABULARY_LIKE.search(tensor) is not None


def quantised_stem(tensor: str) -> str:
    """The module whose quantised piece this tensor is, by its name's ending; "" for no piece."""
    path = tensor.split(".")
    for cut in range(1, len(path)):
        if _PIECE.fullmatch(".".join(path[cut:])):
            return ".".join(path[:cut])
    return ""


def _matches(pattern: str, tensor: str) -> bool:
    """`*` at the front of a pattern is any prefix that ends in a dot, or none."""
    if not pattern.startswith("*"):
        return tensor == pattern
    name = pattern[1:]
    return tensor == name or tensor.endswith("." + name)
