"""What a template's text tells, on the templates of published models."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokengraft.formats.template_jinja import syntax_error
from tokengraft.formats.template_text import MARKER, markers, turn_ends, written
from tokengraft.vocabulary import AddedToken, ChatTemplate, NamedToken, TokenId, Tokenizer

# Tokens that end a turn of the assistant, as their publishers' stop lists have them; the first is
# the usual one. `</EOS>` stands for the tokenizer's eos, which these templates write as eos_token.
ENDS = {
    "ByteDance-Seed-OSS": "<seed:eos>",
    "CohereForAI-c4ai-command-r-plus-tool_use": "<|END_OF_TURN_TOKEN|>",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "<|END_OF_TURN_TOKEN|>",
    "Mistral-Small-3.2-24B-Instruct-2506": "</EOS>",
    "NVIDIA-Nemotron-Nano-v2": "<SPECIAL_12>",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "<|im_end|>",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "<|im_end|>",
    "Qwen-QwQ-32B": "<|im_end|>",
    "Qwen-Qwen2.5-7B-Instruct": "<|im_end|>",
    "Qwen-Qwen3-0.6B": "<|im_end|>",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": "<｜end▁of▁sentence｜>",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": "<｜end▁of▁sentence｜>",
    "deepseek-ai-DeepSeek-V3.1": "<｜end▁of▁sentence｜>",
    "fireworks-ai-llama-3-firefunction-v2": "<|eot_id|>",
    "google-gemma-2-2b-it": "<end_of_turn>",
    "ibm-granite-granite-3.3-2B-Instruct": "<|end_of_text|>",
    "llama-cpp-deepseek-r1": "<｜end▁of▁sentence｜>",
    "meetkai-functionary-medium-v3.1": "<|eot_id|>",
    "meetkai-functionary-medium-v3.2": "<|eot_id|>",
    "meta-llama-Llama-3.1-8B-Instruct": "<|eot_id|>",
    "meta-llama-Llama-3.2-3B-Instruct": "<|eot_id|>",
    "meta-llama-Llama-3.3-70B-Instruct": "<|eot_id|>",
    "microsoft-Phi-3.5-mini-instruct": "<|end|>",
    "mistralai-Mistral-Nemo-Instruct-2407": "</EOS>",
    "moonshotai-Kimi-K2": "<|im_end|>",
    "openai-gpt-oss-120b": "<|return|>",
    "unsloth-mistral-Devstral-Small-2507": "</EOS>",
}
SPECIAL = re.compile(
    r"<\|.*\|>|<｜.*｜>|<SPECIAL_\d+>|<(start|end)_of_turn>|<seed:[be]os>|\[/?[A-Z_]+\]"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _tokenizer(special: set[str], eos: str = "</EOS>", bos: str = "<BOS>") -> Tokenizer:
    added = {TokenId(n): AddedToken(t, special=True) for n, t in enumerate(sorted(special))}
    file = "tokenizer_config.json"
    named = (
        NamedToken("bos", bos, None, file, "/bos_token"),
        NamedToken("eos", eos, None, file, "/eos_token"),
    )
    return Tokenizer(
        kind="BPE",
        vocab={},
        declared=(),
        effective={},
        added=added,
        added_ids={token.content: token_id for token_id, token in added.items()},
        n_tokens=len(added),
        conflicts=(),
        named=named,
        templates=(),
        byte_level=True,
        tokenizer_class=None,
    )


def _ends(text: str, eos: str = "</EOS>") -> tuple[str, ...]:
    literal = {
        match.group()
        for piece in written(text)
        if piece.kind == "text"
        for match in MARKER.finditer(piece.text)
    }
    special = {text for text in literal if SPECIAL.fullmatch(text)} | {"</EOS>", "<BOS>"}
    return turn_ends(_tokenizer(special, eos), ChatTemplate("default", text, "t.jinja", ""))


@pytest.mark.parametrize("name", sorted(ENDS))
def test_the_end_of_a_turn_is_found_in_published_templates(name: str, data: Path) -> None:
    text = (data / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    eos = ENDS[name]  # instruct models name their turn end eos
    assert _ends(text, eos)[0] == eos
    assert ENDS[name] in _ends(text, "</s>") or eos == "</EOS>"


def test_every_published_template_can_be_parsed(data: Path) -> None:
    paths = sorted((data / "templates").glob("*.jinja"))
    assert len(paths) == 28
    assert {} == {
        path.name: problem
        for path in paths
        if (problem := syntax_error(path.read_text(encoding="utf-8"))) is not None
    }


def test_a_template_that_ends_turns_with_plain_text_has_no_turn_end(data: Path) -> None:
    text = (data / "templates" / "llama-cpp-rwkv-world.jinja").read_text(encoding="utf-8")
    assert () == _ends(text)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHATML, ("<|im_end|>",)),
        ("{{ '<|a|>' + messages[0].content }}", ()),
        ("{{ messages[0]['content'] + '<|a|>' }}", ("<|a|>",)),
        ("{{ messages[0].role + '<|a|>\n' }}", ()),
        ("{{ system_message + '<|a|>' }}", ()),
        ("{% set end = '<|a|>' %}{{ messages[0].content }}{{ end }}", ("<|a|>",)),
        ("{{ messages[0].content }}{{ eos_token }}", ("</EOS>",)),
        ("{{ messages[0].content + bos_token }}", ()),
        (
            "{% if m.role == 'user' %}{{ m.content }}<|a|>{% else %}{{ m.content }}<|b|>{% endif %}",
            ("<|b|>",),
        ),
        ("{% if m.role != 'assistant' %}{{ m.content }}<|a|>{% endif %}", ()),
        ("{% if m.role in ['user', 'tool'] %}{{ m.content }}<|a|>{% endif %}", ()),
        ("{{ m.content + ('<|a|>' if loop.last else '<|b|>') }}", ("<|a|>",)),
        ("{{ m.content | replace('<|a|>', '') }}", ()),
        ("{% if '<|a|>' in m.content %}{% endif %}", ()),
        ("{{ raise_exception(m.content + '<|a|>') }}", ()),
    ],
)
def test_the_end_of_a_turn_is_read_from_the_order_of_what_is_written(
    template: str, expected: tuple[str, ...]
) -> None:
    assert expected == _ends(template)


def test_only_what_a_template_writes_counts_as_a_marker() -> None:
    text = (
        "<|data|>{# <|comment|> #}{{ '<|written|>' ~ x.split('<|argument|>')[0] }}"
        "{% if '<|asked|>' in x or x == '<|compared|>' %}{{ y['<|key|>'] }}{% endif %}"
    )
    template = ChatTemplate("default", text, "t.jinja", "")
    assert ("<|data|>", "<|written|>") == markers(_tokenizer(set()), template)


def test_a_template_that_jinja_cannot_read_writes_nothing() -> None:
    assert () == written("{{ '")
    assert syntax_error("{{ '") is not None
    assert syntax_error("{% if " + "(" * 5000 + "1" + ")" * 5000 + " %}{% endif %}") is not None
