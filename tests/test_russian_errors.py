"""Refusals and proofs, as somebody meets them on a Russian command line: no English is left in them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import tiny
from english import words_left
from tokengraft.cli.app import app
from tokengraft.cli.table import COMMANDS
from tokengraft.flow.checkup import CORE, EXTRAS
from tokengraft.recipes import Add, Recipe
from tokengraft.rows.initializers import INITIALIZERS

RECIPE = 'version = 1\n[[add]]\ntext = "<|a|>"\nuse = "role"\n'
# Each name is a recipe; what is wrong with it is all that it holds.
RECIPES = {
    "good": RECIPE,
    "no-toml": "version = 1\nx = [1, 2\n",
    "no-version": "[pad]\n",
    "keys": 'version = 1\nfoo = 2\n[pad]\ntokn = "x"\n[thinking]\nmodules = []\n',
    "kinds": 'version = 1\n[[add]]\ntext = 5\nuse = "rol"\n[context]\nlength = -1\nmethod = "zap"\n',
    "roles": 'version = 1\n[roles]\ncritic = {side = "up", tokn = 1}\n',
    "tokens": (
        'version = 1\n[[add]]\ntext = "<|im_end|>"\nuse = "role"\nspecial = false\n'
        '[[add]]\ntext = " a"\nuse = "marker"\n[[add]]\ntext = "<|x|>"\nuse = "role"\ninto = 5\n'
        '[[rename]]\nfrom = "<|nope|>"\nto = "<|y|>"\n[[rename]]\nfrom = "<|im_start|>"\nto = " "\n'
    ),
    "rows": (
        'version = 1\n[[add]]\ntext = "<|b|>"\nuse = "role"\ninit = "zap"\n'
        '[[add]]\ntext = "<|c|>"\nuse = "role"\nlike = "<|nope|>"\nsequence = "a"\n'
        '[[add]]\ntext = "<|d|>"\nuse = "role"\ninit = "copy"\n'
    ),
    "settings": 'version = 1\n[context]\nlength = 8\n[pad]\ntoken = "<|im_end|>"\n',
}
# Commands and their exit codes; `{}` stands for the folder in which all of it lies.
REFUSED = [
    (2, "frobnicate"),
    (2, "plan"),
    (2, "plan --frob"),
    (2, "plan {}/base {}/nowhere.toml"),
    (2, "audit {}/base --goal nix"),
    (2, "export"),
    (2, "train"),
    (2, "audit {}/nowhere"),
    (2, "audit {}/good.toml"),
    (3, "audit {}/empty"),
    (3, "audit {}/pickles"),
    (3, "audit {}/pointer"),
    (3, "audit {}/cut"),
    (3, "audit {}/no-json"),
    (3, "audit {}/twice"),
    (5, "audit org/name"),
    (2, "explain T999"),
    (2, "recipe new {}/base --preset zz"),
    (4, "recipe new {}/base -o {}/good.toml"),
    (3, "show {}/empty/notes.json"),
    *((2, f"plan {{}}/base {{}}/{name}.toml") for name in RECIPES if name != "good"),
    (2, "recipe check {}/keys.toml"),
    (2, "recipe check {}/rows.toml {}/base"),
    (2, "plan {}/base {}/good.toml --set foo"),
    (2, "plan {}/base {}/good.toml --set version.x=3"),
    (2, "plan {}/base {}/good.toml -o {}/base/plan.json"),
    (4, "plan {}/base {}/good.toml -o {}/good.toml"),
    (3, "plan {}/links {}/good.toml"),
    (3, "plan {}/halved {}/good.toml"),
    (2, "apply {}/plan.json -o {}/new"),
    (2, "apply {}/good.toml -o {}/new"),
    (4, "apply {}/plan.json --base {}/base -o {}/out"),
    (4, "apply {}/plan.json --base {}/base -o {}/edited --replace"),
    (4, "apply {}/plan.json --base {}/base -o {}/base2 --replace"),
    (4, "apply {}/plan.json --base {}/base2 -o {}/new"),
    (2, "apply {}/plan.json --base {}/base -o {}/base/new"),
    (5, "apply {}/plan.json --base {}/base -o {}/nowhere/new"),
    (2, "apply {}/plan.json --base {}/base -o {}/new --set pad.token=auto"),
    (4, "undo {}/base -o {}/new"),
    (4, "undo {}/out -o {}/base2"),
    (4, "undo {}/edited -o {}/new"),
    (2, "verify {}/base"),
    (2, "verify {}/out --with nobody"),
    (4, "demo -o {}/base"),
]
SHOWN = [
    (0, "verify {}/out --against {}/base"),
    (0, "verify {}/out --deep --with sentencepiece"),
    (1, "verify {}/out --against {}/base2"),
    (1, "verify {}/edited --against {}/base"),
    (1, "verify {}/more"),
    (0, "plan {}/base {}/good.toml"),
    (0, "show {}/plan.json"),
    (0, "show {}/out"),
    (0, "show {}/out/tokengraft/receipt.json"),
    (0, "diff {}/base {}/base2"),
    (0, "doctor {}"),
    (0, "recipe check {}/good.toml {}/base"),
    *((0, f"{command} --help") for command in ("audit", "plan", "apply", "verify", "run", "undo")),
    *((0, f"{command} --help") for command in ("recipe", "recipe new", "demo", "doctor", "diff")),
]
# Names of commands, of keys, and of what other people have made.
NAMES = frozenset(
    (
        *(*COMMANDS, "check", "schema"),
        *(field.alias or key for key, field in Recipe.model_fields.items()),
        *(
            "auto",
            "init",
            *Add.model_fields,
            *INITIALIZERS,
            "foo",
            "new",
            "nobody",
            "role",
            "reflink",
            "link",
        ),
        *(*CORE, *EXTRAS, "python"),
        *("manifest", "loads", "ids", "shapes", "logits", "sentencepiece"),  # checks
        *("Hugging", "Face", "Hub", "Git", "Linux", "Schema", "stdout", "stderr"),
    )
)
# What is typed: a command with its words, up to where prose goes on.
TYPED = re.compile(
    r"\b(?:tokengraft|hf|git) [a-z]+(?: [a-z]+)*(?: [A-Z/]\S+| -\S+| \S+-grafted)*|\bmkdir -p \S+"
)

# The name of a check, behind what became of it.
CHECK = re.compile(r"^  . +(?:верно|неверно|пропущено) +[a-z-]+", re.MULTILINE)


def ask(command: str, folder: Path) -> Result:
    words = [word.replace("{}", str(folder)) for word in command.split(" ")]
    quiet = [] if "--help" in words else ["-q"]
    return CliRunner(env={"TOKENGRAFT_LANG": "ru"}).invoke(app, [*words, *quiet])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, an output, its copies with something wrong, and recipes."""
    made = tmp_path_factory.mktemp("w")
    base = tiny.build(made / "base", shards=2)
    for name, text in RECIPES.items():
        (made / f"{name}.toml").write_text(text, encoding="utf-8")
    for command in (
        "plan {}/base {}/good.toml -o {}/plan.json",
        "apply {}/plan.json --base {}/base -o {}/out",
    ):
        assert ask(command, made).exit_code == 0
    for name, spoil in SPOILED.items():
        source = made / "out" if name in ("edited", "more") else base
        shutil.copytree(source, made / name)
        spoil(made / name)
    (made / "empty").mkdir()
    (made / "empty" / "notes.json").write_text('{"a": 1,}', encoding="utf-8")
    return made


