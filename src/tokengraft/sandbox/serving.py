"""The child's side: limit yourself, then answer questions until there are none.

Only the standard library is imported here, and the module that answers only once the limits stand.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

MAX_TEXT = 2000


def serve(module: str, limits: Mapping[str, Any]) -> None:
    """Answer every line of standard input with the functions that `module` names in `OPS`."""
    limit(memory_bytes=int(limits["memory_bytes"]))
    # What a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    ops: Mapping[str, Callable[..., Any]] | None = None
    for line in sys.stdin.buffer:
        limit(cpu_seconds=int(limits["cpu_seconds"]))
        fatal = False
        try:
            if ops is None:
                ops = importlib.import_module(module).OPS
            question = json.loads(line)
            value = ops[question["op"]](**question["arguments"])
            told = json.dumps({"value": value}).encode()
        except BaseException as error:  # noqa: BLE001 - a panic of Rust is no Exception
            # After a panic, nobody knows in what state the library is.
            fatal = not isinstance(error, Exception)
            told = json.dumps({"error": describe(error) | {"fatal": fatal}}).encode()
        answers.write(told + b"\n")
        answers.flush()
        if fatal:
            return


def describe(error: BaseException) -> dict[str, Any]:
    """Name an error and say what it says, even if saying it fails."""
    try:
        text = str(error)[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - whatever it is, it is not more important
        text = ""
    return {"kind": type(error).__name__, "text": text}


def limit(*, memory_bytes: int = 0, cpu_seconds: int = 0) -> None:
    """Set the limits of this process, as far as the system has them.

    The limit of processor time counts from the start of a process, so it is moved on with every
    question; it is rounded up to whole seconds.
    """
    if sys.platform == "win32":  # the parent's clock is the only limit there
        return
    import resource

    wanted = {}
    if memory_bytes:
        wanted[resource.RLIMIT_AS] = memory_bytes
        wanted[resource.RLIMIT_CORE] = 0
        wanted[resource.RLIMIT_FSIZE] = 0
    if cpu_seconds:
        wanted[resource.RLIMIT_CPU] = math.ceil(time.process_time()) + cpu_seconds
    for name, value in wanted.items():
        with suppress(ValueError, OSError):  # macOS refuses a limit of the address space
            hard = resource.getrlimit(name)[1]
            soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(name, (soft, hard))
