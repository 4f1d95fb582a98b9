"""Finds English that was left in Russian text."""

from __future__ import annotations

import re
from typing import Final

# Terms of the field and names of programs that Russian writes as they are.
TERMS: Final = frozenset(
    """
    id eos bos pad unk sep cls mask bytes null true false default type factor llama vllm
    jinja pickle regex string split special dropout lstrip rstrip
    transformers tokenizers tokengraft safetensors config json yarn rope lora
    """.split()
)
_QUOTED: Final = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|«[^»]*»|`[^`]*`")
_CODE: Final = re.compile(r"[_./\\#<>|{}=\[\]\d@%*^$+]|--")
_NAME: Final = re.compile("[a-z][A-Z]")
_WORD: Final = re.compile(r"[A-Za-z]{2,}(?:['-][A-Za-z]+)*")


def words_left(text: str, known: frozenset[str] = frozenset()) -> list[str]:
    """English words in a Russian text: not quoted, not in code, no term and no name."""
    left = []
    for chunk in _QUOTED.sub(" ", text).split():
        bare = chunk.strip(".,;:()!?—–-…")
        if _CODE.search(bare) or bare in known or bare.lower() in TERMS:
            continue
        if _WORD.fullmatch(bare) and not bare.isupper() and not _NAME.search(bare):
            left.append(bare)
    return left
