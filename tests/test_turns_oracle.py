"""A changed protocol in both majors of transformers and in the tokenizers library."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from conversations import conversations, rendered
from oracles.asking import ask, remembered, shared
from small_qwen import cut
from test_turn_templates import MARKERS, RECIPE, WANTS, names_of, template_of, with_template
from tokengraft.flow import making
from tokengraft.formats.loading import load
from tokengraft.sandbox.templates import TemplateChild

pytestmark = [pytest.mark.oracle4, pytest.mark.oracle5, pytest.mark.slow]

NEW = ("<|turn|>", "<|turn_end|>")
MODES = ("rename", "add")
REAL = ("qwen3-30b-a3b-base", "qwen3-30b-a3b", "qwen2.5", "minimind")
OLD_TEXT = "It's 2 < 3, мир!\n\n<think>x</think> <|turn |> \t<|im_en d|>"


@pytest.fixture(scope="module")
def home(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bases, real and with each published template, and what both modes make of them."""

    def make(folder: Path) -> None:
        for mode in MODES:
            (folder / f"{mode}.toml").write_text(f"version = 1\n{RECIPE.format(mode=mode)}")
            (folder / mode).mkdir()
        (folder / "bases").mkdir()
        for name in MARKERS:
            with_template(data, name, folder / "bases" / name)
        for name in REAL:
            source = data / "tokenizers" / name
            if name.startswith("qwen"):
                cut(source, folder / "bases" / name)
            else:
                (folder / "bases" / name).symlink_to(source)
        for name in (*MARKERS, *REAL):
            for mode in MODES:
                base = (folder / "bases" / name).resolve()
                out = folder / mode / name
                making.apply(folder / f"{mode}.toml", base=str(base), out=out)

    return shared(tmp_path_factory, "turns", make)


@pytest.fixture(scope="module")
def texts(home: Path) -> dict[str, list[str]]:
    """What the base's template makes of conversations, old markers and all."""
    found = {}
    with TemplateChild() as child:
        for name in (*MARKERS, *REAL):
            base = load(home / "bases" / name)
            told = conversations(6, **WANTS.get(name, {}))
            made = [rendered(child, template_of(base), names_of(base), c)[0] for c in told]
            found[name] = [*made, OLD_TEXT]
    return found


def markers_of(name: str) -> tuple[str, str]:
    return MARKERS.get(name, ("<|im_start|>", "<|im_end|>"))


def changed(name: str, text: str) -> str:
    new = dict(zip(markers_of(name), NEW, strict=True))
    return re.sub("|".join(map(re.escape, new)), lambda m: new[m.group()], text)


def answers(
    home: Path, texts: dict[str, list[str]], python: Path, major: str
) -> dict[str, dict[str, Any]]:
    jobs = []
    for name, said in texts.items():
        told = {
            "tokens": [*NEW, *markers_of(name)],
            "texts": [*said, *(changed(name, t) for t in said)],
        }
        folders = (f"bases/{name}", *(f"{mode}/{name}" for mode in MODES))
        jobs += [{"folder": str(home / folder), **told} for folder in folders]
    found = remembered(
        home, major, lambda: ask(python, "ask_tokenizers.py", jobs, home=home / f"home-{major}")
    )
    names = [str(Path(job["folder"]).relative_to(home)) for job in jobs]
    return dict(zip(names, found, strict=True))


@pytest.fixture(scope="module")
def four(home: Path, texts: dict[str, list[str]], tf4: Path) -> dict[str, Any]:
    return answers(home, texts, tf4, "4.")


@pytest.fixture(scope="module")
def five(home: Path, texts: dict[str, list[str]], tf5: Path) -> dict[str, Any]:
    return answers(home, texts, tf5, "5.")


@pytest.mark.parametrize("name", [*MARKERS, *REAL])
def test_all_libraries_read_the_markers_alike(
    name: str, texts: dict[str, list[str]], four: dict[str, Any], five: dict[str, Any]
) -> None:
    count = len(texts[name])
    olds = markers_of(name)
    for mode in MODES:
        one, other = four[f"{mode}/{name}"], five[f"{mode}/{name}"]
        for part in (one["auto"], other["auto"], other["raw"]):
            assert part["ids"] == one["raw"]["ids"]
            assert part["texts"] == one["raw"]["texts"]
        assert one["auto"]["names"] == other["auto"]["names"]
        assert one["auto"]["special"] == other["auto"]["special"]
        # New markers stand where the old ones stood, and nothing else moved.
        before = five[f"bases/{name}"]["auto"]
        ids, new_ids = before["ids"], one["raw"]["ids"]
        moved = {new_ids[new]: ids[old] for old, new in zip(olds, NEW, strict=True)}
        after = [[moved.get(i, i) for i in line] for line in one["raw"]["texts"]]
        assert after[count:] == before["texts"][:count]
        assert after[count - 1] == before["texts"][count - 1]
        if mode == "rename":
            assert [new_ids[old] for old in olds] == [None, None]
            assert [new_ids[new] for new in NEW] == [ids[old] for old in olds]
        else:
            assert one["raw"]["texts"][:count] == before["texts"][:count]  # old markers still read


@pytest.mark.parametrize("name", [*MARKERS, *REAL])
def test_eos_follows_the_turn_end_that_it_was(
    name: str, four: dict[str, Any], five: dict[str, Any]
) -> None:
    for major in (four, five):
        was = major[f"bases/{name}"]["auto"]["names"]["eos_token"]
        wanted = NEW[1] if was == markers_of(name)[1] else was
        for mode in MODES:
            assert major[f"{mode}/{name}"]["auto"]["names"]["eos_token"] == wanted