def _shard(folder: Path) -> Path:
    return min(folder.glob("*.safetensors"))


def _pickles(folder: Path) -> None:
    for file in folder.glob("*.safetensors"):
        file.rename(folder / f"pytorch_{file.stem}.bin")


def _another_base(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "new": 1}), encoding="utf-8")


SPOILED: dict[str, Callable[[Path], object]] = {
    "pickles": _pickles,
    "pointer": lambda folder: _shard(folder).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", encoding="utf-8"
    ),
    "cut": lambda folder: _shard(folder).write_bytes(_shard(folder).read_bytes()[:100]),
    "no-json": lambda folder: (folder / "config.json").write_bytes(b'{"a": \xff}'),
    "twice": lambda folder: (folder / "config.json").write_text('{"a": 1, "a": 2}', "utf-8"),
    "links": lambda folder: (folder / "secret.json").symlink_to("/etc/passwd"),
    "halved": lambda folder: _shard(folder).unlink(),
    "base2": _another_base,
    "edited": lambda folder: (folder / "config.json").write_text("{}", encoding="utf-8"),
    "more": lambda folder: (folder / "more.txt").write_text("x", encoding="utf-8"),
}


def english(shown: str, folder: Path) -> list[str]:
    """English that is left when names of files, which lie in that folder, are taken out."""
    shown = CHECK.sub("", TYPED.sub("", shown.replace(str(folder), "/x")))
    names = NAMES | {path.name for path in folder.rglob("*")}
    return words_left(shown, names)


@pytest.mark.parametrize(("code", "command"), REFUSED, ids=[command for _, command in REFUSED])
def test_a_refusal_is_russian_to_the_last_word(code: int, command: str, folder: Path) -> None:
    told = ask(command, folder)
    assert (code, []) == (told.exit_code, english(told.stderr + told.stdout, folder)), told.output
    assert told.stderr.startswith("ошибка: ") or "recipe check" in command


@pytest.mark.parametrize(("code", "command"), SHOWN, ids=[command for _, command in SHOWN])
def test_an_answer_is_russian_to_the_last_word(code: int, command: str, folder: Path) -> None:
    told = ask(command, folder)
    assert (code, []) == (told.exit_code, english(told.stdout, folder)), told.output
