"""Run the initializers of all new rows, and report row wishes that cannot be met."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tokengraft.documents import Problem
from tokengraft.planning.draft import Draft, NewRow
from tokengraft.plans import Mean
from tokengraft.rows.choosing import Start, start_of
from tokengraft.rows.initializers import (
    INITIALIZERS,
    Drawn,
    Encode,
    Job,
    NewToken,
    Old,
    Rescaled,
)
from tokengraft.spelling import readable
from tokengraft.vocabulary import TokenId, Tokenizer

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# Keys of an `[[add]]` that an initializer cannot do without.
NEEDS = {"copy": "like", "meaning-mean": "meaning", "sequence": "sequence"}


# Which of these ids have a row that was found untrained, by the name of a tensor.
Untrained = Callable[[str, Sequence[int]], frozenset[int]]


def none_untrained(tensor: str, ids: Sequence[int]) -> frozenset[int]:
    """Stands where no rows can be read."""
    del tensor, ids
    return frozenset()


@dataclass(frozen=True, slots=True)
class Matrix:
    """One matrix that new rows are wanted for.

    Attributes:
        name: of its tensor; empty where none is known.
        done: tokens whose rows in it are known already.
    """

    job: Job
    name: str = ""
    done: frozenset[TokenId] = frozenset()


@dataclass(frozen=True, slots=True)
class Starts:
    """The starts of all new rows by token, and the wishes that could not be met.

    Attributes:
        untrained: by the name of a tensor, the old rows that were found untrained on the way.
        all_judged: whether that is so of all used rows, because some start is made of all of them.
    """

    found: Mapping[TokenId, Start]
    problems: tuple[Problem, ...] = ()
    untrained: Mapping[str, frozenset[int]] = field(default_factory=dict)
    all_judged: bool = False


def starts(
    draft: Draft,
    matrices: Sequence[Matrix],
    encode: Encode | None,
    untrained: Untrained = none_untrained,
) -> Starts:
    """Find where every new row starts, in each matrix.

    Texts are encoded in few calls, because a child process does it: all that initializers ask for
    in one round, and then what they ask for where the answer was empty. Then all the rows that might
    be parents are judged at once, and those found untrained are taken out.
    """
    known: dict[str, list[int]] = {}
    judged: frozenset[int] = frozenset()
    of_all = False
    out: dict[str, frozenset[int]] = {matrix.name: frozenset() for matrix in matrices}
    named = {
        i
        for row in draft.new_rows
        for i in (*(row.pieces or ()), _like(draft, row))
        if i is not None
    }
    while True:
        asked: dict[str, None] = {}
        ask = None if encode is None else _recording(known, asked)
        found, problems = _round(draft, matrices, ask, out)
        if encode is not None and asked:
            known |= dict(zip(asked, encode(list(asked)), strict=True))
            continue
        wanted = named.union(*known.values())
        of_all |= any(_is_of_all(source) for start in found.values() for source in start.sources)
        if of_all:
            wanted.update(range(n_used(draft)))
        ids = frozenset(wanted) - judged
        judged |= ids
        more = {name: untrained(name, sorted(ids)) for name in out} if ids else {}
        if not any(more.values()):
            return Starts(found, problems, out, of_all)
        out = {name: out[name] | more[name] for name in out}


def _is_of_all(source: object) -> bool:
    """Whether all used rows go into a row."""
    return isinstance(source, Mean | Drawn | Rescaled)


def n_used(draft: Draft) -> int:
    """How many rows of the base have a token."""
    n_tokens, layout = draft.tokenizer.n_tokens, draft.checkpoint.layout
    return min(n_tokens, layout.n_rows) if layout is not None and layout.n_rows else n_tokens


def _like(draft: Draft, row: NewRow) -> int | None:
    return None if row.like is None else draft.tokenizer.id_of(row.like)


def _round(
    draft: Draft,
    matrices: Sequence[Matrix],
    encode: Encode | None,
    untrained: Mapping[str, frozenset[int]],
) -> tuple[dict[TokenId, Start], tuple[Problem, ...]]:
    n_tokens = n_used(draft)
    length = _Lengths(draft.tokenizer)
    olds = [
        Old(
            job=matrix.job,
            n_tokens=n_tokens,
            encode=encode,
            untrained=untrained[matrix.name],
            length=length,
        )
        for matrix in matrices
    ]
    found: dict[TokenId, Start] = {}
    problems: list[Problem] = []
    for row in draft.new_rows:
        wanted = [
            old
            for matrix, old in zip(matrices, olds, strict=True)
            if row.token_id not in matrix.done
        ]
        if not wanted:
            continue
        start = start_of(row.init, _token(draft, row), wanted)
        if start is None:
            lost = any(untrained.values())
            problems.append(_nothing(row, can_ask=encode is not None, untrained=lost))
        else:
            found[row.token_id] = start
    return found, tuple(problems)


class _Lengths:
    """How many characters an id stands for, at least one; a byte or a part of a letter counts one."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] | None = None

    def __call__(self, token_id: int) -> int:
        if self._texts is None:
            self._texts = {i: text for text, i in self._tokenizer.vocab.items()}
        text = self._texts.get(token_id, "")
        if _BYTE.fullmatch(text):
            return 1
        return max(1, len(readable(text, self._tokenizer.byte_level)))


def _nothing(row: NewRow, *, can_ask: bool, untrained: bool) -> Problem:
    what = "the tokenizer makes nothing of its text"
    if untrained:
        what = "the tokenizer makes nothing of its text that has trained rows"
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
        like=_like(draft, row),
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
