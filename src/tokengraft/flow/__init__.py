"""The rooms composed: every command of the program is a thin face over a function here.

A function's module is imported when the function is first asked for: `apply` needs no audit.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokengraft.flow.checkup import doctor
    from tokengraft.flow.demo import Chapter, demo
    from tokengraft.flow.estimating import estimate
    from tokengraft.flow.launches import follow, is_follower
    from tokengraft.flow.looking import RulePage, diff, explain, facts, folder, rules, show, tokens
    from tokengraft.flow.making import (
        Applied,
        Planned,
        apply,
        audit,
        dry_run,
        load,
        make_plan,
        undo,
        write_plan,
    )
    from tokengraft.flow.proving import verify
    from tokengraft.flow.recipes import (
        check_recipe,
        new_recipe,
        preset_section,
        recipe_schema,
    )
    from tokengraft.flow.reports import ReportRequest, report
    from tokengraft.flow.story import Story, run
    from tokengraft.flow.training import TrainedOut, told, train

_HOMES = {
    "checkup": ("doctor",),
    "demo": (
        "Chapter",
        "demo",
    ),
    "looking": (
        "RulePage",
        "diff",
        "explain",
        "facts",
        "folder",
        "rules",
        "show",
        "tokens",
    ),
    "making": (
        "Applied",
        "Planned",
        "apply",
        "audit",
        "dry_run",
        "load",
        "make_plan",
        "undo",
        "write_plan",
    ),
    "proving": ("verify",),
    "recipes": (
        "check_recipe",
        "new_recipe",
        "preset_section",
        "recipe_schema",
    ),
    "reports": (
        "ReportRequest",
        "report",
    ),
    "story": (
        "Story",
        "run",
    ),
    "estimating": ("estimate",),
    "launches": ("follow", "is_follower"),
    "training": (
        "TrainedOut",
        "told",
        "train",
    ),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"tokengraft.flow.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Applied",
    "Chapter",
    "Planned",
    "ReportRequest",
    "RulePage",
    "Story",
    "TrainedOut",
    "apply",
    "audit",
    "check_recipe",
    "demo",
    "diff",
    "doctor",
    "dry_run",
    "estimate",
    "explain",
    "facts",
    "folder",
    "follow",
    "is_follower",
    "load",
    "make_plan",
    "new_recipe",
    "preset_section",
    "recipe_schema",
    "report",
    "rules",
    "run",
    "show",
    "tokens",
    "told",
    "train",
    "undo",
    "verify",
    "write_plan",
]
