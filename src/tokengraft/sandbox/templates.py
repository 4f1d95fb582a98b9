"""Chat templates in a limited child: they are programs that a model brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, cast

from tokengraft.checkpoint import JsonValue
from tokengraft.errors import LimitExceeded, RefusedError
from tokengraft.sandbox.process import Child, Limits, visible

TEMPLATE_LIMITS = Limits(memory_bytes=512 * 2**20, cpu_seconds=2, clock_seconds=20.0)
MAX_TEMPLATE_BYTES = 2**20
# The day that a template sees as today, so that the same text comes out on every day.
FIXED_NOW = datetime(2025, 1, 1, 12)  # noqa: DTZ001 - templates see the local time, without a zone


class TemplateFailed(RefusedError):
    """A template is wrong, or refuses these messages.

    `detail` holds what Jinja, or the template's own `raise_exception`, said.
    """


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template made.

    Attributes:
        text: the prompt.
        generated: the characters within `{% generation %}`, as begin and end.
    """

    text: str
    generated: tuple[tuple[int, int], ...]


class TemplateChild:
    """Renders templates one after another, in one child."""

    def __init__(self, limits: Limits = TEMPLATE_LIMITS) -> None:
        self._child = Child(
            "tokengraft.sandbox.templates_child", title="the chat template", limits=limits
        )

    def __enter__(self) -> Self:
        self._child.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.__exit__()

    def render(  # noqa: PLR0913 - the variables that templates know, by their names
        self,
        template: str,
        *,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        named_tokens: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        now: datetime = FIXED_NOW,
    ) -> Rendered:
        """Render as `apply_chat_template` of transformers does.

        Args:
            template: the text of the template.
            messages: plain JSON values, as are `tools` (schemas of functions) and `extra`.
            add_generation_prompt: whether the text ends where the model is to speak.
            named_tokens: bos, eos ... by name; a template sees `bos_token`, `eos_token` ...
            extra: further variables; they win over all others.
            now: what `strftime_now` formats.
        Raises:
            TemplateFailed: the template is not Jinja, or raised.
            ChildFailed, LimitExceeded: it takes too much memory or time, or is over 1 MiB.
        """
        if len(template.encode("utf-8", "surrogatepass")) > MAX_TEMPLATE_BYTES:
            raise LimitExceeded(
                "the chat template is too large", detail=f"at most {MAX_TEMPLATE_BYTES} bytes"
            )
        variables: dict[str, JsonValue] = {
            **{f"{name}_token": content for name, content in (named_tokens or {}).items()},
            "messages": [dict(message) for message in messages],
            "tools": None if tools is None else [dict(tool) for tool in tools],
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            **(extra or {}),
        }
        told = self._child.ask(
            "render", template=template, variables=variables, now=now.isoformat()
        )
        return _rendered(cast("dict[str, Any]", told))


def _rendered(told: dict[str, Any]) -> Rendered:
    if "failed" not in told:
        return Rendered(told["text"], tuple((begin, end) for begin, end in told["spans"]))
    failed = told["failed"]
    kind, said, line = failed["kind"], visible(failed["text"]), failed["line"]
    raise TemplateFailed(
        "the chat template failed",
        detail=f"line {line}: {kind}: {said}" if line else f"{kind}: {said}",
    )


def render(  # noqa: PLR0913 - as above
    template: str,
    *,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    named_tokens: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
    limits: Limits = TEMPLATE_LIMITS,
) -> str:
    """Render one template in a child of its own; see `TemplateChild.render`."""
    with TemplateChild(limits) as child:
        return child.render(
            template,
            messages=messages,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            named_tokens=named_tokens,
            extra=extra,
        ).text
