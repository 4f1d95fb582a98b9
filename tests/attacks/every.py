"""All attacks there are."""

from __future__ import annotations

from attacks import display, requests, tables, templates, trained, weights
from attacks.registry import Attack


def every_attack() -> list[Attack]:
    """One after the other, in the order of their families."""
    families = (weights, tables, templates, requests, trained, display)
    return [attack for family in families for attack in family.attacks()]
