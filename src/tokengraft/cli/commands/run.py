"""`tokengraft run`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tokengraft.cli.commands.verify import after
from tokengraft.cli.options import Making, command, existing_file, making_options
from tokengraft.cli.session import Session

if TYPE_CHECKING:
    from tokengraft import flow
    from tokengraft.answers import Run


@command("run")
@existing_file("recipe", "RECIPE")
@making_options
def run(session: Session, *, recipe: Path, making: Making) -> int:
    """Audit, plan, train, apply, verify and report; a second call goes on where the first stopped.

    It trains where the recipe's [train] names stages, and writes the report, OUT.html, beside OUT.
    Findings, and tokens that are not worth adding, are reported and do not stop it. Exits with 1 only
    if a check fails.
    """
    from tokengraft import flow
    from tokengraft.reporting.row_texts import row_texts
    from tokengraft.reporting.text import Beside

    session.watch.writes(making.out)
    started = time.monotonic()
    with session.listening() as listen:
        if flow.follow(listen):
            return 0
        story = flow.run(
            recipe,
            base=making.base,
            out=making.out,
            copy=making.copy,
            replace=making.replace,
            overrides=making.overrides,
            language=session.language,
            listen=listen,
        )
    told = _told(story, round(time.monotonic() - started, 3))
    then = after(making.out, story.source, passed=told.verify.passed)
    texts = row_texts(story.planned.plan, story.planned.checkpoint.tokenizer)
    beside = Beside(next=(then,), texts=texts, place=str(making.out))
    session.show(told, beside)
    return 0 if told.verify.passed else 1


def _told(story: flow.Story, seconds: float) -> Run:
    from tokengraft.answers import Run

    return Run(
        audit=story.audit,
        plan=story.planned.plan,
        stages=() if story.trained is None else story.trained.stages,
        tokens=None if story.trained is None else story.trained.tokens,
        receipt=story.applied.receipt,
        verify=story.verification,
        undone=story.applied.undone,
        resumed=story.resumed,
        reports=tuple(str(path) for path in story.reports),
        serve=story.serve,
        seconds=seconds,
    )
