"""llama.cpp's tokenizer cases with their reference ids, and folders of the vocabularies they are for."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grown import extend, words

SEPARATOR = "\n__ggml_vocab_test__\n"
NORMAL = 1  # GGUF's type of a piece that text becomes; all others of a vocabulary are added tokens
FORMATS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9

# The vocabulary of each folder, by llama.cpp's name for it.
VOCABULARIES = {
    "qwen2.5": "qwen2",
    "qwen3-30b-a3b": "qwen2",
    "qwen3-30b-a3b-base": "qwen2",
    "gpt2": "gpt-2",
    "starcoder": "starcoder",
}
SPARE = {
    **dict.fromkeys(("qwen2.5", "qwen3-30b-a3b", "qwen3-30b-a3b-base"), "<|quad_start|>"),
    "gpt2": None,
    "starcoder": "<jupyter_script>",
}
# Not in any of the cases, so that every id must stay.
NOWHERE = (" tokengraft", "Раскольников", "ქართული")
# In one or two of them, so that these must change, to what the old pieces stand for.
THERE = (" dsdfhu", "нещо")

ADD = (
    '[[add]]\ntext = "<|my_agi_mode|>"\nuse = "role"\n'
    '[[add]]\ntext = "<tool_start>"\nuse = "tool"\n'
    '[[add]]\ntext = "<|left|>"\nlstrip = true\nrstrip = true\n'
    '[[add]]\ntext = "<|alone|>"\nsingle_word = true\n'
    '[[add]]\ntext = "<|folded|>"\nnormalized = true\nspecial = false\n'
    '[pad]\ntoken = "<|own_pad|>"\n'
)
PROTOCOL = '[protocol]\nturn_start = "<|turn|>"\nturn_end = "<|turn_end|>"\nmode = "{mode}"\n'
CHAT = (
    '[roles]\nmy_agi_mode = "<|my_agi_mode|>"\n'
    '[tools]\nopen = "<tool_start>"\nclose = "</tool_end>"\n'
    '[thinking]\nmodules = ["<|recursion|>", "<|conflict|>"]\n'
)
CORPUS = "corpus.txt"


def recipes_for(name: str) -> Mapping[str, str]:
    """Recipes by what they do; all of them leave text without the new tokens alone but the last two."""
    found = {"add": ADD}
    if spare := SPARE[name]:
        found["rename"] = f'[[rename]]\nfrom = "{spare}"\nto = "<|spare_1|>"\n'
    if name.startswith("qwen"):
        found |= {f"protocol {mode}": PROTOCOL.format(mode=mode) for mode in ("rename", "add")}
    if name.startswith("qwen3"):
        found["chat"] = CHAT
    found["all"] = "".join(text for key, text in found.items() if key != "protocol add")
    found["words nowhere"] = words(*NOWHERE)
    found["words there"] = words(*THERE)
    found["extend"] = extend(CORPUS, 60)
    return found


def cases(data: Path, vocabulary: str) -> tuple[list[str], list[list[int]]]:
    """Texts and the ids that they become, as llama.cpp keeps them."""
    stem = data / "reference" / f"ggml-vocab-{vocabulary}.gguf"
    texts = stem.with_name(f"{stem.name}.inp").read_bytes().decode().split(SEPARATOR)
    lines = stem.with_name(f"{stem.name}.out").read_text(encoding="utf-8").split("\n")
    return texts, [[int(number) for number in line.split()] for line in lines]


def base_of(name: str, data: Path, folder: Path) -> Path:
    """A folder with this vocabulary: a published one, or one written from a vocabulary-only GGUF."""
    if name == "starcoder":
        return starcoder(data / "reference" / "ggml-vocab-starcoder.gguf", folder)
    skip = shutil.ignore_patterns("SOURCE.txt", "v5", "*.index.json")
    shutil.copytree(data / "tokenizers" / name, folder, ignore=skip, copy_function=shutil.copyfile)
    return folder


def starcoder(gguf: Path, folder: Path) -> Path:
    """tokenizer.json of StarCoder, whose pre-tokenizer is GPT-2's with every digit alone."""
    known = metadata(gguf)
    pieces, kinds = known["tokenizer.ggml.tokens"], known["tokenizer.ggml.token_type"]
    assert known["tokenizer.ggml.pre"] == "starcoder"
    plain = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": i, "content": text, **flags, "special": True}
        for i, (text, kind) in enumerate(zip(pieces, kinds, strict=True))
        if kind != NORMAL
    ]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "vocab": {text: i for i, text in enumerate(pieces)},
        "merges": known["tokenizer.ggml.merges"],
    }
    digits = {"type": "Digits", "individual_digits": True}
    steps = [digits, {"type": "ByteLevel", **plain}]
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **plain},
        "model": model,
    }
    eos = pieces[known["tokenizer.ggml.eos_token_id"]]
    config = {
        "added_tokens_decoder": {
            str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in added
        },
        "bos_token": eos,
        "eos_token": eos,
        "unk_token": eos,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    folder.mkdir(parents=True)
    for file, value in (("tokenizer.json", document), ("tokenizer_config.json", config)):
        text = json.dumps(value, ensure_ascii=False, indent=2)
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
    return folder


def metadata(gguf: Path) -> dict[str, Any]:
    """The key-value part of a GGUF file, version 3, little-endian."""
    data = gguf.read_bytes()
    magic, version, _, count = struct.unpack_from("<4sIQQ", data)
    assert (magic, version) == (b"GGUF", 3)
    found: dict[str, Any] = {}
    at = 24
    for _ in range(count):
        key, at = _value(data, STRING, at)
        (kind,) = struct.unpack_from("<I", data, at)
        found[key], at = _value(data, kind, at + 4)
    return found


def _value(data: bytes, kind: int, at: int) -> tuple[Any, int]:
    if kind == STRING:
        (size,) = struct.unpack_from("<Q", data, at)
        return data[at + 8 : at + 8 + size].decode(), at + 8 + size
    if kind == ARRAY:
        inner, count = struct.unpack_from("<IQ", data, at)
        at += 12
        values = []
        for _ in range(count):
            value, at = _value(data, inner, at)
            values.append(value)
        return values, at
    form = f"<{FORMATS[kind]}"
    return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
