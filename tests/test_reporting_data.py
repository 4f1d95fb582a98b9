"""JSON and its schemas, SARIF, GitHub annotations, and fixes as a recipe."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import strategies as st

import samples
from tokengraft import answers
from tokengraft.documents import Document
from tokengraft.findings import Finding, Fix
from tokengraft.reporting import (
    catalogue,
    escape,
    github,
    sarif,
    schemas,
)
from tokengraft.reporting import json as json_view
from tokengraft.reporting.fixes import recipe_of
from tokengraft.reporting.screen import Screen

REPO = Path(__file__).resolve().parents[1]
REPORTING = REPO / "src" / "tokengraft" / "reporting"
PLAIN = Screen()
COLOUR = Screen(colour=True)
RUSSIAN = Screen(words=catalogue.RUSSIAN)
ANY_TEXT = st.text(st.characters(), max_size=40) | st.text(
    st.sampled_from("\x1b[]\u202e\u200b\x9b\n\r\t\\'\"a{0}\u0301\ud800\U000e0041\u3164"),
    max_size=12,
)
# Colours of rich: the only escape sequences that a view may hold.
SGR = re.compile(r"\x1b\[[0-9;]*m")


def _raw(text: str) -> list[str]:
    """Characters that should not have come through."""
    return [c for c in SGR.sub("", text) if c != "\n" and not escape.is_visible(c)]


def _kind(value: Document) -> str:
    return value.kind


# ── JSON and its schemas ─────────────────────────────────────────────────────────────────────────


def test_the_published_schemas_are_current(tmp_path: Path) -> None:
    assert schemas.main([str(tmp_path / "new")]) == 0
    published = REPO / "docs" / "reference" / "schemas"
    made = {path.name: path.read_text("utf-8") for path in (tmp_path / "new").iterdir()}
    kept = {path.name: path.read_text("utf-8") for path in published.glob("*.json")}
    assert made == kept, f"python -m tokengraft.reporting.schemas {published.relative_to(REPO)}"


def test_schemas_are_written_only_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas.main([]) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("value", [*samples.EVERY, *samples.hostile_everywhere()], ids=_kind)
def test_every_document_is_as_its_schema_says(value: Document) -> None:
    shown = json.loads(json_view.document(value, {"a key of a later version": 1}))
    if value.kind == "recipe":
        shown = json.loads(json_view.document(value))
    schema = schemas.schema(type(value))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(shown, schema)


def test_every_kind_of_document_has_a_schema_and_a_view() -> None:
    assert {type(value) for value in samples.EVERY} == set(schemas.KINDS)
    kinds = [kind.kind for kind in schemas.KINDS]
    assert len(set(kinds)) == len(kinds)


def test_a_receipt_may_say_how_long_it_took() -> None:
    shown = json.loads(json_view.document(samples.RECEIPT, {"seconds": 1.5, "undone": []}))
    jsonschema.validate(shown, schemas.schema(type(samples.RECEIPT)))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**shown, "seconds": "long"}, schemas.schema(type(samples.RECEIPT)))


# ── SARIF, GitHub, fixes ─────────────────────────────────────────────────────────────────────────


def _sarif(audit: Any) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(sarif.findings(audit, [samples.RULE], "0.1.0"))
    return log


def test_sarif_names_rule_level_and_place() -> None:
    log = _sarif(samples.AUDIT)
    assert log["version"] == "2.1.0"
    run = log["runs"][0]
    assert [r["id"] for r in run["tool"]["driver"]["rules"]] == ["T101"]
    first, second, third = run["results"]
    assert (first["ruleId"], first["level"]) == ("R301", "error")
    assert "ruleIndex" not in first
    assert second["ruleIndex"] == 0
    place = first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place == "generation_config.json"
    assert third["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "."
    logical = third["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
    assert logical == "model.embed_tokens.weight[151646]"


def test_a_rule_in_sarif_has_its_page_and_where_known_an_address() -> None:
    page = answers.Rule(
        code="T101",
        title="t",
        severity="error",
        text="## What it checks\n\n<a> and `<b>`.\nMore.\n\n## Example\n\nOne.\n",
    )

    def rule_with(home: str) -> dict[str, Any]:
        log = json.loads(sarif.findings(samples.AUDIT, [page], "0.1.0", home=home))
        (made,) = log["runs"][0]["tool"]["driver"]["rules"]
        return dict(made)

    made = rule_with("")
    assert "helpUri" not in made
    assert made["fullDescription"] == {"text": "<a> and `<b>`.\nMore."}
    assert made["help"]["text"].startswith("## What it checks\n\n<a> and `<b>`.")
    assert made["help"]["markdown"].startswith("## What it checks\n\n&lt;a> and `<b>`.")
    for form in ("text", "markdown"):
        assert made["help"][form].endswith("\n\n`tokengraft explain T101`\n")
    for home in ("https://example.org/docs", "https://example.org/docs/"):
        address = "https://example.org/docs/reference/rules/T101.md"
        assert rule_with(home) == {**made, "helpUri": address}


def test_files_are_named_by_their_place_in_the_repository() -> None:
    log = json.loads(sarif.findings(samples.AUDIT, [], "0.1.0", folder="models/x"))
    first, _, third = log["runs"][0]["results"]
    uris = [
        r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in (first, third)
    ]
    assert ["models/x/generation_config.json", "models/x"] == uris
    line = github.findings(samples.AUDIT, folder="models/x").splitlines()[0]
    assert line.startswith("::error file=models/x/generation_config.json,title=R301 ")


def test_sarif_shows_hostile_text_without_links_and_placeholders() -> None:
    raw = sarif.findings(samples.hostile_everywhere()[0], [], "0.1.0")  # type: ignore[arg-type]
    assert _raw(raw) == []
    said = json.loads(raw)["runs"][0]["results"][0]["message"]["text"]
    assert _raw(said) == []
    assert "{{0}}" in said
    assert "\\[a\\](http://b)" in said


def test_github_annotations_are_one_line_each_and_cannot_be_forged() -> None:
    shown = github.findings(samples.hostile_everywhere()[0])  # type: ignore[arg-type]
    assert _raw(shown) == []
    assert len(shown.splitlines()) == 1
    assert shown.startswith("::error file=")
    assert "%250A" in shown
    command = shown[2:].split("::", 1)[0]
    assert ":" not in command
    assert (
        github.findings(samples.AUDIT)
        .splitlines()[0]
        .startswith(
            "::error file=generation_config.json,title=R301 generation_config.json#/eos_token_id::the chat"
        )
    )


def test_fixes_become_a_recipe_that_can_be_read() -> None:
    more = (
        Finding(
            rule="R103",
            severity="error",
            subject="x",
            summary=samples.HOSTILE[:-1],
            fix=Fix(operation="add", settings={"text": '<|a\u202e"|>'}),
            safety="safe",
        ),
        Finding(
            rule="R103",
            severity="error",
            subject="x",
            summary="s",
            fix=Fix(operation="add", settings={"text": "<|b|>", "special": True, "into": 7}),
            safety="safe",
        ),
        Finding(
            rule="R301",
            severity="error",
            subject="y",
            summary="again",
            fix=Fix(operation="stop", settings={"tokens": "auto"}),
            safety="safe",
        ),
        Finding(
            rule="R999",
            severity="error",
            subject="z",
            summary="not safe, so not written",
            fix=Fix(operation="rename", settings={"from": "a", "to": "b"}),
            safety="unsafe",
        ),
    )
    audit = samples.AUDIT.model_copy(update={"findings": (*samples.FINDINGS, *more)})
    text = recipe_of(audit, 'a "folder"')
    assert _raw(text) == []
    read = tomllib.loads(text)
    assert read == {
        "version": 1,
        "base": 'a "folder"',
        "stop": {"tokens": "auto"},
        "add": [{"text": '<|a\u202e"|>'}, {"text": "<|b|>", "special": True, "into": 7}],
    }
    assert text.count("R301 error") == 2
    nothing = recipe_of(samples.AUDIT.model_copy(update={"findings": ()}), "base")
    assert tomllib.loads(nothing) == {"version": 1, "base": "base"}
