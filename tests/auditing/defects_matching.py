"""Defects of added tokens as they are found in text (T3), and of the steps around the model (T4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from defects_merges import only_tokenizer as tok
from planting import IM_END, Defect, Make, built, tokenizer, with_files

from tiny import QWEN_LIKE, TEMPLATE, Added


def added(*tokens: Added, **fields: Any) -> Make:
    return built(added=(*QWEN_LIKE, *tokens), **fields)


def _changed(text: str, *, special: bool) -> tuple[Added, ...]:
    return tuple(
        Added(t.content, special=special if t.content == text else t.special) for t in QWEN_LIKE
    )


def _step(step: str, value: Any) -> Callable[[Any], None]:
    return lambda tokenizer: tokenizer.update({step: value})


def _split(**keys: Any) -> Callable[[Any], None]:
    return lambda value: value["pre_tokenizer"]["pretokenizers"][0].update(keys)


def _model(key: str, value: Any) -> Callable[[Any], None]:
    return lambda tokenizer: tokenizer["model"].update({key: value})


def _without(step: str, key: str) -> Callable[[Any], None]:
    return lambda value: value[step].pop(key)


def _bos(token_id: int, **more: Any) -> Callable[[Any], None]:
    token = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return _step(
        "post_processor",
        {
            "type": "TemplateProcessing",
            "single": [token, text],
            "pair": [token, text],
            "special_tokens": {
                "<|im_start|>": {
                    "id": "<|im_start|>",
                    "ids": [token_id],
                    "tokens": ["<|im_start|>"],
                }
            },
            **more,
        },
    )


_SHOWN = TEMPLATE + "{{ '<|call|>' }}"
_THINK = Added("<|call|>")
_ROBERTA = {
    "type": "RobertaProcessing",
    "sep": ["<|im_end|>", IM_END],
    "cls": ["<|im_end|>", IM_END],
    "trim_offsets": True,
    "add_prefix_space": False,
}
DEFECTS = (
    Defect(
        "T301",
        bad=(
            added(Added("<|im_end|>b", normalized=True)),
            added(Added("x<think>", normalized=True)),
        ),
        good=(
            added(Added("<|im_end|>b")),
            added(Added("<x>", normalized=True), Added("<x>b", normalized=True)),
        ),
    ),
    Defect(
        "T302",
        bad=(added(Added("agent")), added(Added("Агент7", special=True))),
        good=(added(Added("agent", single_word=True)), added(Added("<agent>"), Added("\n\n\n"))),
    ),
    Defect(
        "T303",
        bad=(added(Added("<café>")), added(Added("<|Ġ|>", special=True))),
        good=(added(Added("<|думай|>")), added(Added("<é>"), kind="byte-fallback")),
    ),
    Defect(
        "T304",
        bad=(added(Added("<|im\u200b|>")), added(Added("<|\u202eab|>"), kind="byte-fallback")),
        good=(added(Added("\t\t"), Added("<｜a▁b｜>")),),
    ),
    Defect(
        "T305",
        bad=(added(Added("<Think>")), added(Added("<｜im_end｜>", special=True))),
        good=(added(Added("<thinks>")), added(Added(" "), Added("  "))),
    ),
    Defect(
        "T306",
        bad=(
            built(added=_changed("<think>", special=True)),
            built(added=_changed("</tool_call>", special=True)),
        ),
        good=(built(), added(Added("<|vision_start|>", special=True))),
    ),
    Defect(
        "T307",
        bad=(
            built(added=_changed("<|im_start|>", special=False)),
            built(added=_changed("<|endoftext|>", special=False)),
        ),
        good=(built(), built(base=True)),
        also=frozenset({"F206", "T308"}),
    ),
    Defect(
        "T308",
        bad=(
            added(_THINK, files={"tokenizer_config.json": {"chat_template": _SHOWN}}),
            added(
                _THINK,
                template=False,
                files={"tokenizer_config.json": {"chat_template": "{{ messages }}<|call|>"}},
            ),
        ),
        good=(
            added(_THINK),
            added(
                Added("<call>"),
                files={"tokenizer_config.json": {"chat_template": TEMPLATE + "<call>"}},
            ),
        ),
    ),
    Defect(
        "T309",
        bad=(added(Added("<tool_response>")), added(Added("</reasoning>"))),
        good=(added(Added("<tool_response>"), Added("</tool_response>")),),
    ),
    Defect(
        "T401",
        bad=(
            tok(_step("version", "2.0")),
            tok(_split(behavior="Somehow"), kind="bpe"),
            tok(_without("decoder", "type")),
            tok(_step("post_processor", {"type": "BertProcessing", "sep": ["!", 33]})),
            tok(_step("truncation", [{"max_length": 8}])),
            tok(_step("post_processor", {**_ROBERTA, "sep": True})),
            tok(_step("post_processor", {**_ROBERTA, "cls": ["<|im_end|>"]})),
            tok(_model("type", False)),
            tok(_model("type", "bpe")),
            tok(_model("merges", "BPE")),
        ),
        good=(built(), tok(_step("post_processor", {"type": "FromTheFuture"}))),
        also=frozenset({"T204", "T402", "T403"}),
    ),
    Defect(
        "T402",
        bad=(
            tok(_step("normalizer", None)),
            tok(_split(pattern={"Regex": r"\s+"})),
            tokenizer(add_prefix_space=True),
        ),
        good=(
            built(),
            tok(
                _step("normalizer", None),
                files={"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}},
            ),
        ),
    ),
    Defect(
        "T403",
        bad=(
            tok(_step("decoder", None)),
            tok(_step("normalizer", None), kind="byte-fallback"),
            tok(lambda v: v["decoder"]["decoders"].pop(0), kind="byte-fallback"),
            tok(lambda v: v["normalizer"]["normalizers"].pop(0), kind="byte-fallback"),
        ),
        good=(built(), built(kind="byte-fallback")),
    ),
    Defect(
        "T404",
        bad=(
            tok(_step("truncation", {"max_length": 512, "strategy": "LongestFirst", "stride": 0})),
            tok(_step("padding", {"strategy": {"Fixed": 8}, "pad_id": 0, "pad_token": "!"})),
        ),
        good=(built(), tok(_step("padding", None))),
    ),
    Defect(
        "T405",
        bad=(tok(_bos(IM_END)), tok(_bos(IM_END - 1, special_tokens={}))),
        good=(tok(_bos(IM_END - 1)), built()),
    ),
    Defect(
        "T406",
        bad=(
            with_files(
                {"tokenizer_config.json": {"add_bos_token": True, "bos_token": "<|endoftext|>"}}
            ),
            tokenizer(add_eos_token=True),
        ),
        good=(built(), tokenizer(add_eos_token=False)),
    ),
    Defect(
        "T407",
        bad=(
            tokenizer(split_special_tokens=True),
            with_files(
                {"tokenizer_config.json": {"split_special_tokens": True}}, kind="byte-fallback"
            ),
        ),
        good=(built(), tokenizer(split_special_tokens=False)),
    ),
)
