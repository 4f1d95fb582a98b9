"""Damage to a finished folder

Flipped bits (at random in every file, and in every byte of the headers of weights), truncations,
zeroed tails, swapped, missing and additional files. `verify` must find each one, `sha256sum -c` each
one that a list of files can show (not an additional file, nor that the list is shorter than it was). Then the damage is hidden: the
manifest is written anew to fit it, and in a second round the receipt too. What is found then, and
what only `--against` the base finds, is counted. Last, bits that turn while a file is written: the
run must not publish it.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

import failing
import grafts
from figures import Figures
from servers import serving
from shapes import RECIPE, SHAPES, quick_case, sha256sum
from tokengraft import flow, verifying
from tokengraft.checkpoint import MANIFEST
from tokengraft.errors import TokengraftError, WriteFailed
from tokengraft.formats.loading import load
from tokengraft.formats.manifest import format_manifest

ORDER = 8
RECEIPT = "tokengraft/receipt.json"
FLIPS = 450
RECIPES = {
    "grow": "",
    "untie": "[rows]\nuntie = true\n",
}  # fields of a shape that a recipe asks for


@contextmanager
def finished(tmp_path: Path, shape: str) -> Iterator[Path]:
    """A verified output, and its base beside it."""
    with failing.quick_folder(tmp_path) as folder, pytest.MonkeyPatch.context() as patch:
        # Damage is found by digests; what the library says of ids takes most of the time.
        patch.setattr(verifying, "check_encodings", lambda *_: iter(()))
        fields = {key: value for key, value in SHAPES[shape].items() if key not in RECIPES}
        grafts.tiny.build(folder / "base", **fields)
        asked = "".join(RECIPES[key] for key in SHAPES[shape] if key in RECIPES)
        (folder / "recipe.toml").write_text(RECIPE + asked)
        flow.apply(folder / "recipe.toml", base=str(folder / "base"), out=folder / "out")
        assert not damaged(folder / "out"), "a good folder passes"
        yield folder / "out"


def damaged(out: Path, *, against: Path | None = None) -> bool:
    """Whether verify refuses the folder."""
    try:
        base = None if against is None else load(against)
        return not verifying.verify(out, against=base).passed
    except TokengraftError as error:
        return error.exit_code in (1, 2, 3, 4)


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def files(out: Path) -> list[Path]:
    return sorted(path for path in out.rglob("*") if path.is_file())


@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("shape", SHAPES)
def test_every_flipped_bit_is_found(
    shape: str, part: int, tmp_path: Path, figures: Figures
) -> None:
    with finished(tmp_path, shape) as out:
        flip_at_random(out, FLIPS // 2, random.Random(f"{shape} {part}"), figures)


def flip_at_random(out: Path, count: int, chance: random.Random, figures: Figures) -> None:
    """Files in turn, so that small ones are hit as often as large ones."""
    there = [path for path in files(out) if path.stat().st_size]
    for number in range(count):
        path = there[number % len(there)]
        try_flip(out, path, chance.randrange(8 * path.stat().st_size), figures)


def try_flip(out: Path, path: Path, bit: int, figures: Figures) -> None:
    flip(path, bit)
    figures.add("bits flipped")
    assert damaged(out), (path, bit)
    figures.add("found by verify")
    if sha256sum(out):
        # An upper-case digit of a digest means the same to coreutils; verify wants the one form.
        assert path.name == MANIFEST, (path, bit)
        figures.add("of these the same to sha256sum: a digit of the manifest in upper case")
    else:
        figures.add("found by sha256sum -c")
    flip(path, bit)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "small files alone"])
def test_every_byte_of_a_header_counts(shape: str, tmp_path: Path, figures: Figures) -> None:
    chance = random.Random(shape)
    with finished(tmp_path, shape) as out:
        for path in sorted(out.glob("*.safetensors")):
            length = 8 + int.from_bytes(path.read_bytes()[:8], "little")
            for byte in range(length):
                try_flip(out, path, 8 * byte + chance.randrange(8), figures)


@pytest.mark.parametrize("shape", SHAPES)
def test_files_that_are_cut_swapped_missing_or_too_many_are_found(
    shape: str, tmp_path: Path, figures: Figures
) -> None:
    with finished(tmp_path, shape) as out:
        for name, damage in damages(out, random.Random(shape)):
            kept = out.parent / "kept"
            shutil.copytree(out, kept)
            damage()
            assert damaged(out), name
            figures.add(name)
            figures.add("found by verify")
            if not sha256sum(out):
                figures.add("found by sha256sum -c")
            elif name != "files added":  # a list that was cut at the end of a line lists less
                shorter = (out / MANIFEST).read_bytes()
                assert name == "files truncated"
                assert (kept / MANIFEST).read_bytes() != shorter
                assert (kept / MANIFEST).read_bytes().startswith(shorter)
                figures.add("of these the same to sha256sum: a manifest cut at the end of a line")
            shutil.rmtree(out)
            kept.rename(out)


Damage = Callable[[], object]


def damages(out: Path, chance: random.Random) -> Iterator[tuple[str, Damage]]:
    there = files(out)
    for path in there:
        size = path.stat().st_size
        for _ in range(6):
            cut = chance.randrange(size)
            yield "files truncated", lambda p=path, n=cut: p.write_bytes(p.read_bytes()[:n])  # type: ignore[misc]
        yield "files with a byte more", lambda p=path: p.write_bytes(p.read_bytes() + b"\0")  # type: ignore[misc]
        half = size // 2
        yield (
            "tails zeroed",
            lambda p=path, n=half: p.write_bytes(p.read_bytes()[:n] + bytes(p.stat().st_size - n)),  # type: ignore[misc]
        )
        yield "files missing", path.unlink
        name = path.with_name(f"extra-{path.name}")
        yield "files added", lambda p=path, n=name: n.write_bytes(p.read_bytes())  # type: ignore[misc]
    for first, second in pairwise(there):
        yield "files swapped", lambda a=first, b=second: _swap(a, b)  # type: ignore[misc]


def _swap(first: Path, second: Path) -> None:
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_forged_manifest_and_receipt_hide(
    shape: str, tmp_path: Path, figures: Figures
) -> None:
    chance = random.Random(shape)
    with finished(tmp_path, shape) as out:
        base = out.parent / "base"
        ours = [path for path in files(out) if path.name != MANIFEST and path.parent == out]
        kept = {path: path.read_bytes() for path in files(out)}
        for number in range(120):
            path = ours[number % len(ours)]
            flip(path, chance.randrange(8 * path.stat().st_size))
            _forge_manifest(out)
            assert sha256sum(out)
            assert damaged(out), path
            figures.add("flips hidden by a forged manifest")
            figures.add("found by verify all the same: the receipt")
            _forge_receipt(out, path)
            _forge_manifest(out)
            figures.add("flips hidden by a forged manifest and receipt")
            figures.add("found by verify without the base", damaged(out))
            assert damaged(out, against=base), path
            figures.add("found by verify --against the base")
            for place, data in kept.items():
                place.write_bytes(data)


def _forge_manifest(out: Path) -> None:
    digests = {
        path.relative_to(out).as_posix(): grafts.digest(path)
        for path in files(out)
        if path.name != MANIFEST
    }
    (out / MANIFEST).write_bytes(format_manifest(digests))


def _forge_receipt(out: Path, path: Path) -> None:
    """As whoever can write in the folder would: the digest of the damage for that of the file."""
    text = (out / RECEIPT).read_text()
    name = path.relative_to(out).as_posix()
    (entry,) = [file for file in json.loads(text)["files"] if file["path"] == name]
    text = text.replace(entry["after"], hashlib.sha256(path.read_bytes()).hexdigest())
    (out / RECEIPT).write_text(text)


def test_the_command_line_says_so_too(tmp_path: Path, figures: Figures) -> None:
    chance = random.Random(3)
    with quick_case(tmp_path, "single file, tied", "run") as case:
        assert case.target.parent.exists()
        flow.apply(Path(case.job["recipe"]), base=case.job["base"], out=case.target)
        there = files(case.target)
        with serving(tmp_path / "log") as server:
            job = {"do": "cli", "words": ["verify", str(case.target)]}
            for number in range(2 * len(there)):
                path = there[number % len(there)]
                bit = chance.randrange(8 * path.stat().st_size)
                flip(path, bit)
                end = server.one(job)
                assert end.code in (1, 2, 3, 4), (path, bit, end)
                figures.add("found by `tokengraft verify` as a command")
                flip(path, bit)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bit_that_turns_while_it_is_written_is_not_published(
    shape: str, tmp_path: Path, figures: Figures
) -> None:
    chance = random.Random(shape)
    with failing.quick_folder(tmp_path) as folder:
        graft = grafts.tiny_graft(folder / "base", **SHAPES[shape])
        for number in range(60):
            writes: list[int] = []
            try:
                graft.apply(folder / "out", syscalls=_rotting(number, writes, chance))
            except WriteFailed:
                assert not (folder / "out").exists()
                assert failing.hidden(folder) == []
                figures.add("bits that turned while a file was written, found before publishing")
                continue
            assert len(writes) <= number, "a turned bit was published"
            break
        assert number > 5


def _rotting(number: int, writes: list[int], chance: random.Random) -> failing.Syscalls:
    def wrap(name: str, call: failing.Call) -> failing.Call:
        def write(file: int, data: memoryview) -> int:
            writes.append(len(data))
            if len(writes) == number + 1:
                turned = bytearray(data)
                turned[chance.randrange(len(turned))] ^= 1 << chance.randrange(8)
                data = memoryview(bytes(turned))
            return int(call(file, data))

        return write if name == "write" else call

    return failing.system_with(wrap)
