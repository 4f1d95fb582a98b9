"""Say whether a checkpoint needs any change: rules that find defects, and a verdict per goal."""

from __future__ import annotations

# Importing a module of rules registers them; one module holds one subject.
from tokengraft.auditing import context, files, named, rows, safety, template, tokens
from tokengraft.auditing.rule import RULES, Rule, explain

__all__ = ["RULES", "Rule", "explain"]
_SUBJECTS = (tokens, named, rows, context, template, files, safety)
