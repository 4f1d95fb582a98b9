"""For each rule of rows, checkpoints that break it, and some that come close and do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from deep_shapes import EMBED, HEAD, N_TINY, Matrix, change, trained
from planting import END_OF_TEXT, IM_END, IM_START, TOOL_CALL, Defect, Make, built, config

import tiny
from raw_tensors import tensor_bytes, write_weights

WORD = 270  # a piece of the vocabulary
RESERVED = (*tiny.QWEN_LIKE, "<|spare_1|>", "<|spare_2|>")


def good(*untrained: int, **fields: object) -> Make:
    return lambda folder: trained(folder, untrained=untrained, **fields)


def edited(edit: Callable[[Matrix], None], *tensors: str, **fields: object) -> Make:
    return lambda folder: change(trained(folder, **fields), edit, *tensors)


def put(row: int, value: float) -> Callable[[Matrix], None]:
    def edit(values: Matrix) -> None:
        values[row, 3] = value

    return edit


def times(row: int, factor: float) -> Callable[[Matrix], None]:
    def edit(values: Matrix) -> None:
        values[row] *= factor

    return edit


def copied(row: int, source: int, *, nearly: bool = False) -> Callable[[Matrix], None]:
    def edit(values: Matrix) -> None:
        values[row] = values[source]
        if nearly:
            values[row, 0] += 0.01

    return edit


def both_matrices(*, tied: bool, differing: int) -> Make:
    """A checkpoint that holds both matrices whatever the flag says."""

    def make(folder: Path) -> Path:
        trained(folder, files={"config.json": {"tie_word_embeddings": tied}})
        weights = tensor_bytes(folder)
        weights[HEAD] = weights[EMBED]
        write_weights(folder, weights, shards=1)

        def edit(values: Matrix) -> None:
            values[:differing] += 1

        return change(folder, edit, HEAD) if differing else folder

    return make


DEFECTS: tuple[Defect, ...] = (
    Defect(
        "E201",
        bad=(
            good(IM_START, IM_END),
            good(IM_END, tied=True),
            good(END_OF_TEXT),
            good(TOOL_CALL, dtype="F32"),
        ),
        good=(
            good(),
            good(IM_START, n_rows=N_TINY + 4),  # too few rows to compare with
            built(shards=0),
            good(WORD),
        ),
    ),
    Defect(
        "E202",
        bad=(
            good(N_TINY, N_TINY + 1, added=RESERVED),
            good(N_TINY, added=RESERVED, tied=True),
        ),
        good=(good(added=RESERVED), good(IM_START)),
    ),
    Defect(
        "E203",
        bad=(
            edited(put(WORD, np.nan), EMBED),
            edited(put(IM_END, np.inf), HEAD),
            edited(put(N_TINY + 5, -np.inf), tied=True),
            edited(put(N_TINY + 5, np.nan), EMBED),
            edited(put(N_TINY + 5, np.nan), HEAD, dtype="F16"),
        ),
        good=(good(), edited(put(WORD, 3e38), HEAD)),
    ),
    Defect(
        "E204",
        bad=(
            edited(times(WORD, 0), EMBED),
            edited(times(WORD, 0), HEAD),
            edited(times(IM_START, 0), tied=True),
        ),
        good=(
            edited(times(END_OF_TEXT, 0), EMBED),  # the pad token
            edited(times(N_TINY + 3, 0)),  # a padding row
            edited(times(WORD, 1e-30), EMBED, dtype="F32"),  # tiny is not zero
        ),
        also=frozenset({"E201"}),
    ),
    Defect(
        "E205",
        bad=(
            edited(copied(WORD, WORD + 1), EMBED),
            edited(copied(IM_START, IM_END)),
            edited(copied(WORD, IM_END), tied=True, dtype="F32"),
        ),
        good=(
            edited(copied(WORD, WORD + 1, nearly=True)),
            edited(copied(N_TINY + 1, N_TINY + 2)),
        ),
    ),
    Defect(
        "E206",
        bad=(
            edited(times(WORD, 60), EMBED),
            edited(times(IM_END, 100), HEAD),
        ),
        good=(edited(times(WORD, 3)), edited(times(N_TINY + 1, 100))),
    ),
    Defect(
        "E207",
        bad=(
            both_matrices(tied=True, differing=3),
            both_matrices(tied=True, differing=384),
            both_matrices(tied=False, differing=0),
        ),
        good=(
            both_matrices(tied=True, differing=0),
            both_matrices(tied=False, differing=1),
            good(tied=True),
            config(tie_word_embeddings=False),
        ),
        also=frozenset({"E206"}),
    ),
)
