"""What a child does with Jinja; the environment is that of transformers' chat templates."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tokengraft.sandbox.serving import describe


class GenerationTag(Extension):
    """`{% generation %}`: marks what the model says; the spans tell which characters those are.

    As in transformers 5, a span is right where the tag stands in the template itself, and not where
    a macro or a `set` block renders it for later.
    """

    tags = {"generation"}  # noqa: RUF012 - Jinja's own protocol

    def __init__(self, environment: Any) -> None:  # noqa: ANN401 - Jinja hands it over
        super().__init__(environment)
        environment.extend(written=[], spans=[])

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_generation")
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _generation(self, caller: Callable[[], str]) -> str:
        environment: Any = self.environment
        text = str(caller())
        begin = len("".join(environment.written))
        environment.spans.append((begin, begin + len(text)))
        return text


def _raise_exception(message: object) -> None:
    raise TemplateError(str(message))


def _tojson(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - the filter's signature in transformers
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    # Jinja's own would escape for HTML.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    return environment


@lru_cache(maxsize=8)
def _compiled(text: str) -> Template:
    return _environment().from_string(text)


def render(*, template: str, variables: dict[str, Any], now: str) -> dict[str, Any]:
    """Render; what is wrong with the template is an answer, not an error."""
    moment = datetime.fromisoformat(now)
    environment: Any = _environment()
    environment.globals["strftime_now"] = moment.strftime
    environment.written, environment.spans = [], []
    try:
        for piece in _compiled(template).generate(variables):
            environment.written.append(piece)
        text = "".join(environment.written)
        text.encode()  # half a surrogate pair would only fail later, and elsewhere
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a template can raise anything
        line = error.lineno if isinstance(error, TemplateSyntaxError) else _line_of(error)
        return {"failed": describe(error) | {"line": line}}
    return {"text": text, "spans": environment.spans}


def _line_of(error: Exception) -> int:
    """Find the line of the template: Jinja rewrites tracebacks so that they name it."""
    line, at = 0, error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == "<template>":
            line = at.tb_lineno
        at = at.tb_next
    return line


OPS: Mapping[str, Callable[..., Any]] = {"render": render}
