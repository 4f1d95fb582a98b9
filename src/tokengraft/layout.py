"""Which tensors have a vocabulary axis, and how many rows they have (`n_rows`, never `n_tokens`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Part = Literal["input", "output", "bias", "other"]


@dataclass(frozen=True, slots=True)
class RopeFacts:
    """What is known of a family's rotary positions; data from `families/*.toml`, never code.

    Model types stand for the classes of transformers that read such a config.

    Attributes:
        theta_key, share_key: where the older spelling keeps the base frequency, and the share of a
            head that turns, as JSON pointers.
        methods: by model type, the scaling methods that its classes read, where not all five.
        legacy: model types whose older spelling names the method `type`, and may hold nothing but
            that and the method's own numbers.
        full_attention_only: model types that scale the layers of full attention alone; their sliding
            layers turn by a frequency of their own.
        length_is_scaled: model types whose config names the scaled length under every method.
        states_head_dim: model types that stop unless the config names `head_dim`.
        defaults: by model type, what its classes take where the config is silent: `rope_theta` (0:
            classes of two versions differ), `local_theta`, `head_dim`, `share`, `length`.
        trained_scaling: pairs (method, length that the config names) with which the family's own
            models were trained, so that other numbers are not what their weights know.
    """

    theta_key: str = "/rope_theta"
    share_key: str = "/partial_rotary_factor"
    methods: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    legacy: frozenset[str] = frozenset()
    full_attention_only: frozenset[str] = frozenset()
    length_is_scaled: frozenset[str] = frozenset()
    states_head_dim: frozenset[str] = frozenset()
    defaults: Mapping[str, Mapping[str, float]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    trained_scaling: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """What is known of a model family; data from `families/*.toml`, never code.

    Attributes:
        input_rows, output_rows: names of the matrices with one row a token; `*` stands for any
            prefix that ends in a dot, or none.
        output_bias: vectors with one element a token.
        refuse: tensors whose rows belong to tokens and cannot be extended by computing rows (hash
            tables, per-layer tables), as pairs (name, why not); names as above.
        vocab_keys: where the config keeps the number of rows, as JSON pointers.
        length_keys: where the config keeps the context length, as JSON pointers, first wins.
        trained_length: pairs (length that the config names, length that was really trained);
            `trained_length_source` says who says so, and of whose models.
        tied_default: what a missing `tie_word_embeddings` means.
        second_matrix: pairs (the input matrix of a tied model, what its output matrix is called once
            the two are apart), both as files name them, tried with transformers 4 and 5; none where
            nobody tried. `second_matrix_caution` says which program cannot do with it.
        rope: whether positions are rotary (else the context cannot be lengthened by config).
        rope_facts: more on rotary positions.
    """

    name: str
    model_types: tuple[str, ...]
    input_rows: tuple[str, ...]
    output_rows: tuple[str, ...]
    output_bias: tuple[str, ...]
    refuse: tuple[tuple[str, str], ...]
    vocab_keys: tuple[str, ...]
    length_keys: tuple[str, ...]
    trained_length: tuple[tuple[int, int], ...]
    trained_length_source: str
    tied_default: bool
    rope: bool
    notes: tuple[str, ...]
    rope_facts: RopeFacts = RopeFacts()
    second_matrix: tuple[tuple[str, str], ...] = ()
    second_matrix_caution: str = ""


@dataclass(frozen=True, slots=True)
class VocabTensor:
    """A tensor with one row (or element) a token.

    Attributes:
        axis: the vocabulary axis.
        n_rows: its length along that axis.
        width: elements a row (1 for a bias).
        sure: `family` if a family file names it, `shape` if only its shape speaks for it.
        editable: whether rows can be written; `why_not` says why they cannot.
    """

    name: str
    part: Part
    axis: int
    n_rows: int
    width: int
    dtype: str
    sure: Literal["family", "shape"]
    editable: bool = True
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class EmbeddingLayout:
    """The vocabulary axis of a checkpoint.

    Attributes:
        n_rows: rows of the input matrix, or the config's vocab_size where there are no weights.
        n_rows_from: which of the two.
        tied: whether output logits come from the input matrix.
        certainty: `family`, `shape` or `config` (no weights at all).
        doubts: what stands in the way of editing, one sentence each.
    """

    tensors: tuple[VocabTensor, ...]
    n_rows: int
    n_rows_from: Literal["weights", "config"]
    tied: bool
    certainty: Literal["family", "shape", "config"]
    doubts: tuple[str, ...] = ()

    def part(self, part: Part) -> tuple[VocabTensor, ...]:
        return tuple(tensor for tensor in self.tensors if tensor.part == part)
