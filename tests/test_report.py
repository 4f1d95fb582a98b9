"""`tokengraft report`: one page that is whole, true, needs nothing, and lets nothing in."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

import reported
import samples
import tiny
from reported import Page, ask
from tokengraft import flow
from tokengraft.events import Event, Note, Started
from tokengraft.flow import ReportRequest
from tokengraft.flow.reports import beside, gather, report_beside
from tokengraft.flow.serving import serving
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.reporting import escape
from tokengraft.reporting.catalogue import ENGLISH, RUSSIAN
from tokengraft.reporting.html import page

HOSTILE = (
    samples.HOSTILE + "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}</style>"
)


@pytest.fixture(scope="module")
def graft(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return reported.make_graft(tmp_path_factory.mktemp("graft"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of everything, every text of which is hostile."""
    folder = tmp_path_factory.mktemp("records")
    return page(reported.everything(HOSTILE, folder), ENGLISH)


# ── the story of a real graft ────────────────────────────────────────────────────────────────────


def test_a_report_tells_the_whole_story_of_a_graft(
    graft: tuple[Path, Path], tmp_path: Path
) -> None:
    base, out = graft
    file = tmp_path / "report.html"
    told = ask(
        "report", str(out), "-o", str(file), "--against", str(base), "--text", "hello", "--json"
    )
    answer = json.loads(told.stdout)
    assert (0, "tokengraft/report") == (told.exit_code, answer["schema"])
    assert file.stat().st_size == answer["size_bytes"]
    missing = {part["name"]: part["why"] for part in answer["parts"] if not part["shown"]}
    assert set(missing) == {"training", "behaviour"}
    found = Page(file.read_text("utf-8"))
    for said in (
        "VERIFIED, NOT TRAINED",
        "The new tokens are not trained",
        "4 tokens added into spare rows",
        "'<|planner|>'",
        "/pad_token_id",
        "the same ids as before",
        "no behaviour check was run",
        f"tokengraft undo {out} -o BASE",
        f"vllm serve {out}",
        "tokengraft apply graft/plan.json --base SRC -o OUT",
        "model.embed_tokens.weight",
        *(line.split("  ")[0] for line in (out / "MANIFEST.sha256").read_text().splitlines()),
    ):
        assert said in found.text, said
    assert "a turn of planner" in found.text


def test_nearest_rows_are_those_that_numpy_finds(graft: tuple[Path, Path]) -> None:
    _, out = graft
    found = gather(ReportRequest(out, proves=False))
    assert [matrix.part for matrix in found.matrices] == ["input", "output"]
    for matrix in found.matrices:
        rows = reported.bfloat16(tiny.tensor_bytes(out)[matrix.tensor][2], width=tiny.D)
        directions = rows / reported.lengths(rows)
        for row in matrix.rows:
            cosines = directions @ directions[row.id]
            for near in row.near:
                assert abs(near.cosine - cosines[near.id]) < 1e-5
            others = [
                c
                for i, c in enumerate(cosines[: 1 + max(t.id for t in found.plan.tokens)])
                if i != row.id
            ]
            assert max(others) == pytest.approx(row.near[0].cosine, abs=1e-5)


def test_without_a_proof_or_a_base_the_page_says_so(
    graft: tuple[Path, Path], tmp_path: Path
) -> None:
    _, out = graft
    assert ask("report", str(out), "-o", str(tmp_path / "r.html"), "--no-verify").exit_code == 0
    said = Page((tmp_path / "r.html").read_text("utf-8")).text
    assert "NOT PROVED" in said
    assert "VERIFIED" not in said
    assert "the base is not named, so that nothing is shown of it: --against SRC" in said


def test_a_failed_proof_is_the_first_thing_that_is_said(tmp_path: Path) -> None:
    found = reported.everything("x", tmp_path)
    refuted = page(type(found)(**{**_fields(found), "verification": samples.REFUTED}), ENGLISH)
    assert "NOT VERIFIED" in Page(refuted).text
    assert "Do not use this folder: 1 check failed (kept-rows)." in Page(refuted).text


def test_what_was_measured_of_long_texts_stands_beside_its_check(tmp_path: Path) -> None:
    found = reported.everything("x", tmp_path)
    shown = page(type(found)(**{**_fields(found), "verification": samples.MEASURED}), ENGLISH)
    said = Page(shown).text
    (loss, *_) = samples.MEASURED.checks[0].measured.losses  # type: ignore[union-attr]
    assert loss.before is not None
    for number in (f"{loss.before.mean:.3f}", "1–255", "3 of 3", "2 of 3", "-4.5"):
        assert number in said, number


