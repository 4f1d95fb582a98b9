"""Run the initializers of all new rows, and report row wishes that cannot be met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tokengraft.documents import Problem
from tokengraft.planning.draft import Draft, NewRow
from tokengraft.rows.choosing import Start, start_of
from tokengraft.rows.initializers import INITIALIZERS, Encode, Job, NewToken, Old
from tokengraft.vocabulary import TokenId

# Keys of an `[[add]]` that an initializer cannot do without.
NEEDS = {"copy": "like", "meaning-mean": "meaning", "sequence": "sequence"}


@dataclass(frozen=True, slots=True)
class Starts:
    """The starts of all new rows by token, and the wishes that could not be met."""

    found: Mapping[TokenId, Start]
    problems: tuple[Problem, ...] = ()


def starts(
    draft: Draft,
    jobs: Sequence[Job],
    encode: Encode | None,
    done: Mapping[TokenId, frozenset[int]],
) -> Starts:
    """Find where every new row starts, in one matrix for each job.

    Args:
        done: by token, the matrices (places in `jobs`) whose rows are known already.

    Texts are encoded in few calls, because a child process does it: all that initializers ask for
    in one round, and then what they ask for where the answer was empty.
    """
    known: dict[str, list[int]] = {}
    while True:
        asked: dict[str, None] = {}
        ask = None if encode is None else _recording(known, asked)
        result = _round(draft, jobs, ask, done)
        if encode is None or not asked:
            return result
        known |= dict(zip(asked, encode(list(asked)), strict=True))


def _round(
    draft: Draft,
    jobs: Sequence[Job],
    encode: Encode | None,
    done: Mapping[TokenId, frozenset[int]],
) -> Starts:
    n_tokens = draft.tokenizer.n_tokens
    if draft.checkpoint.layout is not None and draft.checkpoint.layout.n_rows:
        n_tokens = min(n_tokens, draft.checkpoint.layout.n_rows)
    matrices = [Old(job=job, n_tokens=n_tokens, encode=encode) for job in jobs]
    found: dict[TokenId, Start] = {}
    problems: list[Problem] = []
    for row in draft.new_rows:
        known = done.get(row.token_id, frozenset())
        asked = [matrix for at, matrix in enumerate(matrices) if at not in known]
        if not asked:
            continue
        start = start_of(row.init, _token(draft, row), asked)
        if start is None:
            problems.append(_nothing(row, can_ask=encode is not None))
        else:
            found[row.token_id] = start
    return Starts(found, tuple(problems))


def _nothing(row: NewRow, *, can_ask: bool) -> Problem:
    what = "the tokenizer makes nothing of its text"
    return Problem(
        where=f"add {row.text!r}: init",
        what=f"{row.init} has nothing to go on: "
        + (what if can_ask else "there is no tokenizer.json to ask for the old ids of a text"),
        suggestion='init = "auto" takes what there is',
    )


def _recording(known: dict[str, list[int]], asked: dict[str, None]) -> Encode:
    """Answer from what is known; note what is not, and answer as if it were one token."""

    def encode(texts: Sequence[str]) -> list[list[int]]:
        asked.update((text, None) for text in texts if text not in known)
        return [known.get(text, [0]) for text in texts]

    return encode


def _token(draft: Draft, row: NewRow) -> NewToken:
    return NewToken(
        text=row.text,
        use=row.use,
        meaning=row.meaning,
        like=None if row.like is None else draft.tokenizer.id_of(row.like),
        sequence=row.sequence,
        pieces=row.pieces,
    )


def check_rows(draft: Draft) -> Draft:
    """Report row wishes that cannot be met, before anything is computed."""
    for row in draft.new_rows:
        for key, what, suggestion in _problems(draft, row):
            draft = draft.with_problem(f"add {row.text!r}: {key}", what, suggestion)
    return draft


def _problems(draft: Draft, row: NewRow) -> Iterator[tuple[str, str, str]]:
    """What is wrong with the wishes for one row: key, what, suggestion."""
    known = ("auto", *INITIALIZERS)
    given = {"like": row.like, "sequence": row.sequence, "meaning": row.meaning}
    if row.init not in known:
        yield "init", f"no initializer is named {row.init!r}", f"one of {', '.join(known)}"
        return
    if row.like is not None and draft.tokenizer.id_of(row.like) is None:
        yield "like", f"{row.like!r} is no token of the base", ""
    needed = NEEDS.get(row.init)
    if needed is not None and not given[needed]:
        yield "init", f"{row.init} needs `{needed}`", ""
    # `meaning` is more than a start: training distils it. The other two say how to start, twice.
    wanted = [key for key in ("like", "sequence") if given[key] is not None]
    if row.init == "auto" and len(wanted) > 1:
        yield "like", "`like` and `sequence` both say where the row starts", "keep one of them"
    for key in wanted:
        if row.init not in ("auto", next(name for name, k in NEEDS.items() if k == key)):
            yield key, f"init = {row.init!r} does not look at `{key}`", 'init = "auto" does'
