"""The base is only read, and it is the one that the plan was made for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import grafts
import tiny
from failing import hidden
from tokengraft.errors import MalformedFile, SourceChanged, StalePlan
from tokengraft.formats.loading import load

MODES = ("auto", "copy", "link")

WATCH = """
import sys
from pathlib import Path
import os, grafts
base, out, mode = sys.argv[1:]
graft = grafts.add_tokens(Path(base))
touched = []
def hook(event, args):
    texts = [os.fsdecode(a) for a in args if isinstance(a, (str, bytes))]
    if not any(t.startswith(base) for t in texts):
        return
    if event == "open":
        flags = args[2]
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
            touched.append((event, texts))
    elif event.startswith("os.") and event not in ("os.listdir", "os.scandir", "os.link"):
        touched.append((event, texts))
sys.addaudithook(hook)
graft.apply(Path(out), copy=mode)
assert not touched, touched
"""


@pytest.mark.parametrize("mode", MODES)
def test_nothing_of_the_source_is_ever_opened_for_writing(tmp_path: Path, mode: str) -> None:
    base = tiny.build(tmp_path / "base", shards=2)
    before = {path: path.stat() for path in base.iterdir()}
    arguments = [sys.executable, "-c", WATCH, str(base), str(tmp_path / "out"), mode]
    subprocess.run(arguments, cwd=Path(__file__).parent, check=True)
    for path, old in before.items():
        new = path.stat()
        assert (new.st_mtime_ns, new.st_size, new.st_ino, new.st_mode) == (
            *(old.st_mtime_ns, old.st_size, old.st_ino),
            old.st_mode,
        )


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("edited", [True, False], ids=["rows-edited", "rows-copied"])
@pytest.mark.parametrize(
    ("file", "at"),
    [
        ("tokenizer.json", 40),
        ("merges.txt", 3),
        ("model.safetensors", 9),
        ("model.safetensors", -9),
    ],
    ids=["small-file", "merges", "header", "rows"],
)
def test_a_base_that_changed_after_the_plan_is_stale(
    tmp_path: Path, file: str, at: int, edited: bool, mode: str
) -> None:
    graft = grafts.tiny_graft(tmp_path / "base", kind="bpe")
    whole = grafts.fingerprint(graft.checkpoint, whole_files=True)
    edits = graft.plan.edits if edited else graft.plan.edits[:2]
    values = graft.sidecar if edited else None
    made = grafts.make_plan(graft.checkpoint, edits, tokens=graft.plan.tokens, base=whole)
    _flip(tmp_path / "base" / file, at)
    try:
        now = load(tmp_path / "base")
    except MalformedFile:
        return  # the flipped byte left no readable checkpoint
    text = graft.text if edited else made.text
    with pytest.raises(StalePlan) as raised:
        grafts.Graft(now, made.plan, text, values).apply(tmp_path / "out", copy=mode)
    assert raised.value.exit_code == 4
    assert "tokengraft plan" in raised.value.hint
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("edited", [True, False], ids=["rows-edited", "rows-copied"])
def test_one_byte_in_a_vocabulary_tensor_makes_a_plan_stale(
    tmp_path: Path, edited: bool, mode: str
) -> None:
    graft = grafts.tiny_graft(tmp_path / "base")
    edits = graft.plan.edits if edited else graft.plan.edits[:2]
    assert graft.checkpoint.tensors is not None
    for name in (grafts.EMBED, grafts.HEAD):
        ref = graft.checkpoint.tensors.tensors[name]
        _flip(tmp_path / "base" / "model.safetensors", ref.begin + 100)
        now = load(tmp_path / "base")
        plan = graft.plan.model_copy(update={"edits": edits})
        with pytest.raises(StalePlan, match=re.escape(name)):
            grafts.Graft(now, plan, graft.text, graft.sidecar).apply(tmp_path / "out", copy=mode)
        _flip(tmp_path / "base" / "model.safetensors", ref.begin + 100)


def test_files_and_tensors_that_are_gone_make_a_plan_stale(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base")
    base = graft.plan.base
    for change in (
        {"files": {**base.files, "gone.txt": None}},
        {"rows": {**base.rows, "gone": "0" * 64}},
    ):
        made = grafts.make_plan(graft.checkpoint, [], base=base.model_copy(update=change))
        with pytest.raises(StalePlan, match="gone"):
            made.apply(tmp_path / "out")


def test_a_file_replaced_between_loading_and_reading_is_noticed(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base")
    path = tmp_path / "base" / "merges.txt"
    other = tmp_path / "other"
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)
    with pytest.raises(SourceChanged):
        graft.apply(tmp_path / "out")
