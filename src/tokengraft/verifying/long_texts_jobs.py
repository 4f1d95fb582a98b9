"""What both models are to read, as the child that runs them wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokengraft.verifying.windows import DEPTHS, Hidden

# Kinds of texts. The base reads each against a clock of its own, in seconds; the result, of the same
# size, reads the texts that the base came to.
SHORT, CUT, KEYS, LONG, LONG_KEYS = "short", "cut", "keys", "long", "long keys"
SECONDS = {SHORT: 300.0, CUT: 200.0, KEYS: 200.0, LONG: 700.0, LONG_KEYS: 700.0}

Range = tuple[int, int]
Job = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """Texts for both models.

    Attributes:
        names: of the files that the windows were taken from.
        trained: where the scaling of the result starts, in tokens.
        wanted: the length that the result states, in tokens.
        windows: ids, all of one length.
        begin: the ids with which every text opens.
        keys: texts with passkeys, by length.
    """

    names: tuple[str, ...]
    trained: int
    wanted: int
    windows: Sequence[tuple[int, ...]]
    begin: tuple[int, ...] = ()
    keys: Mapping[int, Sequence[Hidden]] = field(default_factory=dict)

    @property
    def long(self) -> int:
        """The length of the windows."""
        return len(self.windows[0])

    @property
    def short(self) -> int:
        """The length of the texts that would have fitted before."""
        return min(self.trained, self.long)

    @property
    def last(self) -> Range:
        """The end of a window, foretold by the base from the last `short` tokens alone too."""
        return self.long - self.short // 2, self.long

    def jobs(self) -> dict[str, Job]:
        """Texts by kind; each text with the ranges in which its tokens are scored."""
        short, long = self.short, self.long
        parts = [ids[:short] for ids in self.windows]
        found = {SHORT: _job(SHORT, parts, ranges(short, short))}
        found |= self._hidden(KEYS, short)
        if long > short:
            kept = short - len(self.begin)
            ends = [(*self.begin, *ids[-kept:]) for ids in self.windows]
            cut = _job(CUT, ends, [(short - short // 2, short)])
            found[CUT] = {**cut, "models": [0]}
            found[LONG] = _job(LONG, self.windows, [*ranges(short, long), self.last])
            found |= self._hidden(LONG_KEYS, long)
        return found

    def _hidden(self, kind: str, n_tokens: int) -> dict[str, Job]:
        texts = [
            {"ids": list(one.ids), "ranges": [(n_tokens - one.n_answer, n_tokens)]}
            for one in self.keys.get(n_tokens, ())
        ]
        job = {**_job(kind, (), ()), "texts": texts, "at_least": len(DEPTHS)}
        return {kind: job} if texts else {}


def ranges(short: int, n_tokens: int) -> list[Range]:
    """Half the short length, the other half, and then each time as much again.

    The first range begins at 1: the first token of a text is foretold by nothing.
    """
    found = []
    begin, end = 1, max(short // 2, 2)
    while end < n_tokens:
        found.append((begin, end))
        begin, end = end, short if end < short else 2 * end
    return [*found, (begin, n_tokens)]


def _job(kind: str, texts: Sequence[Sequence[int]], scored: Sequence[Range]) -> Job:
    return {
        "texts": [{"ids": list(ids), "ranges": list(scored)} for ids in texts],
        "models": [0, 1],
        "seconds": SECONDS[kind],
        "at_least": 1,
    }
