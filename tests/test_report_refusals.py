"""Where no report is written, and that nothing is touched then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import reported
import tiny
from tokengraft import flow
from tokengraft.errors import (
    MalformedFile,
    StalePlan,
    TargetExists,
    TokengraftError,
    UsageError,
    WriteFailed,
)
from tokengraft.flow import ReportRequest


@pytest.fixture(scope="module")
def graft(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return reported.make_graft(tmp_path_factory.mktemp("graft"))


def _refused(kind: type[TokengraftError], request: ReportRequest, file: Path) -> TokengraftError:
    with pytest.raises(kind) as caught:
        flow.report(request, file)
    assert caught.value.hint
    return caught.value


def test_a_folder_without_records_has_no_report(tmp_path: Path) -> None:
    bare = tiny.build(tmp_path / "bare")
    error = _refused(UsageError, ReportRequest(bare), tmp_path / "r.html")
    assert "no record of a graft" in error.summary
    assert not (tmp_path / "r.html").exists()


def test_a_report_is_never_written_into_what_is_read(graft: tuple[Path, Path]) -> None:
    base, out = graft
    for folder in (out, base):
        error = _refused(UsageError, ReportRequest(out, str(base)), folder / "report.html")
        assert "lies inside" in error.summary
        assert not (folder / "report.html").exists()


def test_a_report_is_never_written_into_the_base_that_the_recipe_names(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base")
    named = f"base = {json.dumps(str(base))}\n[roles]"
    (tmp_path / "r.toml").write_text(reported.RECIPE.replace("[roles]", named), encoding="utf-8")
    flow.apply(tmp_path / "r.toml", base=None, out=tmp_path / "out")
    error = _refused(UsageError, ReportRequest(tmp_path / "out"), base / "report.html")
    assert "lies inside the base" in error.summary
    assert not (base / "report.html").exists()


def test_what_is_no_report_of_ours_is_not_replaced(
    graft: tuple[Path, Path], tmp_path: Path
) -> None:
    _, out = graft
    file = tmp_path / "notes.html"
    file.write_text("<html>mine</html>", encoding="utf-8")
    request = ReportRequest(out, proves=False)
    assert "is not replaced" in _refused(TargetExists, request, file).summary
    assert file.read_text("utf-8") == "<html>mine</html>"
    flow.report(request, file, replace=True)
    flow.report(request, file)  # one of ours is
    (tmp_path / "folder").mkdir()
    assert "is a folder" in _refused(TargetExists, request, tmp_path / "folder").summary
    assert "does not exist" in _refused(WriteFailed, request, tmp_path / "no" / "r.html").summary


def test_another_checkpoint_is_not_taken_for_the_base(
    graft: tuple[Path, Path], tmp_path: Path
) -> None:
    _, out = graft
    other = tiny.build(tmp_path / "other", seed=1, tied=True)
    error = _refused(StalePlan, ReportRequest(out, str(other)), tmp_path / "r.html")
    assert "is not the base" in error.summary


def test_records_that_are_asked_for_must_be_there(graft: tuple[Path, Path], tmp_path: Path) -> None:
    error = _refused(UsageError, ReportRequest(graft[1], training=tmp_path), tmp_path / "r.html")
    assert "holds no records of a training" in error.summary


def test_records_of_the_graft_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    _, out = reported.make_graft(tmp_path)
    (out / "tokengraft" / "plan.json").write_text("{", encoding="utf-8")
    error = _refused(MalformedFile, ReportRequest(out), tmp_path / "r.html")
    assert "plan.json" in error.detail


def test_what_belongs_to_the_proof_is_not_ignored_without_it(
    graft: tuple[Path, Path], tmp_path: Path
) -> None:
    told = reported.ask(
        "report", str(graft[1]), "-o", str(tmp_path / "r.html"), "--no-verify", "--deep"
    )
    assert (told.exit_code, told.stdout) == (2, "")
    assert "belong to the proof" in told.stderr
