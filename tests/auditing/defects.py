"""For each rule a checkpoint that breaks it, and one that comes close and does not."""

from __future__ import annotations

import defects_config
import defects_folder
import defects_tokens
from planting import Defect

DEFECTS: tuple[Defect, ...] = (
    *defects_tokens.DEFECTS,
    *defects_config.DEFECTS,
    *defects_folder.DEFECTS,
)
