"""What the documentation says is so: everything is named, links lead somewhere, examples run."""

from __future__ import annotations

import ast
import functools
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

import docs
import docs_families
import docs_pages
import docs_rules
from tokengraft import errors, flow, recipes
from tokengraft.auditing import RULES
from tokengraft.cli.app import app
from tokengraft.cli.table import COMMANDS, LATER
from tokengraft.families import families
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.rows.initializers import INITIALIZERS

REPO = Path(__file__).resolve().parents[1]
REFERENCE = REPO / "docs" / "reference"
BASE = REPO / "models" / "tiny-qwen3-moe-base"
RUSSIAN = REPO / "docs" / "ru"
READMES = [REPO / "README.md", REPO / "README.ru.md"]
PAGES = sorted([*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md"), *REPO.glob("examples/*.md")])
EXAMPLES = sorted((REPO / "examples").glob("*.toml"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MACHINE = re.compile(r"/(?:work|home|root|tmp|Users|private)/|[A-Z]:\\|\bPYTHONPATH=")


def name_of(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


@functools.cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def fenced(path: Path, *kinds: str) -> list[str]:
    return [body for kind, body in FENCED.findall(text_of(path)) if kind in kinds]


# ── nothing is left out, and nothing is stale ────────────────────────────────────────────────────


def test_generated_pages_and_parts_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    code = docs.main(["--check"])
    assert (0, "") == (code, capsys.readouterr().out)


def test_every_command_is_documented() -> None:
    page = text_of(REFERENCE / "cli.md")
    group = app.get_command(click.Context(app), "recipe")
    assert isinstance(group, click.Group)
    names = [*COMMANDS, *(f"recipe {name}" for name in group.commands)]
    assert [] == [name for name in names if f"\n## tokengraft {name}\n" not in page]
    assert [] == [name for name in LATER if f"`tokengraft {name}`" not in page]


@pytest.mark.parametrize("edition", docs_rules.EDITIONS, ids=lambda edition: edition.folder)
def test_every_rule_has_one_page_and_one_line_of_the_index(edition: docs_rules.Edition) -> None:
    folder = REPO / "docs" / edition.folder
    pages = {path.stem: text_of(path) for path in (folder / "rules").iterdir()}
    assert set(RULES) == set(pages)
    line = re.compile(r"^\| \[(\w+)\]\(rules/\1\.md\) \| (\w+) \|", re.MULTILINE)
    severities = ((code, edition.say(rule.severity)) for code, rule in RULES.items())
    assert sorted(severities) == sorted(line.findall(text_of(folder / "rules.md")))
    for code, page in pages.items():
        title = docs_rules.told(edition, code).title
        assert f"\n# {code}: {docs_pages.escaped(title)}\n" in page
        heads = re.findall("^## (.+)$", page, re.MULTILINE)
        assert len(heads) == len(RULES[code].sections) + 1
        assert f"\ntokengraft explain {code}" in page


def test_a_page_of_no_rule_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / "ru" / "reference" / "rules" / "T199.md"
    kept = tmp_path / "reference" / "rules" / "T101.md"
    for path in (left, kept):
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    assert [left] == list(docs.left_over({kept}))


def test_every_initializer_error_and_family_is_documented() -> None:
    starts = text_of(REFERENCE / "initializers.md")
    assert [] == [name for name in INITIALIZERS if f"\n## {name}\n" not in starts]
    kinds = {k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)}
    page = text_of(REFERENCE / "errors.md")
    assert [] == [kind.__name__ for kind in kinds if f"`{kind.__name__}`" not in page]
    page = text_of(REFERENCE / "families.md")
    assert [] == [name for name in families() if f"\n## {name}\n" not in page]


def test_every_key_of_a_recipe_has_a_note_and_no_note_is_left_over() -> None:
    notes = tomllib.loads(text_of(REFERENCE / "recipe-notes.toml"))
    models = {
        name: {field.alias or key for key, field in model.model_fields.items()}
        for name, model in vars(recipes).items()
        if isinstance(model, type) and issubclass(model, BaseModel)
        if model.__module__ == recipes.__name__
    }
    assert models == {name: set(keys) for name, keys in notes.items()}


def test_every_code_that_the_command_line_can_give_is_documented() -> None:
    said = text_of(REPO / "src" / "tokengraft" / "cli" / "errors.py")
    named = set(re.findall(r'"([A-Z][a-z]+(?:[A-Z][a-z]+)+|Bug|Interrupted)"', said))
    page = text_of(REFERENCE / "errors.md")
    assert set() == {
        name for name in named if f"`{name}`" not in page and name != "NoArgsIsHelpError"
    }


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_every_page_can_be_reached_from_the_readme(readme: Path) -> None:
    linked = {target.partition("#")[0] for _, target in links(readme)}
    wanted = {p for p in PAGES if "decisions" not in p.parts and p not in READMES}
    wanted -= {page for page in wanted if page.parent.name == "rules"}  # the index leads there
    russian = {page for page in wanted if page.is_relative_to(RUSSIAN)}
    english = {REPO / "docs" / page.relative_to(RUSSIAN) for page in russian}
    assert english <= wanted
    wanted -= english if readme.name == "README.ru.md" else russian
    assert [] == sorted(name_of(page) for page in wanted if name_of(page) not in linked)


# ── what is written is so ────────────────────────────────────────────────────────────────────────


def links(page: Path) -> Iterator[tuple[str, str]]:
    plain = FENCED.sub("", text_of(page))
    for text, target in re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", plain)):
        if not re.match(r"[a-z]+:", target):
            yield text, target


@functools.cache
def anchors(page: Path) -> set[str]:
    """Headings as GitHub makes anchors of them."""
    heads = re.findall(r"^#+ (.+)$", FENCED.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for text, target in links(page):
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"[{text}]({target})"
        assert there.is_relative_to(REPO), f"[{text}]({target}) leaves the repository"
        assert not anchor or anchor in anchors(there), f"[{text}]({target})"


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=name_of)
def test_no_page_names_a_place_on_somebodys_machine(page: Path) -> None:
    assert [] == MACHINE.findall(text_of(page))


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_the_readme_is_short_and_plain(readme: Path) -> None:
    text = text_of(readme)
    assert len(text.splitlines()) <= 150
    assert [] == [char for char in text if ord(char) >= 0x1F000]
    assert "[!" not in text


def commands(page: Path) -> Iterator[list[str]]:
    """Every call of tokengraft in a block for the shell."""
    for block in fenced(page, "sh", "console", "yaml", "bash"):
        for line in block.splitlines():
            call = line.removeprefix("$ ").removeprefix("- run: ").strip()
            if call.startswith("tokengraft ") and ("console" not in page.name or "$" in line):
                yield shlex.split(call.partition(" > ")[0], comments=True)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_in_examples_exist(page: Path) -> None:
    for call in commands(page):
        context = click.Context(app)
        command: click.Command = app
        rest = call[1:]
        while isinstance(command, click.Group):
            found = command.get_command(context, rest.pop(0))
            assert found is not None, shlex.join(call)
            command = found
        known = {opt for param in command.params for opt in (*param.opts, *param.secondary_opts)}
        used = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert set() == used - known, shlex.join(call)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_recipes_in_pages_can_be_read(page: Path) -> None:
    for block in fenced(page, "toml"):
        tomllib.loads(block)
        if block.startswith("version = 1"):
            parse_recipe(block, file=name_of(page))


@pytest.mark.parametrize("recipe", EXAMPLES, ids=name_of)
def test_an_example_plans_on_the_small_model(recipe: Path) -> None:
    assert flow.make_plan(str(BASE), recipe).plan.changes_anything


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_the_recipe_of_the_readme_plans_on_the_small_model(readme: Path, tmp_path: Path) -> None:
    (block,) = fenced(readme, "toml")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(block, encoding="utf-8")
    assert flow.make_plan(str(BASE), recipe).plan.changes_anything


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,), *others = (fenced(readme, "python") for readme in READMES)
    for (other,) in others:  # comments are translated, the code is the same
        assert ast.dump(ast.parse(block)) == ast.dump(ast.parse(other))
    shutil.copytree(BASE, tmp_path / name_of(BASE))
    shutil.copytree(REPO / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})  # noqa: S102  it is our own text
    assert (tmp_path / "out-python" / "MANIFEST.sha256").is_file()


def test_every_check_of_verify_is_explained(tmp_path: Path) -> None:
    out, texts = tmp_path / "out", tmp_path / "texts.txt"
    texts.write_text("a few words\n", encoding="utf-8")
    flow.apply(REPO / "examples" / "agent.toml", base=str(BASE), out=out)
    told = flow.verify(out, against=str(BASE), texts=[texts])
    page = text_of(REPO / "docs" / "explanation" / "what-verify-proves.md")
    assert [] == [check.name for check in told.checks if f"`{check.name}`" not in page]


# ── the support table ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", families())
def test_a_family_can_do_what_the_table_says(name: str, tmp_path: Path) -> None:
    """What the table says can be planned is carried out and verified, what grows apart from the rest."""
    base = docs_families.probe_folder(tmp_path / "base", families()[name])
    texts = tmp_path / "texts.txt"
    texts.write_text("Old text, <|probe |> and тест\n", encoding="utf-8")
    words, _ = docs_families.support()[name]
    able = {
        title: recipe
        for title, recipe in docs_families.OPERATIONS.items()
        if words[title] != docs_families.REFUSED
    }
    grown = able.pop("add and grow", "")
    able.pop("add to spare rows", "")  # the pad token is one
    for number, recipe in enumerate(filter(None, ("".join(able.values()), grown))):
        path, out = tmp_path / f"{number}.toml", tmp_path / f"out-{number}"
        path.write_text("version = 1\n" + recipe, encoding="utf-8")
        flow.apply(path, base=str(base), out=out)
        told = flow.verify(out, against=str(base), texts=[texts])
        assert [] == [check for check in told.checks if check.status == "fail"]
