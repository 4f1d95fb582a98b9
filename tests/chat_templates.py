"""Chat templates of every shape that an edit can meet, written for the tests."""

from __future__ import annotations

import json
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]

CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# Llama 3: names of roles between two markers, tools in the first message, one call in bare JSON.
HEADERS = """{{- bos_token }}
{%- if messages[0].role == 'system' %}
    {{- '<|head|>system<|body|>\\n\\n' + messages[0].content + '<|eot|>' }}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- if tools %}
    {{- '<|head|>user<|body|>\\n\\nAnswer with JSON if a function helps.\\n' }}
    {{- 'Write {"name": function name, "parameters": its arguments}. Use no variables.\\n' }}
    {%- for tool in tools %}
        {{- tool | tojson(indent=2) }}
    {%- endfor %}
    {{- messages[0].content | trim + '<|eot|>' }}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if message.tool_calls | length != 1 %}
            {{- raise_exception('one call at a time') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|head|>assistant<|body|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson }}
        {{- '}<|eot|>' }}
    {%- elif message.role == 'tool' %}
        {{- '<|head|>ipython<|body|>\\n\\n' + message.content | tojson + '<|eot|>' }}
    {%- else %}
        {{- '<|head|>' + message['role'] + '<|body|>\\n\\n' + message['content'] | trim + '<|eot|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|body|>\\n\\n' }}
{%- endif %}
"""

# Phi: each role has a marker of its own, and eos stands where no prompt does.
PIPES = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + "
    "message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + "
    "message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n'"
    " + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)

# Gemma: no system, strict turns, `model` for the assistant, and no white space control.
TURNS = """{{ bos_token }}
{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}
{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('roles must alternate') }}
{% endif %}
{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}
{% set role = message['role'] %}{% endif %}
{{ '<turn>' + role + '
' + message['content'] | trim + '</turn>
' }}{% endfor %}
{% if add_generation_prompt %}{{'<turn>model
'}}{% endif %}"""

# Mistral: no role is named, a loop of its own insists on alternation, calls carry ids.
BRACKETS = """{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set ns = namespace(index=0) %}
{%- for message in messages %}
    {%- if not (message.role == "tool" or message.tool_calls is defined) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and loop.first %}
            {{- "[AVAILABLE_TOOLS]" + tools | tojson + "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {{- "[INST]" + message["content"] + "[/INST]" }}
    {%- elif message.tool_calls is defined %}
        {%- for call in message.tool_calls %}
            {{- "[CALL]" + call.id + call.function | tojson }}
        {%- endfor %}
        {{- eos_token }}
    {%- elif message["role"] == "assistant" %}
        {{- message["content"] + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- "[RESULT]" + message.tool_call_id + message.content + "[/RESULT]" }}
    {%- else %}
        {{- raise_exception("which role?") }}
    {%- endif %}
{%- endfor %}
"""

# QwQ: the generation prompt opens the thinking block, and history has none.
PROMPTED = CHATML.replace("assistant\\n' }}", "assistant\\n<think>\\n' }}")

# minimind and Qwen 3.5: the usual prompt closes the block, a switch opens it.
SWITCHED = """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set why = message.reasoning_content or '' %}
        {{- '<|im_start|>assistant\\n<think>\\n' + why + '\\n</think>\\n\\n' + message.content }}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n<think>\\n' }}
    {%- if not enable_thinking %}
        {{- '\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""


def shipped() -> str:
    """The template of the small model in this repository: Qwen 3's shape, tools and thoughts."""
    folder = REPO / "models" / "tiny-qwen3-moe-base"
    text: str = json.loads((folder / "tokenizer_config.json").read_bytes())["chat_template"]
    return text


TEMPLATES = {
    "chatml": CHATML,
    "qwen": shipped(),
    "headers": HEADERS,
    "pipes": PIPES,
    "turns": TURNS,
    "brackets": BRACKETS,
    "prompted": PROMPTED,
    "switched": SWITCHED,
}
NAMED = {"bos": "<s>", "eos": "</s>"}
