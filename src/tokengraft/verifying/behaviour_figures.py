"""Answers into figures: what was said where, what was read back, what text costs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from tokengraft.behaviour import (
    Example,
    Kind,
    Measured,
    NeutralBits,
    Prompt,
    Rate,
    ReadBack,
    SaidBehaviour,
    StopBehaviour,
    TokenBehaviour,
    ToolBehaviour,
    Wants,
)
from tokengraft.verifying.texts import Dice

Answer = Mapping[str, Any]
RESAMPLES: Final = 2000
MOST_WRONG, MOST_RIGHT = 6, 3  # examples of each kind that are kept
SHOWN_CHARACTERS: Final = 600
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Judged:
    """One prompt, its answer, and what was right of it; None where it was not asked."""

    prompt: Prompt
    answer: Answer
    said: frozenset[str]
    role: bool | None = None
    modules: bool | None = None
    thoughts: bool | None = None
    parsed: bool | None = None
    names: bool | None = None
    arguments: bool | None = None
    content: bool | None = None

    @property
    def is_right(self) -> bool:
        """Whether all that the prompt asks for came, and no new token where none is wanted."""
        wanted = set(self.prompt.wants.tokens)
        told = (self.role, self.modules, self.parsed, self.names, self.arguments, self.content)
        rest = all(part is not False for part in told) and self.answer["stopped"] is True
        if self.prompt.kind == "wanted":
            return wanted <= self.said and rest
        return not self.said and rest


def measured(
    prompts: Sequence[Prompt], answers: Sequence[Answer], tokens: Mapping[str, int]
) -> Measured:
    """Put the answers of one model into figures.

    Args:
        prompts: as they were asked; `answers` in the same order.
        tokens: the new tokens to look at, with their ids.
    """
    judged = [judge(one, told, tokens) for one, told in zip(prompts, answers, strict=True)]
    stopped = sum(one.answer["stopped"] is True for one in judged)
    return Measured(
        said=_together(judged) if judged else None,
        tokens=tuple(_token(judged, text, token_id) for text, token_id in tokens.items()),
        tools=_tools(judged),
        read_back=_read_back(judged),
        stop=StopBehaviour(stopped=Rate.of(stopped, len(judged))) if judged else None,
        examples=tuple(_examples(judged)),
    )


def judge(prompt: Prompt, answer: Answer, tokens: Mapping[str, int]) -> Judged:
    """Compare one answer with what is wanted."""
    ids = set(answer["ids"])
    said = frozenset(text for text, token_id in tokens.items() if token_id in ids)
    return Judged(prompt, answer, said, **_compared(prompt.wants, answer, tokens))


def _compared(wants: Wants, answer: Answer, tokens: Mapping[str, int]) -> dict[str, bool | None]:
    parsed = answer["parsed"] if isinstance(answer["parsed"], dict) else {}
    found: dict[str, bool | None] = {}
    if wants.role is not None:
        found["role"] = parsed.get("role") == wants.role
    if wants.content is not None:
        found["content"] = (
            str(parsed.get("content", answer["text"])).strip() == wants.content.strip()
        )
    if wants.thoughts is not None:
        told = _thoughts(parsed, answer, tokens, {one.module for one in wants.thoughts})
        asked = [(one.module, one.content) for one in wants.thoughts]
        found["modules"] = [module for module, _ in told] == [module for module, _ in asked]
        given = [content for _, content in asked if content is not None]
        if given:
            found["thoughts"] = bool(found["modules"]) and all(
                content is None or said.strip() == content.strip()
                for (_, said), (_, content) in zip(told, asked, strict=True)
            )
    if wants.tool_calls is not None:
        calls = list(_calls(parsed))
        truth = [(one.name, one.arguments) for one in wants.tool_calls]
        found["parsed"] = bool(calls) or not truth
        found["names"] = [name for name, _ in calls] == [name for name, _ in truth]
        found["arguments"] = calls == truth
    return found


def _thoughts(
    parsed: Mapping[str, Any], answer: Answer, tokens: Mapping[str, int], modules: set[str]
) -> list[tuple[str, str]]:
    """Modules with what was thought in them; only their order where a template joins them."""
    for value in parsed.values():
        if isinstance(value, list) and all(isinstance(v, dict) and "module" in v for v in value):
            return [(str(v["module"]), str(v.get("content", ""))) for v in value]
    names = {tokens[text]: text for text in modules if text in tokens}
    return [(names[one], "") for one in answer["ids"] if one in names]


def _calls(parsed: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for call in parsed.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            continue
        arguments = function.get("arguments", {})
        if isinstance(arguments, dict):
            yield function["name"], arguments


# ── shares ───────────────────────────────────────────────────────────────────────────────────────


def _token(judged: Sequence[Judged], text: str, token_id: int) -> TokenBehaviour:
    wanted = [one for one in judged if text in one.prompt.wants.tokens]
    others = [
        one for one in judged if one.prompt.kind == "wanted" and text not in one.prompt.wants.tokens
    ]
    return TokenBehaviour(
        text=text,
        id=token_id,
        wanted=_said(wanted, text),
        neutral=_said([one for one in judged if one.prompt.kind == "neutral"], text),
        near_miss=_said([one for one in judged if one.prompt.kind == "near-miss"], text),
        elsewhere=_said(others, text),
        closes=_closes([one for one in wanted if text in one.said], text),
    )


def _together(judged: Sequence[Judged]) -> SaidBehaviour:
    kinds = {kind: [one for one in judged if one.prompt.kind == kind] for kind in KINDS}
    wanted = sum(one.said.issuperset(one.prompt.wants.tokens) for one in kinds["wanted"])
    any_said = {kind: sum(bool(one.said) for one in found) for kind, found in kinds.items()}
    return SaidBehaviour(
        wanted=Rate.of(wanted, len(kinds["wanted"])),
        neutral=Rate.of(any_said["neutral"], len(kinds["neutral"])),
        near_miss=Rate.of(any_said["near-miss"], len(kinds["near-miss"])),
    )


def _said(asked: Sequence[Judged], text: str) -> Rate | None:
    return Rate.of(sum(text in one.said for one in asked), len(asked))


def _closes(asked: Sequence[Judged], text: str) -> Rate | None:
    spans = [
        [closed for opened, closed in one.answer.get("spans", ()) if text in opened]
        for one in asked
    ]
    if not any(spans):
        return None
    return Rate.of(sum(bool(found) and all(found) for found in spans), len(spans))


def _tools(judged: Sequence[Judged]) -> ToolBehaviour | None:
    parsed, names, arguments = (_share(judged, name) for name in ("parsed", "names", "arguments"))
    if parsed is None or names is None or arguments is None:
        return None
    return ToolBehaviour(parsed=parsed, names=names, arguments=arguments)


def _read_back(judged: Sequence[Judged]) -> ReadBack | None:
    found = {name: _share(judged, name) for name in ("role", "modules", "thoughts", "content")}
    return ReadBack(**found) if any(found.values()) else None


def _share(judged: Sequence[Judged], name: str) -> Rate | None:
    told = [getattr(one, name) for one in judged if getattr(one, name) is not None]
    return Rate.of(sum(told), len(told))


# ── examples ─────────────────────────────────────────────────────────────────────────────────────


def _examples(judged: Sequence[Judged]) -> Iterator[Example]:
    """Of each kind the first ones: those that went wrong before those that went right."""
    for kind in KINDS:
        for is_right, most in ((False, MOST_WRONG), (True, MOST_RIGHT)):
            ones = [o for o in judged if o.prompt.kind == kind and o.is_right == is_right]
            for one in ones[:most]:
                yield Example(
                    kind=kind,
                    prompt=_cut(_asked(one.prompt)),
                    output=_cut(str(one.answer["text"])),
                    expected=_cut(_expected(one.prompt.wants)),
                    ok=is_right,
                )


def _asked(prompt: Prompt) -> str:
    if prompt.messages is None:
        return prompt.prompt or ""
    return str(prompt.messages[-1].get("content") or "")


def _expected(wants: Wants) -> str:
    parts = [" ".join(wants.tokens)]
    if wants.tool_calls is not None:
        calls = [{"name": one.name, "arguments": one.arguments} for one in wants.tool_calls]
        parts.append(json.dumps(calls, ensure_ascii=False))
    parts += [part for part in (wants.role, wants.content) if part is not None]
    return "  ".join(part for part in parts if part)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


# ── text ─────────────────────────────────────────────────────────────────────────────────────────


def neutral_bits(
    after: Sequence[Mapping[str, float]],
    before: Sequence[Mapping[str, float]] | None,
    compared_with: str,
) -> NeutralBits | None:
    """Bits a byte of all texts, and the difference with its 95 % bootstrap interval over texts."""
    n_bytes = int(sum(one["bytes"] for one in after))
    if not n_bytes:
        return None
    mean = _per_byte(after)
    if before is None:
        return NeutralBits(
            before=None, after=_finite(mean), difference=None, low=None, high=None,
            n_texts=len(after), n_bytes=n_bytes,
        )  # fmt: skip
    was = _per_byte(before)
    low, high = _interval(after, before)
    return NeutralBits(
        before=_finite(was),
        after=_finite(mean),
        difference=_finite(mean - was),
        low=low,
        high=high,
        n_texts=len(after),
        n_bytes=n_bytes,
        compared_with=compared_with,
    )


def _per_byte(texts: Sequence[Mapping[str, float]]) -> float:
    n_bytes = sum(one["bytes"] for one in texts)
    return math.fsum(one["bits"] for one in texts) / n_bytes if n_bytes else math.nan


def _interval(
    after: Sequence[Mapping[str, float]], before: Sequence[Mapping[str, float]]
) -> tuple[float | None, float | None]:
    if len(after) < 2:  # noqa: PLR2004 - one text has no spread
        return None, None
    dice, numbers = Dice(95), range(len(after))
    drawn = []
    for _ in range(RESAMPLES):
        chosen = [dice.one(numbers) for _ in numbers]
        apart = _per_byte([after[n] for n in chosen]) - _per_byte([before[n] for n in chosen])
        drawn.append(apart)
    if not all(map(math.isfinite, drawn)):
        return None, None
    drawn.sort()
    edge = round(RESAMPLES * 0.025)
    return drawn[edge], drawn[-edge - 1]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
