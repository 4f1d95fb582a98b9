"""Load a folder with AutoTokenizer and write its id table; runs in a process of its own.

Usage: python -P ask_transformers.py FOLDER TEXTS.json ANSWER.json. Texts are encoded too, without
special tokens. Imports nothing of tokengraft, so that any environment with transformers can run it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(folder: str, texts: str, answer: str) -> None:
    """Write `version`, `class`, `table` and `ids` (of the texts), or `error`."""
    import transformers

    found: dict[str, object] = {"version": transformers.__version__}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        found |= {"class": type(tokenizer).__name__, "table": tokenizer.get_vocab()}
        asked = json.loads(Path(texts).read_bytes())
        found["ids"] = [tokenizer.encode(text, add_special_tokens=False) for text in asked]
    except Exception as error:  # noqa: BLE001 - whatever a foreign folder makes it raise is the answer
        found["error"] = f"{type(error).__name__}: {error}"
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:4])
