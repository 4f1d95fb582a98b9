"""How many examples hypothesis draws: few in every run of the tests, more in `make campaign`."""

from __future__ import annotations

import os

TIMES = "TOKENGRAFT_TIMES"


def drawn(few: int) -> int:
    """So many, times what the campaign says."""
    return few * int(os.environ.get(TIMES, "1"))
