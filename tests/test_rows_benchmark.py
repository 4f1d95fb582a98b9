"""The benchmark of embedding rows: what it must find of rows whose answer is known."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from benchmarks.rows import __main__ as command
from benchmarks.rows import probing, whole
from benchmarks.rows.absent import without_phrases
from benchmarks.rows.cases import Context, Rows, context
from benchmarks.rows.kept import digest, every_seed, forget, is_same_run, keep, kept
from benchmarks.rows.measure import Result, Truth, measure, scores, truth
from benchmarks.rows.peers import PEERS
from benchmarks.rows.strata import Stratum, choose
from benchmarks.rows.subject import FIT, TEST, VALIDATION, Subject
from benchmarks.rows.tables import against_peers, markdown, recovery, summarise
from benchmarks.rows.writing import EXACT_LEAST, binary_kl

from row_subjects import few, small_subject
from tokengraft.training.windows import Phrase, cut_windows, places_of


@pytest.fixture(scope="module")
def subject() -> Subject:
    return small_subject()


@pytest.fixture(autouse=True)
def few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)


@cache
def chosen(name: str, wanted: int) -> Stratum:
    return choose(small_subject(), name, background=600, wanted=wanted)


@cache
def aliases() -> tuple[Stratum, Truth]:
    """Tokens that stand for one existing piece each."""
    subject = small_subject()
    found = chosen("S2", 6)
    counts = np.bincount(np.concatenate(list(subject.parts[TEST])), minlength=4000)
    words = subject.words
    often = [i for i in np.argsort(-counts) if words.begins_V[i] and len(words.bytes_V[i]) > 3][:5]
    phrases = tuple(Phrase(f"alias {i}", (int(i),)) for i in often)
    windows = {}
    for part in (FIT, VALIDATION, TEST):
        encoded = list(subject.parts[part])
        places = list(places_of(encoded, phrases, words.goes_on_V))
        windows[part] = cut_windows(encoded, places[:60], phrases, before=24, after=12)
    told = Stratum("alias", phrases, windows, found.backgrounds, np.full(len(phrases), 1e-3))
    return told, truth(subject, told)


def test_an_alias_reads_exactly_like_its_token_and_takes_half_of_its_mass(subject: Subject) -> None:
    stratum, against = aliases()
    ids = [p.pieces[0] for p in stratum.phrases]
    model = subject.model
    rows = Rows(model.input_VD()[ids].astype(float), model.output_VD()[ids].astype(float))
    arrays, _ = scores(subject, stratum, against, rows)
    assert float(arrays["read_kl"].max()) < 1e-9
    mean = context(subject, stratum, 0)
    reference, _ = scores(
        subject,
        stratum,
        against,
        Rows(mean.mean_of_all(mean.input_VD), mean.mean_of_all(mean.output_VD)),
    )
    assert recovery(arrays["read_kl"], reference["read_kl"]) == pytest.approx(1.0, abs=1e-9)
    assert arrays["canonical"] == pytest.approx(0.5, abs=1e-4)
    # p* = p / (1 + p): half of the two together, and less than q everywhere
    assert (arrays["write_gap"] < 0).all()
    assert (arrays["write_gap"] > -np.log(2) - 1e-6).all()


def test_another_tokens_row_does_not_read_like_an_alias(subject: Subject) -> None:
    stratum, against = aliases()
    ids = [p.pieces[0] for p in stratum.phrases]
    model = subject.model
    wrong = Rows(
        model.input_VD()[ids[::-1]].astype(float), model.output_VD()[ids[::-1]].astype(float)
    )
    arrays, _ = scores(subject, stratum, against, wrong)
    middle = len(ids) // 2
    assert (np.delete(arrays["read_kl"], middle) > 0.01).all()


def test_permuted_descriptions_recover_nothing_of_what_their_own_do(subject: Subject) -> None:
    stratum = chosen("S3", 16)
    against = truth(subject, stratum)
    given = context(subject, stratum, 0)
    own = PEERS["subword-mean"](given)
    order = np.roll(np.arange(len(stratum.phrases)), 1)
    permuted = Rows(own.input_ND[order], own.output_ND[order])
    mean = PEERS["mean"](given)
    kl = {
        name: scores(subject, stratum, against, rows)[0]["read_kl"]
        for name, rows in (("own", own), ("permuted", permuted), ("mean", mean))
    }
    assert recovery(kl["own"], kl["mean"]) > 0.15
    assert recovery(kl["permuted"], kl["mean"]) < recovery(kl["own"], kl["mean"]) / 2


def test_hidden_rows_of_resplit_words_reach_no_method(subject: Subject) -> None:
    stratum = chosen("S1", 6)
    given = context(subject, stratum, 0)
    hidden = [p.without for p in stratum.phrases]
    assert np.isnan(given.input_VD[hidden]).all()
    assert not given.known_V[hidden].any()
    for phrase in stratum.phrases:
        assert len(phrase.pieces) > 1
        assert not set(phrase.pieces) & set(hidden)
        assert subject.words.text(phrase.pieces) == phrase.text
    for name in ("subword-mean", "eeve", "bil", "adaptivocab", "first-last", "hewitt"):
        rows = PEERS[name](given)
        assert np.isfinite(rows.input_ND).all()
        assert np.isfinite(rows.output_ND).all()


def test_true_rows_are_the_ceiling_of_resplit_words(subject: Subject) -> None:
    stratum = chosen("S1", 6)
    model = subject.model
    hidden = [p.without for p in stratum.phrases]
    gold = Rows(model.input_VD()[hidden].astype(float), model.output_VD()[hidden].astype(float))
    arrays, _ = scores(subject, stratum, truth(subject, stratum), gold)
    assert float(arrays["gold_read_kl"].max()) < 1e-9
    assert float(arrays["gold_write_kl"].max()) < 1e-6


def test_documents_are_in_one_part_only(subject: Subject) -> None:
    seen = [ids.tobytes() for part in subject.parts.values() for ids in part]
    assert len(seen) == len(set(seen))


def test_a_window_holds_its_phrase_once_and_merges_it_into_one_id(subject: Subject) -> None:
    stratum = chosen("S2", 6)
    windows = stratum.windows[TEST]
    assert len(windows) >= 12
    merged = windows.merged(subject.model.n_rows)
    for n in range(len(windows)):
        phrase = stratum.phrases[windows.token_W[n]]
        plain = windows.ids_WT[n, : windows.length_W[n]].tolist()
        at = int(windows.at_W[n])
        assert tuple(plain[at : at + len(phrase.pieces)]) == phrase.pieces
        expected = [*plain[:at], subject.model.n_rows + int(windows.token_W[n])]
        expected += plain[at + len(phrase.pieces) :]
        assert expected == merged[n, : len(expected)].tolist()


def test_a_method_is_measured_or_says_why_not(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(probing, "STEPS", 2)  # how it is probed has tests of its own
    monkeypatch.setattr(probing, "BATCH", 2)
    monkeypatch.setattr(whole, "CHUNKS", 8)
    stratum = chosen("S2", 6)
    methods = {name: (PEERS[name], [0]) for name in ("mean", "eeve", "tokens2words", "omp")}
    results = []
    for seed, found in measure(subject, stratum, methods, say=lambda _: None):
        keep(tmp_path, seed, found)
        results += kept(tmp_path, found[0].method, seed) or found
    assert kept(tmp_path, "another", 0) is None
    assert kept(tmp_path, "omp", 0) is None  # the next run may have a donor
    assert is_same_run(tmp_path, {"tokens": 6, "model": subject.name})
    assert is_same_run(tmp_path, {"tokens": 6, "model": subject.name})
    assert not is_same_run(tmp_path, {"tokens": 7, "model": subject.name})
    lines = {line["method"]: line for line in summarise(results)}
    assert set(methods) == set(lines)
    assert lines["omp"]["skipped"] == "no donor"
    assert lines["mean"]["rho_read"] == lines["mean"]["rho_write"] == 0.0
    # EEVE writes the first piece: it is written wherever that piece is due
    assert lines["eeve"]["leak"] > 1.5
    assert lines["eeve"]["rho_read"] > 0
    assert "rho_read_ci" not in lines["eeve"]  # six tokens give no interval
    assert lines["eeve"]["bpb"] > lines["eeve"]["bpb_pieces"]
    table = markdown(summarise(results))
    assert table.count("\n") == 5
    assert "| omp | no donor |" in table


def test_seeds_are_kept_one_by_one_and_a_method_is_their_mean(tmp_path: Path) -> None:
    for seed, kl in enumerate((1.0, 2.0, 6.0)):
        figures = {"s": kl, **({"p50": 0.5} if seed == 0 else {})}
        keep(tmp_path, seed, [Result("fit", "tied", {"read_kl": np.array([kl, 0.0])}, figures)])
    keep(tmp_path, 0, [Result("fit+more", "", {"read_kl": np.ones(2)}, {"s": 1.0})])
    (found,) = every_seed(tmp_path, "fit")
    assert found.seeds == 3
    assert found.arrays["read_kl"] == pytest.approx([3.0, 0.0])
    assert found.figures == pytest.approx({"s": 3.0, "p50": 0.5})
    forget(tmp_path, "fit")
    assert every_seed(tmp_path, "fit") == []
    assert len(every_seed(tmp_path, "fit+more")) == 1


def test_a_run_goes_on_where_another_stopped(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(whole, "CHUNKS", 4)
    stratum = choose(subject, "S2", background=600, wanted=4)
    asked: list[int] = []

    def counted(given: Context) -> Rows:
        asked.append(given.seed)
        return PEERS["mean"](given)

    methods = {"mean": PEERS["mean"], "omp": PEERS["omp"], "counted": counted}
    monkeypatch.setattr(command, "METHODS", methods)

    def lines(**changed: object) -> dict[str, Result]:
        wish = {"out": tmp_path, "methods": ["counted"], "again": [], "seeds": 1, "use": []}
        found = command._results(subject, stratum, Namespace(**{**wish, **changed}), None)
        return {result.method: result for result in found}

    assert list(lines(methods=["omp", "counted"])) == ["mean", "omp", "counted"]
    assert lines()["counted"].seeds == 1
    assert asked == [0]
    assert lines(seeds=3)["counted"].seeds == 3
    assert asked == [0, 1, 2]
    assert "omp" not in lines()  # that it was left out was true of that run
    assert lines(methods=[])["counted"].seeds == 3
    assert lines(methods=[], again=["counted"])["counted"].seeds == 1
    assert asked == [0, 1, 2, 0]


def test_other_windows_are_another_measurement(subject: Subject) -> None:
    stratum = chosen("S2", 6)
    assert digest(stratum) == digest(chosen("S2", 6))
    moved = replace(stratum.windows[TEST], at_W=stratum.windows[TEST].at_W + 1)
    assert digest(stratum) != digest(replace(stratum, windows={**stratum.windows, TEST: moved}))


def test_a_token_that_stands_for_a_description_is_read_and_never_due(subject: Subject) -> None:
    stratum = chosen("S3", 8)
    methods = {name: (PEERS[name], [0]) for name in ("mean", "lf-description", "first-last")}
    results = [r for _, found in measure(subject, stratum, methods, say=str) for r in found]
    lines = {line["method"]: line for line in summarise(results)}
    described = lines["lf-description"]
    assert described["rho_read"] > 0.05
    assert described["written"] == described["taken"] > 0
    assert not {"leak", "write_kl", "canonical"} & set(described)
    assert "rho_write" not in described
    (pair,) = against_peers(results, ["lf-description"], ["first-last"], "")
    assert pair["read"]["peer"] == "first-last"
    assert "write" not in pair


def test_text_behind_a_phrase_that_is_not_there_is_told_from_what_stands_before(
    subject: Subject,
) -> None:
    stratum = chosen("S3", 4)
    windows = stratum.windows[TEST]
    kl_N, nats_N = without_phrases(subject, stratum)
    kl, nats = np.zeros(len(windows)), np.zeros(len(windows))
    for n in range(len(windows)):
        first, end = int(windows.at_W[n]), int(windows.last_piece()[n]) + 1
        ids = torch.from_numpy(windows.ids_WT[n, : end + windows.after])
        with torch.inference_mode():
            told, found = (
                subject.model.network(given[None]).logits[0, place:-1].float().log_softmax(-1)
                for given, place in (
                    (ids, end - 1),
                    (torch.cat([ids[:first], ids[end:]]), first - 1),
                )
            )
        kl[n] = float((told.exp() * (told - found)).sum(-1).mean())
        nats[n] = float(-found.gather(1, ids[end:, None]).sum())
    counts = np.bincount(windows.token_W)
    assert kl_N == pytest.approx(np.bincount(windows.token_W, kl) / counts, rel=1e-3)
    assert nats_N == pytest.approx(np.bincount(windows.token_W, nats), rel=1e-3)


def test_every_training_free_peer_gives_rows_that_can_be_stored(subject: Subject) -> None:
    given = context(subject, chosen("S2", 6), 0)
    for name, peer in PEERS.items():
        if name == "omp":
            continue  # it has no donor here
        rows = peer(given)
        for values in (rows.input_ND, rows.output_ND, rows.tied().input_ND):
            assert values.shape == (len(given.phrases), subject.model.width), name
            assert np.isfinite(values).all(), name


def test_what_is_due_on_neutral_text_is_exact_wherever_a_first_piece_is_likely(
    subject: Subject,
) -> None:
    told, found = chosen("S2", 6), truth(subject, chosen("S2", 6)).duties
    neutral, model = found.neutral, subject.model
    firsts = [np.exp(neutral.log_first(model, p, n)) for n, p in enumerate(told.phrases)]
    token = int(np.argmax([first.sum() for first in firsts]))
    first_P, pieces = firsts[token], told.phrases[token].pieces
    exact_P = np.zeros(len(first_P))
    for n, (sequence, at) in enumerate(zip(neutral.sequence_P, neutral.at_P, strict=True)):
        ids = torch.tensor([[*neutral.ids_ST[sequence, : at + 1].tolist(), *pieces]])
        with torch.no_grad():
            logs = torch.log_softmax(model.network(ids).logits[0].double(), dim=-1)
        rest = sum(float(logs[at + k, pieces[k]]) for k in range(1, len(pieces)))
        exact_P[n] = first_P[n] * np.exp(rest)
    is_likely = first_P >= EXACT_LEAST
    assert is_likely.sum() > 20
    assert found.q_NP[token][is_likely] == pytest.approx(exact_P[is_likely], rel=1e-3)
    assert found.q_NP[token].mean() == pytest.approx(exact_P.mean(), rel=1e-2)


def test_binary_kl_is_exact_for_small_probabilities() -> None:
    q, p = np.array([1e-9, 0.25, 0.0]), np.array([2e-9, 0.5, 1e-9])
    expected = [1e-9 * np.log(0.5) + 1e-9, 0.25 * np.log(0.5) + 0.75 * np.log(1.5), 1e-9]
    assert binary_kl(q, p) == pytest.approx(expected, rel=1e-5)
