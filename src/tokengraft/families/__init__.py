"""What is known of model families: one TOML file each, and what those files say of a checkpoint.

Names come first. Shapes speak only where no file names a tensor, and then the layout says so.
"""

from __future__ import annotations

from tokengraft.families.configs import context_of, trained_length
from tokengraft.families.finding import find_layout
from tokengraft.families.reading import families, family_of

__all__ = ["context_of", "families", "family_of", "find_layout", "trained_length"]
