"""The verdict for one goal: leave it, change it safely, train it, do not, or unknown.

A verdict rests on facts and on the findings that bear on its goal; notes never bear on one. Where
such a finding is an error that no recipe mends, the answer is `do-not`. Where no finding bears on the
goal and a fact that the answer rests on was not at hand, the answer is `unknown`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from tokengraft.auditing.asking import CONFIG, knows_every_token
from tokengraft.auditing.rule import RULES, counted, listed, shown
from tokengraft.checkpoint import Checkpoint
from tokengraft.findings import Facts, Finding, Goal, Judgement, Verdict
from tokengraft.row_findings import Rows

RECIPE = "recipe.toml"
MENDING = "Mending this changes keys in small files; no token id and no embedding row changes."


@dataclass(frozen=True, slots=True)
class Case:
    """What a verdict is reached from.

    Attributes:
        findings: all of them, sorted.
        source: what the user typed.
        rows: what the rows have shown; None where they were not read.
    """

    goal: Goal
    checkpoint: Checkpoint
    facts: Facts
    findings: tuple[Finding, ...]
    source: str
    rows: Rows | None = None

    @property
    def bearing(self) -> tuple[Finding, ...]:
        """Errors and warnings that bear on the goal."""
        return tuple(
            finding
            for finding in self.findings
            if finding.severity != "note" and self.goal in RULES[finding.rule].bears_on
        )

    @property
    def blocking(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.bearing if f.severity == "error" and f.fix is None)

    @property
    def mendable(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.bearing if f.fix is not None and f.safety == "safe")

    @property
    def has_vocabulary(self) -> bool:
        """Whether the model's own vocabulary was read, and not the added tokens alone."""
        tokenizer = self.checkpoint.tokenizer
        return tokenizer is not None and knows_every_token(tokenizer)

    @property
    def unread(self) -> tuple[str, ...]:
        """What every token's row rests on and was not at hand, a clause each."""
        lacking = []
        if not self.has_vocabulary:
            lacking.append("the vocabulary is not at hand")
        if self.facts.n_rows is None:
            lacking.append("neither config.json nor weights say how many rows there are")
        return tuple(lacking)

    def command(self, verb: str, *more: str) -> str:
        """A command with the source as the user typed it."""
        return " ".join(("tokengraft", verb, shlex.quote(self.source), *more))

    def with_preset(self, preset: str) -> str:
        return self.command("recipe new", "--preset", preset, "-o", RECIPE)

    def answer(self, verdict: Judgement, reasons: list[str], following: str) -> Verdict:
        return Verdict(goal=self.goal, verdict=verdict, reasons=tuple(reasons), next=following)


def told(findings: tuple[Finding, ...]) -> list[str]:
    """Findings as reasons, each with its place."""
    return [f"{finding.subject}: {finding.summary}." for finding in findings]


def blocked(case: Case) -> Verdict:
    """The answer where something is wrong that no recipe mends."""
    reasons = told(case.blocking)
    reasons.append("No recipe can mend this, because the files do not say what is right.")
    if case.goal != "inference":
        reasons.append("Any change would be built on it, so nothing should be changed first.")
    return case.answer("do-not", reasons, f"tokengraft explain {case.blocking[0].rule}")


def inference(case: Case) -> Verdict:
    """Whether a model that is only to be run needs any change."""
    if case.blocking:
        return blocked(case)
    if case.mendable:
        reasons = [*told(case.mendable), MENDING]
        reasons += _in_step(case, short=True)
        return case.answer("safe-change", reasons, case.command("audit", "--write-recipe", RECIPE))
    rest = tuple(f for f in case.bearing if f not in case.mendable)
    reasons = _in_step(case)
    reasons += [f"Look at this, it may be meant: {text}" for text in told(rest)]
    if case.unread:
        found = (
            "Nothing else asks for a change" if rest else "Nothing that was read asks for a change"
        )
        reasons.append(f"The answer is unknown: {' and '.join(case.unread)}. {found}.")
        return case.answer("unknown", reasons, case.command("show"))
    reasons.append(
        "To run the model, change nothing: an id is the number of a trained row, so another id "
        "would give the model another word."
    )
    return case.answer("leave-as-is", reasons, case.command("audit", "--goal", "lora"))


