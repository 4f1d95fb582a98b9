"""What a folder must be once tokens are gone: worked out naively, on values, and sharing no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from raw_tensors import tensor_bytes

VOCAB_TENSORS = ("model.embed_tokens.weight", "lm_head.weight")
ONE_ID = {"pad_token_id", "eos_token_id", "bos_token_id", "image_token_id", "image_token_index"}
TABLES = ("added_tokens.json", "vocab.json")


def id_map(n_ids: int, removed: set[int]) -> dict[int, int]:
    """Old ids to new ones: those that stay, in their order."""
    return {old: new for new, old in enumerate(i for i in range(n_ids) if i not in removed)}


def expected(source: Path, removed: set[int], texts: set[str]) -> dict[str, Any]:
    """The JSON files and lists of lines of the result, by name.

    `texts` are what the id table calls the tokens that go.
    """
    moved = id_map(1 << 20, removed)
    found: dict[str, Any] = {}
    for path in sorted(source.glob("*.json")):
        if path.name.endswith(".index.json"):
            continue
        value = json.loads(path.read_text(encoding="utf-8"))
        if path.name in TABLES:
            value = {text: moved[i] for text, i in value.items() if i not in removed}
        elif path.name == "tokenizer.json":
            value = _tokenizer(value, moved, removed, texts)
        else:
            value = _config(value, moved, removed, texts)
        found[path.name] = value
    merges = source / "merges.txt"
    if merges.exists():
        lines = merges.read_text(encoding="utf-8").splitlines()
        found["merges.txt"] = [line for line in lines if _stays(line.split(" "), texts)]
    vocab = source / "vocab.txt"
    if vocab.exists():
        lines = vocab.read_text(encoding="utf-8").splitlines()
        found["vocab.txt"] = [line for at, line in enumerate(lines) if at not in removed]
    return found


def actual(out: Path, names: list[str]) -> dict[str, Any]:
    """The same of a folder."""
    found: dict[str, Any] = {}
    for name in names:
        text = (out / name).read_text(encoding="utf-8")
        found[name] = json.loads(text) if name.endswith(".json") else text.splitlines()
    return found


def _stays(parts: list[str], texts: set[str]) -> bool:
    return len(parts) != 2 or not texts & {parts[0], parts[1], "".join(parts)}


def _tokenizer(value: Any, moved: dict[int, int], removed: set[int], texts: set[str]) -> Any:
    value["added_tokens"] = [
        {**entry, "id": moved[entry["id"]]}
        for entry in value["added_tokens"]
        if entry["id"] not in removed
    ]
    model = value["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {t: moved[i] for t, i in model["vocab"].items() if i not in removed}
    else:
        model["vocab"] = [entry for at, entry in enumerate(model["vocab"]) if at not in removed]
    if "merges" in model:
        pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        kept = zip(model["merges"], pairs, strict=True)
        model["merges"] = [merge for merge, pair in kept if _stays(pair, texts)]
    if isinstance(model.get("unk_id"), int):
        model["unk_id"] = moved[model["unk_id"]]
    if value.get("padding"):
        value["padding"]["pad_id"] = moved[value["padding"]["pad_id"]]
    for entry in ((value.get("post_processor") or {}).get("special_tokens") or {}).values():
        entry["ids"] = [moved[i] for i in entry["ids"]]
    return value


def _config(value: Any, moved: dict[int, int], removed: set[int], texts: set[str]) -> Any:
    for key, entry in list(value.items()):
        if key == "added_tokens_decoder":
            value[key] = {str(moved[int(i)]): t for i, t in entry.items() if int(i) not in removed}
        elif key == "additional_special_tokens":
            value[key] = [text for text in entry if text not in texts]
        elif key in ONE_ID and isinstance(entry, int):
            value[key] = moved[entry]
        elif (key in ONE_ID and isinstance(entry, list)) or key in (
            "suppress_tokens",
            "begin_suppress_tokens",
        ):
            value[key] = [moved[i] for i in entry]
        elif key == "bad_words_ids":
            value[key] = [[moved[i] for i in word] for word in entry]
        elif key == "forced_decoder_ids":
            value[key] = [[at, moved[i]] for at, i in entry]
        elif key == "sequence_bias":
            value[key] = [[[moved[i] for i in ids], bias] for ids, bias in entry]
        elif key == "text_config":
            value[key] = _config(entry, moved, removed, texts)
    return value


def rows(source: Path, name: str, removed: set[int], n_after: int) -> list[bytes]:
    """The rows of a tensor: those that stay in their order, then as many removed ones as fit."""
    _, shape, payload = tensor_bytes(source)[name]
    width = len(payload) // shape[0]
    old = [payload[at : at + width] for at in range(0, len(payload), width)]
    kept = [row for at, row in enumerate(old) if at not in removed]
    return (kept + [old[at] for at in sorted(removed)])[:n_after]
