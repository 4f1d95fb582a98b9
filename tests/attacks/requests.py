"""Attacks by what people send each other: recipes, plans, sidecars, receipts and undo records."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attacks.registry import Attack, Build
from attacks.weights import model

HONEST = 'version = 1\n[[add]]\ntext = "<|new|>"\ninit = "mean"\n'
EMBED = "model.embed_tokens.weight"

# ── recipes ──────────────────────────────────────────────────────────────────────────────────────


def recipe(text: str | bytes, *more: str) -> Build:
    """Plan this recipe."""

    def build(folder: Path) -> list[str]:
        model(folder)
        raw = text if isinstance(text, bytes) else text.encode()
        (folder / "recipe.toml").write_bytes(raw)
        return ["plan", "model", "recipe.toml", *more]

    return build


def _recipe_as(make: Callable[[Path], object]) -> Build:
    def build(folder: Path) -> list[str]:
        model(folder)
        make(folder / "recipe.toml")
        return ["plan", "model", "recipe.toml"]

    return build


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"version = 1\n")
        file.truncate(2**31)


RECIPES: dict[str, tuple[Build, int, str]] = {
    "a key twice": (recipe("version = 1\nversion = 1\n"), 2, "RecipeError"),
    "a table twice": (recipe("version = 1\n[pad]\n[pad]\n"), 2, "RecipeError"),
    "100,000 brackets": (recipe("version = 1\nx = " + "[" * 100_000), 2, "RecipeError"),
    "a key of 20,000 parts": (recipe("version = 1\n" + "a." * 20_000 + "a = 1\n"), 2, "RecipeError"),
    "a table of 20,000 parts": (recipe("version = 1\n[" + "a." * 20_000 + "a]\n"), 2, "RecipeError"),
    "300 levels within a section": (
        recipe("version = 1\n[roles]\nx = " + "[" * 300 + "]" * 300), 2, "RecipeError"),
    "300 tables within one another": (
        recipe("version = 1\nroles." + "a." * 300 + "a = 1\n"), 2, "RecipeError"),
    "a number of 5,000 digits": (recipe("version = " + "1" * 5000), 2, "RecipeError"),
    "a number of 400,000 bits": (
        recipe("version = 1\n[context]\nlength = 0x" + "f" * 100_000), 2, "RecipeError"),
    "a length of 10^300": (recipe(f"version = 1\n[context]\nlength = {10**300}\n"), 2, "RecipeError"),
    "NaN as a factor": (recipe('version = 1\n[context]\nlength = 512\nmethod = "longrope"\n'
                              "short_factor = [nan]\nlong_factor = [inf]\n"), 2, "RecipeError"),
    "half a surrogate pair": (recipe('version = 1\n[[add]]\ntext = "\\ud800"\n'), 2, "RecipeError"),
    "bytes that are not UTF-8": (recipe(b"version = 1\n# \xff\n"), 2, "RecipeError"),
    "a byte order mark": (recipe("\ufeffversion = 1\n"), 2, "RecipeError"),
    "NUL": (recipe('version = 1\n[[add]]\ntext = "a\0b"\n'), 2, "RecipeError"),
    "a date for a version": (recipe("version = 1979-05-27\n"), 2, "RecipeError"),
    "a role with a section inside": (
        recipe('version = 1\n[roles]\nx = {token = "a", evil = {a = 1}}\n'), 2, "RecipeError"),
    "an unknown section": (recipe('version = 1\n[run]\ncommand = "id"\n'), 2, "RecipeError"),
    "two gigabytes": (_recipe_as(_sparse), 2, "RecipeError"),
    "a pipe for a recipe": (_recipe_as(os.mkfifo), 3, "UnsafePath"),
    "a device for a recipe": (_recipe_as(lambda path: path.symlink_to("/dev/zero")), 3, "UnsafePath"),
    "a corpus that is a device": (
        recipe('version = 1\n[[extend]]\ncorpus = "/dev/zero"\ntokens = 5\n'), 2, "RecipeError"),
    "a corpus with NUL in its name": (
        recipe('version = 1\n[[extend]]\ncorpus = "a\\u0000b"\ntokens = 5\n'), 2, "RecipeError"),
    "10^18 tokens of a corpus": (
        recipe('version = 1\n[[extend]]\ncorpus = "recipe.toml"\ntokens = 1000000000000000000\n'),
        2, "RecipeError"),
    "a token at the id 10^15": (
        recipe('version = 1\n[[add]]\ntext = "<|n|>"\ninto = 1000000000000000\ninit = "mean"\n'),
        2, "RecipeError"),
    "a token of a megabyte": (
        recipe(f'version = 1\n[[add]]\ntext = "{"x" * 2**20}"\ninit = "mean"\n'), 2, "RecipeError"),
    "a base that is a device": (
        lambda folder: [*recipe('version = 1\nbase = "/dev/zero"\n')(folder)[:1], "recipe.toml"],
        2, "UsageError"),
    "a setting of 2,000 levels": (
        recipe(HONEST, "--set", "a." * 2000 + "a=1"), 2, "RecipeError"),
}  # fmt: skip

# ── plans ────────────────────────────────────────────────────────────────────────────────────────

Change = Callable[[dict[str, Any]], object]


def plan(change: Change, *command: str) -> Build:
    """Make an honest plan, forge it, and apply it."""

    def build(folder: Path) -> list[str]:
        path = planned(folder)
        value = json.loads(path.read_bytes())
        change(value)
        path.write_text(json.dumps(value), encoding="utf-8")
        return [*command] or ["apply", "plan.json", "--base", "model", "-o", "out"]

    return build


def planned(folder: Path) -> Path:
    from tokengraft.flow import making

    base = model(folder)
    (folder / "recipe.toml").write_text(HONEST, encoding="utf-8")
    made = making.make_plan(str(base), folder / "recipe.toml")
    (path,) = making.write_plan(made, folder / "plan.json")
    return path


def _edit(**edit: Any) -> Change:
    return lambda value: value["edits"].append(edit)


def _write(path: str) -> Change:
    return _edit(kind="write-file", path=path, text="owned")


def _rows(**fields: Any) -> Change:
    def change(value: dict[str, Any]) -> None:
        for edit in value["edits"]:
            if edit["kind"] == "remap-rows":
                edit.update(fields)

    return change


def _huge_rows(value: dict[str, Any]) -> None:
    for edit in value["edits"]:
        if edit["kind"] == "remap-rows":
            kept = edit["rows"][0]["count"]
            mean = {"kind": "mean", "first": 0, "count": 1, "rows": 2**60 - kept}
            edit.update(n_rows_after=2**60, rows=[edit["rows"][0], mean])


def _far_rows(value: dict[str, Any]) -> None:
    for edit in value["edits"]:
        if edit["kind"] == "remap-rows":
            edit.update(rows=[{"kind": "keep", "first": 2**62, "count": edit["n_rows_after"]}])


def _insert(value: dict[str, Any]) -> None:
    for edit in value["edits"]:
        for change in edit.get("changes", ()):
            if change["kind"] == "insert-tokens":
                change.update(first_id=0, count=2**60)


def _sidecar(columns: dict[str, Any], data: bytes) -> Build:
    """Give the plan a sidecar with this header; its digest is right."""

    def build(folder: Path) -> list[str]:
        text = json.dumps(columns).encode()
        raw = struct.pack("<Q", len(text)) + text + data
        digest = hashlib.sha256(raw).hexdigest()
        sidecar = {"sha256": digest, "values": 0, "columns": 1}
        args = plan(lambda value: value.update(sidecar=sidecar))(folder)
        (folder / "plan.rows.safetensors").write_bytes(raw)
        return args

    return build


def _without(folder: Path) -> list[str]:
    return plan(lambda v: v.update(sidecar={"sha256": "0" * 64, "values": 1, "columns": 0}))(folder)


def _wrong(folder: Path) -> list[str]:
    args = _without(folder)
    (folder / "plan.rows.safetensors").write_bytes(bytes(8))
    return args


def _raw_plan(data: bytes) -> Build:
    def build(folder: Path) -> list[str]:
        model(folder)
        (folder / "plan.json").write_bytes(data)
        return ["apply", "plan.json", "--base", "model", "-o", "out"]

    return build


IDS_2D = {"tokens.id": {"dtype": "I64", "shape": [1, 1], "data_offsets": [0, 8]}}
PLANS: dict[str, tuple[Build, int, str]] = {
    "a step up": (plan(_write("../owned")), 3, "UnsafePath"),
    "an absolute path": (plan(_write("/owned")), 3, "UnsafePath"),
    "a backslash": (plan(_write("..\\owned")), 3, "UnsafePath"),
    "a path through a folder": (plan(_write("a/../../owned")), 3, "UnsafePath"),
    "NUL in a path": (plan(_write("a\0b")), 3, "UnsafePath"),
    "no path": (plan(_write("")), 3, "UnsafePath"),
    "a device": (plan(_write("CON")), 3, "UnsafePath"),
    "a drive": (plan(_write("C:owned")), 3, "UnsafePath"),
    "a name that turns around": (plan(_write("a\u202eb.json")), 3, "UnsafePath"),
    "a record of its own": (plan(_write("tokengraft/receipt.json")), 3, "UnsafePath"),
    "the manifest": (plan(_write("MANIFEST.sha256")), 3, "UnsafePath"),
    "a path of 10,000 folders": (plan(_write("a/" * 10_000 + "a")), 3, "UnsafePath"),
    "a text with half a surrogate pair": (
        plan(_edit(kind="write-file", path="x.json", text="\ud800")), 3, "MalformedFile"),
    "a file that is not there": (plan(_edit(kind="drop-file", path="nothing")), 4, "StalePlan"),
    "weights that are dropped": (plan(_edit(kind="drop-file", path="model.safetensors")), 3, "MalformedFile"),
    "two edits of a file": (plan(_write("config.json")), 0, ""),
    "an unknown edit": (plan(_edit(kind="run", command="id")), 3, "MalformedFile"),
    "an unknown key": (plan(lambda v: v.update(command="id")), 3, "MalformedFile"),
    "a key twice": (_raw_plan(b'{"schema":"tokengraft/plan","schema":"x"}'), 3, "MalformedFile"),
    "another version": (plan(lambda v: v.update(version=2)), 3, "MalformedFile"),
    "a version that is a list": (plan(lambda v: v.update(version=[])), 3, "MalformedFile"),
    "100,000 levels": (_raw_plan(b'{"a":' * 100_000), 3, "LimitExceeded"),
    "2^60 rows": (plan(_huge_rows), 2, "UsageError"),
    "2^60 rows, shown": (plan(_huge_rows, "show", "plan.json"), 0, ""),
    "rows that do not add up": (plan(_rows(n_rows_after=2**60)), 3, "MalformedFile"),
    "rows in columns of no sidecar": (plan(_rows(in_columns=3, rows=[])), 3, "MalformedFile"),
    "rows below nought": (plan(_rows(n_rows_after=-1)), 3, "MalformedFile"),
    "rows that the base does not have": (plan(_far_rows), 3, "MalformedFile"),
    "a tensor that the base does not have": (plan(_rows(tensor="evil")), 4, "StalePlan"),
    "2^60 tokens written": (plan(_insert), 3, ""),
    "a token with an id below nought": (
        plan(lambda v: v["tokens"][0].update(id=-1)), 3, "MalformedFile"),
    "another base": (plan(lambda v: v["base"].update(layout="0" * 64)), 4, "StalePlan"),
    "a recipe that is none": (plan(lambda v: v.update(recipe="x" * 1000)), 2, "RecipeError"),
    "a sidecar that is missing": (_without, 4, "PreconditionError"),
    "a sidecar of somebody else": (_wrong, 4, "StalePlan"),
    "a sidecar with a table of two dimensions": (_sidecar(IDS_2D, bytes(8)), 3, "MalformedFile"),
    "a sidecar without columns": (_sidecar({}, b""), 3, "MalformedFile"),
    "a sidecar that lies": (
        _sidecar({"tokens.id": {"dtype": "I64", "shape": [2**40], "data_offsets": [0, 8]}}, bytes(8)),
        3, "MalformedFile"),
    "a plan that is a pipe": (
        lambda folder: (os.mkfifo(folder / "plan.json"), ["show", "plan.json"])[1],
        3, "UnsafePath"),
    "a plan that is a device": (
        lambda folder: ((folder / "plan.json").symlink_to("/dev/zero"), ["show", "plan.json"])[1],
        3, "UnsafePath"),
}  # fmt: skip

# ── outputs ──────────────────────────────────────────────────────────────────────────────────────


def output(change: Callable[[Path], object], *command: str) -> Build:
    """Make an honest output and spoil it."""

    def build(folder: Path) -> list[str]:
        from tokengraft.flow import making

        path = planned(folder)
        making.apply(path, base=str(folder / "model"), out=folder / "out")
        change(folder / "out")
        return [*command] or ["undo", "out", "-o", "back"]

    return build


def _record(name: str, change: Change) -> Callable[[Path], object]:
    def spoil(out: Path) -> None:
        path = out / "tokengraft" / name
        value = json.loads(path.read_bytes())
        change(value)
        path.write_text(json.dumps(value), encoding="utf-8")

    return spoil


def _file(**fields: Any) -> Change:
    return lambda value: value["files"].append({"before": "0" * 64, "after": None} | fields)


def _undo(text: dict[str, Any], data: bytes) -> Callable[[Path], object]:
    def spoil(out: Path) -> None:
        raw = json.dumps(text).encode()
        record = struct.pack("<Q", len(raw)) + raw + data
        (out / "tokengraft" / "undo.safetensors").write_bytes(record)

    return spoil


def _spans(*numbers: int) -> Callable[[Path], object]:
    text = {
        "splices:config.json": {"dtype": "I64", "shape": [1, 3], "data_offsets": [0, 24]},
        "bytes:config.json": {"dtype": "U8", "shape": [0], "data_offsets": [24, 24]},
    }
    return _undo(text, struct.pack("<3q", *numbers))


def _linked(out: Path) -> None:
    (out / "tokengraft" / "receipt.json").unlink()
    (out / "tokengraft" / "receipt.json").symlink_to("/etc/passwd")


def _manifest(data: bytes) -> Callable[[Path], object]:
    return lambda out: (out / "MANIFEST.sha256").write_bytes(data)


def _pipe(out: Path) -> None:
    (out / "MANIFEST.sha256").unlink()
    os.mkfifo(out / "MANIFEST.sha256")


def _recursive(out: Path) -> None:
    shutil.rmtree(out / "tokengraft")
    (out / "tokengraft").symlink_to("..")


REPLACING = ("apply", "plan.json", "--base", "model", "-o", "out", "--replace")
OUTPUTS: dict[str, tuple[Build, int, str]] = {
    "a receipt that leads out": (output(_record("receipt.json", _file(path="../owned"))), 4, ""),
    "a receipt with an absolute path": (output(_record("receipt.json", _file(path="/etc/passwd"))), 4, ""),
    "a receipt that names a record": (
        output(_record("receipt.json", _file(path="tokengraft/plan.json"))), 3, "MalformedFile"),
    "a receipt that is a link": (output(_linked), 4, "PreconditionError"),
    "a receipt with an unknown key": (
        output(_record("receipt.json", lambda v: v.update(run="id"))), 3, "MalformedFile"),
    "a record folder that is a link": (output(_recursive), 4, "PreconditionError"),
    "an undo record that leads out": (output(_undo(
        {"bytes:../owned": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"x")), 4, ""),
    "splices far beyond the file": (output(_spans(2**62, 2**62, 0)), 4, "SourceChanged"),
    "splices below nought": (output(_spans(-5, 0, 0)), 3, "MalformedFile"),
    "splices with a negative length": (output(_spans(0, 0, -5)), 3, "MalformedFile"),
    "an undo record that is none": (
        output(lambda out: (out / "tokengraft" / "undo.safetensors").write_bytes(b"\xff" * 64)),
        3, "LimitExceeded"),
    "a manifest with a path that leads out": (
        output(_manifest(b"0" * 64 + b"  ../../etc/passwd\n"), "verify", "out"), 1, "manifest"),
    "a manifest of bytes": (
        output(_manifest(bytes(range(256))), *REPLACING), 3, "MalformedFile"),
    "a manifest out of order": (
        output(_manifest(b"1" * 64 + b"  b\n" + b"1" * 64 + b"  a\n"), *REPLACING), 3, "MalformedFile"),
    "a manifest that is a pipe": (output(_pipe, *REPLACING), 3, "UnsafePath"),
    "a receipt that is a list, verified": (
        output(lambda out: (out / "tokengraft" / "receipt.json").write_bytes(b"[]"), "verify", "out"),
        1, "plan-and-receipt"),
    "a plan of 2^60 rows, verified": (
        output(_record("plan.json", _huge_rows), "verify", "out"), 1, "plan-and-receipt"),
    "a plan that is nothing, verified": (
        output(lambda out: (out / "tokengraft" / "plan.json").write_bytes(b"\xff"), "verify", "out"),
        1, "plan-and-receipt"),
}  # fmt: skip


def attacks() -> Iterator[Attack]:
    """All of them."""
    for kind, found in (("recipe", RECIPES), ("plan", PLANS), ("output", OUTPUTS)):
        for name, (build, code, expects) in found.items():
            # Whatever is wrong elsewhere, verify encodes its corpus: 2.4 seconds.
            seconds = 8.0 if expects == "manifest" else 2.0
            yield Attack(f"{kind}: {name}", build, code, expects, cpu_seconds=seconds)
