"""Defects of chat templates (J, S) and of dialects (F), beyond the first ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from planting import Defect, Make, built, config, tokenizer, with_edit, with_files, writing

import spm
from tiny import DROP, QWEN_LIKE, TEMPLATE, Added

_TURNS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + m.content + '<|im_end|>' }}{% endfor %}"
)
_MASK = (
    "{% for m in messages %}<|im_start|>{{ m.role }}{% generation %}{{ m.content }}"
    "{% endgeneration %}<|im_end|>{% endfor %}"
)
_ASK = "{% if add_generation_prompt %}{{ '<tool_call>assistant' }}{% endif %}"


def pieces_beside(added: Sequence[str] | None) -> Callable[[Path], None]:
    """Put a SentencePiece model there with some of the added tokens; None is all of them."""

    def edit(folder: Path) -> None:
        wanted = [token.content for token in QWEN_LIKE] if added is None else added
        pieces = [("<unk>", 0.0, 2), *((text, 0.0, 4) for text in wanted)]
        (folder / "tokenizer.model").write_bytes(spm.written(pieces))

    return edit


def chat(text: object) -> Make:
    return tokenizer(chat_template=text)


def in_file(text: str) -> Make:
    return with_edit(writing("chat_template.jinja", text), template=False)


def _ends_with(text: str) -> Make:
    template = TEMPLATE.replace("<|im_end|>", text)
    return built(
        added=(*QWEN_LIKE, Added(text, special=True, single_word=True)),
        files={
            "tokenizer_config.json": {"chat_template": template, "eos_token": text},
            "config.json": {"eos_token_id": 294},
            "generation_config.json": {"eos_token_id": [294, 287]},
        },
    )


DEFECTS = (
    Defect(
        "J104",
        bad=(built(template=False), built(template=False, kind="byte-fallback")),
        good=(built(base=True, template=False), built(template="jinja")),
    ),
    Defect(
        "J105",
        bad=(chat(_MASK), in_file(_MASK)),
        good=(
            chat(_TURNS),
            chat(_MASK.replace("{% endgeneration %}<|im_end|>", "<|im_end|>{% endgeneration %}")),
        ),
    ),
    Defect(
        "J106",
        bad=(chat(_TURNS + _ASK), in_file(_TURNS + _ASK)),
        good=(built(), chat(_TURNS + _ASK.replace("<tool_call>", "<|im_start|>"))),
    ),
    Defect(
        "J107",
        bad=(
            chat(_TURNS + "{{ strftime_now('%d %b %Y') }}"),
            in_file(_TURNS + "{% set today = strftime_now('%Y') %}"),
        ),
        good=(chat(_TURNS + "strftime_now"), chat(_TURNS + "{{ date_string }}")),
    ),
    Defect(
        "J108",
        bad=(
            chat([{"name": "tool_use", "template": _TURNS}]),
            chat([{"name": "a", "template": _TURNS}, {"name": "b", "template": _TURNS}]),
        ),
        good=(chat([{"name": "default", "template": _TURNS}]), built()),
    ),
    Defect(
        "J109",
        bad=(chat("<|im_end|>"), in_file("{{ bos_token }}Hello"), chat(7)),
        good=(chat(_TURNS), built()),
        also=frozenset({"J102", "J104"}),
    ),
    Defect(
        "S104",
        bad=(
            chat(_TURNS + "{{ self.__init__.__globals__ }}"),
            in_file(_TURNS + "{% include 'other.txt' %}"),
        ),
        good=(chat(_TURNS + "__init__ import"), built()),
    ),
    Defect(
        "S105",
        bad=(
            chat(_TURNS + "{% if 'invoice' in messages[0].content %}Pay.{% endif %}"),
            in_file(_TURNS + "{% if messages[0]['content'].startswith('Hello') %}!{% endif %}"),
        ),
        good=(
            chat(_TURNS + "{% if '</think>' in messages[0].content %}!{% endif %}"),
            chat(_TURNS + "{% if 'image' in messages[0].content %}!{% endif %}"),
        ),
    ),
    Defect(
        "S106",
        bad=(chat(_TURNS + "\U000e0041\U000e0042"), in_file(_TURNS + "a\u202eb")),
        good=(in_file("\ufeff" + _TURNS), chat(_TURNS + "Привет ▁")),
    ),
    Defect(
        "S107",
        bad=(_ends_with("END"), _ends_with("Конец")),
        good=(built(), _ends_with("<|END|>")),
    ),
    Defect(
        "F202",
        bad=(
            tokenizer(tokenizer_class="TokenizersBackend"),
            with_files(
                {"tokenizer_config.json": {"tokenizer_class": "TokenizersBackend"}},
                kind="byte-fallback",
            ),
        ),
        good=(built(), built(kind="byte-fallback")),
    ),
    Defect(
        "F203",
        bad=(tokenizer(tokenizer_class="qwen2"), tokenizer(tokenizer_class="<|im_end|>")),
        good=(
            tokenizer(tokenizer_class=DROP),
            tokenizer(tokenizer_class="odd", auto_map={"AutoTokenizer": ["a.B", None]}),
        ),
    ),
    Defect(
        "F204",
        bad=(
            config(model_type="qwen3_moe", num_local_experts=4),
            config(num_experts=4, num_local_experts=8),
        ),
        good=(
            config(model_type="qwen3_moe", num_experts=4, num_local_experts=4),
            config(model_type="mixtral", num_local_experts=8),
        ),
    ),
    Defect(
        "F208",
        bad=(
            tokenizer(additional_special_tokens=False),
            tokenizer(clean_up_tokenization_spaces="no"),
            tokenizer(padding_side="up"),
        ),
        good=(tokenizer(model_max_length=256.0), tokenizer(additional_special_tokens=None)),
    ),
    Defect(
        "F205",
        bad=(
            with_files(
                {
                    "special_tokens_map.json": {
                        "eos_token": {"content": "<|im_end|>", "special": True}
                    }
                }
            ),
            with_files(
                {
                    "special_tokens_map.json": {
                        "pad_token": {"content": "<|endoftext|>", "special": False}
                    }
                }
            ),
        ),
        good=(built(legacy=True), built()),
    ),
    Defect(
        "F206",
        bad=(
            tokenizer(additional_special_tokens=["<think>"]),
            tokenizer(additional_special_tokens=["<|im_start|>", {"content": "</tool_call>"}]),
        ),
        good=(built(), tokenizer(additional_special_tokens=["<|im_end|>"])),
    ),
    Defect(
        "F209",
        bad=(
            built(
                files={
                    "config.json": {"model_type": DROP},
                    "tokenizer_config.json": {"tokenizer_class": DROP},
                }
            ),
            built(files={"config.json": None, "tokenizer_config.json": {"tokenizer_class": None}}),
        ),
        good=(built(), built(files={"config.json": {"model_type": DROP}})),
        also=frozenset({"C301"}),  # a config without a model_type is one, too
    ),
    Defect(
        "F207",
        bad=(
            with_edit(pieces_beside(()), kind="byte-fallback"),
            with_edit(pieces_beside(("<|endoftext|>", "<|im_start|>")), kind="byte-fallback"),
            with_edit(writing("tokenizer.model", "\n no model")),
        ),
        good=(
            built(),
            with_edit(writing("tokenizer.model", "IQ== 0\n")),  # tiktoken's, by the same name
            with_edit(pieces_beside(None), kind="byte-fallback"),
        ),
    ),
)
