"""Import a script's libraries once, and run it as often as is asked, each time in a fork.

Usage: python forking.py. A line on stdin is {"script": S, "jobs": FILE, "answers": FILE, "said": FILE};
a line on stdout is the exit status of its main(jobs, answers), with what it said in the file.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

LAZY = ("AutoConfig", "AutoTokenizer")  # parts of transformers that are imported when first used


def main() -> None:
    for line in sys.stdin:
        wish = json.loads(line)
        print(answered(wish), flush=True)  # noqa: T201 - what it is for


def answered(wish: dict[str, str]) -> int:
    """Run a script in a fork of this process; its exit status."""
    said = os.open(wish["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    kept = [os.dup(1), os.dup(2)]
    sys.stdout.flush()
    try:
        for stream in (1, 2):
            os.dup2(said, stream)
        module = importlib.import_module(wish["script"].removesuffix(".py"))
        if transformers := sys.modules.get("transformers"):
            names = (*LAZY, "AutoModelForCausalLM") if "torch" in sys.modules else LAZY
            for name in names:
                getattr(transformers, name)
        child = os.fork()
        if child == 0:
            run(module.main, wish["jobs"], wish["answers"])
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except Exception:  # noqa: BLE001 - an environment that lacks something says so
        os.write(2, traceback.format_exc().encode())
        return 1
    finally:
        for stream, own in zip((1, 2), kept, strict=True):
            os.dup2(own, stream)
            os.close(own)
        os.close(said)


def run(main: object, jobs: str, answers: str) -> None:
    """What the fork does; it never returns."""
    status = 1
    try:
        main(jobs, answers)  # type: ignore[operator]
        status = 0
    except BaseException:  # noqa: BLE001 - all of it is told by the status
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
