"""Attacks on tokenizers and configurations: JSON that says two things, and libraries that abort."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attacks.registry import Attack, Build
from attacks.weights import model

RECIPE = 'version = 1\n[[add]]\ntext = "<|new|>"\ninit = "mean"\n'
Change = Callable[[dict[str, Any]], object]


def raw(name: str, data: bytes) -> Build:
    """Put these bytes into the place of a file."""

    def build(folder: Path) -> list[str]:
        (model(folder) / name).write_bytes(data)
        return ["audit", "model"]

    return build


def edited(name: str, change: Change, *command: str) -> Build:
    """Change the value that a JSON file holds."""

    def build(folder: Path) -> list[str]:
        path = model(folder) / name
        value = json.loads(path.read_bytes())
        change(value)
        path.write_bytes(json.dumps(value).encode())
        (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
        return [*command] or ["audit", "model"]

    return build


def planned(name: str, change: Change) -> Build:
    """Change a JSON file, and plan on the result, for which the libraries must read it."""
    return edited(name, change, "plan", "model", "recipe.toml")


def with_text(name: str, old: bytes, new: bytes) -> Build:
    """Replace some bytes of a file."""

    def build(folder: Path) -> list[str]:
        path = model(folder) / name
        data = path.read_bytes()
        assert old in data, name
        path.write_bytes(data.replace(old, new, 1))
        return ["audit", "model"]

    return build


def _add(**token: Any) -> Change:
    full = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    made = {"id": 9999, "content": "<|x|>", **full, "special": True} | token
    return lambda value: value["added_tokens"].append(made)


def _set(key: str, new: Any) -> Change:
    def change(value: dict[str, Any]) -> None:
        *outer, last = key.split("/")
        for name in outer:
            value = value[name]
        value[last] = new

    return change


def _split(pattern: str) -> Change:
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    return _set("pre_tokenizer", split)


def _vocab(**tokens: Any) -> Change:
    return lambda value: value["model"]["vocab"].update(tokens)


JSON_FILES: dict[str, tuple[Build, str]] = {
    "a key twice in config.json": (raw("config.json", b'{"vocab_size":1,"vocab_size":2}'), "MalformedFile"),
    "a key twice deep inside tokenizer.json": (
        with_text("tokenizer.json", b'"special": true', b'"special": true, "special": false'),
        "MalformedFile"),
    "NaN in config.json": (raw("config.json", b'{"rope_theta": NaN}'), "MalformedFile"),
    "Infinity in generation_config.json": (
        raw("generation_config.json", b'{"temperature": -Infinity}'), "MalformedFile"),
    "1e999 in config.json": (raw("config.json", b'{"rope_theta": 1e999}'), "MalformedFile"),
    "a whole number of 400 digits": (
        raw("config.json", b'{"model_type":"qwen3","vocab_size": 1%s}' % (b"0" * 400)), "MalformedFile"),
    "a whole number of 1,000,000 digits": (
        raw("config.json", b'{"vocab_size": 1%s}' % (b"0" * 10**6)), "MalformedFile"),
    "100,000 levels in config.json": (raw("config.json", b"[" * 100_000), "LimitExceeded"),
    "65 levels in config.json": (raw("config.json", b'{"a":' * 65 + b"1" + b"}" * 65), "LimitExceeded"),
    "half a surrogate pair in a token": (
        with_text("tokenizer.json", b"<|im_end|>", b"\\ud800"), "MalformedFile"),
    "bytes that are not UTF-8 in tokenizer.json": (
        with_text("tokenizer.json", b"<|im_end|>", b"\xff\xfe"), "MalformedFile"),
    "a byte order mark": (raw("config.json", b"\xef\xbb\xbf{}"), "MalformedFile"),
    "UTF-16": (raw("tokenizer_config.json", '{"eos_token":"x"}'.encode("utf-16")), "MalformedFile"),
    "NUL in JSON": (raw("config.json", b'{"a": "\0"}'), "MalformedFile"),
    "two values in one file": (raw("config.json", b"{}{}"), "MalformedFile"),
    "a configuration that is a list": (raw("config.json", b"[]"), "MalformedFile"),
    "60 MB of brackets": (raw("generation_config.json", b"[" + b"[]," * 20_000_000 + b"[]]"), "LimitExceeded"),
    "60 MB of digits": (raw("config.json", b'{"a":' + b"7" * 60_000_000 + b"}"), "MalformedFile"),
    "a pointer of Git LFS": (
        raw("tokenizer.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "MalformedFile"),
}  # fmt: skip

TABLES: dict[str, tuple[Build, int, str]] = {
    "an id of minus one": (edited("tokenizer.json", _add(id=-1)), 3, "MalformedFile"),
    "an id of 2^32 - 1": (edited("tokenizer.json", _add(id=2**32 - 1)), 3, "MalformedFile"),
    "an id that is a fraction": (edited("tokenizer.json", _add(id=1.5)), 3, "MalformedFile"),
    "an id that is true": (edited("tokenizer.json", _add(id=True)), 3, "MalformedFile"),
    "a vocabulary id of 2^40": (edited("tokenizer.json", _vocab(evil=2**40)), 3, "MalformedFile"),
    "a vocabulary id below nought": (edited("tokenizer.json", _vocab(evil=-5)), 3, "MalformedFile"),
    "a flag that is a text": (edited("tokenizer.json", _add(special="no")), 3, "MalformedFile"),
    "an added token without a text": (edited("tokenizer.json", _add(content=None)), 3, "MalformedFile"),
    "declared ids that no library gives": (edited("tokenizer.json", _add(id=5000)), 1, "T104"),
    "two texts for one id": (edited("tokenizer.json", _vocab(evil=0)), 1, "T104"),
    "an id beyond the rows": (edited("tokenizer_config.json", lambda v: v["added_tokens_decoder"].update(
        {"90000": {"content": "<|far|>", "special": True}})), 1, "E101"),
    "a model that is no object": (edited("tokenizer.json", _set("model", [])), 3, "MalformedFile"),
    "a vocabulary that is a text": (edited("tokenizer.json", _set("model/vocab", "x")), 3, "MalformedFile"),
    "a stop id of 2^70": (edited("generation_config.json", _set("eos_token_id", 2**70)), 3, "MalformedFile"),
    "code of the model's own": (edited("config.json", _set("auto_map", {"AutoModel": "evil.Evil"})), 0, "S102"),
    "a vocabulary size of 10^300": (edited("config.json", _set("vocab_size", 10**300)), 1, "E102"),
    "a context of 10^300": (edited("config.json", _set("max_position_embeddings", 10**300)), 0, ""),
    "a rotary base of 10^300": (edited("config.json", _set("rope_theta", 10**300)), 1, ""),
    "a hidden size of nought": (edited("config.json", _set("hidden_size", 0)), 1, ""),
    "rope that is nonsense": (edited("config.json", _set("rope_scaling",
        {"rope_type": "yarn", "factor": 1e308, "original_max_position_embeddings": -1})), 0, ""),
}  # fmt: skip

# What the library makes of these files was measured (tokenizers 0.20 to 0.23): a panic, a hang, or
# an error that is none of ours.
ABORTING: dict[str, Change] = {
    "a merge of unknown pieces": lambda v: v["model"]["merges"].append("qqq zzz"),
    "a pattern that is none": _split("(unclosed"),
    "an unknown kind of model": _set("model/type", "Evil"),
    "an unknown kind of step": _set("pre_tokenizer", {"type": "Evil"}),
    "a charsmap that is none": _set(
        "normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA/wAA"}),
    "a fixed length of nought": _set("pre_tokenizer", {"type": "FixedLength", "length": 0}),
}  # fmt: skip


def attacks() -> Iterator[Attack]:
    """All of them."""
    for name, (build, expects) in JSON_FILES.items():
        yield Attack(name, build, 3, expects)
    for name, (build, code, expects) in TABLES.items():
        yield Attack(name, build, code, expects)
    for name, change in ABORTING.items():
        yield Attack(f"tokenizer.json: {name}", planned("tokenizer.json", change), 3, "ChildFailed")
    bomb = _split("(a*)*(a*)*(a*)*b|(?:a|a|a?)+$")
    yield Attack(
        "tokenizer.json: a pattern that never ends",
        edited("tokenizer.json", bomb, "tokens", "model", "a" * 60_000),
        3,
        "ChildFailed",
    )
