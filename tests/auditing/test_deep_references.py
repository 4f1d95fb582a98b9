"""Which rows serve as reference, and how well few of them stand for all others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import deep_shapes
import numpy as np
import pytest
from deep_shapes import N_TINY, Matrix
from planting import IM_END
from tokenizers import Tokenizer

import tiny
from tokengraft.auditing.deep import references
from tokengraft.auditing.deep.reading import read_rows
from tokengraft.formats.loading import load
from tokengraft.row_findings import Rows
from tokengraft.row_statistics import RowStatistics, scale_of, values_of
from tokengraft.tensors import TensorRef


def _rows(folder: Path) -> Rows:
    return read_rows(load(folder))


def _verdicts(rows: Rows) -> dict[str, str]:
    return {token.token: token.verdict for token in rows.structural}


@pytest.mark.parametrize(
    ("spare", "why"),
    [(0, "only 0 rows"), (3, "only 3 rows"), (7, "only 7 rows")],
)
def test_too_few_unused_rows_show_nothing(
    spare: int, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "_impossible", lambda _: iter(()))
    rows = _rows(tiny.build(tmp_path / "a", n_rows=N_TINY + spare))
    assert {"unknown"} == set(_verdicts(rows).values())
    assert all(why in matrix.why_not for matrix in rows.matrices)
    assert () == rows.untrained


def test_reserved_tokens_help_out_where_padding_rows_are_few(tmp_path: Path) -> None:
    added = (*tiny.QWEN_LIKE, *(f"<|reserved_special_token_{n}|>" for n in range(10)))
    reserved = range(N_TINY, N_TINY + 10)
    fields = {"added": added, "n_rows": N_TINY + 10}
    folder = deep_shapes.trained(tmp_path / "a", untrained=(*reserved, IM_END), **fields)
    rows = _rows(folder)
    assert [IM_END] == [token.id for token in rows.lacking()]
    assert rows.matrices[0].unused == "10 reserved tokens"


@pytest.mark.parametrize("kind", ["bpe", "byte-fallback"])
@pytest.mark.parametrize("tied", [False, True])
def test_bytes_that_no_text_has_help_out_where_no_row_is_spare(
    tied: bool, kind: str, tmp_path: Path
) -> None:
    made = tiny.Tiny(kind=kind)  # type: ignore[arg-type]
    bytes_ = [made.vocab()[text] for text in _impossible(kind)]
    assert len(bytes_) == 13
    end = next(at for at, token in made.table().items() if token.content == "<|im_end|>")
    fields = {"kind": kind, "tied": tied, "n_rows": made.n_tokens()}
    rows = _rows(deep_shapes.trained(tmp_path / "a", untrained=(*bytes_, end), **fields))
    assert [end] == [token.id for token in rows.lacking()]
    assert {"13 impossible bytes"} == {matrix.unused for matrix in rows.matrices}


def _impossible(kind: str) -> list[str]:
    """Every byte that no valid UTF-8 holds, found by writing all characters there are."""
    codes = (code for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    possible = set("".join(map(chr, codes)).encode())
    never = [byte for byte in range(256) if byte not in possible]
    return [f"<0x{byte:02X}>" if kind == "byte-fallback" else chr(byte) for byte in never]


@pytest.mark.parametrize("n", [8, 13, 64])
def test_few_unused_rows_do_not_hide_others_like_them(n: int) -> None:
    """Rows of one distribution: the share that the limit of n of them misses, of width 2048."""
    rng = np.random.default_rng(n)
    missed = []
    for _ in range(20):
        values = rng.normal(0.0, 0.02, (n + 200, 2048))
        values[n + 100 :] *= 4.0  # the trained ones
        rows = _statistics(values, unused=range(n), trained=range(n + 100, n + 200))
        scale = scale_of(rows, writes=False)
        assert not isinstance(scale, str)
        verdicts = [scale.verdict(float(v)) for v in values_of(rows, scale)]
        missed += [verdict != "untrained" for verdict in verdicts[n : n + 100]]
        assert {"trained"} == set(verdicts[n + 100 :])
    assert np.mean(missed) < 0.02


def _statistics(values: Matrix, *, unused: range, trained: range) -> RowStatistics:
    """Statistics of rows by their definition."""
    middle, other = values[list(unused)].mean(axis=0), values[list(trained)].mean(axis=0)
    n = len(values)
    return RowStatistics(
        ref=TensorRef("m", "F32", values.shape, "f", 0, 4 * values.size),
        norms=np.linalg.norm(values, axis=1),
        distances=np.linalg.norm(values - middle, axis=1),
        directions=np.zeros(n),
        zeros=np.zeros(n, np.bool_),
        nonfinite=np.zeros(n, np.int64),
        digests=np.arange(n),
        unused=tuple(unused),
        trained=tuple(trained),
        unused_norm=float(np.linalg.norm(middle)),
        away_norm=float(np.linalg.norm(middle - other)),
    )


def test_padding_rows_of_zeros_are_no_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deep_shapes.trained(tmp_path / "a", untrained=(IM_END,))

    def edit(values: Matrix) -> None:
        values[N_TINY:] = 0

    deep_shapes.change(folder, edit)
    # Then the bytes that no text has are asked; those of this model are trained like all others.
    rows = _rows(folder)
    assert {"unknown"} == set(_verdicts(rows).values())
    assert all("like the rows of frequent pieces" in m.why_not for m in rows.matrices)
    monkeypatch.setattr(references, "_impossible", lambda _: iter(()))
    rows = _rows(folder)
    assert {"unknown"} == set(_verdicts(rows).values())
    assert all("all zeros" in matrix.why_not for matrix in rows.matrices)


def test_a_tied_model_without_spare_rows_is_judged_as_its_texts_say(data: Path) -> None:
    """stories260K against how often its 512 tokens occur in texts like those it was trained on."""
    folder = data / "models" / "stories260K"
    rows = _rows(folder)
    matrix = rows.matrices[0]
    assert matrix.compared is not None
    assert (13, 64, 0) == (
        matrix.compared.n_unused,
        matrix.compared.n_trained,
        matrix.compared.flagged,
    )
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = (data / "text" / "tinystories" / "tiny_stories_944k.txt").read_text(encoding="utf-8")
    seen = Counter(library.encode(text).ids)
    untrained = matrix.compared.untrained.first  # the first 64 of 169
    assert (169, 64) == (matrix.compared.untrained.count, len(untrained))
    assert [] == [token_id for token_id in untrained if seen[token_id]]
    # Its texts are separated by <s>; </s> was never met, and generation is told to stop at it.
    assert {"<s>": "trained", "</s>": "untrained"} == _verdicts(rows)


def test_rows_without_any_reference_are_called_unknown(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "_impossible", lambda _: iter(()))
    rows = _rows(data / "models" / "stories260K")
    assert all("only 0 rows" in matrix.why_not for matrix in rows.matrices)
    assert {"unknown"} == set(_verdicts(rows).values())
