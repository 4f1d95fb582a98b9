"""Verdicts for goals that need tokens of their own: roles, tools, thinking, protocol."""

from __future__ import annotations

from tokengraft.auditing.deep.answers import existing_rows, protocol_rows, untrained_rows
from tokengraft.auditing.rule import counted, listed, shown
from tokengraft.auditing.tokens import RECONCILE
from tokengraft.auditing.verdict import Case, blocked, told
from tokengraft.findings import Goal, Judgement, Verdict
from tokengraft.formats.template_text import markers
from tokengraft.formats.turns import turns
from tokengraft.tensors import DTYPE_BITS
from tokengraft.vocabulary import Tokenizer

# Rows are rounded up to this when a matrix grows, as plans do.
GROW_TO_MULTIPLE_OF = 64
# How many tokens the preset of a goal asks for.
TOKENS: dict[Goal, int] = {"roles": 1, "tools": 2, "thinking": 3}
_OF_ITS_OWN: dict[Goal, str] = {"tools": "tool", "thinking": "think"}
_DTYPE_BYTES = {"float32": 4, "float64": 8}  # of config.json's names; all others have two

TEACHING = (
    (
        "If you only add the token and train nothing: the text becomes one id, and its embedding row "
        "(the numbers that stand for it inside the model) is one that no training met. The model does not "
        "understand the token, and writes it never or by chance."
    ),
    (
        "A good start for the row (a mix of the rows of similar tokens) makes training shorter; it does "
        "not replace it. The input row must be trained for a token that the model reads, the output "
        "row for one that it writes."
    ),
)

NO_VOCABULARY = "Which ids are free is unknown: the vocabulary is not at hand."


def new_tokens(case: Case) -> Verdict:
    """The answer for a goal that needs tokens which the model has never seen."""
    if case.blocking:
        return blocked(case)
    reason = uneditable(case)
    if reason:
        return case.answer("do-not", [reason], case.command("show"))
    if not case.has_vocabulary:
        return case.answer("unknown", [NO_VOCABULARY, *TEACHING], case.command("show"))
    reasons = [*_existing(case), *_mended_first(case), *cost(case, TOKENS[case.goal]), *TEACHING]
    reasons += untrained_rows(case)
    return case.answer("needs-training", reasons, case.with_preset(case.goal))


def protocol(case: Case) -> Verdict:
    """The answer for replacing the markers around a chat turn."""
    if case.blocking:
        return blocked(case)
    tokenizer, end = case.checkpoint.tokenizer, case.facts.turn_end
    token_id = tokenizer.id_of(end) if tokenizer is not None and end is not None else None
    if token_id is None and not case.has_vocabulary:
        return case.answer("unknown", [NO_VOCABULARY, *TEACHING], case.command("show"))
    if tokenizer is None or end is None or token_id is None:
        reasons = [
            (
                "No chat template here ends a turn with a token, so there is no marker to rename: a "
                "protocol would need tokens of its own."
            ),
            *cost(case, 2),
            *TEACHING,
        ]
        return case.answer("needs-training", reasons, case.with_preset("protocol"))
    reasons = [
        *_mended_first(case),
        f"A turn ends with {shown(end)} ({token_id}).",
        *_opening(tokenizer),
        (
            "Renaming gives an id another text: the id and its rows stay, so what the model learned "
            "about it stays, and nothing has to be trained."
        ),
        (
            "Programs that look for the old text no longer find it: llama.cpp knows ends of turns by "
            "their text, servers know tool calls and thoughts by theirs."
        ),
        (
            'New ids instead of new texts (mode = "add") would start as copies of these rows and need '
            "training before they differ in meaning."
        ),
    ]
    reasons += protocol_rows(case)
    answer: Judgement = "needs-training" if protocol_rows(case) else "safe-change"
    return case.answer(answer, reasons, case.with_preset("protocol"))


