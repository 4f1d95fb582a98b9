"""A suite and what it measured, as values."""

from __future__ import annotations

from tokengraft.behaviour import (
    Behaviour,
    Bounds,
    Example,
    Measured,
    NeutralBits,
    Prompt,
    Rate,
    ReadBack,
    SaidBehaviour,
    StopBehaviour,
    Suite,
    Text,
    TokenBehaviour,
    ToolBehaviour,
    Wants,
)

ASKED = ({"role": "user", "content": "What is the weather in Paris?"},)
SUITE = Suite(
    name="suite.jsonl",
    prompts=(
        Prompt(kind="wanted", messages=ASKED, wants=Wants(tokens=("<tool_start>",))),
        Prompt(kind="neutral", prompt="The capital of France is"),
    ),
    texts=(Text(kind="text", text="Once upon a time."),),
    bounds=Bounds(kind="bounds", emitted=0.95, neutral=0.01),
)


def _rate(hits: int, n: int) -> Rate:
    found = Rate.of(hits, n)
    assert found is not None
    return found


def _token(wanted: int, text: str = "<tool_start>", token_id: int = 4026) -> TokenBehaviour:
    return TokenBehaviour(
        text=text,
        id=token_id,
        wanted=_rate(wanted, 200),
        neutral=_rate(0, 200),
        near_miss=_rate(3, 200),
        closes=_rate(190, 195),
    )


BEHAVIOUR = Behaviour(
    suite="suite.jsonl",
    n_prompts=600,
    said=SaidBehaviour(wanted=_rate(194, 200), neutral=_rate(0, 200), near_miss=_rate(4, 200)),
    tokens=(_token(195), _token(194, "</tool_end>", 4027)),
    tools=ToolBehaviour(parsed=_rate(190, 200), names=_rate(189, 200), arguments=_rate(180, 200)),
    read_back=ReadBack(role=_rate(10, 10)),
    stop=StopBehaviour(stopped=_rate(600, 600)),
    neutral_bits=NeutralBits(
        before=1.0,
        after=1.001,
        difference=0.001,
        low=0.0,
        high=0.002,
        n_texts=60,
        n_bytes=40000,
        compared_with="the base",
    ),
    examples=(
        Example(
            kind="wanted",
            prompt="What is the weather in Paris?",
            output="It is cold.",
            expected="<tool_start>",
            ok=False,
        ),
    ),
    before=Measured(
        said=SaidBehaviour(wanted=_rate(0, 200), neutral=_rate(0, 200), near_miss=_rate(1, 200)),
        tokens=(_token(4),),
        stop=StopBehaviour(stopped=_rate(590, 600)),
    ),
    notes=("the rows of this folder are the untrained ones: there is no before",),
)

EVERY = (SUITE, BEHAVIOUR)
