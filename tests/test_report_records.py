"""Records of a training in a report: all that their writers say, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import reported
import samples
from reported import Page, ask
from tokengraft.behaviour import (
    Behaviour,
    Measured,
    Rate,
    StopBehaviour,
    TokenBehaviour,
    ToolBehaviour,
)
from tokengraft.flow import ReportRequest
from tokengraft.flow.reports import gather
from tokengraft.formats.training_records import read_training, training_folder
from tokengraft.reporting.catalogue import ENGLISH
from tokengraft.reporting.html import page
from tokengraft.reporting.html.told import before, shares
from tokengraft.trainings import Repeats, StageRecord, TokenVerdict, TokenVerdicts


@pytest.fixture(scope="module")
def graft(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return reported.make_graft(tmp_path_factory.mktemp("graft"))


def test_records_beside_a_result_are_told(graft: tuple[Path, Path], tmp_path: Path) -> None:
    _, out = graft
    texts = [(300, "<|planner|>"), (301, "<call>"), (302, "</call>")]
    folder = reported.write_records(tmp_path / "records", reported.records(texts))
    file = tmp_path / "r.html"
    told = ask(
        "report", str(out), "-o", str(file), "--no-verify", "--training", str(folder), "--json"
    )
    assert [
        p for p in json.loads(told.stdout)["parts"] if p["name"] in ("training", "behaviour")
    ] == [
        {"name": "training", "shown": True, "why": ""},
        {"name": "behaviour", "shown": True, "why": ""},
    ]
    found = Page(file.read_text("utf-8"))
    for said in (
        "New tokens that are worth having: 1 of 3; not to be added: 1; undecided: 1.",
        "Where a new token is wanted, it is written in 98 % of 150 prompts.",
        "98 % (49/50) 89.5 % – 99.6 %",
        "before: 0 % (0/50)",
        "Text without new tokens costs 1.2345 bits a byte before and 1.2391 after (+0.0046 [-0.0002 – +0.0090]).",
        "distil: 200 steps, from 58.2 to",
        "with the right arguments",
        "the right modules of thought",
        "text that is not trained on",
        "90 % (36/40) 76.9 % – 96 %",
        "✗ no token is wanted : Say hi.",
        "On near misses, one is written in 2 % of 150 prompts.",
        "the row is no JSON",
        "7, 19, 80",
        "logarithmic",
        "The data never show: '<|planner|>'",
    ):
        assert said in found.text, said
    assert len(found.all("polyline")) == 4


def test_records_beside_out_are_found_by_its_name(tmp_path: Path) -> None:
    _, out = reported.make_graft(tmp_path)
    reported.write_records(tmp_path / "out.training", reported.records([(300, "<call>")]))
    training = gather(ReportRequest(out, proves=False)).training
    assert training is not None
    assert training.folder == "out.training"


def test_a_record_that_cannot_be_read_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    _, out = reported.make_graft(tmp_path)
    found = reported.records([(300, "<call>")])
    cut = found["curves.jsonl"] + '{"stage": "sft", "st'  # the writer was killed
    broken = found | {"curves.jsonl": cut, "behaviour.json": "{", "tokens.json": {"tokens": [{}]}}
    reported.write_records(tmp_path / "out.training", broken)
    told = gather(ReportRequest(out, proves=False))
    training = told.training
    assert training is not None
    assert len(training.curves) == 304
    assert {"behaviour.json", "tokens.json"} == {name for name, _ in training.unreadable}
    assert "behaviour.json cannot be read" in Page(page(told, ENGLISH)).text


def test_a_line_of_a_curve_that_is_none_is_named(tmp_path: Path) -> None:
    _, out = reported.make_graft(tmp_path)
    reported.write_records(tmp_path / "out.training", {"curves.jsonl": '{"stage": "fit"}\nx\n'})
    training = gather(ReportRequest(out, proves=False)).training
    assert training is not None
    ((name, why),) = training.unreadable
    assert (name, why[:8]) == ("curves.jsonl", "line 1: ")


def test_records_of_a_training_are_shown_by_their_verdicts(tmp_path: Path) -> None:
    verdict = TokenVerdict(text="<call>", id=300, verdict="do-not-add", reasons=("it leaks",))
    folder = tmp_path / "out.training"
    folder.mkdir()
    (folder / "data.json").write_text(samples.DATA.to_json(), encoding="utf-8")
    assert "103" in ask("show", str(folder)).stdout
    (folder / "tokens.json").write_text(TokenVerdicts(tokens=(verdict,)).to_json(), "utf-8")
    assert "DO NOT ADD" in ask("show", str(folder)).stdout
    answer = json.loads(ask("show", str(folder / "data.json"), "--json").stdout)
    assert (answer["schema"], answer["rows"]["read"]) == ("tokengraft/data", 103)


def test_documents_of_the_writers_of_records_are_read_as_they_are(tmp_path: Path) -> None:
    """What strict documents hold comes through the lenient reader with nothing lost."""
    verdict = TokenVerdict(
        text="<call>", id=300, verdict="go", read=0.9, write=0.8, leak=0.1, uses=3, bytes_saved=9,
        repeats=Repeats(passed=True, highest=0.5, old_tokens=0.9),
    )  # fmt: skip
    half = Rate.of(5, 10)
    assert half is not None
    behaviour = Behaviour(
        suite="auto",
        n_prompts=40,
        tokens=(TokenBehaviour(text="<call>", id=300, wanted=half, elsewhere=half),),
        tools=ToolBehaviour(parsed=half, names=half, arguments=half),
        stop=StopBehaviour(stopped=half),
        before=Measured(tokens=(TokenBehaviour(text="<call>", id=300, wanted=Rate.of(0, 10)),)),
    )
    stage = StageRecord(stage="fit", key="k", seconds=3.5, notes=("a note",), figures={"a": 1.5})
    for name, document in {
        "tokens.json": TokenVerdicts(tokens=(verdict,), notes=("n",)),
        "data.json": samples.DATA,
        "behaviour.json": behaviour,
        "fit/stage.json": stage,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(document.to_json(), encoding="utf-8")
    found = read_training(tmp_path)
    assert found is not None
    assert found.unreadable == ()
    (token,), (told,) = found.tokens or (), found.stages
    written = verdict.model_dump(exclude={"n_windows"})
    assert {key: written[key] for key in token.model_dump()} == token.model_dump()
    assert (told.stage, told.seconds, told.notes, told.figures) == (
        "fit",
        3.5,
        ("a note",),
        {"a": 1.5},
    )
    assert found.data is not None
    kept = found.data.model_dump()
    assert {key: value for key, value in samples.DATA.model_dump().items() if key in kept} | {
        "rows": kept["rows"]
    } == kept
    assert found.data.rows.train == 90
    assert found.behaviour is not None
    (asked,) = found.behaviour.tokens
    assert asked.wanted is not None
    assert asked.wanted.model_dump(exclude={"before"}) == half.model_dump()
    assert [name for name, _, _ in shares(found.behaviour.tools, None)] == [
        *("a call is read back", "by the right name", "with the right arguments")
    ]
    untrained = before(found.behaviour, asked).wanted
    assert untrained is not None
    assert (untrained.hits, untrained.n) == (0, 10)


def test_what_the_proof_asked_just_now_wins_over_an_earlier_record(tmp_path: Path) -> None:
    _, out = reported.make_graft(tmp_path)
    reported.write_records(tmp_path / "out.training", reported.records([(300, "<call>")]))
    now = samples.VERIFIED.model_copy(update={"behaviour": Behaviour(suite="now", n_prompts=1)})
    for proof, suite in ((samples.VERIFIED, "held out"), (now, "now")):
        found = gather(ReportRequest(out, verification=proof)).behaviour
        assert found is not None
        assert found.suite == suite


def test_a_line_nested_deeply_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "curves.jsonl").write_text("[" * 100_000 + "\n", encoding="utf-8")
    found = read_training(tmp_path)
    assert found is not None
    assert found.unreadable == (("curves.jsonl", "line 1 is no JSON"),)


@pytest.mark.parametrize("name", ["out", "deep/out"])
def test_records_lie_beside_out(name: str) -> None:
    assert training_folder(Path(name)) == Path(f"{name}.training")


def test_records_lie_beside_the_folder_that_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    assert training_folder(Path()) == tmp_path / "out.training"
