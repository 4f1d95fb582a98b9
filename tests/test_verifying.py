"""Verifying: what apply made is proved, and whatever was done to it afterwards is found."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tiny
from tokengraft.applying import apply
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import UnsafePath, UsageError
from tokengraft.events import Done, Event, Progress, Started
from tokengraft.formats.loading import load
from tokengraft.formats.manifest import format_manifest
from tokengraft.formats.plan_files import pack
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.planning import Ports, plan
from tokengraft.results import Verification
from tokengraft.sandbox.tokenizers import TokenizerChild
from tokengraft.verifying import verify

RECIPE = """version = 1
[[add]]
text = "<|my_agi_mode|>"
use = "role"
[[add]]
text = "<tool_start>"
use = "tool"
init = "mean"
[[rename]]
from = "<tool_call>"
to = "<call>"
[pad]
token = "<|pad|>"
"""
EMBED = "model.embed_tokens.weight"
SHARDS = tuple(f"model-0000{n}-of-00002.safetensors" for n in (1, 2))
SMALL = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json")
RECORDS = tuple(
    f"tokengraft/{name}"
    for name in ("plan.json", "receipt.json", "recipe.toml", "undo.safetensors")
)


def graft(source: Path, target: Path, *, recipe: str = RECIPE, copy: Any = "copy") -> Checkpoint:
    """Plan and apply a recipe; returns the base."""
    base = load(source)
    wish, text = parse_recipe(recipe)

    def sha256(name: str) -> str:
        return hashlib.sha256(tiny.tensor_bytes(source)[name][2]).hexdigest()

    with TokenizerChild() as child:
        child.load(base.small_files["tokenizer.json"])
        ports = Ports(encode=child.encode, digest=sha256)
        made = plan(base, wish, text=text, tool="tokengraft test", ports=ports).plan
    plan_text, sidecar = pack(made, {})
    apply(base, made, target=target, plan_text=plan_text, sidecar=sidecar, copy=copy)
    return base


class Made(NamedTuple):
    """A base in two shards and out of step, its graft, and a short corpus."""

    src: Path
    out: Path
    texts: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    graft(tiny.build(folder / "src", out_of_step=True, shards=2), folder / "out")
    (folder / "texts.txt").write_text("hello world\n<|im_end|> тест\n", encoding="utf-8")
    return Made(folder / "src", folder / "out", folder / "texts.txt")


@pytest.fixture
def out(made: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.out, tmp_path / "out"))


def status(verification: Verification) -> dict[str, str]:
    return {check.name: check.status for check in verification.checks}


def failures(verification: Verification) -> set[str]:
    return {check.name for check in verification.checks if check.status == "fail"}


def evidence(verification: Verification, name: str) -> str:
    return next(check.evidence for check in verification.checks if check.name == name)


# ── what was made well ───────────────────────────────────────────────────────────────────────────


def test_a_graft_is_proved_without_its_base(made: Made) -> None:
    events: list[Event] = []
    found = verify(made.out, listen=events.append)
    assert failures(found) == set()
    assert found.passed
    skipped = {name for name, state in status(found).items() if state == "skipped"}
    assert skipped == {"transformers", "logits"}
    assert "bytes" in evidence(found, "old-text")
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Done)
    progress = [e for e in events if isinstance(e, Progress)]
    assert progress
    assert all(0 < e.done <= e.total for e in progress)


@pytest.mark.parametrize("copy", ["copy", "link"])
@pytest.mark.parametrize(
    "fields",
    [
        {"tied": True, "dtype": "F16"},
        {"tied": False, "dtype": "F32", "shards": 2, "legacy": True},
        {"kind": "byte-fallback", "dtype": "BF16", "template": "both"},
    ],
    ids=lambda fields: "-".join(map(str, fields.values())),
)
def test_a_graft_is_proved_beside_its_base(
    tmp_path: Path, made: Made, fields: dict[str, Any], copy: str
) -> None:
    source = tiny.build(tmp_path / "src", **fields)
    (source / "README.md").write_text("a file that no plan names", encoding="utf-8")
    base = graft(source, tmp_path / "out", copy=copy)
    found = verify(tmp_path / "out", against=base, texts=[made.texts])
    assert failures(found) == set()
    assert status(found)["tensors-against-base"] == "pass"
    linked = "0 are hard links" not in evidence(found, "files-against-base")
    assert linked == (copy == "link")


def test_a_graft_of_small_files_skips_rows_and_says_why(tmp_path: Path, made: Made) -> None:
    base = graft(tiny.build(tmp_path / "src", shards=0), tmp_path / "out")
    found = verify(tmp_path / "out", against=base, texts=[made.texts])
    assert failures(found) == set()
    for name in ("kept-rows", "rows-as-planned", "tensors-against-base", "safetensors"):
        assert status(found)[name] == "skipped"
        assert evidence(found, name) == "no weights in this folder"


def test_another_checkpoint_is_not_taken_for_the_base(tmp_path: Path, made: Made) -> None:
    other = load(tiny.build(tmp_path / "other", out_of_step=True, shards=2, seed=1))
    found = verify(made.out, against=other, texts=[made.texts])
    assert failures(found) == {"base-is-the-planned-one", "tensors-against-base"}
    assert EMBED in evidence(found, "base-is-the-planned-one")


def test_a_folder_without_records_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no record of a graft"):
        verify(tiny.build(tmp_path / "src"))
    with pytest.raises(UnsafePath):
        verify(tmp_path / "nowhere")


def test_an_unknown_witness_is_a_wrong_request(made: Made) -> None:
    with pytest.raises(UsageError, match="oracle") as caught:
        verify(made.out, witnesses=("oracle",))
    assert "transformers" in caught.value.hint


# ── what was done to it afterwards ───────────────────────────────────────────────────────────────


def sign(out: Path) -> None:
    """Make the manifest fit again, as a forger would."""
    digests = {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file() and path.name != "MANIFEST.sha256"
    }
    (out / "MANIFEST.sha256").write_bytes(format_manifest(digests))


def forge(out: Path) -> None:
    """Make the receipt fit the files too, then the manifest."""
    path = out / "tokengraft/receipt.json"
    receipt = json.loads(path.read_bytes())
    receipt["plan"] = hashlib.sha256((out / "tokengraft/plan.json").read_bytes()).hexdigest()
    for file in receipt["files"]:
        if (out / file["path"]).is_file():
            file["after"] = hashlib.sha256((out / file["path"]).read_bytes()).hexdigest()
    path.write_text(json.dumps(receipt, indent=2) + "\n", encoding="utf-8")
    sign(out)


def flip(path: Path, at: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def row_at(out: Path, row: int, name: str = EMBED) -> tuple[Path, int]:
    """Where a row lies: the file, and its first byte."""
    ref = load(out).tensors
    assert ref is not None
    tensor = ref.tensors[name]
    return out / tensor.file, tensor.begin + row * tensor.row_bytes


def test_a_flipped_bit_is_found_wherever_it_is(
    made: Made, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two children a run would make this test slow, and what they say is not its subject.
    monkeypatch.setattr("tokengraft.verifying.check_encodings", lambda *_: iter(()))
    rng = np.random.default_rng(0)
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        good = path.read_bytes()
        ends = {0, len(good) - 1, *rng.integers(0, len(good), 6).tolist()}
        for at in sorted(ends):
            flip(path, at, int(rng.integers(8)))
            found = verify(out, texts=[made.texts])
            assert not found.passed, f"{path.name} byte {at}"
            assert "manifest" in failures(found)
            path.write_bytes(good)
    assert verify(out, texts=[made.texts]).passed


def test_missing_extra_and_changed_files_are_named(made: Made, out: Path) -> None:
    (out / "generation_config.json").unlink()
    (out / "tokengraft" / "more").mkdir()
    (out / "tokengraft" / "more" / ".hidden").write_text("x")
    flip(out / "vocab.json", 5)
    (out / "link").symlink_to("/etc/passwd")
    found = verify(out, texts=[made.texts])
    said = evidence(found, "manifest")
    assert "1 files are missing: generation_config.json" in said
    assert "1 files are not listed: tokengraft/more/.hidden" in said
    assert "1 files have changed: vocab.json" in said
    assert "link (a link that leaves the folder" in said


def test_twenty_names_are_told_and_the_rest_counted(made: Made, out: Path) -> None:
    for number in range(25):
        (out / f"extra-{number:02d}").write_text("x")
    said = evidence(verify(out, texts=[made.texts]), "manifest")
    assert "25 files are not listed: extra-00" in said
    assert said.endswith("extra-19 and 5 more")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_file_that_ends_early_is_found_even_if_signed(made: Made, out: Path, keep: int) -> None:
    for name in (SHARDS[0], "tokenizer.json", *RECORDS):
        path = out / name
        good = path.read_bytes()
        path.write_bytes(good[:keep])
        sign(out)
        found = verify(out, texts=[made.texts])
        assert not found.passed, name
        assert "manifest" not in failures(found)
        path.write_bytes(good)


def test_two_files_that_changed_places_are_found_even_if_signed(made: Made, out: Path) -> None:
    one, other = (out / name for name in SHARDS)
    aside = out / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    found = verify(out, texts=[made.texts])
    assert f"2 files have changed: {SHARDS[0]}, {SHARDS[1]}" in evidence(found, "manifest")
    forge(out)
    assert {"base-without-the-base", "shapes"} <= failures(verify(out, texts=[made.texts]))


Tamper = Callable[[Path], None]


def replace(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a record of ours, and write it in its one form."""
    value = json.loads(path.read_bytes())
    change(value)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def kept_row(out: Path) -> None:
    flip(*row_at(out, 11))


