"""Undo gives the base back bit for bit, from the output alone, or publishes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import grafts
import tiny
from failing import hidden
from tokengraft import applying
from tokengraft.errors import (
    MalformedFile,
    PreconditionError,
    SourceChanged,
    StalePlan,
    TargetExists,
)
from tokengraft.formats.loading import load
from tokengraft.formats.undo_file import base_chunks, read_undo
from tokengraft.plans import DropFile, Keep, Mix, PatchJson, RemapRows, RemoveKey, WriteFile
from tokengraft.results import Receipt

KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"tied": True, "dtype": "F16"},
    {"shards": 2, "dtype": "F32"},
    {"shards": 2, "grow": 64},
    {"grow": 64, "newline": "\r\n", "final_newline": False},
    {"shards": 0},
    {"tied": True, "untie": True},
    {"tied": True, "untie": True, "shards": 2, "grow": 64, "dtype": "F32"},
    {"indent": "\t", "ascii_only": True, "legacy": True},
    {"indent": None, "template": "jinja"},
)


def _undone(out: Path, folder: Path, **options: Any) -> dict[str, bytes]:
    applying.undo(out, target=folder / "undone", **options)
    return grafts.tree(folder / "undone")


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("mode", ["copy", "link"])
def test_undo_gives_the_base_back_bit_for_bit(
    tmp_path: Path, kind: dict[str, Any], mode: str
) -> None:
    graft = grafts.tiny_graft(tmp_path / "base", **kind)
    graft.apply(tmp_path / "out", copy=mode)
    assert _undone(tmp_path / "out", tmp_path, copy=mode) == grafts.tree(tmp_path / "base")


def test_undo_needs_no_base(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base")
    before = grafts.tree(tmp_path / "base")
    graft.apply(tmp_path / "out")
    (tmp_path / "base").rename(tmp_path / "moved")
    assert _undone(tmp_path / "out", tmp_path) == before


def test_new_written_and_dropped_files_come_and_go(tmp_path: Path) -> None:
    checkpoint = load(tiny.build(tmp_path / "base", template="jinja"))
    (tmp_path / "base" / "notes").mkdir()
    (tmp_path / "base" / "notes" / "old.bin").write_bytes(bytes(range(256)) * 9000)
    checkpoint = load(tmp_path / "base")
    edits = [
        WriteFile(path="chat_template.jinja", text="{{ новый }}"),
        WriteFile(path="additional_chat_templates/x.jinja", text="x"),
        DropFile(path="notes/old.bin"),
        DropFile(path="vocab.json"),
        PatchJson(path="config.json", changes=(RemoveKey(pointer="/rope_theta"),)),
    ]
    receipt = grafts.make_plan(checkpoint, edits).apply(tmp_path / "out")
    told = {file.path: (file.before, file.after) for file in receipt.files}
    assert told["vocab.json"][1] is None
    assert told["additional_chat_templates/x.jinja"][0] is None
    assert not (tmp_path / "out" / "notes").exists()
    assert _undone(tmp_path / "out", tmp_path) == grafts.tree(tmp_path / "base")


def test_rows_that_move_and_rows_that_go_come_back(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base")
    checkpoint = load(base)
    assert checkpoint.tensors is not None
    n = checkpoint.tensors.tensors[grafts.EMBED].shape[0]
    fewer = (Keep(first=5, count=10), Mix(parents=((1, 1.0),)), Keep(first=11, count=n - 20))
    other = (Keep(first=0, count=7), Mix(parents=(), rows=3), Keep(first=10, count=n - 10))
    edits = [
        RemapRows(tensor=grafts.EMBED, n_rows_before=n, n_rows_after=n - 9, rows=fewer),
        RemapRows(tensor=grafts.HEAD, n_rows_before=n, n_rows_after=n, rows=other),
    ]
    grafts.make_plan(checkpoint, edits).apply(tmp_path / "out")
    assert _undone(tmp_path / "out", tmp_path) == grafts.tree(base)


def test_a_graft_on_a_graft_keeps_its_history_and_comes_back_step_by_step(tmp_path: Path) -> None:
    first = grafts.tiny_graft(tmp_path / "base")
    first.apply(tmp_path / "one")
    second = grafts.patch_config(grafts.make_plan(load(tmp_path / "one"), []))
    second.apply(tmp_path / "two")
    third = grafts.make_plan(load(tmp_path / "two"), [])
    third.apply(tmp_path / "three", copy="link")
    one, two = grafts.tree(tmp_path / "one"), grafts.tree(tmp_path / "two")
    assert two["tokengraft/base/MANIFEST.sha256"] == one["MANIFEST.sha256"]
    assert two["tokengraft/base/plan.json"] == first.text
    three = grafts.tree(tmp_path / "three")
    assert three["tokengraft/base/base/plan.json"] == first.text
    applying.undo(tmp_path / "three", target=tmp_path / "back-2")
    applying.undo(tmp_path / "back-2", target=tmp_path / "back-1")
    applying.undo(tmp_path / "back-1", target=tmp_path / "back-0")
    assert grafts.tree(tmp_path / "back-2") == two
    assert grafts.tree(tmp_path / "back-1") == one
    assert grafts.tree(tmp_path / "back-0") == grafts.tree(tmp_path / "base")


def test_somebody_elses_manifest_is_put_aside_and_comes_back(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base")
    lines = [f"{grafts.digest(path)}  {path.name}\n" for path in sorted(base.iterdir())]
    (base / "MANIFEST.sha256").write_text("".join(lines))
    grafts.make_plan(load(base), []).apply(tmp_path / "out")
    assert _undone(tmp_path / "out", tmp_path) == grafts.tree(base)


def test_the_receipt_of_undo_is_the_receipt_turned_around(tmp_path: Path) -> None:
    receipt = grafts.tiny_graft(tmp_path / "base").apply(tmp_path / "out")
    back = applying.undo(tmp_path / "out", target=tmp_path / "back")
    assert [(f.path, f.after, f.before) for f in receipt.files] == [
        (f.path, f.before, f.after) for f in back.files
    ]
    written = (tmp_path / "out" / "tokengraft" / "receipt.json").read_text()
    assert Receipt.from_dict(json.loads(written)) == receipt


def test_the_record_is_a_safetensors_file_that_others_read(tmp_path: Path) -> None:
    grafts.tiny_graft(tmp_path / "base", grow=64).apply(tmp_path / "out")
    record = tmp_path / "out" / "tokengraft" / "undo.safetensors"
    with safe_open(record, "numpy") as opened:
        names = set(opened.keys())
        spans = opened.get_tensor("splices:model.safetensors")
        old = opened.get_tensor("bytes:model.safetensors")
    edited = {"tokenizer.json", "tokenizer_config.json", "config.json", "model.safetensors"}
    assert names == {f"{kind}:{path}" for kind in ("splices", "bytes") for path in edited}
    assert spans.dtype == np.int64
    assert spans[:, 2].sum() == old.size


def test_the_base_can_be_streamed_out_of_the_record(tmp_path: Path) -> None:
    base = tmp_path / "base"
    grafts.tiny_graft(base, grow=64, shards=2).apply(tmp_path / "out")
    record = tmp_path / "out" / "tokengraft" / "undo.safetensors"
    for path, entry in read_undo(record).items():
        found = b"".join(base_chunks(tmp_path / "out" / path, entry, record))
        assert found == (base / path).read_bytes()


@pytest.mark.parametrize("file", ["merges.txt", "tokenizer.json", "model.safetensors"])
def test_an_output_that_was_edited_is_not_passed_off_as_its_base(tmp_path: Path, file: str) -> None:
    grafts.tiny_graft(tmp_path / "base").apply(tmp_path / "out")
    path = tmp_path / "out" / file
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceChanged):
        applying.undo(tmp_path / "out", target=tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert hidden(tmp_path) == []


def test_a_history_that_was_edited_is_noticed(tmp_path: Path) -> None:
    grafts.tiny_graft(tmp_path / "base").apply(tmp_path / "one")
    grafts.make_plan(load(tmp_path / "one"), []).apply(tmp_path / "two")
    recipe = tmp_path / "two" / "tokengraft" / "base" / "recipe.toml"
    recipe.write_text("version = 2\n")
    with pytest.raises(SourceChanged):
        applying.undo(tmp_path / "two", target=tmp_path / "back")


@pytest.mark.parametrize("record", ["plan.json", "receipt.json", "undo.safetensors"])
def test_a_missing_record_is_named(tmp_path: Path, record: str) -> None:
    grafts.tiny_graft(tmp_path / "base").apply(tmp_path / "out")
    (tmp_path / "out" / "tokengraft" / record).unlink()
    with pytest.raises(PreconditionError) as raised:
        applying.undo(tmp_path / "out", target=tmp_path / "back")
    assert record in raised.value.summary
    assert raised.value.exit_code == 4


def test_a_plain_folder_cannot_be_undone(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError):
        applying.undo(tiny.build(tmp_path / "base"), target=tmp_path / "back")


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    grafts.tiny_graft(tmp_path / "base").apply(tmp_path / "out")
    record = tmp_path / "out" / "tokengraft" / "undo.safetensors"
    good = record.read_bytes()
    for bad in (good[:-1], good[:5], b"", good.replace(b'"U8"', b'"I8"')):
        record.write_bytes(bad)
        with pytest.raises((MalformedFile, SourceChanged)):
            applying.undo(tmp_path / "out", target=tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_forged_receipt_leaves_the_target_folder_alone(tmp_path: Path) -> None:
    grafts.tiny_graft(tmp_path / "base").apply(tmp_path / "out")
    path = tmp_path / "out" / "tokengraft" / "receipt.json"
    told = json.loads(path.read_text())
    for name in ("../evil", "tokengraft/plan.json", "/etc/evil"):
        forged = dict(told, files=[{"path": name, "before": "0" * 64, "after": "0" * 64}])
        path.write_text(json.dumps(forged))
        with pytest.raises((MalformedFile, PreconditionError)):
            applying.undo(tmp_path / "out", target=tmp_path / "back")
    assert not (tmp_path / "evil").exists()


def test_undo_replaces_nothing(tmp_path: Path) -> None:
    grafts.tiny_graft(tmp_path / "base").apply(tmp_path / "out")
    with pytest.raises(TargetExists):
        applying.undo(tmp_path / "out", target=tmp_path / "base")


def test_a_plan_for_the_base_is_stale_for_its_result(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base")
    graft.apply(tmp_path / "out")
    again = grafts.Graft(load(tmp_path / "out"), graft.plan, graft.text, graft.sidecar)
    with pytest.raises(StalePlan):
        again.apply(tmp_path / "more")
