"""`verify`: prove what can be proved of a result, and ask its model if a suite is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokengraft.events import Listen, ignore
from tokengraft.flow import behaving
from tokengraft.flow.making import load
from tokengraft.results import Verification


def verify(  # noqa: PLR0913 - one keyword an option of the command
    out: Path,
    *,
    against: str | None = None,
    deep: bool = False,
    witnesses: Sequence[str] = (),
    texts: Path | Sequence[Path] = (),
    behaviour: str | None = None,
    before: str | None = None,
    record: Path | None = None,
    folder: Path | None = None,
    listen: Listen = ignore,
) -> Verification:
    """Prove what can be proved about a result; what was not run is called skipped.

    Args:
        behaviour: a suite that asks the model, or `auto`; `before` is another model to compare with,
            and `record` the file into which goes what was measured.
        folder: where the paths of the recipe start, to make what was before; by default, the present
            folder.
    """
    base = None if against is None else load(against, listen)
    from tokengraft import verifying

    if record is not None:
        behaving.may_write_record(record)
    with behaving.asked(
        out, behaviour, base=base, before=before, folder=folder, listen=listen
    ) as questions:
        proved = verifying.verify(
            out,
            against=base,
            witnesses=witnesses,
            texts=[texts] if isinstance(texts, Path) else texts,
            deep=deep,
            questions=questions,
            listen=listen,
        )
    if record is not None and proved.behaviour is not None:
        behaving.write_record(proved.behaviour, record)
    return proved
