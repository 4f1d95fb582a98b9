"""What a corpus came to when BPE was continued on it: a part of the plan."""

from __future__ import annotations

from tokengraft.documents import Value


class Extension(Value):
    """What continuing BPE on one corpus came to. Counts of ids are of the whole corpus.

    Attributes:
        corpus: as the recipe names it; the plan holds all that `apply` needs of it.
        first_id, count: its tokens.
        steps: how many of them never stand for themselves in the corpus: others are made from them.
        rejected: merges that were learned and not kept, since each saves less than `least_uses` ids.
        examples: some of these, the most used first.
        least_uses: how often a token must stand in the corpus to be kept.
    """

    corpus: str
    sha256: str
    size_bytes: int
    first_id: int
    count: int
    steps: int
    rejected: int
    examples: tuple[str, ...]
    least_uses: int
    ids_before: int
    ids_after: int
