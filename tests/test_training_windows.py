"""What fits look at: windows that hold their phrase once, rows that are trained, pieces as bytes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from benchmarks.rows.cases import context
from benchmarks.rows.ours import evidence
from benchmarks.rows.strata import choose
from benchmarks.rows.subject import FIT, TEST, VALIDATION
from tokenizers import Tokenizer, decoders, models

from row_subjects import few, small_subject
from tokengraft.training import refining
from tokengraft.training.input_rows import map_rows
from tokengraft.training.old_rows import spread
from tokengraft.training.resplitting import known_windows, known_words
from tokengraft.training.windows import Phrase, Place, Windows, cut_windows, places_of
from tokengraft.training.word_pieces import word_pieces


@pytest.fixture(autouse=True)
def few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)


def test_a_window_ends_where_its_phrase_stands_at_a_place_without_a_window() -> None:
    ids = np.arange(100, 160)
    ids[[10, 22]] = 7
    phrases = [Phrase("seven", (7,))]
    places = [Place(0, 10, 0), Place(0, 22, 0)]
    for kept, inside in ((places[0], slice(2, 22)), (places[1], slice(11, 39))):
        found = cut_windows([ids], [kept], phrases, among=places, before=40, after=16)
        expected = ids[inside] if kept.at == 22 else ids[:22]
        assert found.ids_WT[0, : found.length_W[0]].tolist() == expected.tolist()


def _occurrences(windows: Windows, phrases: tuple[Phrase, ...], goes_on_V: np.ndarray) -> list[int]:
    counts = []
    for ids, length, token in zip(windows.ids_WT, windows.length_W, windows.token_W, strict=True):
        counts.append(len(list(places_of([ids[:length]], [phrases[token]], goes_on_V))))
    return counts


@pytest.mark.parametrize("name", ["S1", "S2"])
def test_every_window_of_a_stratum_holds_its_phrase_once(name: str) -> None:
    subject = small_subject()
    stratum = choose(subject, name, background=600, wanted=8)
    goes_on_V = subject.words.goes_on_V
    for part in (FIT, VALIDATION, TEST):
        windows = stratum.windows[part]
        assert len(windows)
        assert set(_occurrences(windows, stratum.phrases, goes_on_V)) == {1}
        if name == "S1":  # the word itself, whose row is hidden, stands there no more
            hidden = np.array([p.without for p in stratum.phrases])[windows.token_W]
            assert not (windows.ids_WT == hidden[:, None]).any()


def test_every_window_of_a_known_word_holds_it_once() -> None:
    subject = small_subject()
    known = known_words(subject.tokenizer, subject.words, subject.ranks, subject.used_V)[:200]
    documents = subject.parts[FIT]
    windows = known_windows(documents, known, subject.words, a_word=1, bos=subject.bos)
    own = np.array([p.without for p in known])[windows.token_W]
    assert len(windows) > 20
    assert not (windows.ids_WT == own[:, None]).any()


def test_rows_that_are_not_trained_play_no_part_in_how_rows_spread() -> None:
    rows_VD = np.random.default_rng(0).standard_normal((50, 4))
    rows_VD[40:] = np.nan
    found = spread(rows_VD, np.arange(40))
    assert np.isfinite(found).all()
    assert found == pytest.approx(np.cov(rows_VD[:40].T))


@pytest.mark.parametrize("block_rows", [37, 4096])
def test_the_metric_of_predictions_is_that_of_the_whole_matrix(
    block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refining, "BLOCK_ROWS", block_rows)
    model = small_subject().model
    states_PD = np.random.default_rng(1).standard_normal((9, model.width)).astype(np.float32)
    output_VD = model.output_VD().astype(np.float64)
    expected = np.zeros((model.width, model.width))
    for state_D in states_PD.astype(np.float64):
        logits_V = output_VD @ state_D
        p_V = np.exp(logits_V - logits_V.max())
        p_V /= p_V.sum()
        mean_D = p_V @ output_VD
        expected += (output_VD * p_V[:, None]).T @ output_VD - np.outer(mean_D, mean_D)
    found = refining.fisher(model, states_PD, np.random.default_rng(0))
    assert found == pytest.approx(expected / 9, rel=1e-4, abs=1e-6)


def test_without_known_words_a_map_has_no_error_and_not_one_of_zero() -> None:
    subject = small_subject()
    given = context(subject, choose(subject, "S2", background=600, wanted=2), 0)
    shown = evidence(given)
    nothing = shown.known[1].of(np.zeros(len(shown.known[1]), np.bool_))
    found = map_rows(subject.model, given.input_VD, ((), nothing), (shown.phrases, shown.windows))
    assert np.isnan(found.error)
    assert np.isnan(found.error_of_composition)
    assert (found.rows_ND == found.composed_ND).all()


def test_the_decoder_says_whether_letters_are_bytes() -> None:
    vocabulary = {"a": 0, "\u00c3": 1, "\u2581b": 2, "\u0120": 3}
    bytewise = Tokenizer(models.BPE(vocab={"a": 0, "\u00c3": 1}, merges=[]))
    bytewise.decoder = decoders.ByteLevel()  # no piece of it has the letter of a space
    assert word_pieces(bytewise, 3).bytes_V == (b"a", b"\xc3", b"")
    spelled = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    spelled.decoder = decoders.Sequence([decoders.Metaspace(), decoders.Fuse()])
    # Here U+0120 is a letter of its own, as in Maltese.
    assert word_pieces(spelled, 4).bytes_V == (
        b"a",
        "\u00c3".encode(),
        b" b",
        "\u0120".encode(),
    )
