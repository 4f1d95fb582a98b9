"""Gates that a fit must pass: an alias is its token, and another token's row is not one's own."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from benchmarks.rows.cases import Rows, context
from benchmarks.rows.measure import scores, truth
from benchmarks.rows.ours import evidence
from benchmarks.rows.peers import PEERS
from benchmarks.rows.strata import Stratum, choose
from benchmarks.rows.subject import FIT, TEST, VALIDATION, Subject, load_subject
from benchmarks.rows.tables import recovery

from row_subjects import few, small_subject
from tokengraft.training import fitting, output_fits, refining
from tokengraft.training.windows import Phrase, cut_windows, places_of


@pytest.fixture(autouse=True)
def few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    monkeypatch.setattr(refining, "ROUNDS", 2)
    monkeypatch.setattr(refining, "PROBES", 1.0)


def aliases(subject: Subject) -> Stratum:
    """Tokens that stand for one frequent piece each."""
    backgrounds = choose(subject, "S2", background=600, wanted=4).backgrounds
    words = subject.words
    counts = np.bincount(np.concatenate(list(subject.parts[TEST])), minlength=subject.model.n_rows)
    often = [i for i in np.argsort(-counts) if words.begins_V[i] and len(words.bytes_V[i]) > 3][:4]
    phrases = tuple(Phrase(f"alias {i}", (int(i),)) for i in often)
    windows = {}
    for part in (FIT, VALIDATION, TEST):
        encoded = list(subject.parts[part])
        places = list(places_of(encoded, phrases, words.goes_on_V))
        some = [p for p in places if p.document % 7 == 0][:24]
        windows[part] = cut_windows(encoded, some, phrases, among=places, before=24, after=17)
    n = sum(len(ids) for ids in subject.parts[TEST])
    return Stratum("alias", phrases, windows, backgrounds, counts[often] / n)


def test_a_fitted_alias_recovers_all_of_its_token() -> None:
    subject = small_subject()
    stratum = aliases(subject)
    given = context(subject, stratum, 0)
    against = truth(subject, stratum)
    told = evidence(given)
    _, refined = fitting.fit_input(subject.model, told, given.input_VD, np.random.default_rng(0))
    writing = output_fits.prepare_writing(
        subject.model, told, given.output_VD, np.random.default_rng(0)
    )
    rows = Rows(refined.rows_ND, output_fits.fit_output(subject.model, writing))
    mine, _ = scores(subject, stratum, against, rows)
    mean, _ = scores(subject, stratum, against, PEERS["mean"](given))
    assert recovery(mine["read_kl"], mean["read_kl"]) == pytest.approx(1.0, abs=1e-6)
    assert recovery(mine["write_kl"], mean["write_kl"]) > 0.9


def test_fitted_rows_of_other_descriptions_recover_nothing_of_what_ones_own_do() -> None:
    subject = small_subject()
    stratum = choose(subject, "S3", background=600, wanted=12)
    given = context(subject, stratum, 0)
    against = truth(subject, stratum)
    told = evidence(given)
    _, refined = fitting.fit_input(subject.model, told, given.input_VD, np.random.default_rng(0))
    silent = np.zeros_like(refined.rows_ND)
    order = np.roll(np.arange(len(stratum.phrases)), 1)
    kl = {
        name: scores(subject, stratum, against, Rows(rows_ND, silent))[0]["read_kl"]
        for name, rows_ND in (
            ("own", refined.rows_ND),
            ("permuted", refined.rows_ND[order]),
            ("mean", given.mean_of_all(given.input_VD)),
        )
    }
    own = recovery(kl["own"], kl["mean"])
    assert own > 0.2
    assert recovery(kl["permuted"], kl["mean"]) < own / 3


def test_a_descriptions_one_row_is_read_though_it_may_hardly_be_written(data: Path) -> None:
    text = data / "text" / "tinystories" / "tiny_stories_944k.txt"
    subject = load_subject(data / "models" / "stories260K", [text], most_documents=300)
    stratum = choose(subject, "S3", background=1500, wanted=6)
    given = context(subject, stratum, 0)
    told, rng = evidence(given), np.random.default_rng(0)
    writing = output_fits.prepare_writing(subject.model, told, given.output_VD, rng)
    _, refined, _ = fitting.fit_tied(subject.model, told, writing, given.input_VD, rng)
    against = truth(subject, stratum)
    mine, figures = scores(subject, stratum, against, Rows(refined.rows_ND, refined.rows_ND))
    reference, _ = scores(subject, stratum, against, PEERS["mean"](given))
    assert recovery(mine["read_kl"], reference["read_kl"]) > 0.1
    assert figures["harm"] < 1e-3
