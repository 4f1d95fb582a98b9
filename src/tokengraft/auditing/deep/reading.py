"""Read the rows of a checkpoint and say what they show. The only part of an audit that reads rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tokengraft.auditing.asking import trusted_tokenizer
from tokengraft.auditing.deep.references import references_of, structural
from tokengraft.checkpoint import Checkpoint
from tokengraft.events import Done, Listen, Started, ignore
from tokengraft.formats.byte_ranges import RangeRows, source_of
from tokengraft.formats.row_reading import read_statistics
from tokengraft.layout import VocabTensor
from tokengraft.row_findings import (
    Compared,
    Ids,
    MatrixRows,
    Rows,
    RowVerdict,
    Ties,
    TokenRow,
    TokenRows,
)
from tokengraft.row_statistics import (
    FEWEST_UNUSED,
    RowStatistics,
    Scale,
    large_norms,
    scale_of,
    values_of,
)
from tokengraft.tensors import ROW_DTYPES
from tokengraft.vocabulary import Tokenizer

SHOWN = 64  # ids of a list; the rest is counted
_GROUPS, _OF_A_GROUP = 8, 8
# What a token has to be written by the model for; all others need only be read.
_WRITTEN = "turn end"

_Read = tuple[MatrixRows, RowStatistics, Scale | None]


def read_rows(checkpoint: Checkpoint, listen: Listen = ignore) -> Rows:
    """Read every matrix with one row a token, and judge its rows.

    Raises:
        ReadFailed: the system refuses.
        SourceChanged: a file became shorter meanwhile.
    """
    tokenizer, layout, tensors = (
        trusted_tokenizer(checkpoint),
        checkpoint.layout,
        checkpoint.tensors,
    )
    if tensors is None or layout is None:
        return Rows(why_not="the weights are not at hand")
    if tokenizer is None or not tokenizer.n_tokens:
        return Rows(why_not="without a tokenizer that agrees with itself, no row has a token")
    found = [tensor for tensor in layout.tensors if tensor.part in ("input", "output")]
    found.sort(key=lambda tensor: (tensor.part, tensor.name))
    readable = [tensor for tensor in found if _is_readable(checkpoint, tensor)]
    if not readable:
        why = next((f"{t.name}: {t.why_not}" for t in found if t.why_not), "no matrix was found")
        return Rows(why_not=f"no matrix holds plain rows ({why})")
    total = sum(tensors.tensors[tensor.name].size_bytes for tensor in readable)
    listen(Started("rows", str(checkpoint.root), total))
    read = [_read(checkpoint, tokenizer, tensor, listen) for tensor in readable]
    listen(Done("rows", str(checkpoint.root)))
    return _told(checkpoint, tokenizer, read)


def _is_readable(checkpoint: Checkpoint, tensor: VocabTensor) -> bool:
    tensors = checkpoint.tensors
    return (
        tensor.axis == 0
        and tensor.dtype in ROW_DTYPES
        and tensors is not None
        and tensor.name in tensors.tensors
    )


def _read(
    checkpoint: Checkpoint, tokenizer: Tokenizer, tensor: VocabTensor, listen: Listen
) -> _Read:
    assert checkpoint.tensors is not None
    assert checkpoint.layout is not None
    ref = checkpoint.tensors.tensors[tensor.name]
    matrix = RangeRows(source_of(checkpoint.files[ref.file]), ref)
    known = references_of(tokenizer, tensor.n_rows)
    if known.unused and not matrix.sample(known.unused[:SHOWN]).any():
        # Zeros that a program filled in show nothing of how rows begin that are trained later.
        without = references_of(tokenizer, tensor.n_rows, padding=False)
        known = without if len(without.unused) >= FEWEST_UNUSED else known
    rows = read_statistics(
        matrix,
        unused=known.unused,
        trained=known.trained,
        listen=listen,
    )
    tied = checkpoint.layout.tied
    writes = tensor.part == "output" or tied
    scale = scale_of(rows, writes=writes)
    n_tokens = min(tokenizer.n_tokens, rows.n_rows)
    found = _matrix(rows, n_tokens).model_copy(
        update={
            "reads": tensor.part == "input",
            "writes": writes,
            "unused": known.told,
            "compared": None if isinstance(scale, str) else _compared(rows, scale, n_tokens),
            "why_not": scale if isinstance(scale, str) else "",
        }
    )
    return found, rows, None if isinstance(scale, str) else scale


def _matrix(rows: RowStatistics, n_tokens: int) -> MatrixRows:
    norms = rows.norms[:n_tokens]
    finite = norms[np.isfinite(norms)]
    repeated = rows.repeated(n_tokens)
    large = large_norms(rows, n_tokens)
    return MatrixRows(
        tensor=rows.ref.name,
        reads=False,
        writes=False,
        n_rows=rows.n_rows,
        size_bytes=rows.ref.size_bytes,
        norm_median=_short(float(np.median(finite))) if finite.size else 0.0,
        zeros=_ids(np.flatnonzero(rows.zeros[:n_tokens]).tolist()),
        nonfinite=_ids(np.flatnonzero(rows.nonfinite).tolist()),
        repeated=_ids(sorted(row for group in repeated for row in group)),
        groups=tuple(tuple(group[:_OF_A_GROUP]) for group in repeated[:_GROUPS]),
        large=_ids(large),
        largest=_short(float(finite.max())) if finite.size else 0.0,
    )


def _compared(rows: RowStatistics, scale: Scale, n_tokens: int) -> Compared:
    like = np.flatnonzero(values_of(rows, scale)[:n_tokens] <= scale.upper)
    return Compared(
        indicator=scale.indicator,
        upper=_short(scale.upper),
        lower=_short(scale.lower),
        unused_median=_short(scale.unused[0]),
        trained_median=_short(scale.trained[0]),
        overlap=_short(scale.overlap),
        n_unused=scale.n_unused,
        n_trained=scale.n_trained,
        flagged=scale.flagged,
        untrained=_ids(like.tolist()),
    )


def _told(checkpoint: Checkpoint, tokenizer: Tokenizer, read: Sequence[_Read]) -> Rows:
    uses = structural(checkpoint)
    read = [_contradicted(one, read) for one in read]
    n_rows = min(rows.n_rows for _, rows, _ in read)
    others = [int(token_id) for token_id in tokenizer.added if token_id not in uses]
    needed = [_token(tokenizer, i, use, read) for i, use in uses.items() if i < n_rows]
    rest = [_token(tokenizer, i, (), read) for i in sorted(others) if i < n_rows]
    return Rows(
        bytes_read=sum(rows.ref.size_bytes for _, rows, _ in read),
        matrices=tuple(matrix for matrix, _, _ in read),
        structural=tuple(needed),
        untrained=tuple(token for token in rest if token.verdict == "untrained"),
        ties=_ties(checkpoint, read),
    )


def _contradicted(one: _Read, read: Sequence[_Read]) -> _Read:
    """Count the frequent pieces that this matrix calls untrained and the other one trained."""
    matrix, rows, scale = one
    others = [(r, s) for m, r, s in read if m.tensor != matrix.tensor and s is not None]
    if scale is None or matrix.compared is None or len(others) != 1:
        return one
    other, other_scale = others[0]
    own_values, other_values = values_of(rows, scale), values_of(other, other_scale)
    both = [row for row in rows.trained if row < other.n_rows and own_values[row] <= scale.upper]
    number = sum(other_scale.verdict(float(other_values[row])) == "trained" for row in both)
    compared = matrix.compared.model_copy(update={"contradicted": number})
    return matrix.model_copy(update={"compared": compared}), rows, scale


def _token(
    tokenizer: Tokenizer, token_id: int, uses: tuple[str, ...], read: Sequence[_Read]
) -> TokenRows:
    rows = tuple(_token_row(token_id, *one) for one in read)
    text = tokenizer.added.get(token_id)  # type: ignore[call-overload]
    content = text.content if text is not None else _piece(tokenizer, token_id)
    must = [row.verdict for row in rows if row.reads or _WRITTEN in uses]
    verdicts: Sequence[RowVerdict] = must or [row.verdict for row in rows]
    verdict: RowVerdict = "trained"
    if "untrained" in verdicts:
        verdict = "untrained"
    elif "unknown" in verdicts:
        verdict = "unknown"
    return TokenRows(id=token_id, token=content, uses=uses, rows=rows, verdict=verdict)


def _piece(tokenizer: Tokenizer, token_id: int) -> str:
    return next((text for text, i in tokenizer.vocab.items() if i == token_id), "")


def _token_row(
    token_id: int, matrix: MatrixRows, rows: RowStatistics, scale: Scale | None
) -> TokenRow:
    known: Mapping[str, object] = {}
    if scale is not None:
        value = float(values_of(rows, scale)[token_id])
        known = {
            "indicator": _finite(value),
            "z_unused": _finite(scale.z_unused(value)),
            "z_trained": _finite(scale.z_trained(value)),
            "verdict": scale.verdict(value),
        }
    norm = float(rows.norms[token_id])
    return TokenRow.model_validate(
        {
            "tensor": matrix.tensor,
            "reads": matrix.reads,
            "writes": matrix.writes,
            "norm": _finite(norm) or 0.0,
            **known,
        }
    )


def _ties(checkpoint: Checkpoint, read: Sequence[_Read]) -> Ties | None:
    """Compare the one input matrix with the one output matrix, if the files hold both."""
    inputs = [rows for matrix, rows, _ in read if matrix.reads]
    outputs = [rows for matrix, rows, _ in read if not matrix.reads]
    if len(inputs) != 1 or len(outputs) != 1 or checkpoint.layout is None:
        return None
    one, other = inputs[0], outputs[0]
    common = min(one.n_rows, other.n_rows)
    if one.ref.dtype != other.ref.dtype or one.ref.row_bytes != other.ref.row_bytes:
        differing = max(one.n_rows, other.n_rows)
    else:
        differing = int((one.digests[:common] != other.digests[:common]).sum())
        differing += abs(one.n_rows - other.n_rows)
    return Ties(
        input=one.ref.name,
        output=other.ref.name,
        said_tied=checkpoint.layout.tied,
        differing_rows=differing,
    )


def _ids(rows: Sequence[int]) -> Ids:
    return Ids(count=len(rows), first=tuple(rows[:SHOWN]))


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else _short(value)


def _short(value: float) -> float:
    """Four digits: more of them would differ between machines."""
    return float(f"{value:.4g}")
