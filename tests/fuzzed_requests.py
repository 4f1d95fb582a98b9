"""What people send each other, fuzzed: recipes, plans with their sidecars, and records of outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import fuzzing
from fuzzed import RECIPE, Reader, Shown
from tokengraft.applying.work import lay_out
from tokengraft.errors import MalformedFile
from tokengraft.flow import looking, making
from tokengraft.formats import plan_files
from tokengraft.formats.manifest import format_manifest, parse_manifest
from tokengraft.formats.plan_files import parse_plan, read_plan, unpack
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.formats.undo_file import base_chunks, read_undo


def recipe() -> Reader:
    show = Shown()
    more = (
        b"[[add]]\n",
        b"[a.b]\n",
        b'"""',
        b"x = 1\n",
        b"= 1979-05-27",
        b"inf",
        b"0x",
        b"true",
        b"a.b.c = 1\n",
    )
    seeds = (RECIPE.encode(), b'version = 1\n[roles]\nx = {token = "a", side = "output"}\n')

    def read(data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise MalformedFile("refused where the file is read") from None
        found, _ = parse_recipe(text)
        show(found)
        found.to_json().encode()

    return Reader(fuzzing.of_bytes(seeds, more), read)


def plans(base: Path, folder: Path) -> dict[str, Reader]:
    """Plan, sidecar, receipt, undo record and manifest of one small graft."""
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    planned = making.make_plan(str(base), folder / "recipe.toml")
    making.write_plan(planned, folder / "plan.json")
    making.apply(folder / "plan.json", base=str(base), out=folder / "out")
    records = folder / "out" / "tokengraft"
    checkpoint = planned.checkpoint

    path = folder / "fuzzed.plan.json"
    show = Shown()

    def plan(data: bytes) -> None:
        path.write_bytes(data)
        found = read_plan(path).plan
        show(found)
        work = lay_out(checkpoint, found)
        assert all(".." not in document.path.split("/") for document in work.documents)
        work.undoings()

    return {
        "plan": Reader(fuzzing.of_json([json.loads(planned.text)]), plan),
        "sidecar": _sidecar(planned.plan, folder),
        "receipt": _receipt(records, folder),
        "undo record": _undo(records, folder),
        "manifest": _manifest(folder / "out" / "MANIFEST.sha256"),
    }


def _sidecar(plan: Any, folder: Path) -> Reader:
    few = plan_files.COLUMNS_ABOVE
    try:
        plan_files.COLUMNS_ABOVE = 1  # type: ignore[misc]  # a plan of a thousand tokens is slow
        text, sidecar = plan_files.pack(plan, {"t": np.ones((2, 4), np.float32)})
    finally:
        plan_files.COLUMNS_ABOVE = few  # type: ignore[misc]
    assert sidecar is not None
    packed = parse_plan(text, file="p")
    path = folder / "fuzzed.rows.safetensors"
    show = Shown()
    whole = b"".join(sidecar.blocks())
    path.write_bytes(whole)
    assert unpack(packed, path).tokens == plan.tokens

    def read(data: bytes) -> None:
        path.write_bytes(data)
        show(unpack(packed, path))

    return Reader(fuzzing.of_safetensors([whole]), read)


def _receipt(records: Path, folder: Path) -> Reader:
    path = folder / "fuzzed.json"
    show = Shown()
    seed = json.loads((records / "receipt.json").read_bytes())

    def read(data: bytes) -> None:
        path.write_bytes(data)
        show(looking.show(path))

    return Reader(fuzzing.of_json([seed]), read)


def _undo(records: Path, folder: Path) -> Reader:
    path = folder / "fuzzed.undo"
    out = folder / "out"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for name, entry in read_undo(path).items():
            own = out / name.replace("\0", "_")
            if entry.spans is not None and not own.is_file():
                continue  # undo says that the file is missing
            size = sum(map(len, base_chunks(own, entry, path)))
            assert size <= len(data) + (own.stat().st_size if own.is_file() else 0), name

    return Reader(fuzzing.of_safetensors([(records / "undo.safetensors").read_bytes()]), read)


def _manifest(path: Path) -> Reader:
    def read(data: bytes) -> None:
        assert format_manifest(parse_manifest(data)) == data

    return Reader(fuzzing.of_bytes([path.read_bytes()], (b"\\", b"\\n", b"  ", b"0" * 64)), read)
