"""Each rule of rows finds its defect and leaves alone what comes close."""

from __future__ import annotations

from pathlib import Path

import deep_shapes
import pytest
from deep_shapes import HEAD, N_TINY
from defects_rows import DEFECTS, both_matrices, edited, put
from planting import IM_END, Defect, Make

from tokengraft import auditing
from tokengraft.auditing.deep.reading import read_rows
from tokengraft.findings import Finding
from tokengraft.formats.loading import load

BAD = [(defect, make) for defect in DEFECTS for make in defect.bad]
GOOD = [(defect, make) for defect in DEFECTS for make in defect.good]


def _names(cases: list[tuple[Defect, Make]]) -> list[str]:
    return [f"{defect.rule}-{number}" for number, (defect, _) in enumerate(cases)]


def _find(folder: Path) -> tuple[Finding, ...]:
    checkpoint = load(folder)
    return auditing.find(checkpoint, read_rows(checkpoint))


def test_every_rule_of_rows_has_a_defect() -> None:
    of_rows = {code for code, found in auditing.RULES.items() if found.check_rows is not None}
    assert of_rows == {defect.rule for defect in DEFECTS}


@pytest.mark.parametrize(("defect", "make"), BAD, ids=_names(BAD))
def test_a_defect_of_rows_is_found_by_its_rule_and_by_at_most_one_other(
    defect: Defect, make: Make, tmp_path: Path
) -> None:
    findings = _find(make(tmp_path / "bad"))
    found = {finding.rule for finding in findings}
    assert defect.rule in found
    assert found - {defect.rule} <= defect.also
    for finding in findings:
        assert finding.summary
        assert "\n" not in finding.summary
        assert not finding.summary.endswith(".")
        assert str(tmp_path) not in finding.model_dump_json()


@pytest.mark.parametrize(("defect", "make"), GOOD, ids=_names(GOOD))
def test_rows_that_come_close_to_a_defect_are_left_alone(
    defect: Defect, make: Make, tmp_path: Path
) -> None:
    assert [] == [f for f in _find(make(tmp_path / "good")) if f.rule == defect.rule]


@pytest.mark.parametrize("fields", [{}, {"tied": True}, {"dtype": "F32"}, {"legacy": True}])
def test_a_trained_checkpoint_yields_no_finding(fields: dict[str, object], tmp_path: Path) -> None:
    assert () == _find(deep_shapes.trained(tmp_path / "good", **fields))


@pytest.mark.parametrize(("defect", "make"), BAD, ids=_names(BAD))
def test_without_rows_no_rule_of_rows_speaks(defect: Defect, make: Make, tmp_path: Path) -> None:
    found = auditing.find(load(make(tmp_path / "bad")))
    assert [] == [finding for finding in found if finding.rule == defect.rule]


def test_numbers_that_are_none_forbid_any_change(tmp_path: Path) -> None:
    folder = edited(put(IM_END, float("nan")), HEAD)(tmp_path / "a")
    checkpoint = load(folder)
    audit = auditing.audit(checkpoint, source="SRC", rows=read_rows(checkpoint))
    assert audit.verdict == "do-not"
    assert audit.next == "tokengraft explain E203"


def test_a_padding_row_that_is_never_read_is_a_warning(tmp_path: Path) -> None:
    found = _find(edited(put(N_TINY + 5, float("nan")), deep_shapes.EMBED)(tmp_path / "a"))
    assert [("E203", "warning")] == [(finding.rule, finding.severity) for finding in found]


def test_equal_copies_of_a_tied_model_are_no_longer_in_doubt(tmp_path: Path) -> None:
    folder = both_matrices(tied=True, differing=0)(tmp_path / "a")
    assert ["E104"] == [finding.rule for finding in auditing.find(load(folder))]
    assert () == _find(folder)
