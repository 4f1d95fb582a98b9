"""For each rule checkpoints that break it, and some that come close and do not."""

from __future__ import annotations

import defects_config
import defects_ending
import defects_folder
import defects_matching
import defects_merges
import defects_purposes
import defects_rope
import defects_tokens
import defects_writing
from planting import Defect

DEFECTS: tuple[Defect, ...] = (
    *defects_tokens.DEFECTS,
    *defects_merges.DEFECTS,
    *defects_purposes.DEFECTS,
    *defects_matching.DEFECTS,
    *defects_ending.DEFECTS,
    *defects_config.DEFECTS,
    *defects_rope.DEFECTS,
    *defects_writing.DEFECTS,
    *defects_folder.DEFECTS,
)
