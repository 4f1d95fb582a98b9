"""Rotary positions: as numbers, as config.json spells them, and what another length asks of both."""

from __future__ import annotations

from tokengraft.positions.reading import Reader, Reading, RopeConfig, kind_of, read, rope_config
from tokengraft.positions.scaling import Rotary, attention_factor, frequencies, plain, rounding
from tokengraft.positions.spelling import lacks_older_spelling, older_spelling
from tokengraft.positions.stretching import Stretch, config_of, reach_of, start_of, stretch, usual
from tokengraft.positions.telling import counted_pairs, told

__all__ = [
    "Reader",
    "Reading",
    "RopeConfig",
    "Rotary",
    "Stretch",
    "attention_factor",
    "config_of",
    "counted_pairs",
    "frequencies",
    "kind_of",
    "lacks_older_spelling",
    "older_spelling",
    "plain",
    "reach_of",
    "read",
    "rope_config",
    "rounding",
    "start_of",
    "stretch",
    "told",
    "usual",
]