def _fields(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in type(found).__slots__}


def test_commands_to_serve_name_the_parsers_that_read_the_result() -> None:
    recipe, _ = parse_recipe(
        'version = 1\n[tools]\nopen = "<a>"\nclose = "<b>"\n'
        '[thinking]\nmodules = ["<m>"]\nfield = "thinking"\n',
        file="recipe",
    )
    assert list(serving(Path("a b"), recipe)) == [
        "transformers serve 'a b'",
        "transformers chat 'a b'",
        (
            "vllm serve 'a b' --enable-auto-tool-choice --tool-call-parser response_template "
            "--reasoning-parser response_template"
        ),
    ]


def test_tied_embeddings_have_one_matrix(tmp_path: Path) -> None:
    _, out = reported.make_graft(tmp_path, tied=True)
    (matrix,) = gather(ReportRequest(out, proves=False)).matrices
    assert (matrix.part, len(matrix.rows)) == ("both", 4)


def test_a_longer_context_shows_both_scalings(tmp_path: Path) -> None:
    recipe = "version = 1\n[context]\nlength = 8192\noriginal = 2048\n"
    base, out = reported.make_graft(tmp_path, recipe)
    found = gather(ReportRequest(out, str(base), proves=False)).positions
    assert found is not None
    assert (found.scaling_before, found.scaling_after) == ("default", "yarn")
    assert found.divisors[0] == pytest.approx(1), "the fastest pair stays"
    assert 1 < max(found.divisors) <= 4
    assert set(found.divisors_before or ()) == {1.0}
    assert "Context" in Page(page(gather(ReportRequest(out, proves=False)), ENGLISH)).text


# ── the page as a page ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("words", [ENGLISH, RUSSIAN], ids=lambda words: words.language)
def test_the_page_is_well_formed_and_can_be_walked(words: Any, tmp_path: Path) -> None:
    found = Page(page(reported.everything("x", tmp_path), words))
    assert found.open == [], "every tag closes"
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {str(attrs["href"]) for attrs in found.all("a")}
    assert {f"#{name}" for name in ids if f"#{name}" in links} == links, "links lead somewhere"
    assert found.all("html") == [{"lang": words.language}]
    assert [len(found.all(tag)) for tag in ("h1", "main", "header", "nav", "footer")] == [1] * 5
    assert all("scope" in attrs for attrs in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table"))
    assert len(found.all("figcaption")) == len(found.all("figure"))
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in found.all("svg"))
    labelled = {
        attrs["aria-labelledby"] for attrs in found.all("section") if "aria-labelledby" in attrs
    }
    assert labelled <= set(ids)


def test_nothing_is_fetched_and_only_our_own_code_may_run(whole: str) -> None:
    found = Page(whole)
    loading = {"src", "srcset", "action", "data", "poster", "background", "xlink:href"}
    assert [] == [a for _, a in found.tags if loading & set(a)]
    assert [] == [a for _, attrs in found.tags for a in attrs if a.startswith("on") or a == "style"]
    style, script = (
        re.search(f"<{tag}>(.*?)</{tag}>", whole, re.DOTALL).group(1)  # type: ignore[union-attr]
        for tag in ("style", "script")
    )
    assert not re.search(r"url\(|@import|@font-face", style)
    (policy,) = [a["content"] for a in found.all("meta") if a.get("http-equiv")]
    digests = [
        base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in (style, script)
    ]
    assert str(policy).startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digests[0]}'" in str(policy)
    assert f"script-src 'sha256-{digests[1]}'" in str(policy)
    assert found.all("script") == [{}]


def test_text_of_a_checkpoint_can_do_nothing(whole: str) -> None:
    hidden = {c for c in whole if c != "\n" and not escape.is_visible(c)}
    assert hidden == set()
    assert "<script>alert" not in whole
    assert "<img" not in whole
    assert "49" not in re.findall(r"\{\{ 7\*7 \}\}|\b49\b(?=&lt;/style)", whole)
    assert whole.count("{{ 7*7 }}") > 20, "it is shown, everywhere"
    assert len(Page(whole).all("img")) == 0


def test_twenty_thousand_tokens_make_a_page_that_opens(tmp_path: Path) -> None:
    found = reported.everything("x", tmp_path)
    many = tuple(samples.token(f"<|t{at}|>", 151669 + at, samples.MEAN) for at in range(20_000))
    plan = found.plan.model_copy(update={"tokens": many})
    made = page(type(found)(**{**_fields(found), "plan": plan}), ENGLISH)
    assert len(made) < 400_000
    assert "The first 200 of 20,000; all of them are in plan.json." in made


