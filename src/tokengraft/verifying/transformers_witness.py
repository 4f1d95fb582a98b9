"""transformers as a witness: does AutoTokenizer give every token the id that we say?"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tokengraft.errors import ChildFailed
from tokengraft.results import Check
from tokengraft.sandbox.tokenizers import TokenizerChild
from tokengraft.verifying.records import Graft, failed, passed, several, skipped

NAME = "transformers"
SCRIPT = Path(__file__).with_name("ask_transformers.py")
# 100,000 added tokens take transformers 5.23 five seconds; importing it, up to twenty when cold.
MAX_SECONDS = 300
MAX_PIECES = 500  # so many new pieces are encoded, each in a few neighbourhoods
AROUND = ("{0}", "x{0}", "a {0}, b", "{0}5", "\n{0}\n", "{0}s{0}")
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
    texts = _texts(graft)
    with tempfile.TemporaryDirectory(prefix="tokengraft-") as folder:
        asked = Path(folder, "texts.json")
        asked.write_text(json.dumps(texts), encoding="utf-8")
        command = [python, "-P", str(SCRIPT), str(graft.out), str(asked)]
        answer = run_child(command, seconds=MAX_SECONDS)
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
    about = f"AutoTokenizer of transformers {version} ({answer.get('class')})"
    same = f"{about} gives all {len(ours):,} tokens the same ids"
    yield _encodings(graft, texts, answer.get("ids"), same)


def _encodings(graft: Graft, texts: Sequence[str], theirs: object, same: str) -> Check:
    """Whether it encodes texts with new pieces as the library does with tokenizer.json."""
    if not texts:
        return passed(NAME, same)
    other = _encoded_otherwise(graft, texts, theirs)
    if not other:
        return passed(NAME, f"{same}, and encodes {len(texts):,} texts with new pieces alike")
    told = f"{len(other)} of {len(texts)} texts are encoded otherwise than tokenizer.json says"
    if graft.plan is not None and any(token.use == "word" for token in graft.plan.tokens):
        return failed(NAME, f"{same}, but {told}: {several(other)}")
    why = "its class makes its own pre-tokenizer, and may have done so with the base"
    return Check(name=NAME, status="unknown", evidence=f"{same}; {told}: {why}")


def _texts(graft: Graft) -> list[str]:
    """Texts that hold new pieces of the vocabulary, where the plan has some."""
    tokens = () if graft.plan is None else graft.plan.tokens
    there = [t for t in tokens if t.piece is not None and t.action != "remove"]
    pieces = [token for token in there if "\ufffd" not in token.text]
    chosen = pieces[:: len(pieces) // MAX_PIECES + 1]
    return [around.format(token.text) for token in chosen for around in AROUND]


def _encoded_otherwise(graft: Graft, texts: Sequence[str], theirs: object) -> list[str]:
    """The texts to which transformers gives other ids than the library with tokenizer.json."""
    assert graft.checkpoint is not None
    data = graft.checkpoint.small_files.get("tokenizer.json")
    if not texts or data is None or not isinstance(theirs, list):
        return []
    with TokenizerChild() as child:
        child.load(data)
        ours = child.encode(texts)
    return [repr(t) for t, a, b in zip(texts, ours, theirs, strict=True) if a != b]


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
