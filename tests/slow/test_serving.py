"""The real `transformers serve` on a result: an OpenAI-style request, a call parsed from new tokens.

    pip install 'transformers[serving]'; pytest tests/slow/test_serving.py

The new markers get the rows of the old ones, the output rows a tenth longer, so that the small model
says them where it would have said the old ones: what is tried here is what a server makes of them,
not a training. The server samples unless it is asked not to.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import served
import tiny_chat
from served import NEW, OLD, QUESTION

for _library in ("torch", "transformers", "fastapi", "uvicorn", "openai"):
    pytest.importorskip(_library, reason="needs transformers[serving]")

SECONDS = 300.0  # until a server answers: torch and transformers are imported first


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.build(tmp_path_factory.mktemp("serving"))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def port(result: Path) -> Iterator[int]:
    """The port of a server that holds the result."""
    number = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(result)]
    options = ["--host", "127.0.0.1", "--port", str(number), "--device", "cpu"]
    log = result.parent / "server.log"
    with log.open("wb") as said:
        server = subprocess.Popen(
            [*command, *options],
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and server.poll() is None:
            try:
                if asked(number, "GET", "/health")[0] == 200:
                    break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail(f"the server did not come up:\n{log.read_text(errors='replace')[-2000:]}")
        yield number
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def asked(port: int, method: str, path: str, body: object = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def request(result: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": str(result),
        "messages": [{"role": "user", "content": QUESTION}],
        "tools": [tiny_chat.TOOLS["get_weather"]],
        "temperature": 0,
        "max_tokens": 64,
        **more,
    }


def test_an_answer_holds_a_call_that_was_parsed_from_the_new_tokens(
    result: Path, port: int
) -> None:
    status, text = asked(port, "POST", "/v1/chat/completions", request(result))
    assert status == 200, text
    (choice,) = json.loads(text)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["function"]["name"] == "get_weather"
    assert set(json.loads(call["function"]["arguments"])) == {"city"}
    assert not choice["message"]["content"]


def test_a_stream_holds_the_same_call(result: Path, port: int) -> None:
    whole = json.loads(asked(port, "POST", "/v1/chat/completions", request(result))[1])
    status, text = asked(port, "POST", "/v1/chat/completions", request(result, stream=True))
    assert status == 200, text
    parts = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    deltas = [json.loads(part)["choices"][0] for part in parts if part != "[DONE]"]
    calls = [call for one in deltas for call in one["delta"].get("tool_calls") or ()]
    (expected,) = whole["choices"][0]["message"]["tool_calls"]
    assert [call["function"] for call in calls] == [expected["function"]]
    assert deltas[-1]["finish_reason"] == "tool_calls"


def test_the_model_did_write_the_new_tokens_and_a_plain_question_gets_none(
    result: Path, port: int
) -> None:
    """The legacy endpoint parses nothing, so that the text itself can be seen."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(result)
    messages = [{"role": "user", "content": QUESTION}]
    prompt = tokenizer.apply_chat_template(
        messages, tools=[tiny_chat.TOOLS["get_weather"]], add_generation_prompt=True, tokenize=False
    )
    body = {"model": str(result), "prompt": prompt, "temperature": 0, "max_tokens": 64}
    status, text = asked(port, "POST", "/v1/completions", body)
    assert status == 200, text
    said = json.loads(text)["choices"][0]["text"]
    assert said.startswith(NEW[0])
    assert NEW[1] in said
    assert not any(old in said for old in OLD)
    plain = request(result, messages=[{"role": "user", "content": "What colour is the sky?"}])
    del plain["tools"]
    message = json.loads(asked(port, "POST", "/v1/chat/completions", plain)[1])["choices"][0]
    assert message["message"]["content"] == "The sky is blue."
    assert message["finish_reason"] == "stop"