def test_the_russian_page_has_no_english_left_in_its_own_words(tmp_path: Path) -> None:
    said = Page(page(reported.everything("ъ", tmp_path), RUSSIAN)).text
    english = Page(page(reported.everything("ъ", tmp_path), ENGLISH)).text
    for words in ("What changed", "nearest rows", "Proof", "written where it is wanted"):
        assert words in english
        assert words not in said
    assert "ПРОВЕРЕНО, ОБУЧЕНО" in said


# ── the base that a recipe names, and `run` ──────────────────────────────────────────────────────


def test_the_base_that_the_recipe_names_is_looked_at(tmp_path: Path) -> None:
    base, named = tiny.build(tmp_path / "base"), json.dumps(str(tmp_path / "base"))
    (tmp_path / "r.toml").write_text(reported.RECIPE.replace("[roles]", f"base = {named}\n[roles]"))
    flow.apply(tmp_path / "r.toml", base=None, out=tmp_path / "out")
    found = gather(ReportRequest(tmp_path / "out", proves=False))
    assert (found.source, found.base_missing) == (str(base), "")
    (base / "config.json").write_bytes((base / "config.json").read_bytes() + b"\n")
    found = gather(ReportRequest(tmp_path / "out", proves=False))
    assert found.source is None
    assert "has changed since" in found.base_missing


def test_the_base_is_read_once_for_the_page_and_its_proof(tmp_path: Path) -> None:
    base, out = reported.make_graft(tmp_path)
    events: list[Event] = []
    found = gather(ReportRequest(out, str(base)), events.append)
    assert found.verification is not None
    assert found.verification.passed
    read = [event for event in events if isinstance(event, Started) and event.step == "read"]
    assert [str(base)] == [event.subject for event in read]


def test_run_writes_its_report_beside_out_and_never_over_another_file(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base")
    (tmp_path / "r.toml").write_text(reported.RECIPE, encoding="utf-8")
    told = ask(
        "run", str(tmp_path / "r.toml"), "--base", str(base), "-o", str(tmp_path / "out"), "--json"
    )
    answer = json.loads(told.stdout)
    assert answer["reports"] == [str(tmp_path / "out.html")] == [str(beside(tmp_path / "out"))]
    assert "VERIFIED, NOT TRAINED" in (tmp_path / "out.html").read_text("utf-8")
    (tmp_path / "out.html").write_text("mine", encoding="utf-8")
    events: list[Event] = []
    assert () == report_beside(tmp_path / "out", str(base), samples.VERIFIED, listen=events.append)
    assert (tmp_path / "out.html").read_text("utf-8") == "mine"
    assert any(isinstance(e, Note) and "no report was written" in e.text for e in events)


# Kinds of grafts whose parts are others: ids that move, no weights, other vocabularies, no chat.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "removed": (
        '[[remove]]\ntext = "<spare>"\nrenumber = true\n',
        {"added": (*tiny.QWEN_LIKE, "<spare>", "<|last|>")},
    ),
    "renamed": ('[[rename]]\nfrom = "<think>"\nto = "<|spare|>"\n', {}),
    "weightless": ('[[add]]\ntext = "<|a|>"\nuse = "marker"\n', {"shards": 0}),
    "byte-fallback": ('[[add]]\ntext = " worldly"\nuse = "word"\n', {"kind": "byte-fallback"}),
    "no template": ('[pad]\ntoken = "<|pad|>"\n', {"template": False}),
    "grown": ('[[add]]\ntext = "<|a|>"\nuse = "marker"\n', {"n_rows": 292}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_graft_has_its_report(kind: str, tmp_path: Path) -> None:
    recipe, fields = KINDS[kind]
    base, out = reported.make_graft(tmp_path, "version = 1\n" + recipe, **fields)
    found = gather(ReportRequest(out, str(base), proves=False))
    said = Page(page(found, ENGLISH))
    assert said.open == []
    assert found.base_missing == ""
    last = found.texts[-1]
    assert last.before is not None
    assert last.after is not None
    if kind == "removed":
        assert "ids moved" in said.text
    else:
        assert [p.id for p in last.before] == [p.id for p in last.after]
    if kind == "weightless":
        assert found.matrices == () or all(matrix.why_not for matrix in found.matrices)
    elif kind not in ("removed", "renamed"):
        assert all(matrix.rows for matrix in found.matrices)
