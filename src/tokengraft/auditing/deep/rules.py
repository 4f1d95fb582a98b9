"""E: defects of rows that need no comparison with other rows to be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokengraft.auditing.asking import CONFIG
from tokengraft.auditing.rule import Found, counted, listed, place, row_rule, shown
from tokengraft.auditing.tokens import EVERY_CHANGE
from tokengraft.checkpoint import Checkpoint
from tokengraft.families.configs import TIE_KEY
from tokengraft.row_findings import Ids, MatrixRows, Rows
from tokengraft.vocabulary import NAMED_TOKENS


@row_rule(
    "E203",
    severity="error",
    title="every value of a row is a number",
    bears_on=("inference", *EVERY_CHANGE),
)
def not_numbers(checkpoint: Checkpoint, rows: Rows) -> Iterator[Found]:
    """One value that is NaN or infinite in a row spoils every text that meets it.

    What it checks:
        No row of a matrix holds NaN or an infinity. In an input matrix, rows behind the last token
        are never read, so that there it is a warning.

    Why it matters:
        NaN spreads through every layer. In the output matrix one such row spoils the softmax of
        every token, whatever the text is.

    Example:
        Rows made by a division by zero, or a matrix that overflowed when it was cast to float16.

    Fix and its safety:
        None here: which values belong there is not known. Take the rows from an earlier checkpoint.

    Sources:
        IEEE 754; huggingface/transformers#35075 (covariance of rows that overflowed).
    """
    n_tokens = checkpoint.tokenizer.n_tokens if checkpoint.tokenizer is not None else 0
    for matrix in rows.matrices:
        found = matrix.nonfinite
        if found.count:
            harmless = not matrix.writes and min(found.first) >= n_tokens
            yield Found(
                f"{matrix.tensor}[{found.first[0]}]",
                f"{_rows(found)} with NaN or infinite values",
                _names(checkpoint, found),
                severity="warning" if harmless else None,
            )


@row_rule(
    "E204",
    severity="note",
    title="no token has a row of zeros",
    bears_on=EVERY_CHANGE,
)
def zero_rows(checkpoint: Checkpoint, rows: Rows) -> Iterator[Found]:
    """A row of zeros means nothing to the model, and as output it is as likely as the average.

    What it checks:
        No token's row is all zeros, the pad token's excepted. It is a warning where the token has a
        name (bos, eos) or the chat template needs it.

    Why it matters:
        A model that meets such a token has only its position to go by.

    Example:
        Tokens added with `resize_token_embeddings` in a program that fills with zeros.

    Fix and its safety:
        None here: the row has to be trained, or started from the rows of similar tokens.

    Sources:
        torch.nn.Embedding, `padding_idx`: that row is zero and gets no gradient.
    """
    tokenizer = checkpoint.tokenizer
    table = tokenizer.table() if tokenizer is not None else {}
    pads = (
        {tokenizer.named_id("pad"), tokenizer.named_id("unk")} if tokenizer is not None else set()
    )
    needed = {token.id for token in rows.structural}
    for matrix in rows.matrices:
        ids = [i for i in matrix.zeros.first if i in table and i not in pads]
        if ids:
            more = matrix.zeros.count - len(matrix.zeros.first)
            found = Ids(count=len(ids) + more, first=tuple(ids))
            yield Found(
                f"{matrix.tensor}[{ids[0]}]",
                f"{_rows(found)} of zeros",
                _names(checkpoint, found),
                severity="warning" if needed & set(ids) else None,
            )


@row_rule("E205", severity="note", title="no two tokens have the same row")
def equal_rows(checkpoint: Checkpoint, rows: Rows) -> Iterator[Found]:
    """Two tokens with the same bits in a row are one token to that side of the model.

    What it checks:
        No two tokens of a matrix have rows that are equal to the bit; rows of zeros are left to
        E204.

    Why it matters:
        In the input matrix the model cannot tell the two apart; in the output matrix they are
        always equally likely. It is so by design where a new token starts as a copy and was not
        trained yet, and natural among tokens that training never met.

    Example:
        A role token that was started as a copy of <|im_start|>.

    Fix and its safety:
        Display only: training tells them apart.

    Sources:
        Hewitt 2021, "Initializing new word embeddings for pretrained language models".
    """
    for matrix in rows.matrices:
        if matrix.repeated.count:
            groups = [_names(checkpoint, Ids(count=len(g), first=g)) for g in matrix.groups]
            yield Found(
                f"{matrix.tensor}[{matrix.repeated.first[0]}]",
                f"{_rows(matrix.repeated)} that equal another one to the bit",
                "; ".join(f"{{{names}}}" for names in groups[:3]),
                safety="display-only",
            )


@row_rule("E206", severity="note", title="no row is many times longer than all others")
def huge_rows(checkpoint: Checkpoint, rows: Rows) -> Iterator[Found]:
    """A row that is far longer than all others drowns whatever it is added to or compared with.

    What it checks:
        No token's row is at least eight times longer than the median row and eight robust standard
        deviations (of the logarithm) away from it.

    Why it matters:
        As output, such a token is either written always or never; as input it hides what stands
        beside it. Means and fits over rows must leave it out.

    Example:
        A new row that was trained alone with a learning rate made for adapters.

    Fix and its safety:
        Display only: some models keep such a row for their first token, and it is meant.

    Sources:
        Sun et al. 2024, "Massive Activations in Large Language Models".
    """
    for matrix in rows.matrices:
        if matrix.large.count:
            yield Found(
                f"{matrix.tensor}[{matrix.large.first[0]}]",
                f"{_rows(matrix.large)} up to {_times(matrix)} times as long as the median row",
                _names(checkpoint, matrix.large),
                safety="display-only",
            )


def _times(matrix: MatrixRows) -> str:
    return f"{matrix.largest / matrix.norm_median:,.0f}" if matrix.norm_median else "many"


@row_rule(
    "E207",
    severity="warning",
    title="the tie flag agrees with the bytes of both matrices",
    bears_on=("inference", *EVERY_CHANGE),
    answers=("E104",),
)
def tie_against_bytes(_: Checkpoint, rows: Rows) -> Iterator[Found]:
    """Where a file holds both matrices, the flag decides which one a loader uses for output.

    What it checks:
        Where both matrices are on disk and config.json says that the model is tied, they are equal
        byte by byte; where it says that the model is not tied, they differ (that is a note).

    Why it matters:
        transformers uses the input matrix of a tied model for output, other programs the output
        matrix that is there: they run two different models.

    Example:
        lm_head.weight was trained and saved, and config.json still says `tie_word_embeddings: true`.

    Fix and its safety:
        None here: set the flag to what the model was trained with.

    Sources:
        transformers#45127, unsloth#9331.
    """
    ties = rows.ties
    if ties is None:
        return
    if ties.said_tied and ties.differing_rows:
        yield Found(
            place(CONFIG, TIE_KEY),
            f"config.json says tied, and {ties.differing_rows:,} rows of {ties.output} differ",
            f"compared byte by byte with {ties.input}",
        )
    elif not ties.said_tied and not ties.differing_rows:
        yield Found(
            place(CONFIG, TIE_KEY),
            f"config.json says not tied, and {ties.output} equals {ties.input} to the byte",
            "as long as neither is trained, one of them would do",
            severity="note",
            safety="display-only",
        )


def _rows(ids: Ids) -> str:
    return counted(ids.count, "row")


def _names(checkpoint: Checkpoint, ids: Ids) -> str:
    """Tokens by text and id, those with a name or an added text first."""
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:
        return listed([str(row) for row in ids.first])
    table = tokenizer.table()
    named = {tokenizer.named_id(name) for name in NAMED_TOKENS}
    order: Sequence[int] = sorted(
        ids.first, key=lambda i: (i not in named, i not in tokenizer.added, i)
    )
    texts = [f"{shown(table[i])} ({i})" if i in table else f"row {i}" for i in order[:8]]
    rest = ids.count - len(texts)
    return listed(texts) + (f" and {rest:,} more" if rest > 0 else "")
