"""Five checkpoints, a plan for each, what must come out of it, and what may be found afterwards."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import failing
import grafts
from servers import Job

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "single file, tied": {"tied": True},
    "two shards, untied": {"shards": 2, "legacy": True},
    "with row growth": {"n_rows": 308, "grow": 64, "template": "jinja"},
    "small files alone": {"shards": 0},
    "a second matrix": {"tied": True, "untie": True, "shards": 2},
}
RECIPE = 'version = 1\n[[add]]\ntext = "<|think|>"\n[[add]]\ntext = "<tool_start>"\n'
STAGE = ".stage-"


@dataclass(frozen=True)
class Case:
    """One checkpoint shape and one action: the job, and the place around it."""

    shape: str
    action: str
    folder: Path
    job: Job
    target: Path
    wanted: Mapping[str, bytes]
    older: Mapping[str, bytes]

    @property
    def sources(self) -> tuple[Path, ...]:
        return tuple(
            self.folder / name for name in ("base", "given") if (self.folder / name).is_dir()
        )

    def reset(self) -> None:
        """Bring the place back to where it was before the job."""
        for path in self.target.parent.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if self.older:
            shutil.copytree(self.folder / "older", self.target)

    def state(self) -> str:
        """What is at the destination: `absent`, `older` or `complete`; anything else is damage."""
        if not self.target.exists():
            assert not self.older, "the folder that was to be replaced is gone"
            return "absent"
        found = grafts.tree(self.target)
        if self.older and found == self.older:
            return "older"
        assert sorted(found) == sorted(self.wanted), f"damaged: {sorted(found)}"
        wrong = [name for name in found if found[name] != self.wanted[name]]
        assert wrong == [], f"damaged: {wrong}"
        if "MANIFEST.sha256" in found:
            assert sha256sum(self.target), "sha256sum -c disagrees"
        return "complete"

    def left(self) -> list[str]:
        return failing.hidden(self.target.parent)


def sha256sum(folder: Path) -> bool:
    """Ask coreutils whether a folder is what its manifest says; extra files it does not see."""
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "--quiet", "MANIFEST.sha256"],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int, int]]:
    """Bytes, time, mode and inode of everything in a folder, to see that nobody wrote there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (data, status.st_mtime_ns, status.st_mode, status.st_ino)
    return found


def build(folder: Path, shape: str, action: str, copy: str = "copy") -> Case:
    """Make the base, the plan and what must come out, without any fault."""
    fields = dict(SHAPES[shape])
    graft = grafts.tiny_graft(folder / "base", **fields)
    (folder / "plan.json").write_bytes(graft.text)
    if graft.sidecar is not None:
        (folder / "plan.rows.safetensors").write_bytes(graft.sidecar_bytes)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "place").mkdir()
    target = folder / "place" / "out"
    job: Job = {
        "base": str(folder / "base"),
        "plan": str(folder / "plan.json"),
        "out": str(target),
        "copy": copy,
    }
    older: Mapping[str, bytes] = {}
    if action == "apply --replace":
        grafts.patch_config(graft).apply(folder / "older", copy="copy")
        older = grafts.tree(folder / "older")
    graft.apply(folder / "given", copy="copy")
    match action:
        case "apply":
            job |= {"do": "apply"}
            wanted = grafts.tree(folder / "given")
        case "apply --replace":
            job |= {"do": "apply", "replace": True}
            wanted = grafts.tree(folder / "given")
        case "undo":
            job = {"do": "undo", "out": str(folder / "given"), "target": str(target)}
            wanted = grafts.tree(folder / "base")
        case _:
            from tokengraft import flow

            flow.apply(folder / "recipe.toml", base=str(folder / "base"), out=folder / "expected")
            job = {"do": "run", "base": job["base"], "out": str(target)}
            job |= {"recipe": str(folder / "recipe.toml")}
            wanted = grafts.tree(folder / "expected")
    return Case(shape, action, folder, job, target, wanted, older)


@contextmanager
def quick_case(tmp_path: Path, shape: str, action: str, copy: str = "copy") -> Iterator[Case]:
    with failing.quick_folder(tmp_path) as folder:
        yield build(folder, shape, action, copy)
