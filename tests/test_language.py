"""Which language a run speaks, and that help, refusals and answers speak it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokengraft.cli.language import LANGUAGES, language, of_locale
from tokengraft.reporting import catalogue

UTF8 = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
ASCII = io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def _run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tokengraft", *arguments],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1", **environ},
    )


@pytest.mark.parametrize(
    ("environ", "spoken"),
    [
        ({}, "en"),
        ({"LANG": "ru_RU.UTF-8"}, "ru"),
        ({"LANG": "ru"}, "ru"),
        ({"LANG": "ru_UA.KOI8-U@cyrillic"}, "ru"),
        ({"LANG": "rue_UA.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "ru_RU.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "ru_RU.UTF-8", "LC_MESSAGES": ""}, "ru"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ru_RU.UTF-8"}, "ru"),
        ({"LC_ALL": "C", "LC_MESSAGES": "ru_RU.UTF-8", "LANG": "ru_RU.UTF-8"}, "en"),
        ({"LC_ALL": "ru_RU.UTF-8", "LC_MESSAGES": "C"}, "ru"),
        # a list of languages wins over the locale, and is ignored in the locale C
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "de:ru:en"}, "ru"),
        ({"LANG": "ru_RU.UTF-8", "LANGUAGE": "en:ru"}, "en"),
        ({"LANG": "ru_RU.UTF-8", "LANGUAGE": "de"}, "ru"),
        ({"LANG": "C.UTF-8", "LANGUAGE": "ru"}, "en"),
        ({"LANGUAGE": "ru"}, "en"),
    ],
)
def test_the_locale_is_read_as_gettext_reads_it(environ: dict[str, str], spoken: str) -> None:
    assert spoken == of_locale(environ)


@pytest.mark.parametrize(
    ("arguments", "environ", "spoken"),
    [
        (("--lang", "ru", "audit", "x"), {}, "ru"),
        (("audit", "x", "--lang=ru"), {"TOKENGRAFT_LANG": "en", "LANG": "en_US.UTF-8"}, "ru"),
        (("audit", "x", "--lang", "en"), {"TOKENGRAFT_LANG": "ru"}, "en"),
        (("--lang", "ru", "audit", "x", "--lang", "en"), {}, "en"),
        (("audit", "x"), {"TOKENGRAFT_LANG": "ru", "LC_ALL": "C"}, "ru"),
        (("audit", "x"), {"TOKENGRAFT_LANG": "en", "LC_ALL": "ru_RU.UTF-8"}, "en"),
        (("audit", "x"), {"TOKENGRAFT_LANG": "", "LC_ALL": "ru_RU.UTF-8"}, "ru"),
        (("tokens", "x", "--", "--lang", "ru"), {}, "en"),
        (("audit", "--lang"), {}, "en"),
        (("audit", "x", "--lang", "fr"), {"LANG": "ru_RU.UTF-8"}, "en"),
    ],
)
def test_what_was_typed_wins_over_the_variable_and_that_over_the_locale(
    arguments: tuple[str, ...], environ: dict[str, str], spoken: str
) -> None:
    assert spoken == language(arguments, environ, UTF8)


def test_a_locale_is_not_followed_where_its_letters_cannot_be_written() -> None:
    assert language((), {"LANG": "ru_RU.UTF-8"}, ASCII) == "en"
    assert language(("--lang", "ru"), {}, ASCII) == "ru", "what was typed is"


def test_the_command_line_knows_the_languages_of_the_catalogue() -> None:
    assert LANGUAGES == catalogue.LANGUAGES


def test_an_option_before_the_command_wins_over_the_variable(tmp_path: Path) -> None:
    told = _run("--lang", "ru", "audit", str(tmp_path / "gone"), TOKENGRAFT_LANG="en")
    assert told.stderr.startswith("ошибка: ")


def test_an_unknown_language_is_refused_by_name() -> None:
    told = _run("doctor", TOKENGRAFT_LANG="fr")
    assert told.returncode == 2
    assert "TOKENGRAFT_LANG" in told.stderr


@pytest.mark.parametrize("where", [("--lang", "ru", "recipe"), ("recipe", "--lang", "ru")])
def test_help_is_in_the_language_of_the_run(where: tuple[str, ...]) -> None:
    told = _run(*where, "--help")
    assert told.returncode == 0
    assert told.stdout.startswith("Как запускать: tokengraft recipe")
    assert "Параметры:" in told.stdout


def test_json_is_english_in_every_locale(tmp_path: Path) -> None:
    told = _run("audit", str(tmp_path / "gone"), "--json", LANG="ru_RU.UTF-8", LC_ALL="")
    assert told.returncode != 0
    assert told.stdout.isascii()
