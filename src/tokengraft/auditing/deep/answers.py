"""What rows that were read add to verdicts. Where none was read, there is nothing to add."""

from __future__ import annotations

from collections.abc import Sequence

from tokengraft.auditing.rule import counted, listed, shown
from tokengraft.auditing.verdict import MENDING, Case, told
from tokengraft.findings import Verdict
from tokengraft.row_findings import TokenRow, TokenRows

NOT_READ = "whether their rows were trained was not read"


def named(tokens: Sequence[TokenRows], *, limit: int = 8) -> str:
    """Tokens with their ids."""
    return listed([f"{shown(token.token)} ({token.id})" for token in tokens], limit=limit)


def untrained_rows(case: Case) -> list[str]:
    """Name the untrained tokens of the chat template, for goals that build on it."""
    if case.rows is None:
        return []
    lacking = tuple(case.rows.lacking())
    if not lacking:
        return []
    said = (
        f"The rows were read: those of {named(lacking)} are untrained, so the chat format itself "
        "is not learned yet. Train these rows together with the new ones."
    )
    return [said]


def protocol_rows(case: Case) -> list[str]:
    """Say that a new name does not train a row."""
    lacking = tuple(case.rows.lacking("template", "turn end")) if case.rows is not None else ()
    if not lacking:
        return []
    said = (
        f"The rows were read: those of {named(lacking)} are untrained, and a new name does not "
        "change that: after the renaming these rows have to be trained."
    )
    return [said]


def existing_rows(case: Case, markers: Sequence[str]) -> str:
    """Whether the rows of a template's own markers are trained, as the end of a sentence."""
    if case.rows is None or not case.rows.matrices:
        return NOT_READ
    found = [token for token in case.rows.structural if token.token in markers]
    lacking = [token for token in found if token.verdict == "untrained"]
    if lacking:
        return f"but the rows of {named(lacking)} were read, and they are untrained"
    if any(token.verdict == "unknown" for token in found):
        return "the rows were read, and whether all of them were trained is unknown"
    return "their rows were read, and they are trained"


def lora_rows(case: Case) -> Verdict | None:
    """The verdict on training an adapter where the rows have spoken; None where they have not."""
    rows, end = case.rows, case.facts.turn_end
    if rows is None or not rows.matrices:
        return None
    lacking = tuple(rows.lacking())
    if lacking:
        return _needs_rows(case, lacking)
    ends = [token for token in rows.structural if token.token == end]
    unstopped = tuple(finding for finding in case.findings if finding.rule == "R301")
    if not unstopped or any(token.verdict != "trained" for token in ends) or not ends:
        return None
    reasons = [
        *told(case.mendable),
        (
            f"The rows were read: those of {named(ends)} are trained, so only the files have to be put "
            f"into step. {MENDING}"
        ),
    ]
    return case.answer("safe-change", reasons, _recipe(case))


def _needs_rows(case: Case, lacking: Sequence[TokenRows]) -> Verdict:
    matrices = "the input matrix" if case.facts.tied else "both matrices"
    worst = lacking[0]
    reasons = [
        (
            f"The rows of {named(lacking)} are untrained. They lie where rows lie that no training "
            f"met: {evidence(worst)}."
        ),
        (
            "A LoRA adapter changes layers and no embedding row. Trained alone, it teaches chats whose "
            f"markers mean nothing; {counted(len(lacking), 'row')} in {matrices} have to be trained "
            "with it."
        ),
        f"With PEFT 0.18 or newer: trainable_token_indices = {_indices(case, lacking)}.",
        *told(case.mendable),
    ]
    return case.answer("needs-training", reasons, _recipe(case))


def _indices(case: Case, lacking: Sequence[TokenRows]) -> str:
    """PEFT's setting that trains these rows; of tied matrices it takes the other one along."""
    read = case.rows.matrices if case.rows is not None else ()
    names = [m.tensor.removesuffix(".weight").rsplit(".", 1)[-1] for m in read if m.reads]
    names += [m.tensor.removesuffix(".weight").rsplit(".", 1)[-1] for m in read if not m.reads]
    names = names[:1] if case.facts.tied else names
    ids = [token.id for token in lacking]
    return "{" + ", ".join(f'"{name}": {ids}' for name in names) + "}"


def evidence(token: TokenRows) -> str:
    """The numbers behind a verdict on one token."""
    return "; ".join(_number(row) for row in token.rows if row.verdict != "unknown")


def _number(row: TokenRow) -> str:
    unused = "" if row.z_unused is None else f", {row.z_unused:+.1f} spreads from the unused rows"
    trained = "" if row.z_trained is None else f", {row.z_trained:+.1f} from the trained ones"
    return f"{row.tensor} norm {row.norm:.3g}{unused}{trained}"


def _recipe(case: Case) -> str:
    return case.command("audit", "--goal", case.goal, "--write-recipe", "recipe.toml")