def _opening(tokenizer: Tokenizer) -> list[str]:
    """Which token opens turns, or why `[protocol]` cannot take a pair of markers."""
    template = tokenizer.template()
    if template is None:
        return []
    found = turns(tokenizer, template)
    if found.start is not None and found.end is not None:
        return [f"A turn opens with {shown(found.start)} ({tokenizer.id_of(found.start)})."]
    reasons = [found.why_no_start, found.why_no_end]
    return [
        (
            f"[protocol] cannot replace a pair of markers here: {why}. [[rename]] gives each marker "
            "another text."
        )
        for why in reasons
        if why
    ]


def uneditable(case: Case) -> str:
    """Why no row can be written, "" if rows can (or are not at hand)."""
    layout = case.checkpoint.layout
    if layout is None or case.checkpoint.tensors is None:
        return ""
    parts = (*layout.part("input"), *layout.part("output"))
    fixed = next((tensor for tensor in parts if not tensor.editable), None)
    if fixed is not None:
        return f"{fixed.name} holds a row for each token and cannot be edited: {fixed.why_not}."
    return "" if layout.part("input") else "No input matrix was found among the weights."


def cost(case: Case, n_new: int) -> list[str]:
    """Which ids new tokens get, whether a matrix grows, and how many bytes are written."""
    facts = case.facts
    if facts.n_tokens is None:
        return []
    first, last = facts.n_tokens, facts.n_tokens + n_new - 1
    ids = f"id {first}" if n_new == 1 else f"ids {first} to {last}"
    said = f"{counted(n_new, 'new token')} would get {ids}"
    if facts.n_rows is None or facts.spare_rows is None:
        return [
            f"{said}; whether a matrix must grow is unknown, no file says how many rows there are."
        ]
    if n_new <= facts.spare_rows:
        said += f"; {facts.spare_rows:,} spare rows are there, so no matrix grows"
    else:
        grown = -(-(first + n_new) // GROW_TO_MULTIPLE_OF) * GROW_TO_MULTIPLE_OF
        said += f"; the matrices would grow from {facts.n_rows:,} to {grown:,} rows"
    return [f"{said}. {_bytes(case, n_new)}"]


def _bytes(case: Case, n_new: int) -> str:
    layout = case.checkpoint.layout
    tensors = [t for t in layout.tensors if t.part != "other"] if layout is not None else []
    if tensors:
        per_row = [(t.name, t.width * DTYPE_BITS[t.dtype] // 8) for t in tensors]
        rows = " and ".join(f"one of {size:,} bytes in {name}" for name, size in per_row)
        total = n_new * sum(size for _, size in per_row)
        return f"Each has a row to be trained: {rows}; {total:,} bytes in all."
    width = case.checkpoint.config("/hidden_size")
    if not isinstance(width, int) or isinstance(width, bool):
        return "How many bytes a row has is not known without weights."
    dtype = case.checkpoint.config("/torch_dtype") or case.checkpoint.config("/dtype")
    size = width * _DTYPE_BYTES.get(str(dtype), 2)
    matrices = 1 if case.facts.tied else 2
    return (
        f"By config.json each has {counted(matrices, 'row')} of {size:,} bytes to be trained, "
        f"{n_new * matrices * size:,} bytes in all; the weights are not at hand."
    )


def _existing(case: Case) -> list[str]:
    """Markers for the same purpose that the model's own template writes."""
    tokenizer, word = case.checkpoint.tokenizer, _OF_ITS_OWN.get(case.goal)
    template = tokenizer.template() if tokenizer is not None else None
    if tokenizer is None or template is None or word is None:
        return []
    own = [
        f"{shown(text)} ({token_id})"
        for text in markers(tokenizer, template)
        if word in text.lower() and (token_id := tokenizer.added_ids.get(text)) is not None
    ]
    if not own:
        return []
    return [
        (
            f"The chat template has markers for this already: {listed(own)}. If they serve you, change "
            f"nothing; {existing_rows(case, markers(tokenizer, template))}."
        )
    ]


def _mended_first(case: Case) -> list[str]:
    """What the plan puts into step before it adds anything."""
    first = tuple(f for f in case.mendable if f.fix == RECONCILE)
    return [f"First the plan puts files into step. {text}" for text in told(first)]
