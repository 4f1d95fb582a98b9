"""Lines of Jinja that write turns of new roles, with thoughts and calls, around an old loop body."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokengraft.formats.template_spans import quoted as inside_quotes
from tokengraft.planning.chat.shapes import SPANS, Around, Design, Shape, Wanted

# What a folder without a chat template gets, with its own markers in place of these.
CHATML = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
# What a model is told of tools where its template says nothing, in the words of Qwen and Hermes, which
# most models have met.
DECLARED = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>"""
EXPLAINED = """
</tools>

For each function call, return a json object with function name and arguments within {open}{close} XML tags:
{open}
{{"name": <function-name>, "arguments": <args-json-object>}}
{close}"""


def quoted(text: str) -> str:
    """A text as a string constant of Jinja."""
    return f"'{inside_quotes(text, chr(39))}'"


def stated_call(match: re.Match[str], line: str, pair: Around) -> str:
    """A call as instructions show it, in the quotes and with the line ends of their source.

    Args:
        match: of the quotes, the name and the arguments that stand there now.
    """
    quote, name, arguments = match.groups()
    call = f"{{{quote}name{quote}: {name}, {quote}arguments{quote}: {arguments}}}"
    return f"{pair.open}{line}{call}{line}{pair.close}"


class TurnLines:
    """Lines of Jinja for one template."""

    def __init__(self, shape: Shape, wanted: Wanted, made: Design, prefix: str) -> None:
        self._shape = shape
        self._wanted = wanted
        self._made = made
        self._prefix = prefix
        self._message = shape.loop.variable
        thinking = shape.thinking
        self._key = None if thinking is None else thinking.key

    def name(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def before(self) -> Iterator[str]:
        """The lines in front of the loop's old body."""
        if self._made.declares:
            yield from self._declaration()
        if self._made.results_as_user:
            yield from self._result_turn()
        yield from self._input_turns()
        yield f"    {{%- set {self.name('head')} = {quoted(self._shape.head)} %}}"
        yield f"    {{%- set {self.name('said')} = '' %}}"
        for role, token in self._wanted.outputs.items():
            yield f"    {{%- if {self._message}.role == {quoted(role)} %}}"
            yield f"        {{%- set {self.name('said')} = {quoted(token + chr(10))} %}}"
            yield "    {%- endif %}"
        if self._made.block is not None:
            yield from self._thoughts()
        yield from self._plain_message()

    def after(self) -> Iterator[str]:
        """The lines behind it, down to the end of the loop."""
        turn, head = self.name("turn"), self.name("head")
        close = quoted(self._shape.end + self._shape.tail)
        tests = [f"{self._message}.role == 'assistant'"]
        tests += [f"{turn}.startswith({head})"] if self._shape.head else []
        tests.append(f"{turn}.endswith({close})")
        word = "if"
        for line in self._wrapped_result():
            yield line
            word = "elif"
        # What ends a turn stands last, for those who look for it in the text of a template.
        yield f"    {{%- {word} not ({' and '.join(tests)}) %}}"
        yield f"        {{{{- {turn} }}}}"
        yield "    {%- else %}"
        yield from self._speech(close)
        yield "    {%- endif %}"
        yield "{%- endif %}"

    def _input_turns(self) -> Iterator[str]:
        turn, message = self._shape.turn, self._message
        word = "if"
        for role, token in self._wanted.inputs.items():
            opening = quoted(turn.open + token + self._shape.separator)
            close = f" + {quoted(turn.close)}" if turn.close else ""
            yield f"{{%- {word} {message}.role == {quoted(role)} %}}"
            yield f"    {{{{- {opening} + {message}.content{close} }}}}"
            word = "elif"
        yield "{%- else %}" if self._wanted.inputs else "{%- if true %}"

    def _speakers(self) -> str:
        names = ", ".join(map(quoted, ("assistant", *self._wanted.outputs)))
        return f"{self._message}.role in [{names}]"

    def _thoughts(self) -> Iterator[str]:
        """Catch what an assistant thinks: its thoughts one by one, or the text that joins them."""
        message, modules = self._message, ", ".join(map(quoted, self._wanted.modules))
        yield f"    {{%- set {self.name('thoughts')} %}}"
        yield f"        {{%- if {self._speakers()} %}}"
        yield f"            {{%- for thought in {message}.{SPANS} or [] %}}"
        yield f"                {{%- if thought.module not in [{modules}] %}}"
        yield "                    {{- raise_exception('No module of thought: ' + thought.module) }}"
        yield "                {%- endif %}"
        yield "                {{- thought.module + thought.content }}"
        if self._key is None:
            why = f"{message}.{self._wanted.reasoning}"
            yield "            {%- else %}"
            yield f"                {{%- if {why} is string %}}"
            yield f"                    {{{{- {why} }}}}"
            yield "                {%- endif %}"
        yield "            {%- endfor %}"
        yield "        {%- endif %}"
        yield "    {%- endset %}"

    def _plain_message(self) -> Iterator[str]:
        """Give the old body a message that it knows, where it would not know this one."""
        message, why = self._message, self.name("why")
        tests = self._new_things()
        if self._made.calls is not None:
            yield f"    {{%- set {self.name('calls')} = {message}.tool_calls %}}"
        if self._key is not None:
            yield f"    {{%- set {why} = {message}.{self._key} %}}"
            if self._wanted.reasoning != self._key:
                yield from self._aliased(tests)
        if not tests:
            return
        fields = {"role": "'assistant'", "content": f"{message}.content or ''"}
        yield f"    {{%- if {' or '.join(tests)} %}}"
        if self._key is not None:
            fields[self._key] = why
            thoughts = f" or {self.name('thoughts')}" if self._made.block is not None else ""
            yield f"        {{%- if {why} is not string{thoughts} %}}"
            yield f"            {{%- set {why} = none %}}"
            yield "        {%- endif %}"
        if self._made.calls is None and self._shape.calls.shown:
            calls = {**fields, "tool_calls": f"{message}.tool_calls"}
            yield f"        {{%- if {message}.tool_calls %}}"
            yield f"            {{%- set {message} = {_mapping(calls)} %}}"
            yield "        {%- else %}"
            yield f"            {{%- set {message} = {_mapping(fields)} %}}"
            yield "        {%- endif %}"
        else:
            yield f"        {{%- set {message} = {_mapping(fields)} %}}"
        yield "    {%- endif %}"

    def _new_things(self) -> list[str]:
        """Tests for what the old body does not know."""
        tests = [self.name("said")] if self._wanted.outputs else []
        if self._made.block is not None:
            tests.append(self.name("thoughts"))
        if self._made.calls is not None:
            tests.append(f"({self._message}.role == 'assistant' and {self._message}.tool_calls)")
        return tests

    def _aliased(self, tests: list[str]) -> Iterator[str]:
        """Read reasoning from the key that responses are read back to, too."""
        message, why, key = self._message, self.name("why"), self._key
        other = f"{message}.{self._wanted.reasoning}"
        test = f"{self._speakers()} and {other} is string and {message}.{key} is not string"
        yield f"    {{%- if {test} %}}"
        yield f"        {{%- set {why} = {other} %}}"
        yield "    {%- endif %}"
        tests.append(f"({test})")

    def _speech(self, close: str) -> Iterator[str]:
        """Print a turn of the assistant in two parts: what the template wrote, and what it said."""
        rest, said, head = self.name("rest"), self.name("said"), self.name("head")
        turn, thinking = self.name("turn"), self._shape.thinking
        if self._shape.prompt != self._shape.head:
            prompt = quoted(self._shape.prompt)
            thoughts = f" and not {self.name('thoughts')}" if self._made.block is not None else ""
            yield f"        {{%- if {turn}.startswith({prompt}){thoughts} %}}"
            yield f"            {{%- set {head} = {prompt} %}}"
            yield "        {%- endif %}"
        begin = f"{head}|length" if self._shape.prompt else ""
        end = f"({turn}|length) - ({close}|length)"
        yield f"        {{%- set {rest} = {turn}[{begin}:{end}] %}}"
        new = [test for test in self._new_things() if test[0] != "("]
        if thinking is not None and thinking.empty and new:
            empty = quoted(thinking.empty)
            yield f"        {{%- if ({' or '.join(new)}) and {rest}.startswith({empty}) %}}"
            yield f"            {{%- set {rest} = {rest}[{empty}|length:] %}}"
            yield "        {%- endif %}"
        if self._made.block is not None:
            yield from self._thinking_block(self._made.block)
        if self._made.calls is not None:
            yield from self._calls(self._made.calls)
        parts = [said, rest]
        parts += [self.name("called")] if self._made.calls is not None else []
        parts += [quoted(self._shape.end)] if self._shape.end else []
        line = f"{{% generation %}}{{{{ {' + '.join(parts)} }}}}{{% endgeneration %}}"
        tail = f"{{{{ {quoted(self._shape.tail)} }}}}" if self._shape.tail else ""
        shown = f"{{{{- {head} }}}}" if self._shape.prompt else "{{- '' }}"
        yield f"        {shown}{line}{tail}"

    def _thinking_block(self, block: Around) -> Iterator[str]:
        thoughts, said, head = self.name("thoughts"), self.name("said"), self.name("head")
        prompted = self._shape.thinking is not None and self._shape.thinking.prompted
        opening = "" if prompted else f"{quoted(block.open)} + "
        yield f"        {{%- if {thoughts} %}}"
        if prompted:
            yield f"            {{%- set {head} = {head} + {quoted(block.open)} %}}"
        yield (
            f"            {{%- set {said} = {said} + {opening}{thoughts} + {quoted(block.close)} %}}"
        )
        yield "        {%- endif %}"

    def _calls(self, pair: Around) -> Iterator[str]:
        yield f"        {{%- set {self.name('called')} %}}"
        yield f"            {{%- for call in {self.name('calls')} or [] %}}"
        yield "                {%- if call.function %}"
        yield "                    {%- set call = call.function %}"
        yield "                {%- endif %}"
        yield f"                {{%- if not loop.first or {self._message}.content %}}"
        yield "                    {{- '\\n' }}"
        yield "                {%- endif %}"
        opening = quoted(pair.open + '\n{"name": ')
        yield f"                {{{{- {opening} + (call.name | tojson) + ', \"arguments\": ' }}}}"
        yield "                {%- if call.arguments is string %}"
        yield "                    {{- call.arguments }}"
        yield "                {%- else %}"
        yield "                    {{- call.arguments | tojson }}"
        yield "                {%- endif %}"
        yield f"                {{{{- {quoted('}' + chr(10) + pair.close)} }}}}"
        yield "            {%- endfor %}"
        yield "        {%- endset %}"

    def _declaration(self) -> Iterator[str]:
        """Tell of tools in the first message, since the template does not."""
        assert self._made.calls is not None
        message, tools = self._message, self.name("tools")
        last = EXPLAINED.format(open=self._made.calls.open, close=self._made.calls.close)
        yield f"{{%- if tools and loop.first and {message}.role != 'assistant' %}}"
        yield f"    {{%- set {tools} %}}"
        yield f"        {{{{- {quoted(DECLARED)} }}}}"
        yield "        {%- for tool in tools %}"
        yield "            {{- '\\n' }}"
        yield "            {{- tool | tojson }}"
        yield "        {%- endfor %}"
        yield f"        {{{{- {quoted(last)} }}}}"
        yield "    {%- endset %}"
        yield f"    {{%- if {message}.role == 'system' %}}"
        content = f"{message}.content + '\\n\\n' + {tools}"
        yield f"        {{%- set {message} = {_mapping({'role': quoted('system'), 'content': content})} %}}"
        yield "    {%- else %}"
        content = f"{tools} + '\\n\\n' + {message}.content"
        yield f"        {{%- set {message} = {_mapping({'role': f'{message}.role', 'content': content})} %}}"
        yield "    {%- endif %}"
        yield "{%- endif %}"

    def _result_turn(self) -> Iterator[str]:
        assert self._made.results is not None
        pair, message = self._made.results, self._message
        opening, close = quoted(f"{pair.open}\n"), quoted(f"\n{pair.close}")
        fields = {"role": "'user'", "content": f"{opening} + {message}.content + {close}"}
        yield f"{{%- if {message}.role == 'tool' %}}"
        yield f"    {{%- set {message} = {_mapping(fields)} %}}"
        yield "{%- endif %}"

    def _wrapped_result(self) -> Iterator[str]:
        pair, around, turn = self._made.results, self._shape.calls.results, self.name("turn")
        if pair is None or around is None or self._made.results_as_user:
            return
        opening, close = quoted(around.open), quoted(around.close)
        tests = [f"{self._message}.role == 'tool'", f"{turn}.startswith({opening})"]
        tests.append(f"{turn}.endswith({close})")
        inside = f"{turn}[{opening}|length:({turn}|length) - ({close}|length)]"
        before, after = (
            quoted(f"{around.open}{pair.open}\n"),
            quoted(f"\n{pair.close}{around.close}"),
        )
        yield f"    {{%- if {' and '.join(tests)} %}}"
        yield f"        {{{{- {before} + {inside} + {after} }}}}"


def _mapping(fields: dict[str, str]) -> str:
    """A mapping of Jinja; the values are expressions."""
    return "{" + ", ".join(f"{quoted(key)}: {value}" for key, value in fields.items()) + "}"
