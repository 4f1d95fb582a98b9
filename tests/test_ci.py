"""What other people's CI runs: the hook of pre-commit and the GitHub Action."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tiny as tiny_checkpoints
from tokengraft.cli.pre_commit import folders_of, main
from tokengraft.formats.folders import SMALL_NAMES

REPO = Path(__file__).resolve().parents[1]
HOOK = yaml.safe_load((REPO / ".pre-commit-hooks.yaml").read_text("utf-8"))[0]
ACTION = yaml.safe_load((REPO / "action.yml").read_text("utf-8"))


def _break(folder: Path) -> None:
    path = folder / "generation_config.json"
    value = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**value, "eos_token_id": 1_000_000}), encoding="utf-8")


def test_the_hook_looks_at_the_files_that_an_audit_reads() -> None:
    assert HOOK["id"] == "tokengraft-audit"
    pattern = re.compile(HOOK["files"])
    others = {"preprocessor_config.json", "processor_config.json"}
    missed = {n for n in SMALL_NAMES - others if not pattern.search(f"models/a/{n}")}
    assert missed == set()
    assert pattern.search("additional_chat_templates/tool_use.jinja")
    assert not pattern.search("package.json")
    assert not pattern.search("myconfig.json")


def test_the_entry_of_the_hook_can_be_run(tiny: Path) -> None:
    _break(tiny)
    words = shlex.split(HOOK["entry"])
    assert words[0] == "python"
    run = subprocess.run(
        [sys.executable, *words[1:], str(tiny / "config.json"), str(tiny / "tokenizer.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (1, "") == (run.returncode, run.stderr)
    assert "generation_config.json#/eos_token_id: error R" in run.stdout


def test_the_hook_says_nothing_of_a_good_folder(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main([str(tiny / "tokenizer.json")])
    assert "" == capsys.readouterr().out


def test_the_hook_can_be_told_never_to_fail(tiny: Path) -> None:
    _break(tiny)
    assert 0 == main(["--fail-on", "never", str(tiny / "tokenizer.json")])


def test_the_hook_audits_each_folder_of_a_tokenizer_once(tiny: Path, tmp_path: Path) -> None:
    other = tmp_path / "web"
    other.mkdir()
    (other / "config.json").write_text("{}")
    files = [other / "config.json", tiny / "config.json", tiny / "merges.txt",
             tiny / "additional_chat_templates" / "a.jinja"]  # fmt: skip
    assert [tiny] == folders_of(files)


def test_the_hook_does_not_stumble_over_pointers_of_git_lfs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    folder = tiny_checkpoints.build(tmp_path / "a")
    (folder / "model.safetensors").write_text(pointer)
    assert 0 == main([str(folder / "config.json")])
    (folder / "tokenizer.json").write_text(pointer)
    assert 0 == main([str(folder / "config.json")])
    assert "git lfs pull" in capsys.readouterr().out


def test_the_hook_passes_a_malformed_folder_on_as_refused(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny / "tokenizer.json").write_text("{")
    assert 3 == main([str(tiny / "tokenizer.json")])
    assert "tiny: " in capsys.readouterr().out


def test_the_action_uses_its_inputs_as_values_alone() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert {"path", "goal", "fail-on", "format", "output"} == set(ACTION["inputs"])
    for step in ACTION["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]
    used = set(re.findall(r"inputs\.([\w-]+)", json.dumps(ACTION)))
    assert used == set(ACTION["inputs"])


def _act(tmp_path: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the audit step as a runner would, with an installation that is there already."""
    tool = tmp_path / "temp" / "tokengraft" / "bin" / "tokengraft"
    tool.parent.mkdir(parents=True, exist_ok=True)
    tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tokengraft "$@"\n')
    tool.chmod(0o755)
    step = ACTION["runs"]["steps"][-1]
    values = {name: field.get("default", "") for name, field in ACTION["inputs"].items()}
    values |= {name.replace("_", "-"): value for name, value in inputs.items()}
    env = {
        name: values[re.search(r"inputs\.([\w-]+)", text)[1]]  # type: ignore[index]
        for name, text in step["env"].items()
    }
    runner = {"RUNNER_TEMP": str(tmp_path / "temp"), "GITHUB_OUTPUT": str(tmp_path / "outputs")}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **env, **runner},
    )


def test_the_action_writes_its_report_and_fails_on_errors(tiny: Path, tmp_path: Path) -> None:
    good = _act(tmp_path, path=str(tiny), goal="inference")
    assert (0, "") == (good.returncode, good.stderr)
    assert [] == json.loads((tmp_path / "tokengraft.sarif").read_text())["runs"][0]["results"]
    _break(tiny)
    bad = _act(tmp_path, path=str(tiny), output="out.sarif")
    assert 1 == bad.returncode
    assert json.loads((tmp_path / "out.sarif").read_text())["runs"][0]["results"]
    assert "report=out.sarif\n" in (tmp_path / "outputs").read_text()
    assert 0 == _act(tmp_path, path=str(tiny), fail_on="never").returncode


def test_the_action_can_annotate_the_log(tiny: Path, tmp_path: Path) -> None:
    _break(tiny)
    told = _act(tmp_path, path=str(tiny), format="github", output="")
    assert told.stdout.startswith("::error ")


def test_the_action_runs_no_text_of_its_inputs(tmp_path: Path) -> None:
    told = _act(tmp_path, path='"; touch owned; echo "$(touch owned)')
    assert told.returncode != 0
    assert not (tmp_path / "owned").exists()
