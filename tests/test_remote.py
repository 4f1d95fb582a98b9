"""Audits of repositories that were not downloaded, against a Hub on this machine."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tiny as tiny_checkpoints
from hub_server import COMMIT, REPO, SECRET, Hub
from qwen_shapes import EMBED, build_qwen3_base
from tokengraft import errors, hub
from tokengraft.events import Event, Note
from tokengraft.flow import making
from tokengraft.formats import loading
from tokengraft.formats.byte_ranges import RangeRows, source_of
from tokengraft.formats.rows import sample_rows


def _headers_bytes(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            total += 8 + struct.unpack("<Q", file.read(8))[0]
    return total


def _command(
    server: Hub, home: Path, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
        "HF_TOKEN": SECRET,
        **environ,
    }
    return subprocess.run(
        [sys.executable, "-m", "tokengraft", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=home.parent,
    )


# ── what is read ─────────────────────────────────────────────────────────────────────────────────


def test_a_remote_audit_says_what_an_audit_of_the_folder_says(server: Hub, tiny: Path) -> None:
    here, there = making.audit(str(tiny)), making.audit(f"hf://{REPO}")
    assert here.findings == there.findings
    assert here.verdicts == there.verdicts
    assert here.facts == there.facts.model_copy(update={"commit": None})
    assert there.facts.commit == COMMIT


def test_a_remote_snapshot_has_the_fingerprint_of_the_folder(server: Hub, tiny: Path) -> None:
    assert loading.load(tiny).layout_digest == making.load(REPO, weights=False).layout_digest


def test_of_weights_nothing_but_headers_is_sent(server: Hub, tiny: Path) -> None:
    making.audit(REPO)
    assert _headers_bytes(tiny) == server.sent(".safetensors")


def test_one_commit_is_asked_for_although_the_branch_moves(server: Hub) -> None:
    server.move_after_info = True
    assert COMMIT == making.audit(REPO).facts.commit
    asked = {r.path.split("/resolve/")[1].split("/")[0]
             for r in server.requests if "/resolve/" in r.path and r.method == "GET"
             and ".safetensors" in r.path}  # fmt: skip
    assert asked == {COMMIT}


def test_a_commit_that_is_known_needs_no_list(server: Hub) -> None:
    making.audit(REPO)
    server.forget()
    making.audit(f"hf://{REPO}@{COMMIT}")
    assert {".safetensors"} == {Path(r.path.split("?")[0]).suffix for r in server.requests}


def test_the_token_goes_to_the_hub_and_nowhere_else(server: Hub) -> None:
    server.secret = SECRET
    making.audit(REPO)
    assert {f"Bearer {SECRET}"} == {r.token for r in server.requests if r.host == "hub"}
    assert {""} == {r.token for r in server.requests if r.host == "cdn"}
    assert server.sent(host="cdn")


def test_of_a_large_vocabulary_small_files_and_headers_are_sent(
    server: Hub, data: Path, tmp_path: Path
) -> None:
    folder = build_qwen3_base(tmp_path / "qwen", data)
    server.folders["org/qwen"] = folder
    found = making.audit("org/qwen")
    assert found.facts.n_rows == 151_936
    assert _headers_bytes(folder) == server.sent(".safetensors")
    small = sum(p.stat().st_size for p in folder.iterdir() if p.suffix in (".json", ".txt"))
    weights = sum(p.stat().st_size for p in folder.glob("*.safetensors"))
    overhead = server.sent() - small - _headers_bytes(folder)
    assert 0 <= overhead < 20_000  # answers of the API
    assert server.sent() < weights
    assert making.audit(str(folder)).findings == found.findings


def test_rows_are_read_by_range(server: Hub, tiny: Path) -> None:
    there = making.load(REPO, weights=False)
    assert there.tensors is not None
    ref = there.tensors.tensors[EMBED]
    server.forget()
    rows = RangeRows(source_of(there.files[ref.file]), ref)
    ids = [3, 290, 3, 4]
    here = sample_rows(tiny / ref.file, ref, ids)
    assert np.array_equal(here, rows.sample(ids))
    assert server.sent(".safetensors") <= ref.size_bytes
    whole = np.concatenate([values for _, values in rows.blocks(block_bytes=1000)])
    assert np.array_equal(sample_rows(tiny / ref.file, ref, range(ref.shape[0])), whole)
    local = loading.load(tiny)
    near = RangeRows(source_of(local.files[ref.file]), ref)
    assert np.array_equal(here, near.sample(ids))


def test_a_deep_audit_reads_the_vocabulary_rows_and_no_other_tensor(
    server: Hub, tiny: Path
) -> None:
    here, there = making.audit(str(tiny), deep=True), making.audit(REPO, deep=True)
    assert here.rows == there.rows
    assert here.findings == there.findings
    layout = loading.load(tiny).layout
    tensors = loading.load(tiny).tensors
    assert layout is not None
    assert tensors is not None
    rows = sum(tensors.tensors[tensor.name].size_bytes for tensor in layout.tensors)
    sent = server.sent(".safetensors") - _headers_bytes(tiny)
    assert rows <= sent <= 2 * rows  # once, and the reference rows a second time
    assert sent < tensors.size_bytes + rows


def test_neighbouring_rows_share_a_request(server: Hub) -> None:
    there = making.load(REPO, weights=False)
    assert there.tensors is not None
    ref = there.tensors.tensors[EMBED]
    server.forget()
    RangeRows(source_of(there.files[ref.file]), ref).sample(range(280, 290))
    assert 1 == sum(r.host == "cdn" for r in server.requests)
    assert 10 * ref.row_bytes == server.sent(host="cdn")


# ── the cache, and offline ───────────────────────────────────────────────────────────────────────


def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_offline_the_cache_answers_without_a_connection(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = making.audit(REPO)
    server.forget()
    _offline(monkeypatch)
    heard: list[Event] = []
    offline = making.audit(REPO, listen=heard.append)
    assert online.findings == offline.findings
    assert online.facts.commit == offline.facts.commit
    assert offline.facts.n_tensors is None
    assert any(isinstance(e, Note) and "from the cache" in e.text for e in heard)
    assert 0 == server.connections


def test_a_snapshot_that_is_whole_is_read_with_its_weights(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.locate(REPO)
    server.forget()
    _offline(monkeypatch)
    assert making.audit(REPO).facts.n_tensors == 14
    assert 0 == server.connections


def test_a_whole_snapshot_is_not_read_by_range(server: Hub) -> None:
    hub.locate(REPO)
    server.forget()
    making.audit(REPO)
    assert not [r for r in server.requests if ".safetensors" in r.path]


def test_shards_that_are_not_in_the_cache_are_no_defect(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.folders[REPO] = tiny_checkpoints.build(tmp_path / "two", shards=2)
    folder = hub.locate(REPO)
    min(folder.glob("*.safetensors")).unlink()
    _offline(monkeypatch)
    found = making.audit(REPO)
    assert found.findings == ()
    assert found.facts.n_tensors is None


def test_offline_and_not_cached_says_how_to_download(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    _offline(monkeypatch)
    with pytest.raises(errors.Offline) as caught:
        making.audit(f"hf://{REPO}@v1")
    assert caught.value.hint.startswith(f"hf download {REPO} --revision v1 --local-dir DIR")
    assert 0 == server.connections


def test_a_hub_that_is_away_is_replaced_by_the_cache(server: Hub) -> None:
    online = making.audit(REPO)
    server.status = 503
    assert online.findings == making.audit(REPO).findings


def test_the_command_line_is_offline_when_told(server: Hub, tmp_path: Path) -> None:
    run = _command(server, tmp_path / "home", "audit", REPO, HF_HUB_OFFLINE="1")
    assert (5, 0) == (run.returncode, server.connections)
    assert "hf download org/tiny" in run.stderr


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def test_the_command_tells_the_commit_and_never_the_token(server: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    server.secret = SECRET
    told = _command(server, home, "audit", REPO)
    assert (0, True) == (told.returncode, COMMIT in told.stdout)
    as_json = _command(server, home, "audit", f"hf://{REPO}@main", "--json")
    assert COMMIT == json.loads(as_json.stdout)["facts"]["commit"]
    server.secret = "another"  # the server repeats the token that it refuses
    refused = _command(server, home, "audit", "org/none", "--json")
    assert 2 == refused.returncode
    server.secret, server.status = "", 500
    broken = _command(server, tmp_path / "empty", "audit", REPO)
    assert 5 == broken.returncode
    for run in (told, as_json, refused, broken):
        assert SECRET not in run.stdout + run.stderr
        assert "planted-signature" not in run.stdout + run.stderr
