"""The numbers that verdicts rest on. What is not at hand is None, never a guess."""

from __future__ import annotations

from tokengraft.auditing.asking import (
    context_length_of,
    n_rows_of,
    n_tokens_of,
    stop_ids_of,
)
from tokengraft.checkpoint import Checkpoint
from tokengraft.families import trained_length
from tokengraft.findings import Facts
from tokengraft.formats.chat_template import turn_end
from tokengraft.row_findings import Rows
from tokengraft.vocabulary import NAMED_TOKENS, Tokenizer


def facts(checkpoint: Checkpoint, rows: Rows | None = None) -> Facts:
    """Collect the numbers of a checkpoint, without an opinion."""
    tokenizer, layout, tensors = checkpoint.tokenizer, checkpoint.layout, checkpoint.tensors
    n_tokens, n_rows = n_tokens_of(checkpoint), n_rows_of(checkpoint)
    length, _ = context_length_of(checkpoint)
    spare = None if n_tokens is None or n_rows is None else max(0, n_rows - n_tokens)
    declared = tokenizer.declared if tokenizer is not None else ()
    return Facts(
        family=checkpoint.family.name,
        n_tokens=n_tokens,
        n_rows=n_rows,
        n_rows_from=layout.n_rows_from if layout is not None and n_rows is not None else None,
        spare_rows=spare,
        tied=layout.tied if layout is not None else None,
        context=length,
        trained_context=trained_length(checkpoint.family, length)[0],
        weights_bytes=tensors.size_bytes if tensors is not None else None,
        n_tensors=len(tensors.tensors) if tensors is not None else None,
        added_tokens={table.file: len(table.by_content()) for table in declared},
        named=_named(tokenizer),
        stop_ids=stop_ids_of(checkpoint)[0],
        rows_read=rows is not None and bool(rows.matrices),
        turn_end=None if tokenizer is None else turn_end(tokenizer),
        commit=checkpoint.commit,
    )


def _named(tokenizer: Tokenizer | None) -> dict[str, str | None]:
    if tokenizer is None:
        return {}
    return {name: tokenizer.named_content(name) for name in NAMED_TOKENS[:4]}
