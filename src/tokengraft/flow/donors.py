"""Open a model that rows are taken from: a folder beside the recipe, a folder, or a repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import TokengraftError
from tokengraft.events import Listen
from tokengraft.flow.ports import matrix_port, unusable
from tokengraft.formats import loading
from tokengraft.hub import locate

if TYPE_CHECKING:
    from tokengraft.planning.donating import Donor, OpenDonor


def donor_port(folder: Path, listen: Listen) -> OpenDonor:
    """Open donors, whose paths are relative to the recipe's folder."""
    from tokengraft.planning.donating import Donor

    def donor(named: str) -> Donor:
        try:
            near = folder / named
            place = near if near.is_dir() else locate(named, listen=listen)
            return _opened(named, loading.load(place))
        except TokengraftError as error:
            return Donor(problem=unusable(named, error))

    return donor


def _opened(named: str, checkpoint: Checkpoint) -> Donor:
    from tokengraft.planning.donating import Donor, meanings

    tokenizer, layout = checkpoint.tokenizer, checkpoint.layout
    if tokenizer is None or tokenizer.conflicts or not tokenizer.vocab:
        return Donor(problem=f"{named} has no vocabulary that can be trusted")
    if tokenizer.kind == "WordPiece":
        return Donor(problem=f"{named} has a WordPiece vocabulary, whose pieces hold no spaces")
    matrix = matrix_port(checkpoint)
    inputs = [] if layout is None else [matrix(t.name) for t in layout.part("input") if not t.axis]
    outputs = (
        [] if layout is None else [matrix(t.name) for t in layout.part("output") if not t.axis]
    )
    reads = next((rows for rows in inputs if rows is not None), None)
    if reads is None:
        return Donor(problem=f"{named} has no embedding rows that can be read")
    writes = next((rows for rows in outputs if rows is not None), reads)
    added = {token.content: int(i) for i, token in tokenizer.added.items()}
    return Donor(meanings(tokenizer), added, reads, writes)
