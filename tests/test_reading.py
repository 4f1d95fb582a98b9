"""What `[train] data` names is read row by row; what cannot be read is told, or refused with a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokengraft.errors import MalformedFile, ReadFailed, TokengraftError, UnsupportedFormat
from tokengraft.training import reading
from tokengraft.training.reading import check_readable, read_rows


def test_lines_arrays_and_documents_are_read_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n\nnot JSON\n{"text": "y"}\n')
    (tmp_path / "lines.json").write_text('{"text": "x"}\n{"text": "y"}\n')
    (tmp_path / "array.json").write_text('\n [{"text": "x"}, {"text": "y"}]')
    (tmp_path / "t.txt").write_text("\n\none\ntwo\n\n\nthree")
    rows = list(read_rows("a.jsonl", tmp_path))
    assert [1, 3, 4] == [row.line for row in rows]
    assert ["", "the line is not JSON", ""] == [row.problem for row in rows]
    for name in ("lines.json", "array.json"):
        assert [{"text": "x"}, {"text": "y"}] == [r.value for r in read_rows(name, tmp_path)]
    told = [(row.line, row.value["text"]) for row in read_rows("t.txt", tmp_path)]
    assert told == [(3, "one\ntwo"), (7, "three")]


def test_one_row_that_cannot_be_read_says_why_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfone\n\n\xff\xfe\n\ntwo\r\nthree")
    deep = b"[" * 200_000 + b"\n"
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\n' + deep + b'{"text": "two"}')
    (tmp_path / "one.json").write_text('{\n  "text":\n  "one"\n}')
    (tmp_path / "blank.json").write_text("\n \n")
    told = [(row.line, row.value, row.problem) for row in read_rows("t.txt", tmp_path)]
    assert told == [
        (1, {"text": "one"}, ""),
        (3, None, "the text is not UTF-8"),
        (5, {"text": "two\nthree"}, ""),
    ]
    told = [(row.line, row.value, row.problem) for row in read_rows("a.jsonl", tmp_path)]
    assert told == [
        (1, {"text": "one"}, ""),
        (2, None, "the line is JSON nested too deeply"),
        (3, {"text": "two"}, ""),
    ]
    assert [{"text": "one"}] == [row.value for row in read_rows("one.json", tmp_path)]
    assert [] == list(read_rows("blank.json", tmp_path))


def test_lines_and_texts_without_an_end_are_read_in_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 20)
    monkeypatch.setattr(reading, "MAX_DOCUMENT", 10)
    (tmp_path / "a.jsonl").write_text(
        '{"text": "x"}\n' + '{"text": "' + "y" * 50 + '"}\n{"text": "z"}\n'
    )
    told = [(row.line, row.problem) for row in read_rows("a.jsonl", tmp_path)]
    assert told == [(1, ""), (2, "the line is longer than 64 MiB"), (3, "")]
    (tmp_path / "t.txt").write_text("abcdefghijklm\nn\n\no\n")
    told = [(row.line, row.value["text"]) for row in read_rows("t.txt", tmp_path)]
    assert told == [(1, "abcdefghij"), (1, "klm\nn"), (4, "o")]


@pytest.mark.parametrize(
    ("name", "data", "error", "says"),
    [
        ("nowhere.jsonl", None, ReadFailed, "no data nowhere"),
        ("a.csv", b"x", UnsupportedFormat, "kind .csv"),
        ("broken.json", b"[1, 2", MalformedFile, "not JSON"),
        ("latin.json", b'["\xe9"]', MalformedFile, "not JSON"),
        ("deep.json", b"[" * 200_000, MalformedFile, "not JSON"),
        ("broken.parquet", b"PAR1 and no table PAR1", MalformedFile, "no table"),
        ("x" * 300 + ".jsonl", None, ReadFailed, "cannot be read"),
        ("mem.jsonl", "/proc/self/mem", ReadFailed, "cannot be read"),
        ("mem.json", "/proc/self/mem", ReadFailed, "cannot be read"),
        ("mem.txt", "/proc/self/mem", ReadFailed, "cannot be read"),
    ],
)
def test_data_that_cannot_be_read_are_refused_with_a_way_out(
    name: str, data: bytes | str | None, error: type[TokengraftError], says: str, tmp_path: Path
) -> None:
    if isinstance(data, bytes):
        (tmp_path / name).write_bytes(data)
    elif data is not None:
        (tmp_path / name).symlink_to(data)
    if name.endswith("parquet"):
        pytest.importorskip("datasets", reason="needs tokengraft[train]")
    with pytest.raises(error, match=says) as refused:
        check_readable(name, tmp_path)
    assert refused.value.subject == str(tmp_path / name)
    assert refused.value.hint


def test_data_that_may_not_be_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user without the right to it would see it; root, who may run tests, has every right."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("a.jsonl", "a.json", "a.txt"):
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(Path, "open", denied)
    for name in ("a.jsonl", "a.json", "a.txt"):
        with pytest.raises(ReadFailed, match="cannot be read") as refused:
            list(read_rows(name, tmp_path))
        assert refused.value.detail == "Permission denied"
