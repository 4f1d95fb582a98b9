"""transformers as a witness: does AutoTokenizer give every token the id that we say?"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokengraft.errors import ChildFailed
from tokengraft.results import Check
from tokengraft.verifying.records import Graft, failed, passed, skipped

NAME = "transformers"
SCRIPT = Path(__file__).with_name("ask_transformers.py")
# 100,000 added tokens take transformers 5.23 five seconds; importing it, up to twenty when cold.
MAX_SECONDS = 300
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def ask_transformers(graft: Graft, *, python: str = sys.executable) -> Iterator[Check]:
    """Load the result with AutoTokenizer in a child process, and compare every id.

    Args:
        graft: the result.
        python: the interpreter to ask; by default this one, if it has transformers.
    """
    if python == sys.executable and importlib.util.find_spec("transformers") is None:
        yield skipped(NAME, "transformers is not installed")
        return
    if graft.checkpoint is None or graft.checkpoint.tokenizer is None:
        yield skipped(NAME, "no tokenizer in this folder that can be read")
        return
    answer = run_child([python, "-P", str(SCRIPT), str(graft.out)], seconds=MAX_SECONDS)
    version, theirs = answer.get("version"), answer.get("table")
    if not isinstance(theirs, dict):
        raise ChildFailed(
            "transformers gave no id table", detail=str(answer.get("error", ""))[:500]
        )
    ours = {text: token_id for token_id, text in graft.checkpoint.tokenizer.table().items()}
    wrong = [
        f"{text!r} is {theirs.get(text)} there and {ours.get(text)} here"
        for text in sorted({*ours, *theirs}, key=lambda t: (ours.get(t, -1), t))
        if ours.get(text) != theirs.get(text)
    ]
    if wrong:
        yield failed(
            NAME, f"transformers {version}: {len(wrong)} ids differ: {'; '.join(wrong[:10])}"
        )
        return
    yield passed(
        NAME,
        f"AutoTokenizer of transformers {version} ({answer.get('class')}) gives all "
        f"{len(ours):,} tokens the same ids",
    )


def run_child(command: list[str], *, seconds: float) -> Mapping[str, object]:
    """Run a script of ours in a process of its own, offline, and read its JSON answer.

    Raises:
        ChildFailed: it died, took too long, or answered something else.
    """
    with tempfile.TemporaryDirectory(prefix="tokengraft-") as folder:
        answer = Path(folder, "answer.json")
        try:
            ended = subprocess.run(
                [*command, str(answer)],
                env={**os.environ, **OFFLINE, "HF_MODULES_CACHE": folder},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ChildFailed(f"the child did not answer within {seconds:.0f} s") from error
        try:
            value = json.loads(answer.read_bytes())
        except (OSError, ValueError) as error:
            last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise ChildFailed(
                f"the child ended with {ended.returncode} and gave no answer",
                detail="".join(last)[:500],
            ) from error
    if not isinstance(value, dict):
        raise ChildFailed("the child's answer is no object")
    return value
