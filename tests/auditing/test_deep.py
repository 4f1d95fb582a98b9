"""What reading the rows shows: on rows that were made for it, and on models that were trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import deep_shapes
import numpy as np
import pytest
from deep_shapes import EMBED, HEAD, N_TINY, Matrix
from planting import END_OF_TEXT, IM_END, IM_START, TOOL_CALL

import tiny
from tokengraft import auditing
from tokengraft.auditing.deep.reading import read_rows
from tokengraft.errors import ReadFailed, SourceChanged
from tokengraft.events import Event, Progress
from tokengraft.findings import Audit, Goal
from tokengraft.flow import making
from tokengraft.formats.byte_ranges import RangeRows, source_of
from tokengraft.formats.loading import load
from tokengraft.formats.row_reading import read_statistics
from tokengraft.reporting import text
from tokengraft.reporting.screen import Screen
from tokengraft.row_findings import Rows
from tokengraft.row_statistics import overlap, scale_of

REPO = Path(__file__).resolve().parents[2]
QWEN_CHAT = (151644, 151645)  # <|im_start|> and <|im_end|>


def _rows(folder: Path) -> Rows:
    return read_rows(load(folder))


def _verdicts(rows: Rows) -> dict[str, str]:
    return {token.token: token.verdict for token in rows.structural}


def _deep(folder: Path, goal: Goal | None = None) -> Audit:
    return making.audit(str(folder), goal=goal, deep=True)


# ── rows that were made for it ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("tied", [False, True])
def test_untrained_rows_are_told_from_trained_ones(tied: bool, dtype: str, tmp_path: Path) -> None:
    folder = deep_shapes.trained(
        tmp_path / "a", untrained=(IM_START, IM_END), tied=tied, dtype=dtype
    )
    found = _verdicts(_rows(folder))
    assert found.pop("<|im_start|>") == found.pop("<|im_end|>") == "untrained"
    assert set(found.values()) == {"trained"}


@pytest.mark.parametrize("tied", [False, True])
def test_a_common_push_of_unused_output_rows_hides_nothing(tied: bool, tmp_path: Path) -> None:
    rows = _rows(deep_shapes.pushed(tmp_path / "a", untrained=(IM_END,), tied=tied))
    assert [IM_END] == [token.id for token in rows.lacking()]
    matrix = next(m for m in rows.matrices if m.writes)
    assert matrix.compared is not None
    assert matrix.compared.overlap == 0
    assert matrix.compared.flagged == 0


def test_a_turn_end_must_be_written_and_a_turn_start_only_read(tmp_path: Path) -> None:
    folder = deep_shapes.trained(tmp_path / "a")

    def edit(values: Matrix) -> None:
        values[[IM_START, IM_END]] = values[N_TINY : N_TINY + 2]

    found = _verdicts(_rows(deep_shapes.change(folder, edit, HEAD)))
    assert (found["<|im_start|>"], found["<|im_end|>"]) == ("trained", "untrained")


def test_rows_between_the_two_are_unknown(tmp_path: Path) -> None:
    folder = deep_shapes.trained(tmp_path / "a", untrained=(IM_START,))

    def edit(values: Matrix) -> None:
        values[IM_START] *= 2.5  # norm 0.12; unused rows have 0.05, trained ones 0.57

    assert _verdicts(_rows(deep_shapes.change(folder, edit)))["<|im_start|>"] == "unknown"


def test_rows_that_cannot_be_told_apart_are_unknown(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "a", n_rows=384)

    def edit(values: Matrix) -> None:
        values[:] = np.random.default_rng(3).normal(0.0, 0.2, values.shape)

    rows = _rows(deep_shapes.change(folder, edit))
    assert {"unknown"} == set(_verdicts(rows).values())
    assert all("like the rows of frequent pieces" in m.why_not for m in rows.matrices)


def test_a_few_padding_rows_that_were_used_do_not_move_the_limit(tmp_path: Path) -> None:
    folder = deep_shapes.trained(tmp_path / "a", untrained=(IM_END,))

    def edit(values: Matrix) -> None:
        values[N_TINY : N_TINY + 3] = values[:3]

    rows = _rows(deep_shapes.change(folder, edit))
    assert [IM_END] == [token.id for token in rows.lacking()]


@pytest.mark.parametrize("shards", [1, 2])
def test_rows_are_read_once_in_blocks(
    shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _rows(tiny.build(tmp_path / "a", shards=shards, n_rows=384))
    monkeypatch.setattr("tokengraft.formats.row_reading.BLOCK_BYTES", 100)
    heard: list[Event] = []
    assert whole == read_rows(load(tmp_path / "a"), heard.append)
    told = [event for event in heard if isinstance(event, Progress)]
    assert {(EMBED, 6144), (HEAD, 6144)} == {(e.subject, e.done) for e in told if e.done == e.total}


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_statistics_are_what_numpy_says(dtype: str, tmp_path: Path) -> None:
    folder = deep_shapes.trained(tmp_path / "a", dtype=dtype)
    checkpoint = load(folder)
    assert checkpoint.tensors is not None
    ref = checkpoint.tensors.tensors[HEAD]
    unused, trained = tuple(range(N_TINY, 384)), tuple(range(200, 280))
    rows = read_statistics(
        RangeRows(source_of(checkpoint.files[ref.file]), ref), unused=unused, trained=trained
    )
    raw = (folder / ref.file).read_bytes()[ref.begin : ref.end]
    values = deep_shapes.decode(raw, dtype).reshape(384, -1).astype(np.float64)
    away = values[N_TINY:].mean(axis=0)
    np.testing.assert_allclose(rows.norms, np.linalg.norm(values, axis=1), rtol=1e-6)
    assert rows.distances is not None
    assert rows.directions is not None
    np.testing.assert_allclose(rows.distances, np.linalg.norm(values - away, axis=1), rtol=1e-5)
    middle = values[200:280].mean(axis=0)
    one, other = values - middle, away - middle
    cosine = one @ other / np.linalg.norm(one, axis=1) / np.linalg.norm(other)
    np.testing.assert_allclose(rows.directions, np.sqrt(2 * (1 - cosine)), rtol=1e-4)
    assert not isinstance(scale_of(rows, writes=True), str)


def test_the_overlap_is_the_share_of_pairs_in_the_wrong_order() -> None:
    low, high = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0])
    assert overlap(low, high) == pytest.approx(1.5 / 6)


def test_a_file_that_shrinks_while_it_is_read_is_a_changed_source(tmp_path: Path) -> None:
    checkpoint = load(tiny.build(tmp_path / "a"))
    path = tmp_path / "a" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(SourceChanged):
        read_rows(checkpoint)
    path.unlink()
    with pytest.raises(ReadFailed):
        read_rows(checkpoint)


# ── what is said, and what is not ────────────────────────────────────────────────────────────────


def test_nothing_is_said_of_rows_that_nobody_read(tmp_path: Path) -> None:
    folder = deep_shapes.trained(tmp_path / "a", untrained=(IM_START, IM_END), base=True)
    shallow = making.audit(str(folder), goal="lora")
    assert shallow.rows is None
    assert not shallow.facts.rows_read
    assert not [f for f in shallow.findings if f.rule.startswith("E2")]
    assert "not read" in " ".join(shallow.reasons)


def test_without_weights_deep_says_that_no_row_was_read(tmp_path: Path) -> None:
    audit = _deep(tiny.build(tmp_path / "a", shards=0, base=True), "lora")
    assert audit.rows is not None
    assert audit.rows.why_not == "the weights are not at hand"
    assert not audit.facts.rows_read
    assert not [f for f in audit.findings if f.rule.startswith("E2")]
    assert "not read" in " ".join(audit.reasons)


@pytest.mark.parametrize("goal", ["roles", "tools", "thinking", "protocol", "lora"])
def test_verdicts_name_the_untrained_rows(goal: Goal, tmp_path: Path) -> None:
    folder = deep_shapes.trained(tmp_path / "a", untrained=(IM_START, IM_END), base=True)
    audit = _deep(folder, goal)
    assert (goal, "needs-training") == (audit.goal, audit.verdict)
    said = " ".join(audit.reasons)
    assert f"<|im_start|> ({IM_START})" in said
    assert f"<|im_end|> ({IM_END})" in said
    assert "not read" not in said


@pytest.mark.parametrize("tied", [False, True])
def test_an_adapter_is_told_which_rows_to_train(tied: bool, tmp_path: Path) -> None:
    untrained = (IM_START, IM_END)
    folder = deep_shapes.trained(tmp_path / "a", untrained=untrained, base=True, tied=tied)
    said = " ".join(_deep(folder, "lora").reasons)
    ids = [IM_START, IM_END]
    both = f'{{"embed_tokens": {ids}' + ("}" if tied else f', "lm_head": {ids}}}')
    assert f"trainable_token_indices = {both}." in said


def test_rows_are_shown_on_one_screen_and_with_numbers_if_all_is_wanted(tmp_path: Path) -> None:
    audit = _deep(deep_shapes.trained(tmp_path / "a", untrained=(IM_END,)), "lora")
    assert audit.rows is not None
    short = text.view(audit, Screen())
    long = text.view(audit, Screen(), text.Beside(everything=True))
    line = next(line for line in short.splitlines() if "'<|im_end|>'" in line and "289" in line)
    assert line.split() == ["289", "'<|im_end|>'", "untrained", "untrained"]
    assert "from unused" in long
    assert "from unused" not in short
    n_tokens = len(audit.rows.structural)
    assert len(long.splitlines()) > len(short.splitlines()) + n_tokens - 1


def test_running_a_base_model_is_not_troubled_by_its_chat_markers(tmp_path: Path) -> None:
    folder = deep_shapes.trained(tmp_path / "a", untrained=(IM_START, IM_END))
    audit = _deep(folder)
    assert audit.verdicts is not None
    assert audit.verdict == "leave-as-is"
    assert audit.verdicts["lora"] == "needs-training"
    assert audit.facts.rows_read


def test_trained_markers_leave_an_adapter_nothing_to_wait_for(tmp_path: Path) -> None:
    audit = _deep(deep_shapes.trained(tmp_path / "a"), "lora")
    assert audit.verdict == "leave-as-is"
    out_of_step = _deep(deep_shapes.trained(tmp_path / "b", base=True), "lora")
    assert out_of_step.verdict == "safe-change"
    assert "trained" in " ".join(out_of_step.reasons)


def test_markers_that_are_there_are_judged_for_tools(tmp_path: Path) -> None:
    good = _deep(deep_shapes.trained(tmp_path / "a"), "tools")
    assert any("they are trained" in reason for reason in good.reasons)
    bad = _deep(deep_shapes.trained(tmp_path / "b", untrained=(TOOL_CALL,)), "tools")
    assert any("they are untrained" in reason for reason in bad.reasons)


def test_an_answer_is_the_same_each_time_and_survives_json(tmp_path: Path) -> None:
    folder = deep_shapes.trained(tmp_path / "a", untrained=(END_OF_TEXT,))
    first = _deep(folder)
    assert first.to_json() == _deep(folder).to_json()
    assert Audit.from_dict(first.as_dict()) == first


# ── real vocabularies and real models ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tied", [False, True])
def test_the_chat_trap_is_found_among_152_thousand_rows(
    tied: bool, data: Path, tmp_path: Path
) -> None:
    folder = deep_shapes.qwen(tmp_path / "a", data, untrained=QWEN_CHAT, tied=tied)
    audit = _deep(folder, "lora")
    assert audit.rows is not None
    assert set(QWEN_CHAT) == {token.id for token in audit.rows.lacking()}
    for matrix in audit.rows.matrices:
        assert matrix.unused == "267 padding rows"
        assert matrix.compared is not None
        assert matrix.compared.flagged <= 2, "of 2,000 frequent pieces"
        assert matrix.compared.untrained.count <= 300, "of 151,669 tokens"
    finding = next(f for f in audit.findings if f.rule == "E201")
    assert "<|im_start|> (151644), <|im_end|> (151645)" in finding.summary
    assert audit.verdict == "needs-training"


def _model(name: str, tmp_path: Path) -> Path:
    source = REPO / "models" / name
    if not source.is_dir():
        pytest.skip(f"needs models/{name}")
    shutil.copytree(source, tmp_path / name)
    return tmp_path / name


def test_the_small_base_model_has_untrained_chat_markers(tmp_path: Path) -> None:
    audit = _deep(_model("tiny-qwen3-moe-base", tmp_path), "lora")
    assert audit.rows is not None
    found = _verdicts(audit.rows)
    assert found.pop("<|endoftext|>") == "trained"
    assert set(found.values()) == {"untrained"}
    assert audit.verdict == "needs-training"


def test_the_small_chat_model_has_trained_chat_markers(tmp_path: Path) -> None:
    audit = _deep(_model("tiny-qwen3-moe-chat", tmp_path), "lora")
    assert audit.rows is not None
    assert {"trained"} == set(_verdicts(audit.rows).values())
    assert not [f for f in audit.findings if f.rule == "E201"]


def test_rules_of_rows_are_explained_like_others() -> None:
    codes = [code for code, found in auditing.RULES.items() if found.check_rows is not None]
    assert codes == [f"E20{n}" for n in (*range(3, 8), 1, 2)]
    assert auditing.explain("e201").severity == "warning"
