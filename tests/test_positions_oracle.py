"""Positions computed here against transformers 5 and 4.57, for every method and many families.

Version 4 is asked with the torch of version 5's environment, since its own has none.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import rope_configs
from tokengraft.formats.loading import load
from tokengraft.positions import attention_factor, config_of, frequencies, read, rounding, stretch
from tokengraft.positions.methods import METHODS
from tokengraft.recipes import Context
from tokengraft.verifying.positions import SCRIPT, compared, lengths_to_ask

FACTOR = 4
# Families that version 4 does not know.
NOT_IN_4 = frozenset({"qwen3_5 (quarter)"})


@dataclass(frozen=True)
class Case:
    """One folder after a change, and what it is."""

    name: str
    method: str
    folder: Path


def cases(root: Path) -> Iterator[Case]:
    """Every family in both spellings, with every method that its classes read."""
    for spelling, configs in (("older", rope_configs.OLDER), ("newer", rope_configs.NEWER)):
        for name, config in configs.items():
            base = load(rope_configs.write(root / spelling / name / "base", config))
            original = stretch(base, Context(length=10**9)).original[0]
            for method in METHODS:
                wish = Context.model_validate({"length": FACTOR * original, "method": method})
                found = stretch(base, wish)
                if found.problems:
                    assert "do not read" in str(found.problems[0])
                    continue
                folder = root / spelling / name / method
                rope_configs.edited(base, found, folder)
                yield Case(f"{spelling} {name}", method, folder)


def ask(python: Path, made: list[Case], lengths: list[int], root: Path, path: str) -> Any:
    """What that transformers says of all folders at all lengths."""
    asked, answer = root / "asked.json", root / "answer.json"
    folders = [str(case.folder) for case in made]
    asked.write_text(json.dumps({"folders": folders, "lengths": lengths}), encoding="utf-8")
    done = subprocess.run(
        [str(python), "-P", str(SCRIPT), str(asked), str(answer)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(answer.read_text(encoding="utf-8"))


def agree(made: list[Case], told: Any) -> tuple[int, float]:
    """How many numbers were compared, and how near to what rounding may cost the worst one was."""
    n_numbers, worst = 0, 0.0
    reader = "transformers 4" if told["version"].startswith("4.") else "transformers 5"
    for case, theirs in zip(made, told["folders"], strict=True):
        where = f"{case.name}, {case.method}, {reader}"
        assert "layers" in theirs, f"{where}: {theirs}"
        config = config_of(load(case.folder))
        assert config is not None
        ours = read(config, reader)  # type: ignore[arg-type]
        assert set(theirs["layers"]) <= set(ours.by_layer), where
        for kind, said in theirs["layers"].items():
            rotary = ours.by_layer[kind]
            for length, numbers in said["frequencies"].items():
                expected = frequencies(rotary, int(length))
                allowed = rounding(rotary, int(length))
                assert len(numbers) == len(expected), where
                apart = [abs(a - b) / c for a, b, c in zip(numbers, expected, allowed, strict=True)]
                assert max(apart) <= 1, f"{where}, {kind} layers at {length} tokens: {max(apart)}"
                worst, n_numbers = max(worst, *apart), n_numbers + len(apart)
                factor = attention_factor(rotary.scaling)
                assert said["attention"][length] == pytest.approx(factor, rel=1e-12), where
    return n_numbers, worst


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return list(cases(tmp_path_factory.mktemp("rope")))


# Lengths on both sides of the trained length of every family there, and past all of them.
LENGTHS = [2048, 4096, 4097, 32_768, 32_769, 131_072]


@pytest.mark.slow
@pytest.mark.oracle5
def test_transformers_5_turns_heads_by_our_numbers(
    tf5: Path, made: list[Case], tmp_path: Path
) -> None:
    assert {case.method for case in made} == set(METHODS)
    told = ask(tf5, made, LENGTHS, tmp_path, "")
    n_numbers, worst = agree(made, told)
    assert n_numbers > 20_000
    assert worst < 0.5  # the bound is no looser than it must be by much


@pytest.mark.slow
@pytest.mark.oracle4
@pytest.mark.oracle5
def test_transformers_4_turns_heads_by_our_numbers(
    tf4: Path, tf5: Path, made: list[Case], tmp_path: Path
) -> None:
    known = [case for case in made if not any(name in case.name for name in NOT_IN_4)]
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    path = subprocess.run([tf4, "-c", where], capture_output=True, text=True, check=True)
    told = ask(tf5, known, LENGTHS, tmp_path, path.stdout.strip())
    assert told["version"].startswith("4.")
    n_numbers, worst = agree(known, told)
    assert n_numbers > 20_000
    assert worst < 0.5


@pytest.mark.oracle5
def test_scaling_of_mrope_models_and_of_two_kinds_is_asked_of_each_kind(
    tf5: Path, made: list[Case], tmp_path: Path
) -> None:
    (case,) = (c for c in made if (c.name, c.method) == ("newer gemma3 (nested)", "linear"))
    told = ask(tf5, [case], [32768, 131072], tmp_path, "")
    layers = told["folders"][0]["layers"]
    assert set(layers) == {"full_attention", "sliding_attention"}
    assert layers["sliding_attention"]["frequencies"]["131072"][1] == pytest.approx(
        10000.0 ** (-2 / 256)
    )


# --- what the check says -------------------------------------------------------------------------

QWEN3 = {**rope_configs.OLDER["qwen3"], "max_position_embeddings": 131072}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


def answer_of(folder: Path) -> tuple[Any, dict[str, Any]]:
    """A config, and the answer of a transformers that reads it as we do."""
    config = config_of(load(rope_configs.write(folder, {**QWEN3, "rope_scaling": YARN})))
    assert config is not None
    full = read(config).full
    assert full is not None
    lengths = [str(length) for length in lengths_to_ask(config)]
    assert lengths == ["16384", "32768", "32769", "131072"]
    said = {
        "frequencies": {length: list(frequencies(full, int(length))) for length in lengths},
        "attention": dict.fromkeys(lengths, attention_factor(full.scaling)),
    }
    return config, {"layers": {"": said}}


def test_the_check_passes_on_our_own_numbers(tmp_path: Path) -> None:
    config, theirs = answer_of(tmp_path / "a")
    check = compared(config, "5.23.0", theirs)
    assert check.status == "pass"
    assert "by the same 256 frequencies: at most 0 of their size apart" in check.evidence


def test_a_frequency_that_differs_by_more_than_rounding_fails_it(tmp_path: Path) -> None:
    config, theirs = answer_of(tmp_path / "a")
    theirs["layers"][""]["frequencies"]["131072"][30] *= 1 + 1e-5
    check = compared(config, "5.23.0", theirs)
    assert check.status == "fail"
    assert check.evidence == "transformers 5.23.0: frequencies differ by 1e-05 of their size"
    theirs["layers"][""]["frequencies"]["131072"][30] *= 1 - 1e-5 + 1e-7
    assert compared(config, "5.23.0", theirs).status == "pass"


def test_another_factor_count_or_kind_fails_it(tmp_path: Path) -> None:
    config, theirs = answer_of(tmp_path / "a")
    said = theirs["layers"][""]
    said["attention"]["131072"] = 1.0
    check = compared(config, "5.23.0", theirs)
    assert "at 131072 tokens it multiplies by 1.0 and not by 1.138629436111989" in check.evidence
    said["attention"]["131072"] = attention_factor(read(config).full.scaling)
    said["frequencies"]["131072"].pop()
    assert "another number of pairs than 64" in compared(config, "5.23.0", theirs).evidence
    check = compared(config, "5.23.0", {"layers": {"sliding_attention": said}})
    assert "it tells layers apart that config.json does not: sliding_attention" in check.evidence
    assert check.status == "fail"


def test_what_could_not_be_asked_is_unknown(tmp_path: Path) -> None:
    config, _ = answer_of(tmp_path / "a")
    check = compared(config, "5.23.0", {"error": "KeyError: 'gpt9'"})
    assert (check.status, check.evidence) == ("unknown", "transformers 5.23.0: KeyError: 'gpt9'")
    broken = {**QWEN3, "rope_scaling": {**YARN, "factor": "four"}}
    config = config_of(load(rope_configs.write(tmp_path / "b", broken)))
    assert config is not None
    check = compared(config, "5.23.0", {"layers": {"": {}}})
    assert check.status == "unknown"
    assert check.evidence == "config.json does not say the factor of its scaling"


def test_torch_is_asked_for_by_name() -> None:
    """The script is run by other interpreters, so it may import nothing of ours."""
    assert "tokengraft" not in SCRIPT.read_text(encoding="utf-8").replace("of tokengraft", "")
    assert importlib.util.find_spec("tokengraft") is not None