def new_row(out: Path) -> None:
    flip(*row_at(out, tiny.Tiny().n_tokens()))


def spare_row(out: Path) -> None:
    flip(*row_at(out, tiny.Tiny().rows() - 1))


def other_tensor(out: Path) -> None:
    path, begin = row_at(out, 0, "model.norm.weight")
    flip(path, begin + 3)


def setting(out: Path) -> None:
    replace(out / "config.json", b'"silu"', b'"relu"')


def planned_setting(out: Path) -> None:
    path = out / "generation_config.json"
    new = json.loads(path.read_bytes())["pad_token_id"]
    replace(path, b'"pad_token_id": %d' % new, b'"pad_token_id": %d' % (new - 1))


def planned_text(out: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        replace(out / name, b"<|my_agi_mode|>", b"<|my_agi_m0de|>")


def one_sided_text(out: Path) -> None:
    replace(out / "tokenizer_config.json", b"<tool_start>", b"<tool_stort>")


def planned_weight(out: Path) -> None:
    def heavier(plan_: Any) -> None:
        sources = [source for e in plan_["edits"] for source in e.get("rows", [])]
        next(s for s in sources if s["kind"] == "mix")["parents"][0][1] += 0.25

    edit(out / "tokengraft/plan.json", heavier)


def old_bytes(out: Path) -> None:
    flip(out / "tokengraft/undo.safetensors", -1)


def receipt_before(out: Path) -> None:
    edit(out / "tokengraft/receipt.json", lambda r: r["files"][0].update(before="0" * 64))


def receipt_without_a_file(out: Path) -> None:
    edit(out / "tokengraft/receipt.json", lambda r: r["files"].pop(0))


def plan_alone(out: Path) -> None:
    replace(out / "tokengraft/plan.json", b"tokengraft test", b"tokengraft tost")


def recipe(out: Path) -> None:
    flip(out / "tokengraft/recipe.toml", 3)


def extra_file(out: Path) -> None:
    (out / "modeling_evil.py").write_text("x", encoding="utf-8")


@pytest.mark.parametrize(
    ("tamper", "mend", "expected"),
    [
        (kept_row, forge, {"base-without-the-base"}),
        (new_row, forge, {"rows-as-planned"}),
        (spare_row, forge, {"base-without-the-base"}),
        (other_tensor, forge, {"base-without-the-base"}),
        (setting, forge, {"base-without-the-base"}),
        (planned_setting, forge, {"files-as-planned"}),
        (planned_text, forge, {"ids", "files-as-planned", "new-tokens"}),
        (one_sided_text, forge, {"ids", "files-as-planned"}),
        (planned_weight, forge, {"rows-as-planned"}),
        (old_bytes, sign, {"base-without-the-base"}),
        (receipt_before, sign, {"base-without-the-base"}),
        (receipt_without_a_file, sign, {"plan-and-receipt"}),
        (plan_alone, sign, {"plan-and-receipt"}),
        (recipe, sign, {"plan-and-receipt"}),
        (extra_file, sign, {"plan-and-receipt"}),
    ],
)
def test_a_forgery_with_a_valid_manifest_is_found(
    made: Made, out: Path, tamper: Tamper, mend: Tamper, expected: set[str]
) -> None:
    tamper(out)
    mend(out)
    found = verify(out, texts=[made.texts])
    assert not found.passed
    assert "manifest" not in failures(found)
    assert expected <= failures(found)


def test_rows_that_are_wrong_are_named(made: Made, out: Path) -> None:
    kept_row(out)
    new_row(out)
    forge(out)
    found = verify(out, against=load(made.src), texts=[made.texts])
    assert f"{EMBED}[11] was to be kept" in evidence(found, "tensors-against-base")
    row = tiny.Tiny().n_tokens()
    expected = f"1 rows are not what the plan gives: {EMBED}[{row}]"
    assert expected == evidence(found, "rows-as-planned")
