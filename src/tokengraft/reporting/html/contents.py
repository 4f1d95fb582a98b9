"""Which parts a report has, and what is said in the place of a part that is empty."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.answers import ReportPart
from tokengraft.reports import Report

NOT_TRAINED = "not trained: the new rows have their starting values only"
TRAIN_LEFT = "the recipe asks for training, and it was left undone: the new rows have their starting values only"
NO_BEHAVIOUR = "no behaviour check was run"
NO_TOKENS = "the plan names no token"
NO_ROWS = "the plan makes no row, or there are no weights to look at"
SAID = (NOT_TRAINED, TRAIN_LEFT, NO_BEHAVIOUR, NO_TOKENS, NO_ROWS)  # the view's own words


def contents(report: Report) -> tuple[ReportPart, ...]:
    """All parts in their order."""
    return tuple(_parts(report))


def _parts(report: Report) -> Iterator[ReportPart]:
    yield _part("changes", "")
    yield _part("tokens", "" if report.plan.tokens else NO_TOKENS)
    yield _part("texts", "")
    yield _part("neighbours", "" if report.matrices else NO_ROWS)
    yield from _training(report)
    if report.positions is not None:
        yield _part("context", "")
    yield _part("proof", report.unproved)
    yield _part("next", "")
    yield _part("records", "")


def _training(report: Report) -> Iterator[ReportPart]:
    why = ""
    if report.training is None:
        why = TRAIN_LEFT if report.asks_training else NOT_TRAINED
    yield _part("training", why)
    yield _part("behaviour", "" if report.behaviour is not None else NO_BEHAVIOUR)


def _part(name: str, why: str) -> ReportPart:
    return ReportPart(name=name, shown=not why, why=why)
