"""What is known beforehand of tokens must come out: aliases recover everything, the mean nothing."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

import tiny_chat
from tokengraft.errors import MalformedFile
from tokengraft.training import evidence
from tokengraft.training.corpus import TEST, Corpus, documents, part_of, read_corpus
from tokengraft.training.evidence import Part, part_of_corpus
from tokengraft.training.judging import Measured, decided, read_recovery, write_recovery
from tokengraft.training.repeating import repeats
from tokengraft.training.subject import Subject, open_subject
from tokengraft.training.windows import Phrase
from tokengraft.trainings import Repeats

BASE = Path(__file__).resolve().parents[1] / "models" / "tiny-qwen3-moe-base"
Case = tuple[Subject, Corpus, tuple[Phrase, ...], Part]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Common words of one piece, looked at as if they were new tokens that stand for that piece."""
    torch.set_num_threads(1)
    of = random.Random(5)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(tiny_chat.document(of) for _ in range(250)), encoding="utf-8")
    subject = open_subject(BASE)
    corpus = read_corpus(subject, path.name, path.parent)
    counts = np.bincount(np.concatenate(corpus.parts[TEST]), minlength=subject.model.n_rows)
    words = [
        int(i)
        for i in np.argsort(-counts)
        if subject.words.begins_V[i] and len(subject.words.bytes_V[i]) > 4
    ][:6]
    phrases = tuple(Phrase(subject.words.text([i]), (i,)) for i in words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "BACKGROUND", 4_000)
        return subject, corpus, phrases, part_of_corpus(subject, corpus, phrases, TEST, 0)


def ids(case: Case) -> list[int]:
    return [phrase.pieces[0] for phrase in case[2]]


def test_a_token_with_the_row_of_what_it_stands_for_is_read_alike(case: Case) -> None:
    subject, _, phrases, part = case
    rows = subject.model.input_VD().astype(np.float64)
    found = read_recovery(subject.model, part.windows, phrases, rows[ids(case)])
    assert found == pytest.approx(np.ones(len(phrases)), abs=1e-4)


def test_a_row_that_knows_nothing_recovers_nothing_and_a_strangers_row_less(case: Case) -> None:
    subject, _, phrases, part = case
    rows = subject.model.input_VD().astype(np.float64)
    mean = np.repeat(rows.mean(axis=0)[None], len(phrases), 0)
    found = read_recovery(subject.model, part.windows, phrases, mean)
    assert found == pytest.approx(np.zeros(len(phrases)), abs=1e-6)
    permuted = rows[np.roll(ids(case), 1)]
    of_others = read_recovery(subject.model, part.windows, phrases, permuted)
    assert float(of_others.mean()) < 0.3


def test_what_is_written_as_often_as_its_piece_recovers_nearly_all(case: Case) -> None:
    subject, _, phrases, part = case
    rows = subject.model.output_VD().astype(np.float64)
    recovered, leak = write_recovery(subject, part, phrases, rows[ids(case)])
    assert float(recovered.min()) > 0.9
    # The old token is still there: p / (1 + p) is between half of what is due and all of it.
    assert 0.5 <= float(leak.min())
    assert float(leak.max()) <= 1.0
    louder = rows[ids(case)] * 1.5
    _, more = write_recovery(subject, part, phrases, louder)
    assert float(more.max()) > 2


def test_the_repeat_test_treats_an_alias_as_the_token_that_it_is(case: Case) -> None:
    subject, _, _, _ = case
    read, written = (
        rows.astype(np.float64) for rows in (subject.model.input_VD(), subject.model.output_VD())
    )
    silent = -written[ids(case)]
    told = repeats(subject, read[ids(case)], written[ids(case)])
    mute = repeats(subject, read[ids(case)], silent)
    assert sum(one.highest for one in told) > 10 * sum(one.highest for one in mute)


# ── verdicts ─────────────────────────────────────────────────────────────────────────────────────

PHRASE = Phrase(" word", (1, 2))
DESCRIBED = Phrase("<|x|>", (1, 2), is_described=True)
WHOLE = Corpus({}, 1000, 250, is_whole=True)
GOOD = Measured(read=0.7, write=0.9, leak=1.1, n_windows=24, uses=30)


