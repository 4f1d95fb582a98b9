"""Families: names from data, shapes where there are none, and doubts that say which it was."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tokengraft.checkpoint import JsonValue
from tokengraft.families import context_of, families, family_of, find_layout, trained_length
from tokengraft.families.naming import named_part
from tokengraft.families.reading import read_family
from tokengraft.layout import EmbeddingLayout
from tokengraft.tensors import DTYPE_BITS, TensorIndex, TensorRef

V, D = 1000, 24
Shapes = Mapping[str, Sequence[int | str]]


def index(shapes: Shapes, *, dtype: str = "BF16", missing: tuple[str, ...] = ()) -> TensorIndex:
    """Headers alone: each name with its shape, or with its own dtype in front of the shape."""
    refs: dict[str, TensorRef] = {}
    at = 0
    for name, given in shapes.items():
        shape = tuple(size for size in given if isinstance(size, int))
        own = given[0] if given and isinstance(given[0], str) else dtype
        ref = TensorRef(name, str(own), shape, "model.safetensors", at, at)
        at += ref.n_elements * DTYPE_BITS[str(own)] // 8
        refs[name] = TensorRef(name, str(own), shape, "model.safetensors", ref.begin, at)
    return TensorIndex(files={}, tensors=refs, missing_files=missing)


def trunk(width: int) -> dict[str, Sequence[int | str]]:
    """What every model has and no vocabulary: projections, norms, tables of positions and types."""
    return {
        "model.layers.0.self_attn.q_proj.weight": (width, width),
        "model.layers.0.self_attn.out_proj.weight": (width, width),
        "model.layers.0.mlp.up_proj.weight": (4 * width, width),
        "model.layers.0.mlp.up_proj.bias": (4 * width,),
        "model.norm.weight": (width,),
        "transformer.wpe.weight": (2048, width),
        "bert.embeddings.position_embeddings.weight": (512, width),
        "bert.embeddings.token_type_embeddings.weight": (2, width),
        "vision_tower.patch_embed.proj.weight": (width, 3, 14, 14),
    }


def layout_of(
    model_type: str,
    shapes: Shapes,
    *,
    pointer: str = "",
    n_tokens: int | None = None,
    missing: tuple[str, ...] = (),
    vocab_size: int | None = V,
    **config: JsonValue,
) -> EmbeddingLayout:
    top: dict[str, JsonValue] = {} if pointer or vocab_size is None else {"vocab_size": vocab_size}
    return find_layout(
        family_of(model_type),
        config={"model_type": model_type, **top, **config},
        text_config=pointer,
        tensors=index({**trunk(D), **shapes}, missing=missing),
        n_tokens=n_tokens,
    )


def parts(layout: EmbeddingLayout) -> dict[str, str]:
    return {tensor.name: tensor.part for tensor in layout.tensors}


EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


# --- the files -----------------------------------------------------------------------------


def test_every_family_file_is_read_and_the_required_ones_are_there() -> None:
    wanted = {"qwen2", "qwen3", "qwen3_moe", "llama", "mistral", "phi", "gemma", "gpt2", "gpt_neox"}
    assert wanted | {"generic"} <= set(families())
    for name, family in families().items():
        assert name == family.name
        assert name == "generic" or (family.model_types and family.output_rows)


def test_no_model_type_is_claimed_twice() -> None:
    claimed = Counter(kind for family in families().values() for kind in family.model_types)
    assert [] == [kind for kind, count in claimed.items() if count > 1]


@pytest.mark.parametrize(
    "text",
    [
        "model_types = ['x']\nimput_rows = ['a']",
        "model_types = 'x'",
        "input_rows = ['a']",
        "model_types = ['x']\nrope = 'yes'",
        "model_types = ['x']\nvocab_keys = ['vocab_size']",
        "model_types = ['x']\ntrained_length = [[1, 2]]",
        "model_types = ['x']\ntrained_length = [[1]]\ntrained_length_source = 's'",
        "model_types = ['x', 'x']",
    ],
)
def test_a_family_file_with_a_mistake_is_a_bug(text: str) -> None:
    with pytest.raises(AssertionError):
        read_family("x", text)


def test_an_unknown_model_type_is_generic() -> None:
    assert family_of("no_such_model").name == "generic"
    assert family_of(None).name == "generic"
    assert {"gemma3", "gemma3_text"} <= set(family_of("gemma3_text").model_types)


# --- names from family data ----------------------------------------------------------------


def test_an_untied_qwen3_has_two_matrices_and_no_doubt() -> None:
    layout = layout_of(
        "qwen3_moe", {EMBED: (V, D), HEAD: (V, D)}, tie_word_embeddings=False, hidden_size=D
    )
    assert parts(layout) == {EMBED: "input", HEAD: "output"}
    assert (layout.n_rows, layout.n_rows_from, layout.tied) == (V, "weights", False)
    assert (layout.certainty, layout.doubts) == ("family", ())
    (matrix,) = layout.part("input")
    assert (matrix.axis, matrix.width, matrix.sure, matrix.editable) == (0, D, "family", True)


def test_a_tied_model_without_an_output_matrix_has_no_doubt() -> None:
    configs: tuple[dict[str, Any], ...] = ({"tie_word_embeddings": True}, {})
    for config in configs:
        layout = layout_of("gemma2", {EMBED: (V, D)}, **config)
        assert (layout.tied, layout.doubts) == (True, ())


def test_a_tied_model_with_an_output_matrix_on_disk_edits_both_and_says_so() -> None:
    layout = layout_of("qwen3", {EMBED: (V, D), HEAD: (V, D)}, tie_word_embeddings=True)
    assert layout.tied
    assert [tensor.editable for tensor in layout.part("output")] == [True]
    assert len(layout.doubts) == 1
    assert "tied" in layout.doubts[0]
    assert HEAD in layout.doubts[0]


def test_an_untied_model_without_an_output_matrix_is_doubtful() -> None:
    layout = layout_of("llama", {EMBED: (V, D)}, missing=("model-00002-of-00002.safetensors",))
    assert not layout.tied
    assert "It may lie in model-00002-of-00002.safetensors." in layout.doubts[0]


@pytest.mark.parametrize(
    ("model_type", "embed", "head", "pointer"),
    [
        ("gemma3", "language_model.model.embed_tokens.weight", None, "/text_config"),
        ("gemma3_text", "model.language_model.embed_tokens.weight", None, "/text_config"),
        ("llava", "language_model.model.embed_tokens.weight", "language_model.lm_head.weight", ""),
        ("qwen2_5_omni_text", "thinker.model.embed_tokens.weight", "thinker.lm_head.weight",
         "/thinker_config/text_config"),
        ("gpt2", "wte.weight", None, ""),
        ("gpt2", "transformer.wte.weight", "lm_head.weight", ""),
        ("gpt_neox", "gpt_neox.embed_in.weight", "embed_out.weight", ""),
        ("bloom", "word_embeddings.weight", None, ""),
        ("chatglm", "transformer.embedding.word_embeddings.weight",
         "transformer.output_layer.weight", ""),
    ],
)  # fmt: skip
def test_prefixes_and_nested_configs_do_not_hide_a_matrix(
    model_type: str, embed: str, head: str | None, pointer: str
) -> None:
    config: dict[str, Any] = {}
    level = config
    for key in pointer.split("/")[1:]:
        level = level.setdefault(key, {})
    level |= {"vocab_size": V, "tie_word_embeddings": head is None}
    shapes = {name: (V, D) for name in (embed, head) if name}
    layout = layout_of(model_type, shapes, pointer=pointer, **config)
    assert parts(layout) == ({embed: "input"} | ({head: "output"} if head else {}))
    assert (layout.certainty, layout.doubts) == ("family", ())


def test_a_wildcard_ends_in_a_dot() -> None:
    assert named_part(family_of("llama"), "a.b.lm_head.weight") == "output"
    assert named_part(family_of("llama"), "generator_lm_head.weight") is None


def test_a_bias_of_the_output_matrix_is_found() -> None:
    layout = layout_of("phi", {EMBED: (V, D), HEAD: (V, D), "lm_head.bias": (V,)})
    (bias,) = layout.part("bias")
    assert (bias.name, bias.width, bias.editable, layout.doubts) == ("lm_head.bias", 1, True, ())


def test_copies_for_multi_token_prediction_are_edited_like_the_matrices() -> None:
    mtp = ("model.layers.61.embed_tokens.weight", "model.layers.61.shared_head.head.weight")
    layout = layout_of("deepseek_v3", dict.fromkeys((EMBED, HEAD, *mtp), (V, D)))
    assert {tensor.name for tensor in layout.part("input")} == {EMBED, mtp[0]}
    assert {tensor.name for tensor in layout.part("output")} == {HEAD, mtp[1]}
    assert all(tensor.editable for tensor in layout.tensors)
    assert layout.doubts == ()


# --- what disagrees ------------------------------------------------------------------------


def test_rows_that_disagree_with_the_config_are_a_doubt_with_both_numbers() -> None:
    layout = layout_of("qwen3", {EMBED: (1064, D), HEAD: (1064, D)}, tie_word_embeddings=False)
    assert (layout.n_rows, layout.n_rows_from) == (1064, "weights")
    assert len(layout.doubts) == 1
    assert "1000" in layout.doubts[0]
    assert "1064" in layout.doubts[0]
    assert all(tensor.editable for tensor in layout.tensors)


def test_an_output_matrix_with_other_rows_cannot_be_edited() -> None:
    layout = layout_of("llama", {EMBED: (V, D), HEAD: (V - 8, D)})
    (head,) = layout.part("output")
    assert not head.editable
    assert "992" in head.why_not
    assert any("992" in doubt for doubt in layout.doubts)


def test_the_vocabulary_of_a_talker_is_not_ours() -> None:
    talker = "talker.model.embed_tokens.weight"
    layout = layout_of("qwen2_5_omni_thinker", {
        talker: (844, D), "thinker.model.embed_tokens.weight": (V, D), "thinker.lm_head.weight": (V, D),
    })  # fmt: skip
    assert (layout.n_rows, parts(layout)[talker]) == (V, "other")
    assert any(talker in doubt for doubt in layout.doubts)


def test_configs_that_contradict_each_other_about_ties_are_settled_by_the_weights() -> None:
    config: dict[str, Any] = {
        "tie_word_embeddings": True,
        "text_config": {"vocab_size": V, "tie_word_embeddings": False},
    }
    for shapes, tied in (({EMBED: (V, D)}, True), ({EMBED: (V, D), HEAD: (V, D)}, False)):
        layout = layout_of("llava", shapes, pointer="/text_config", **config)
        assert layout.tied is tied
        assert "/text_config/tie_word_embeddings false" in layout.doubts[0]


# --- no weights ----------------------------------------------------------------------------


def test_without_weights_the_config_is_believed() -> None:
    layout = find_layout(
        family_of("qwen3"), config={"vocab_size": V, "tie_word_embeddings": True}, n_tokens=900
    )
    assert (layout.n_rows, layout.n_rows_from, layout.certainty) == (V, "config", "config")
    assert (layout.tensors, layout.tied, layout.doubts) == ((), True, ())


def test_without_weights_and_vocab_size_the_tokenizer_is_counted_and_doubted() -> None:
    layout = find_layout(family_of("qwen3"), config={}, n_tokens=900)
    assert layout.n_rows == 900
    assert "/vocab_size" in layout.doubts[0]


# --- context -------------------------------------------------------------------------------


def test_the_trained_length_of_qwen3_is_not_what_its_config_says() -> None:
    for model_type in ("qwen3", "qwen3_moe"):
        assert trained_length(family_of(model_type), 40960)[0] == 32768
        assert trained_length(family_of(model_type), 32768)[0] == 32768
    length, source = trained_length(family_of("qwen2"), 131072)
    assert length == 32768
    assert "2412.15115" in source


def test_an_unknown_trained_length_is_none() -> None:
    assert trained_length(family_of("llama"), 7777) == (None, "")
    assert trained_length(family_of("qwen3"), 77) == (None, "")
    assert trained_length(family_of("qwen3"), None) == (None, "")


def test_the_context_is_found_where_the_family_keeps_it() -> None:
    assert context_of(family_of("gpt2"), {"n_positions": 1024}) == (1024, "/n_positions")
    nested: dict[str, Any] = {
        "text_config": {"max_position_embeddings": 8192},
        "max_position_embeddings": 4,
    }
    pointer = "/text_config/max_position_embeddings"
    assert context_of(family_of("gemma3_text"), nested, "/text_config") == (8192, pointer)
    assert context_of(family_of("qwen3"), {"max_position_embeddings": None}) == (None, None)
    assert context_of(family_of("qwen3"), {"max_position_embeddings": True}) == (None, None)


# --- real files ----------------------------------------------------------------------------


def test_real_configs_are_understood(data: Path) -> None:
    expected = {"qwen3-30b-a3b-base": 32768, "qwen3-30b-a3b": 40960, "qwen3-8b": 40960}
    for path in sorted((data / "tokenizers").glob("*/config.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        family = family_of(config["model_type"])
        layout = find_layout(family, config=config)
        assert family.name == config["model_type"]
        assert (layout.n_rows, layout.tied, layout.doubts) == (config["vocab_size"], False, ())
        length, pointer = context_of(family, config)
        if path.parent.name in expected:
            assert length == expected.pop(path.parent.name)
            assert trained_length(family, length)[0] == 32768
        assert pointer == "/max_position_embeddings"
    assert expected == {}


def test_a_real_checkpoint_with_as_many_positions_as_tokens_has_one_matrix(data: Path) -> None:
    folder = data / "models" / "stories260K"
    weights = (folder / "model.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    shapes = {k: (v["dtype"], *v["shape"]) for k, v in header.items() if k != "__metadata__"}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    layout = find_layout(family_of("llama"), config=config, tensors=index(shapes))
    assert (layout.n_rows, layout.tied, layout.doubts) == (512, True, ())
    assert parts(layout) == {EMBED: "input"}
