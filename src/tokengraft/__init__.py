"""tokengraft: change the vocabulary of a language model, and prove that nothing else moved.

The public names are loaded when they are first used, so that `tokengraft --help` loads none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokengraft.checkpoint import Checkpoint
    from tokengraft.errors import TokengraftError
    from tokengraft.findings import Audit
    from tokengraft.flow import (
        ReportRequest,
        apply,
        audit,
        diff,
        load,
        report,
        run,
        tokens,
        train,
        undo,
        verify,
    )
    from tokengraft.flow import make_plan as plan
    from tokengraft.plans import Plan
    from tokengraft.recipes import Recipe
    from tokengraft.results import Receipt, Verification

__version__ = "0.1.0"

__all__ = [
    "Audit",
    "Checkpoint",
    "Plan",
    "Receipt",
    "Recipe",
    "ReportRequest",
    "TokengraftError",
    "Verification",
    "apply",
    "audit",
    "diff",
    "load",
    "plan",
    "report",
    "run",
    "tokens",
    "train",
    "undo",
    "verify",
]

_HOMES = {
    "Audit": "tokengraft.findings",
    "Checkpoint": "tokengraft.checkpoint",
    "Plan": "tokengraft.plans",
    "Receipt": "tokengraft.results",
    "Recipe": "tokengraft.recipes",
    "TokengraftError": "tokengraft.errors",
    "Verification": "tokengraft.results",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'tokengraft' has no attribute {name!r}")
    module = importlib.import_module(_HOMES.get(name, "tokengraft.flow"))
    return getattr(module, "make_plan" if name == "plan" else name)