def _in_step(case: Case, *, short: bool = False) -> list[str]:
    """What was found to agree, in numbers, and what was not at hand."""
    parts = (_ids, _names, _rows, _context, _weights)
    rules = ("T", "R", "E", "C", "F")
    wrong = {finding.rule[0] for finding in case.bearing}
    sentences = [
        part(case) for part, letter in zip(parts, rules, strict=True) if letter not in wrong
    ]
    kept = [sentence for sentence in sentences if sentence]
    if not short or not kept:
        return kept
    rest = "What else was read is in step." if case.unread else "The rest is in step."
    return [f"{rest} {' '.join(kept)}"]


def _ids(case: Case) -> str:
    facts = case.facts
    if facts.n_tokens is None:
        return "Token ids: unknown, because no file at hand lists tokens."
    if not case.has_vocabulary:
        return (
            f"Token ids: {counted(max(facts.added_tokens.values()), 'added token')} declared; the "
            "vocabulary, whose ids they must not take, is not at hand."
        )
    tables = {f: n for f, n in facts.added_tokens.items() if f != "added_tokens.json"}
    if len(tables) > 1:
        files = " and ".join(tables)
        number = next(iter(tables.values()))
        return f"Token ids: {files} agree on {counted(number, 'added token')}, with the same ids."
    if tables:
        file, number = next(iter(tables.items()))
        return (
            f"Token ids: only {file} declares added tokens ({number:,}), so nothing contradicts it."
        )
    return f"Token ids: {counted(facts.n_tokens, 'token')}, none of them added."


def _names(case: Case) -> str:
    facts = case.facts
    parts = [f"{name} {shown(text)}" for name, text in facts.named.items() if text is not None]
    said = f"Named tokens: {', '.join(parts)}." if parts else ""
    if not facts.stop_ids:
        return f"{said} Stop ids: unknown, no file at hand names one.".strip()
    stops = listed(map(str, facts.stop_ids))
    if facts.turn_end is not None:
        return (
            f"{said} A turn ends with {shown(facts.turn_end)}, generation stops at {stops}.".strip()
        )
    return f"{said} Generation stops at {stops}.".strip()


def _rows(case: Case) -> str:
    facts = case.facts
    if facts.n_rows is None:
        return "Embedding rows: unknown, because neither config.json nor weights say how many."
    source = "by config.json" if facts.n_rows_from == "config" else "in the weights"
    if facts.n_tokens is None or not case.has_vocabulary:
        return f"Embedding rows: {facts.n_rows:,} {source}; whether every token has one is unknown."
    return (
        f"Embedding rows: {facts.n_rows:,} {source} for {counted(facts.n_tokens, 'token')}, so every "
        f"token has one and {facts.spare_rows:,} are spare."
    )


def _context(case: Case) -> str:
    facts = case.facts
    if facts.context is None:
        why = (
            "config.json names no length" if case.checkpoint.json.get(CONFIG) else "no config.json"
        )
        return f"Context: unknown, {why}."
    trained = facts.trained_context
    more = f" ({trained:,} of them trained)" if trained and trained != facts.context else ""
    return f"Context: {facts.context:,} positions{more}."


def _weights(case: Case) -> str:
    tensors = case.checkpoint.tensors
    if tensors is None:
        return "Weights: not at hand, so nothing is said about them."
    where = "each where the index says" if tensors.index_file is not None else "in one file"
    read = case.rows.matrices if case.rows is not None else ()
    values = (
        f"the rows of {listed([m.tensor for m in read])} were read"
        if read
        else "their values were not read"
    )
    return f"Weights: {counted(len(tensors.tensors), 'tensor')}, {where}; {values}."


Judge = Callable[[Case], Verdict]