@pytest.mark.parametrize(
    ("phrase", "found", "verdict", "reason"),
    [
        (PHRASE, GOOD, "go", "70% of reading is recovered on held-out text"),
        (PHRASE, Measured(read=0.1, write=0.9), "do-not-add", "at least 20% is wanted"),
        (PHRASE, Measured(read=0.9, write=-3.0), "do-not-add", "at least 20% is wanted"),
        (PHRASE, Measured(read=0.9, write=0.9, leak=8.0), "do-not-add", "8.0 times as often"),
        (PHRASE, Measured(uses=0), "do-not-add", "never uses it"),
        (PHRASE, Measured(uses=3, n_windows=2), "unknown", "shows it 2 times"),
        (DESCRIBED, Measured(read=0.5), "go", "only supervised training"),
        (None, Measured(), "unknown", "nothing says what it stands for"),
        (
            PHRASE,
            Measured(
                read=0.9, write=0.9, repeats=Repeats(passed=False, highest=0.01, old_tokens=1)
            ),
            "do-not-add",
            "asked to repeat it",
        ),
        (  # a model that repeats nothing says nothing by it
            PHRASE,
            Measured(
                read=0.9, write=0.9, repeats=Repeats(passed=False, highest=0.01, old_tokens=0)
            ),
            "go",
            "90% of writing is recovered on held-out text",
        ),
    ],
)
def test_verdicts(phrase: Phrase | None, found: Measured, verdict: str, reason: str) -> None:
    answer, reasons = decided(phrase, found, WHOLE)
    assert verdict == answer
    assert reason in " ".join(reasons)


def test_what_supervised_training_taught_is_not_judged_by_a_description() -> None:
    answer, _ = decided(DESCRIBED, Measured(read=-1.0), WHOLE, is_learned=True)
    assert "unknown" == answer


# ── documents ────────────────────────────────────────────────────────────────────────────────────


def test_a_document_is_in_one_part_wherever_it_stands(tmp_path: Path) -> None:
    blocks = [f"{n} " * 500 for n in range(40)]
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join(blocks), encoding="utf-8")
    found = list(documents(path.name, tmp_path, []))
    assert [block.strip() for block in blocks] == [one.strip() for one in found]
    path.write_text("\n\n".join(reversed(blocks)), encoding="utf-8")
    again = {text: part_of(text) for text in documents(path.name, tmp_path, [])}
    assert {text: part_of(text) for text in found} == again
    assert {"fit", "validation", "test"} == set(again.values())


def test_short_documents_are_read_together_and_long_ones_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("short\n\n" * 400, encoding="utf-8")
    assert all(len(text) >= 800 for text in list(documents(path.name, tmp_path, []))[:-1])
    path.write_text("a line of text\n" * 1000, encoding="utf-8")
    assert all(len(text) < 2000 for text in documents(path.name, tmp_path, []))


def test_rows_of_chats_give_the_text_of_their_messages(tmp_path: Path) -> None:
    row = {
        "messages": [
            {"role": "user", "content": "Hello" * 100},
            {"role": "assistant", "content": [{"type": "text", "text": "Hi" * 200}]},
        ],
        "id": "not text",
    }
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (text,) = documents(path.name, tmp_path, [])
    assert "Hello" * 100 + "\n" + "Hi" * 200 == text


def test_text_is_read_as_other_data_are(case: Case, tmp_path: Path) -> None:
    subject, *_ = case
    rows = [{"text": f"{n} is a number. " * 60} for n in range(3)]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "lines.json").write_text("\n".join([lines[0], "not JSON", *lines[1:]]))
    (tmp_path / "marked.txt").write_text("\ufeff" + "\n\n".join(row["text"] for row in rows))
    texts = [row["text"] for row in rows]
    for name in ("lines.json", "marked.txt"):
        assert texts == list(documents(name, tmp_path, [])), name
    corpus = read_corpus(subject, "lines.json", tmp_path)
    said = "rows of lines.json that cannot be read: 1; line 2: the line is not JSON"
    assert corpus.notes == (said,)
    assert corpus.n_bytes == sum(map(len, texts))
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MalformedFile, match=r"no row of bytes\.txt") as refused:
        read_corpus(subject, "bytes.txt", tmp_path)
    assert refused.value.detail == "line 1: the text is not UTF-8"


def test_tables_are_text_too(case: Case, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs tokengraft[train]")
    text = "A table holds this sentence. " * 40
    datasets.Dataset.from_list([{"text": text}]).to_parquet(tmp_path / "a.parquet")
    assert [text] == list(documents("a.parquet", tmp_path, []))


def test_a_verdict_on_text_that_supervised_training_saw_says_so() -> None:
    plain = Phrase("<b>", (5, 6))
    for is_seen, where in ((True, "on text that sft saw too"), (False, "on held-out text")):
        _, reasons = decided(plain, Measured(read=0.9, write=0.8), WHOLE, is_seen=is_seen)
        assert reasons == [
            f"90% of reading is recovered {where}",
            f"80% of writing is recovered {where}",
        ]
