"""Defects of the rules E, F and S: rows, files and safety."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from planting import Defect, built, config, in_json, tokenizer, with_edit, with_files, writing

import raw_tensors
from tiny import DROP


def _unnamed_shard(value: Any) -> None:
    value["weight_map"].pop("model.norm.weight")


def _wrong_shard(value: Any) -> None:
    value["weight_map"]["model.norm.weight"] = "model-00001-of-00002.safetensors"


def _wrong_total(value: Any) -> None:
    value["metadata"]["total_size"] += 1


def _doubled_total(value: Any) -> None:
    value["metadata"]["total_size"] *= 2


def _tied(folder: Path) -> None:
    in_json("config.json", lambda value: value.update(tie_word_embeddings=True))(folder)


def _broken_link(folder: Path) -> None:
    (folder / "chat.json").symlink_to("nowhere.json")


def _without_head(folder: Path) -> None:
    tensors = raw_tensors.tensor_bytes(folder)
    tensors.pop("lm_head.weight")
    raw_tensors.write_safetensors(folder / "model.safetensors", tensors)


def _second_copy(folder: Path) -> None:
    """Put a tensor of the first file into the second one too."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    tensors = raw_tensors.tensor_bytes(folder)
    last = "model-00002-of-00002.safetensors"
    second = {name for name, file in index.items() if file == last} | {"model.embed_tokens.weight"}
    raw_tensors.write_safetensors(folder / last, {name: tensors[name] for name in second})


def _index_beside(folder: Path) -> None:
    index = {"metadata": {"total_size": 1}, "weight_map": {"a": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _stray(name: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        raw_tensors.write_safetensors(folder / name, {"a": ("F32", (1,), b"\0" * 4)})

    return edit


def _link(folder: Path) -> None:
    (folder.parent / "secret.txt").write_text("private")
    (folder / "notes.txt").symlink_to(folder.parent / "secret.txt")


def _inner_link(folder: Path) -> None:
    (folder / "copy.json").symlink_to("config.json")


def _without_weights(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.unlink()


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


DEFECTS = (
    Defect(
        "E101",
        bad=(built(n_rows=293), with_files({"config.json": {"vocab_size": 290}}, shards=0)),
        good=(built(n_rows=294), built(n_rows=640), built(shards=0, n_rows=320)),
    ),
    Defect(
        "E102",
        bad=(config(vocab_size=512), config(vocab_size=303)),
        good=(with_files({"config.json": {"vocab_size": 512}}, shards=0), built(tied=True)),
    ),
    Defect(
        "E103",
        bad=(
            with_edit(_without_head),
            with_files({"config.json": {"tie_word_embeddings": False}}, tied=True),
        ),
        good=(
            built(tied=True),
            with_edit(_without_head, files={"config.json": {"tie_word_embeddings": DROP}}),
            with_edit(
                _without_head,
                files={"config.json": {"architectures": ["Qwen3ForSequenceClassification"]}},
            ),
        ),
    ),
    Defect(
        "E104",
        bad=(config(tie_word_embeddings=True), with_edit(_tied, shards=2)),
        good=(built(tied=True), config(tie_word_embeddings=DROP)),
    ),
    Defect(
        "F101",
        bad=(
            with_edit(_remove("model-00002-of-00002.safetensors"), shards=2),
            with_edit(_remove("model-00001-of-00002.safetensors"), shards=2),
        ),
        good=(
            built(shards=2),
            with_edit(_without_weights, shards=2),
        ),
    ),
    Defect(
        "F102",
        bad=(
            with_edit(in_json("model.safetensors.index.json", _unnamed_shard), shards=2),
            with_edit(in_json("model.safetensors.index.json", _wrong_shard), shards=2),
        ),
        good=(built(shards=2), built()),
    ),
    Defect(
        "F103",
        bad=(
            with_edit(in_json("model.safetensors.index.json", _wrong_total), shards=2),
            with_edit(in_json("model.safetensors.index.json", _doubled_total), shards=2),
        ),
        good=(
            built(shards=2),
            with_edit(
                in_json("model.safetensors.index.json", lambda v: v.pop("metadata")), shards=2
            ),
        ),
    ),
    Defect(
        "F104",
        bad=(
            with_edit(_stray("extra.safetensors"), shards=2),
            with_edit(_stray("old.safetensors")),
        ),
        good=(with_edit(_stray("adapter_model.safetensors")),),
    ),
    Defect(
        "F105",
        bad=(with_edit(_index_beside), with_edit(_second_copy, shards=2)),
        good=(built(), built(shards=2)),
        also=frozenset({"F102", "F103"}),
    ),
    Defect(
        "F201",
        bad=(
            with_files({"added_tokens.json": {"<|im_start|>": 7}}, legacy=True),
            with_files({"added_tokens.json": {"</think>": DROP}}, legacy=True),
            with_files({"added_tokens.json": {"<|gone|>": 310}}, legacy=True),
        ),
        good=(built(legacy=True),),
    ),
    Defect(
        "S101",
        bad=(with_edit(_link), with_edit(_broken_link)),
        good=(with_edit(_inner_link),),
    ),
    Defect(
        "S102",
        bad=(
            config(auto_map={"AutoModel": "modeling_x.X"}),
            tokenizer(auto_map={"AutoTokenizer": ["org/repo--tok.Slow", None]}),
        ),
        good=(config(auto_map={}), config(auto_map=None)),
    ),
    Defect(
        "S103",
        bad=(
            with_edit(writing("pytorch_model.bin", "x")),
            with_edit(writing("training_args.bin", "x")),
        ),
        good=(with_edit(writing("openvino_model.bin", "x")), with_edit(writing("notes.txt", "x"))),
    ),
)
