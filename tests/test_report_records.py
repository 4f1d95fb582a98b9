"""Records of a training in a report: all that their writers say, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import behaviour_samples
import reported
import samples
from reported import Page, ask
from tokengraft.behaviour import Behaviour, TokenBehaviour
from tokengraft.flow import ReportRequest
from tokengraft.flow.reports import gather
from tokengraft.formats.training_records import read_training, training_folder
from tokengraft.reporting.catalogue import ENGLISH
from tokengraft.reporting.html import page
from tokengraft.reporting.html.told import before, shares
from tokengraft.trainings import StageRecord, TokenVerdict, TokenVerdicts


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
        "Where new tokens are wanted, all of them are written in 96 % of 50 prompts.",
        "98 % (49/50) 89.5 % – 99.6 %",
        "before: 0 % (0/50)",
        "Text without new tokens costs 1.0000 bits a byte before and 1.0010 after (+0.0010 [+0.0000 – +0.0020]).",
        "distil: 200 steps, from 58.2 to",
        "with the right arguments",
        "the right modules of thought",
        "text that is not trained on",
        "90 % (36/40) 76.9 % – 96 %",
        "✗ a token is wanted : What is the weather in Paris?",
        "On near misses, one is written in 2 % of 50 prompts.",
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
    stage = StageRecord(stage="fit", key="k", seconds=3.5, notes=("a note",), figures={"a": 1.5})
    written = {
        "tokens.json": samples.VERDICTS,
        "data.json": samples.DATA,
        "behaviour.json": behaviour_samples.BEHAVIOUR,
        "fit/stage.json": stage,
    }
    for name, document in written.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(document.to_json(), encoding="utf-8")
    found = read_training(tmp_path)
    assert found is not None
    assert found.unreadable == ()
    read = (found.verdicts, found.data, found.behaviour, *found.stages)
    assert tuple(written.values()) == read


def test_a_record_of_another_version_is_named(tmp_path: Path) -> None:
    later = samples.DATA.as_dict() | {"version": 2}
    (tmp_path / "data.json").write_text(json.dumps(later), encoding="utf-8")
    found = read_training(tmp_path)
    assert found is not None
    assert (found.data, [name for name, _ in found.unreadable]) == (None, ["data.json"])


def test_shares_stand_beside_what_they_were_before() -> None:
    found = behaviour_samples.BEHAVIOUR
    told = [name for name, _, _ in shares(found.tools, None)]
    assert told == ["a call is read back", "by the right name", "with the right arguments"]
    assert found.before is not None
    ((_, now, was),) = shares(found.stop, found.before.stop)
    assert was is not None
    assert (now.hits, was.hits) == (600, 590)
    untrained = before(found, found.tokens[0]).wanted
    assert untrained is not None
    assert (untrained.hits, untrained.n) == (4, 200)
    unknown = TokenBehaviour(text="<other>", id=9)
    assert before(found, unknown) == unknown


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
