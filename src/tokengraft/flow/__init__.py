"""The rooms composed: every command of the program is a thin face over a function here."""

from tokengraft.flow.checkup import doctor
from tokengraft.flow.demo import Chapter, demo
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
    verify,
    write_plan,
)
from tokengraft.flow.recipes import check_recipe, new_recipe, recipe_schema
from tokengraft.flow.story import Story, run

__all__ = [
    "Applied",
    "Chapter",
    "Planned",
    "RulePage",
    "Story",
    "apply",
    "audit",
    "check_recipe",
    "demo",
    "diff",
    "doctor",
    "dry_run",
    "explain",
    "facts",
    "folder",
    "load",
    "make_plan",
    "new_recipe",
    "recipe_schema",
    "rules",
    "run",
    "show",
    "tokens",
    "undo",
    "verify",
    "write_plan",
]
