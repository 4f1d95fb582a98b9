"""Defects of the rules C and J: context and chat template."""

from __future__ import annotations

from planting import Defect, built, config, generation, tokenizer, with_edit, with_files, writing

import tiny
from tiny import DROP, QWEN_LIKE

_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
_CHAT = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + m.content + '<|im_end|>' }}{% endfor %}"
)
_PHANTOM = _CHAT.replace("<|im_start|>", "<|im_start|><|begin_note|>")
DEFECTS = (
    Defect(
        "C101",
        bad=(
            config(rope_scaling={**_YARN, "factor": 2.0}),
            config(rope_scaling={"type": "yarn", **_YARN}, max_position_embeddings=300),
        ),
        good=(
            config(rope_scaling=_YARN),
            config(rope_scaling={**_YARN, "rope_type": "llama3", "factor": 8.0}),
        ),
        also=frozenset({"C201"}),
    ),
    Defect(
        "C102",
        bad=(
            config(rope_scaling={"rope_type": "yarn", "factor": 4.0}),
            config(rope_scaling={"type": "yarn", "factor": 2.0}, max_position_embeddings=256),
        ),
        good=(
            config(rope_scaling=_YARN),
            config(rope_scaling={"rope_type": "linear", "factor": 4.0}),
            config(
                rope_scaling={"type": "yarn", "factor": 4.0}, original_max_position_embeddings=64
            ),
        ),
    ),
    Defect(
        "C103",
        bad=(
            config(rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
            config(rope_parameters={**_YARN, "rope_theta": 10000.0}),
            config(rope_scaling={**_YARN, "type": "linear"}),
        ),
        good=(
            config(rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
            config(rope_scaling=_YARN, rope_parameters={**_YARN, "rope_theta": 10000.0}),
            config(rope_scaling={"type": "mrope", "rope_type": "default", "mrope_section": [2]}),
            config(rope_parameters={"full_attention": {"rope_theta": 1e6}}),
        ),
        also=frozenset({"C101"}),
    ),
    Defect(
        "C104",
        bad=(
            config(rope_theta=DROP, rope_scaling=DROP, rope_parameters={"rope_theta": 1e6}),
            config(
                rope_theta=DROP, rope_scaling=DROP, rope_parameters={**_YARN, "rope_theta": 10000.0}
            ),
        ),
        good=(
            config(rope_theta=DROP, rope_scaling=DROP, rope_parameters={"rope_theta": 10000.0}),
            config(rope_parameters={"rope_theta": 10000.0}),
        ),
    ),
    Defect(
        "C201",
        bad=(tokenizer(model_max_length=128), tokenizer(model_max_length=512)),
        good=(
            tokenizer(model_max_length=254),  # RoBERTa keeps two positions for itself
            tokenizer(model_max_length=10**30),
            tokenizer(model_max_length=DROP),
            with_files(
                {
                    "tokenizer_config.json": {"model_max_length": 1024},
                    "config.json": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
                }
            ),
        ),
    ),
    Defect(
        "C202",
        bad=(generation(max_new_tokens=64), generation(max_new_tokens=2048)),
        good=(generation(max_length=256), generation(max_new_tokens=None)),
    ),
    Defect(
        "J101",
        bad=(
            tokenizer(chat_template=_PHANTOM),
            built(added=tuple(t for t in QWEN_LIKE if t.content != "</think>")),
        ),
        good=(
            tokenizer(chat_template=_CHAT + "{{ '<tools></tools> <function-name> <b>[x]</b>' }}"),
            tokenizer(
                chat_template=_CHAT + "{% if '<|nothing|>' in messages[0].content %}{% endif %}"
            ),
            tokenizer(chat_template=_CHAT + "{# <|a_comment|> #}"),
        ),
    ),
    Defect(
        "J102",
        bad=(
            with_edit(writing("chat_template.jinja", _CHAT)),
            with_edit(writing("chat_template.jinja", tiny.TEMPLATE + " "), template="both"),
        ),
        good=(
            built(template="both"),
            with_edit(writing("chat_template.jinja", tiny.TEMPLATE + "\n"), template="both"),
            with_edit(writing("chat_template.jinja", _CHAT), template=False),
        ),
    ),
    Defect(
        "J103",
        bad=(
            tokenizer(chat_template="{% for message in messages %}"),
            tokenizer(chat_template="{{ messages[0 }}"),
        ),
        good=(
            tokenizer(chat_template=_CHAT + "{% generation %}{% endgeneration %}"),
            tokenizer(chat_template="{% for m in messages %}{% break %}{% endfor %}"),
        ),
    ),
)
