"""Apply makes exactly what the plan says, whatever the way of copying, and touches nothing else."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

import failing
import grafts
import tiny
from failing import Failing, Recorder, hidden, refuse
from tokengraft import applying
from tokengraft.applying.hashing import Hashing
from tokengraft.errors import (
    MalformedFile,
    PreconditionError,
    StalePlan,
    UnsafePath,
    WriteFailed,
)
from tokengraft.events import Done, Event, Progress, Started
from tokengraft.formats.loading import load
from tokengraft.formats.sidecars import PackedSidecar
from tokengraft.plans import (
    AddLowRank,
    DropFile,
    Edit,
    Mix,
    PatchJson,
    SetKey,
    WriteFile,
)

MODES = ("auto", "copy", "link")
STYLES: tuple[dict[str, Any], ...] = (
    {"indent": 2},
    {"indent": "\t", "newline": "\r\n"},
    {"indent": None, "final_newline": False},
    {"indent": 4, "ascii_only": True},
)


def test_the_result_is_the_base_with_the_planned_changes(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base", grow=64, shards=2)
    receipt = graft.apply(tmp_path / "out")
    base, out = grafts.tree(tmp_path / "base"), grafts.tree(tmp_path / "out")
    changed = {name for name in base if out[name] != base[name]}
    shards = {f"model-0000{n}-of-00002.safetensors" for n in (1, 2)}
    assert changed == {"tokenizer.json", "tokenizer_config.json", "config.json"} | shards
    records = {"plan.json", "rows.safetensors", "recipe.toml", "receipt.json", "undo.safetensors"}
    assert set(out) - set(base) == {"MANIFEST.sha256"} | {f"tokengraft/{r}" for r in records}
    assert out["tokengraft/plan.json"] == graft.text
    assert out["tokengraft/rows.safetensors"] == graft.sidecar_bytes
    assert out["tokengraft/recipe.toml"].decode() == graft.plan.recipe
    told = {file.path: (file.before, file.after) for file in receipt.files}
    assert told == {
        name: (grafts.digest(tmp_path / "base" / name), grafts.digest(tmp_path / "out" / name))
        for name in base
    }


def test_the_result_loads_and_knows_the_new_tokens(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base", grow=64)
    graft.apply(tmp_path / "out")
    checkpoint = load(tmp_path / "out")
    assert checkpoint.problems == ()
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    for token in graft.plan.tokens:
        assert tokenizer.encode(token.text).ids == [token.id]
    with safe_open(tmp_path / "out" / "model.safetensors", "numpy") as opened:
        n_rows = opened.get_slice(grafts.EMBED).get_shape()[0]
    assert n_rows == checkpoint.config("/vocab_size")


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_json_keeps_its_style_and_every_byte_that_nobody_named(
    tmp_path: Path, style: dict[str, Any]
) -> None:
    checkpoint = load(tiny.build(tmp_path / "base", **style))
    change = SetKey(pointer="/vocab_size", value=4242)
    graft = grafts.make_plan(checkpoint, [PatchJson(path="config.json", changes=(change,))])
    graft.apply(tmp_path / "out")
    old = (tmp_path / "base" / "config.json").read_bytes()
    new = (tmp_path / "out" / "config.json").read_bytes()
    assert new == re.sub(rb'("vocab_size": ?)\d+', rb"\g<1>4242", old)
    assert b"4242" in new


def test_the_same_plan_gives_the_same_bytes_in_every_way_of_copying(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base", shards=2)
    trees = []
    for mode in (*MODES, "auto"):
        graft.apply(tmp_path / f"out{len(trees)}", copy=mode)
        trees.append(grafts.tree(tmp_path / f"out{len(trees)}"))
    assert all(tree == trees[0] for tree in trees)


def test_no_path_time_or_host_lies_in_the_output(tmp_path: Path) -> None:
    grafts.tiny_graft(tmp_path / "base").apply(tmp_path / "out")
    blob = b"".join(grafts.tree(tmp_path / "out").values())
    assert str(tmp_path).encode() not in blob
    assert os.uname().nodename.encode() not in blob


def test_a_plan_without_edits_copies_everything(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base")
    grafts.make_plan(load(base), []).apply(tmp_path / "out")
    out = grafts.tree(tmp_path / "out")
    assert {name: out[name] for name in grafts.tree(base)} == grafts.tree(base)
    assert "tokengraft/rows.safetensors" not in out


def test_small_files_alone_make_a_graft_for_later(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base", shards=0)
    graft.apply(tmp_path / "out")
    assert "<|think|>" in (tmp_path / "out" / "tokenizer.json").read_text()


# ── what is linked, and what is not ──────────────────────────────────────────────────────────────


def test_links_lead_to_the_blobs_of_a_cache_that_stays_as_it_was(tmp_path: Path) -> None:
    plain = tiny.build(tmp_path / "plain", shards=2)
    snapshot = grafts.link_into_cache(plain, tmp_path / "hub")
    graft = grafts.patch_config(grafts.make_plan(load(snapshot), []))
    graft.apply(tmp_path / "out", copy="link")
    for name in ("merges.txt", "model-00001-of-00002.safetensors"):
        made, blob = tmp_path / "out" / name, (snapshot / name).resolve()
        assert not made.is_symlink()
        assert made.stat().st_ino == blob.stat().st_ino
    config = tmp_path / "out" / "config.json"
    assert config.stat().st_nlink == 1
    assert (snapshot / "config.json").resolve().read_bytes() == (plain / "config.json").read_bytes()
    assert grafts.tree(snapshot) == grafts.tree(plain)


@pytest.mark.parametrize("mode", ["auto", "copy"])
def test_copies_of_a_cache_are_files_of_their_own(tmp_path: Path, mode: str) -> None:
    snapshot = grafts.link_into_cache(tiny.build(tmp_path / "plain"), tmp_path / "hub")
    grafts.make_plan(load(snapshot), []).apply(tmp_path / "out", copy=mode)
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_symlink()
        assert not path.is_file() or path.stat().st_nlink == 1


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EMLINK], ids=errno.errorcode.get)
def test_where_links_are_impossible_the_error_names_the_way_out(tmp_path: Path, code: int) -> None:
    graft = grafts.tiny_graft(tmp_path / "base")
    system = Failing(1, refuse(code), only=("link",)).system()
    with pytest.raises(WriteFailed) as raised:
        graft.apply(tmp_path / "out", copy="link", syscalls=system)
    assert "--copy copy" in raised.value.hint
    assert os.strerror(code) == raised.value.detail
    assert hidden(tmp_path) == []


def test_reflink_fails_clearly_where_blocks_cannot_be_shared(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base")
    system = Failing(1, refuse(errno.EOPNOTSUPP), forever=True, only=("clone",)).system()
    with pytest.raises(WriteFailed) as raised:
        graft.apply(tmp_path / "out", copy="reflink", syscalls=system)
    assert "--copy auto" in raised.value.hint


def _pretend_to_share(name: str, call: failing.Call) -> failing.Call:
    """Stand in for a file system that shares blocks."""

    def clone(source: int, file: int) -> None:
        os.pwrite(file, os.pread(source, 1 << 30, 0), 0)

    return clone if name == "clone" else call


@pytest.mark.parametrize("mode", ["auto", "reflink"])
def test_shared_blocks_are_hashed_and_need_no_room(tmp_path: Path, mode: str) -> None:
    graft = grafts.patch_config(grafts.tiny_graft(tmp_path / "base"))
    graft.apply(tmp_path / "plain")
    recorder = Recorder()
    system = recorder.system(failing.system_with(_pretend_to_share))
    system = failing.replace(system, free_bytes=lambda _: 12_000)
    graft.apply(tmp_path / "out", copy=mode, syscalls=system)
    assert grafts.tree(tmp_path / "out") == grafts.tree(tmp_path / "plain")
    assert "copy_range" not in {op.name for op in recorder.ops}
    size = sum(len(data) for data in grafts.tree(tmp_path / "base").values())
    assert size > 12_000


# ── plans that make no sense ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil"])
def test_a_forged_plan_writes_nothing_outside_its_folder(tmp_path: Path, path: str) -> None:
    checkpoint = load(tiny.build(tmp_path / "base"))
    for edit in (WriteFile(path=path, text="x"), DropFile(path=path)):
        with pytest.raises(UnsafePath):
            grafts.make_plan(checkpoint, [edit]).apply(tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["base"]


@pytest.mark.parametrize("path", ["MANIFEST.sha256", "tokengraft/receipt.json"])
def test_a_plan_cannot_write_the_records(tmp_path: Path, path: str) -> None:
    checkpoint = load(tiny.build(tmp_path / "base"))
    with pytest.raises(UnsafePath):
        grafts.make_plan(checkpoint, [WriteFile(path=path, text="x")]).apply(tmp_path / "out")


def test_a_plan_that_edits_twice_is_refused(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base")
    twice: list[list[Edit]] = [
        [graft.plan.edits[0], DropFile(path="tokenizer.json")],
        [graft.plan.edits[-1], graft.plan.edits[-1]],
        [graft.plan.edits[-1], DropFile(path="model.safetensors")],
    ]
    for edits in twice:
        made = grafts.make_plan(graft.checkpoint, edits, tokens=graft.plan.tokens)
        with pytest.raises(MalformedFile, match="twice"):
            made.apply(tmp_path / "out")


@pytest.mark.parametrize(
    ("tensor", "error", "said"),
    [
        ("x", StalePlan, "no tensor x"),
        (grafts.EMBED, MalformedFile, "edits a tensor twice"),
        ("model.norm.weight", MalformedFile, "no such factor"),
    ],
)
def test_a_low_rank_update_that_makes_no_sense_is_refused(
    tmp_path: Path, tensor: str, error: type[Exception], said: str
) -> None:
    base = load(tiny.build(tmp_path / "base"))
    edits = [
        AddLowRank(tensor=tensor, a="lora.a.0", b="lora.b.0", scale=1.0),
        grafts.remap(base, grafts.EMBED, Mix(parents=()), at=270),
    ]
    with pytest.raises(error, match=said):
        grafts.make_plan(base, edits).apply(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_sidecar_must_be_there_and_be_the_right_one(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base")
    missing = grafts.Graft(graft.checkpoint, graft.plan, graft.text, None)
    with pytest.raises(PreconditionError, match="sidecar"):
        missing.apply(tmp_path / "out")
    whole = graft.sidecar_bytes
    wrong = grafts.Graft(
        graft.checkpoint, graft.plan, graft.text, PackedSidecar(whole[:-1] + b"\xff")
    )
    with pytest.raises(StalePlan, match="sidecar"):
        wrong.apply(tmp_path / "out")
    file = tmp_path / "rows.safetensors"
    file.write_bytes(whole)
    applying.apply(
        graft.checkpoint, graft.plan, target=tmp_path / "out", plan_text=graft.text, sidecar=file
    )
    assert (
        tmp_path / "out" / "tokengraft" / "rows.safetensors"
    ).read_bytes() == graft.sidecar_bytes


# ── what is told ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
def test_progress_counts_up_to_all_bytes_and_ends(tmp_path: Path, mode: str) -> None:
    events: list[Event] = []
    grafts.tiny_graft(tmp_path / "base", shards=2).apply(
        tmp_path / "out", copy=mode, listen=events.append
    )
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Done)
    progress = [event for event in events if isinstance(event, Progress)]
    done = [event.done for event in progress]
    assert done == sorted(done)
    assert {event.total for event in progress} == {events[0].total}
    assert events[0].total * 0.9 < done[-1] <= events[0].total


def test_a_listener_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grafts.tiny_graft(tmp_path / "base").apply(tmp_path / "out", listen=listen)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_a_digest_in_parts_is_that_of_the_parts(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    path = tmp_path / "x"
    path.write_bytes(data)
    ranges = {"a": (0, 10), "b": (5, 2_500_000), "c": (2_999_999, 3_000_000), "none": (7, 7)}
    with Hashing() as hashing, path.open("rb") as file:
        tally = hashing.tally("x", ranges)
        tally.add(data[:1000])
        for begin in range(1000, len(data), 700_001):
            tally.add_range(file.fileno(), begin, min(begin + 700_001, len(data)))
        tally.end()
        import hashlib

        assert tally.digest() == hashlib.sha256(data).hexdigest()
        expected = {n: hashlib.sha256(data[b:e]).hexdigest() for n, (b, e) in ranges.items()}
        assert tally.parts() == expected
