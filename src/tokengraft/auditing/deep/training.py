"""E: which tokens have rows that no training met."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.deep.answers import evidence, named
from tokengraft.auditing.rule import Found, counted, listed, row_rule, shown
from tokengraft.checkpoint import Checkpoint
from tokengraft.findings import Goal
from tokengraft.row_findings import MatrixRows, Rows, TokenRows

BUILDS_ON_CHAT: tuple[Goal, ...] = ("roles", "tools", "thinking", "protocol", "lora")


@row_rule(
    "E201",
    severity="warning",
    title="the tokens that a chat is made of have trained rows",
    bears_on=BUILDS_ON_CHAT,
)
def structure_is_untrained(_: Checkpoint, rows: Rows) -> Iterator[Found]:
    """A base model ships the markers of a chat, and nothing ever taught it what they mean.

    What it checks:
        Each token that the chat template writes, that ends a turn, that is bos or eos, or that
        stops generation: its row in the input matrix (for the end of a turn, which the model must
        write, the output matrix too) is compared with rows that are known to be unused and with
        rows of frequent pieces of the vocabulary. It is called untrained where it lies among the
        unused ones, unknown where it lies between the two or where they cannot be told apart.

    Why it matters:
        An adapter or a template on top of such rows teaches a chat whose markers are noise to the
        model; the most usual sign is an answer that never ends. It says nothing against running a
        base model as it is, so it bears on no verdict of that goal.

    Example:
        Base models that ship <|im_start|> and <|im_end|> with a chat template, and were trained on
        plain text alone.

    Fix and its safety:
        None without training. Train these rows together with the layers (PEFT: trainable tokens),
        or take the sister model whose chat is trained.

    Sources:
        Land and Bartolo 2024, arXiv 2405.05417 (indicators); unsloth "untrained tokens" check.
    """
    lacking = tuple(rows.lacking())
    if not lacking:
        return
    matrix = next(m for m in rows.matrices if m.compared is not None)
    of_chat = any({"template", "turn end"} & set(token.uses) for token in lacking)
    number = counted(len(lacking), "token" if of_chat else "named token")
    verb = "has" if len(lacking) == 1 else "have"
    yield Found(
        f"{_tensor(lacking[0])}[{lacking[0].id}]",
        f"{number} of the chat format {verb} an untrained row: {named(lacking)}"
        if of_chat
        else f"{number} {verb} an untrained row: {named(lacking)}",
        f"{shown(lacking[0].token)}: {evidence(lacking[0])}. {reliability(matrix)}",
    )


def _tensor(token: TokenRows) -> str:
    return next(row.tensor for row in token.rows if row.verdict == "untrained")


def reliability(matrix: MatrixRows) -> str:
    """How well rows can be judged in a matrix, in numbers."""
    found = matrix.compared
    assert found is not None
    indicator = "distance" if found.indicator == "distance" else "direction"
    known = (
        f"In {matrix.tensor}, {found.n_unused} unused rows ({matrix.unused}) lie at "
        f"{found.unused_median:.3g}, {found.n_trained:,} frequent pieces at "
        f"{found.trained_median:.3g} ({indicator}; {100 * found.overlap:.1f}% of pairs overlap)."
    )
    flagged = f"The same limit would flag {found.flagged} of these pieces"
    if found.contradicted is None or not found.flagged:
        return f"{known} {flagged}"
    return f"{known} {flagged}, {found.contradicted} of them against the other matrix"


@row_rule(
    "E202",
    severity="note",
    title="added tokens that nothing uses yet are known to be untrained",
)
def added_are_untrained(_: Checkpoint, rows: Rows) -> Iterator[Found]:
    """Some added tokens are reserves: they have an id and a row, and no training met them.

    What it checks:
        The rows of all added tokens that the chat template does not write, in the same way as
        E201.

    Why it matters:
        Such a token can be taken for a new purpose (`into = ID` in a recipe) without making a
        matrix grow, and starting a new token as a copy of one (`like = "..."`) copies noise.

    Example:
        <|object_ref_start|> and the vision tokens of a text model.

    Fix and its safety:
        Display only: nothing is wrong.

    Sources:
        Land and Bartolo 2024, arXiv 2405.05417.
    """
    if rows.untrained:
        first = rows.untrained[0]
        texts = [f"{shown(token.token)} ({token.id})" for token in rows.untrained]
        yield Found(
            f"{_tensor(first)}[{first.id}]",
            f"{counted(len(texts), 'more added token')} with an untrained row",
            listed(texts, limit=24),
            safety="display-only",
        )
