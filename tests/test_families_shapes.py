"""Families: what shapes alone say, and what must not be edited."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from test_families import EMBED, HEAD, D, V, layout_of, parts, trunk

# --- what cannot be edited -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_type", "name", "shape"),
    [
        ("deepseek_v4", "model.layers.0.mlp.gate.tid2eid", ("I64", V, 6)),
        ("gemma3n_text", "model.embed_tokens_per_layer.weight", (V - 64, 35 * 8)),
        ("qwen4_exp_text", "model.ple.ple_embedding.ngram_embedding.weight", (5000, 8)),
        ("llama", "final_logits_bias", ("F32", 1, V)),
        ("llama", "model.d2t", ("I64", V)),
        ("bart", "final_logits_bias", ("F32", 1, V)),
    ],
)
def test_other_tensors_of_the_vocabulary_are_named_and_left_alone(
    model_type: str, name: str, shape: Sequence[int | str]
) -> None:
    layout = layout_of(model_type, {EMBED: (V, D), HEAD: (V, D), name: shape})
    (other,) = layout.part("other")
    assert (other.name, other.editable) == (name, False)
    assert other.why_not
    assert any(name in doubt and other.why_not in doubt for doubt in layout.doubts)
    assert {EMBED, HEAD} == {tensor.name for tensor in layout.tensors if tensor.editable}


def test_mllama_keeps_its_eight_rows() -> None:
    shapes = {"language_model.model.embed_tokens.weight": (V + 8, D), HEAD: (V, D)}
    layout = layout_of("mllama_text_model", shapes, vocab_size=V)
    assert layout.part("input") == ()
    assert layout.n_rows == V
    assert any("8 rows more" in doubt for doubt in layout.doubts)


QUANTISED: dict[str, tuple[dict[str, Sequence[int | str]], str]] = {
    "gptq": (
        {
            EMBED: ("F16", V, D),
            "lm_head.qweight": ("I32", D // 8, V),
            "lm_head.qzeros": ("I32", 1, V // 8),
            "lm_head.scales": ("F16", 1, V),
            "lm_head.g_idx": ("I32", D),
        },
        "input",
    ),
    "mlx": (
        {
            EMBED: ("U32", V, D // 8),
            "model.embed_tokens.scales": (V, 1),
            "model.embed_tokens.biases": (V, 1),
            HEAD: (V, D),
        },
        "output",
    ),
    "fp8": (
        {
            EMBED: (V, D),
            HEAD: ("F8_E4M3", V, D),
            "lm_head.weight_scale_inv": ("F32", 8, 1),
        },
        "input",
    ),
    "bitsandbytes": (
        {
            EMBED: (V, D),
            HEAD: ("U8", V * D // 2, 1),
            "lm_head.weight.absmax": ("F32", V * D // 64),
            "lm_head.weight.quant_state.bitsandbytes__nf4": ("U8", 100),
        },
        "input",
    ),
    "compressed-tensors": (
        {
            EMBED: (V, D),
            "lm_head.weight_packed": ("I32", V, D // 8),
            "lm_head.weight_scale": (V, 1),
        },
        "input",
    ),
}


@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_matrices_cannot_be_edited_and_every_piece_says_why(kind: str) -> None:
    shapes, editable = QUANTISED[kind]
    layout = layout_of("llama", shapes, hidden_size=D)
    assert layout.n_rows == V
    assert set(shapes) == {tensor.name for tensor in layout.tensors}
    assert [editable] == [tensor.part for tensor in layout.tensors if tensor.editable]
    assert all(tensor.why_not for tensor in layout.tensors if not tensor.editable)
    assert layout.doubts


# --- shapes --------------------------------------------------------------------------------


def test_an_unknown_model_is_found_by_names_and_shapes_and_says_how_sure() -> None:
    layout = layout_of("new_model", {EMBED: (V, D), HEAD: (V, D)}, tie_word_embeddings=False)
    assert parts(layout) == {EMBED: "input", HEAD: "output"}
    assert layout.certainty == "shape"
    assert all(tensor.sure == "shape" for tensor in layout.tensors)
    assert "almost certain" in layout.doubts[0]


def test_an_unknown_model_without_vocab_size_is_a_guess() -> None:
    shapes = {EMBED: (V, D), HEAD: (V, D)}
    layout = layout_of("new_model", shapes, vocab_size=None, n_tokens=990)
    assert parts(layout) == {EMBED: "input", HEAD: "output"}
    assert (layout.n_rows, layout.tied) == (V, False)
    assert any("a guess" in doubt for doubt in layout.doubts)
    assert any("does not say whether the model is tied" in doubt for doubt in layout.doubts)


def test_two_candidates_are_a_doubt_that_names_them() -> None:
    layout = layout_of("new_model", {"shared.weight": (V, D), "decoder.wte.weight": (V, D)})
    assert any("shared.weight" in d and "decoder.wte.weight" in d for d in layout.doubts)
    assert any("more than one candidate" in doubt for doubt in layout.doubts)


def test_a_family_file_that_names_nothing_here_falls_back_to_shapes() -> None:
    layout = layout_of("llama", {"tok_embeddings.weight": (V, D), "output.weight": (V, D)})
    assert parts(layout) == {"tok_embeddings.weight": "input", "output.weight": "output"}
    assert layout.certainty == "shape"
    assert any("file of llama" in doubt for doubt in layout.doubts)


@pytest.mark.parametrize("model_type", ["llama", "new_model"])
def test_a_size_that_equals_the_vocabulary_does_not_make_projections_vocabulary(
    model_type: str,
) -> None:
    shapes = {**trunk(V), EMBED: (V, V), HEAD: (V, V)}
    layout = layout_of(model_type, shapes, hidden_size=V, tie_word_embeddings=False)
    assert parts(layout) == {EMBED: "input", HEAD: "output"}
    assert all((tensor.axis, tensor.editable) == (0, True) for tensor in layout.tensors)
    assert (model_type == "llama") == (layout.doubts == ())


def test_a_transposed_matrix_is_found_and_not_edited() -> None:
    layout = layout_of("llama", {EMBED: (V, D), HEAD: (D, V)})
    (head,) = layout.part("output")
    assert (head.axis, head.n_rows, head.editable) == (1, V, False)
