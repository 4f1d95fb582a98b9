"""Conversations for the tests of chat templates: taught templates, and messages at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from chat_templates import NAMED, TEMPLATES
from tokengraft.flow.library import AskedTemplates
from tokengraft.planning.chat import Asked, Render, Said, teach
from tokengraft.planning.chat.learning import learn
from tokengraft.planning.chat.probing import TOOL
from tokengraft.planning.chat.responding import response_template
from tokengraft.planning.chat.shapes import Design, Shape, Wanted
from tokengraft.recipes import Tools

Message = dict[str, Any]
INPUTS = {"my_agi_mode": "<|my_agi_mode|>"}
OUTPUTS = {"planner": "<|planner|>"}
CRITICS = {"planner": "<|planner|>", "critic": "[critic]"}
TOOLS = Tools(open="<tool_start>", close="</tool_end>")
WITH_RESULTS = Tools(
    open="<tool_start>", close="</tool_end>", result_open="<got>", result_close="</got>"
)
MODULES = ("<|recursion|>", "<|think|>", "<|conflict|>")
USER = {"role": "user", "content": "Hi"}
TOKENS = (
    *(
        *INPUTS.values(),
        *CRITICS.values(),
        *MODULES,
        "<tool_start>",
        "</tool_end>",
        "<got>",
        "</got>",
    ),
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "</turn>", "[/INST]", "[RESULT]"),
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot|>", "<|end|>", "</s>", "<s>"),
)


def want(
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
    tools: Tools | None = None,
    modules: tuple[str, ...] = (),
    field: str = "thoughts",
) -> Wanted:
    return Wanted(inputs or {}, outputs or {}, tools, modules, field)


def renderer() -> AskedTemplates:
    """Render in one child, as long as the context lasts."""
    return AskedTemplates()


@dataclass(frozen=True)
class Taught:
    """A template before and after, and how its responses are read."""

    old: str
    new: str
    shape: Shape
    made: Design
    wanted: Wanted
    reading: dict[str, Any]
    run: Render

    def said(self, messages: Sequence[Message], *, old: bool = False, **asked: Any) -> Said:
        template = self.old if old else self.new
        if self.shape.with_tools:
            asked.setdefault("tools", (TOOL,))
        return self.run([Asked(template, messages, **asked)], NAMED)[0]

    def text(self, messages: Sequence[Message], **asked: Any) -> str:
        said = self.said(messages, **asked)
        assert said.text is not None, said.failure
        return said.text


def taught(text: str, wanted: Wanted, render: Render) -> Taught:
    """Teach a template what is wanted, as planning does."""
    shape = learn(text, render, NAMED)
    made = teach(text, shape, wanted, render, NAMED)
    reading = response_template(shape, wanted, made.made, [shape.end, "</s>", "<|endoftext|>"])
    return Taught(text, made.text, shape, made.made, wanted, reading, render)


ALL = want(INPUTS, OUTPUTS, WITH_RESULTS, MODULES)
# Each shape with all that it can hold.
CASES = {
    "chatml": ("chatml", ALL),
    "chatml, two roles": ("chatml", want(INPUTS, CRITICS, TOOLS, MODULES)),
    "chatml, joined": ("chatml", want(INPUTS, {}, TOOLS, MODULES, "thinking")),
    "qwen": ("qwen", ALL),
    "qwen, its own calls": ("qwen", want({}, OUTPUTS)),
    "qwen, joined": ("qwen", want({}, {}, TOOLS, MODULES, "reasoning_content")),
    "qwen, tools alone": ("qwen", want({}, {}, TOOLS)),
    "headers": ("headers", ALL),
    "pipes": ("pipes", ALL),
    "turns": ("turns", ALL),
    "brackets": ("brackets", want(INPUTS, OUTPUTS, None, MODULES)),
    "prompted": ("prompted", want(INPUTS, {}, TOOLS, MODULES)),
    "switched": ("switched", want(INPUTS, {}, TOOLS, MODULES)),
}
REAL = {
    "Qwen-Qwen3-0.6B": ALL,
    "Qwen-Qwen2.5-7B-Instruct": ALL,
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": ALL,
    "meta-llama-Llama-3.1-8B-Instruct": ALL,
    "mistralai-Mistral-Nemo-Instruct-2407": want(INPUTS, OUTPUTS, None, MODULES),
    "google-gemma-2-2b-it": ALL,
    "microsoft-Phi-3.5-mini-instruct": ALL,
}


def example(name: str, data: Callable[[], Path]) -> tuple[str, Wanted]:
    """The text of a case's template, from here or from the real ones, and what it is taught."""
    if name in CASES:
        template, wanted = CASES[name]
        return TEMPLATES[template], wanted
    text = (data() / "templates" / f"{name}.jinja").read_bytes().decode()
    return text, REAL[name]


# ── messages at random ───────────────────────────────────────────────────────────────────────────

_TRICKY = st.sampled_from(
    (
        "\n",
        "\n\n",
        " ",
        "<",
        "<|",
        "|>",
        "</",
        "{",
        "}",
        '"',
        "\\",
        "\\n",
        "'",
        "think>",
        "ё",
        "思",
        "🤖",
        "\t",
    )
)


def texts(*, stripped: bool = False) -> st.SearchStrategy[str]:
    """Texts that hold no token; a template that strips contents is given none to strip."""
    parts = st.lists(st.one_of(_TRICKY, st.text(max_size=6)), max_size=8)
    found = parts.map("".join)
    if stripped:
        found = found.map(str.strip)
    return found.filter(lambda text: not any(token in text for token in TOKENS))


def _json() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | texts()
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3),
    )


def calls() -> st.SearchStrategy[list[Message]]:
    names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
    function = st.fixed_dictionaries(
        {"name": names, "arguments": st.dictionaries(texts(), _json(), max_size=3)}
    )
    return st.lists(
        function.map(lambda made: {"type": "function", "function": made}), min_size=1, max_size=3
    )


def thoughts() -> st.SearchStrategy[list[Message]]:
    one = st.fixed_dictionaries({"module": st.sampled_from(MODULES), "content": texts()})
    return st.lists(one, min_size=1, max_size=3)


def speeches(taught: Taught, *, stripped: bool) -> st.SearchStrategy[Message]:
    """Messages of the assistant, each with something new in it where it must have."""
    optional: dict[str, st.SearchStrategy[Any]] = {}
    if taught.wanted.tools is not None:
        optional["tool_calls"] = calls()
    if taught.wanted.spans:
        optional["thoughts"] = thoughts()
    elif taught.wanted.modules:
        # Templates of Qwen's kind strip line ends around reasoning that they put in themselves.
        own = texts().map(lambda text: text.strip("\n")).filter(bool)
        optional[taught.wanted.reasoning] = own
    roles = ("assistant", *taught.wanted.outputs)
    fields = {"role": st.sampled_from(roles), "content": texts(stripped=stripped)}
    return st.fixed_dictionaries(fields, optional=optional)
