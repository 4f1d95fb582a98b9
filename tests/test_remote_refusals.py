"""What a Hub, or what stands in its place, can do to an audit: every refusal, and every lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

import tiny as tiny_checkpoints
from hub_server import COMMIT, NEWER, REPO, SECRET, Hub
from tokengraft import errors, hub
from tokengraft.flow import making
from tokengraft.hub import ranges


def _refused(kind: type[errors.TokengraftError], source: str = REPO) -> str:
    with pytest.raises(kind) as caught:
        making.audit(source)
    error = caught.value
    told = f"{error.summary}\n{error.detail}\n{error.subject}\n{error.hint}"
    assert SECRET not in told
    assert "planted-signature" not in told
    return told


def test_a_misspelt_repository_is_a_usage_error_with_advice(server: Hub) -> None:
    making.audit(REPO)
    assert "in the cache is org/tiny" in _refused(errors.UsageError, "org/tinny")
    assert "hf auth login" in _refused(errors.UsageError, "else/where")


def test_a_misspelt_revision_is_a_usage_error_with_near_ones(server: Hub) -> None:
    server.branches["release-1"] = NEWER
    assert "hf://org/tiny@release-1" in _refused(errors.UsageError, f"{REPO}@release1")


def test_a_gated_repository_asks_for_a_login(server: Hub) -> None:
    server.secret, server.gated = "another", True
    told = _refused(errors.NoAccess)
    assert "accept the terms" in told
    assert "hf auth login" in told


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_without_a_reason_asks_for_a_login(server: Hub, status: int) -> None:
    making.audit(REPO)
    server.files_status = status
    assert "hf auth login" in _refused(errors.NoAccess)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_in_trouble_is_an_environment_problem(server: Hub, status: int) -> None:
    server.status = status
    assert "run the same command again" in _refused(errors.Offline)


def test_a_hub_that_does_not_answer_in_time_is_given_up(server: Hub) -> None:
    server.stall = 5.0
    assert "run the same command again" in _refused(errors.Offline)


def test_a_hub_that_is_not_there_is_given_up(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in _refused(errors.Offline)


def test_a_portal_in_between_is_no_hub(server: Hub) -> None:
    server.garbage = True
    assert "portal" in _refused(errors.MalformedFile)


def test_a_failure_that_passes_is_tried_again(server: Hub) -> None:
    making.audit(REPO)
    server.files_status, server.failures = 503, 2
    assert making.audit(REPO).facts.n_tensors == 14


def test_a_failure_that_stays_says_so(server: Hub) -> None:
    making.audit(REPO)
    server.files_status = 503
    assert "run the same command again" in _refused(errors.Offline)


def test_a_server_that_ignores_ranges_is_read_to_the_need_alone(
    server: Hub, tmp_path: Path
) -> None:
    folder = tiny_checkpoints.build(tmp_path / "big")
    _append_tensor(folder / "model.safetensors", 64 << 20)
    server.folders[REPO] = folder
    server.ignore_range = True
    assert making.audit(REPO).facts.n_tensors == 15
    assert server.sent(".safetensors") < 32 << 20  # what the system buffers, not 2 × 64 MiB


def _append_tensor(path: Path, size: int) -> None:
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        rest = file.read()
    header["ballast"] = {
        "dtype": "U8",
        "shape": [size],
        "data_offsets": [len(rest), len(rest) + size],
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest + bytes(size))


def test_a_server_that_ignores_ranges_is_refused_far_inside(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "MAX_UNRANGED_BYTES", 64)
    server.ignore_range = True
    assert "whole files only" in _refused(errors.LimitExceeded)


def test_bodies_that_end_too_early_are_no_answer(server: Hub) -> None:
    server.cut = 4
    _refused(errors.Offline)


def test_a_length_that_lies_changes_nothing(server: Hub, tiny: Path) -> None:
    server.lie_length = 100
    assert making.audit(REPO).facts.n_tensors == 14


def test_another_range_than_asked_for_is_refused(server: Hub) -> None:
    server.lie_range = True
    assert "were asked for" in _refused(errors.MalformedFile)


@pytest.mark.parametrize("wrong", [1, -1])
def test_a_file_of_another_size_than_listed_is_refused(server: Hub, wrong: int) -> None:
    server.wrong_size = wrong
    assert "served with" in _refused(errors.SourceChanged)


def test_another_commit_than_asked_for_is_refused(server: Hub) -> None:
    server.wrong_commit = NEWER
    assert "commit" in _refused(errors.SourceChanged)


def test_a_header_beyond_the_limit_is_not_asked_for(server: Hub, tiny: Path) -> None:
    path = tiny / "model.safetensors"
    with path.open("r+b") as file:
        file.write(struct.pack("<Q", 10**12))
    _refused(errors.LimitExceeded)
    assert 8 == server.sent(".safetensors")


def test_a_small_file_beyond_the_limit_is_not_fetched(
    server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "MAX_SMALL_BYTES", 1000)
    _refused(errors.LimitExceeded)
    assert 0 == server.sent("tokenizer.json")


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/org/tiny"])
def test_a_redirection_to_nowhere_good_is_refused(server: Hub, where: str) -> None:
    server.redirect_to = where
    _refused(errors.RefusedError)


def test_a_repository_of_something_else_is_refused(server: Hub, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text("nothing")
    server.folders["org/other"] = other
    _refused(errors.UsageError, "org/other")


def test_a_range_is_limited_before_it_is_asked_for() -> None:
    file = ranges.HubFile(hub.Address(REPO, None), COMMIT, "model.safetensors", 1 << 40)
    with pytest.raises(errors.LimitExceeded):
        file.read(0, ranges.MAX_RANGE_BYTES + 1)
    assert file.read(7, 7) == b""
