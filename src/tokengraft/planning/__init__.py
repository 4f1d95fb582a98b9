"""(Checkpoint, Recipe) -> Plan. Pure: everything it must ask for comes through ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tokengraft.checkpoint import Checkpoint
from tokengraft.documents import Problem
from tokengraft.errors import ConflictingFiles, RecipeError, UnsafePath
from tokengraft.formats.adapters import Adapter
from tokengraft.planning.assembling import (
    all_edits,
    fingerprint,
    id_table,
    planned_files,
    totals,
)
from tokengraft.planning.chat import Render, set_chat
from tokengraft.planning.context import set_context
from tokengraft.planning.donating import OpenDonor, no_donor
from tokengraft.planning.draft import Draft
from tokengraft.planning.extending import extend_all
from tokengraft.planning.factors import Factor
from tokengraft.planning.files import FileEdits, file_edits, missing_tokens
from tokengraft.planning.library import CountCorpus, CountUses, Library, no_corpus, no_uses
from tokengraft.planning.low_rank import (
    NO_UPDATES,
    LowRankPlan,
    no_adapter,
    plan_low_rank,
    with_trained,
)
from tokengraft.planning.low_rank import WHERE as LORA
from tokengraft.planning.named import set_pad, set_stop
from tokengraft.planning.portable import portable
from tokengraft.planning.predicting import edited_files, edited_weights, predicted
from tokengraft.planning.protocol import as_copies, follow_markers, set_layouts, set_protocol
from tokengraft.planning.renumbering import check_renumbered, recipe_problems, renumber
from tokengraft.planning.renumbering.trying import try_renumbered
from tokengraft.planning.rows import RowPlan, plan_rows
from tokengraft.planning.savings import with_savings
from tokengraft.planning.settling import OpenMatrix, no_matrix
from tokengraft.planning.slow import with_table
from tokengraft.planning.started import RowPorts
from tokengraft.planning.starting import Untrained, check_rows, none_untrained
from tokengraft.planning.tokens import add_all, rename_all
from tokengraft.planning.trained import Trained
from tokengraft.planning.trying import try_out
from tokengraft.planning.untying import cost_or_offer, untie
from tokengraft.planning.values import OpenValues, no_values
from tokengraft.planning.wishes import contradictions, wishes
from tokengraft.planning.words import settle_words
from tokengraft.plans import Edit, IdTables, Plan, PlannedRow, PlannedToken
from tokengraft.recipes import Recipe, Rows
from tokengraft.rows.initializers import Encode
from tokengraft.tensors import WeightsFile
from tokengraft.vocabulary import TokenId

__all__ = ["Outcome", "Ports", "contradictions", "plan"]

Digest = Callable[[str], str]
PROBE = "a b"  # what the library must at least be able to encode


@dataclass(frozen=True, slots=True)
class Ports:
    """What planning may ask the world for.

    Attributes:
        encode: texts to ids with the base tokenizer, None where there is no tokenizer.json.
        digest: the sha256 of a tensor's bytes.
        library: the tokenizers library with the base's tokenizer.json, None where there is none.
        count: reads a corpus that the recipe names, and counts it.
        uses: does so id by id.
        glance: as `count`, and only what is read at once; training says more.
        render: conversations to what chat templates make of them, None where none may be run.
        values: opens a file of rows that the recipe names.
        adapter: reads the adapter that the recipe names; a text says why it cannot be read.
        matrix: opens a matrix of the base, None where it cannot be read.
        untrained: which rows of a matrix were found untrained.
        donor: opens a model that rows are taken from.
        trained: what training yielded; None before, and without it.
    """

    encode: Encode | None
    digest: Digest
    library: Library | None = None
    count: CountCorpus = no_corpus
    uses: CountUses = no_uses
    glance: CountCorpus = no_corpus
    render: Render | None = None
    values: OpenValues = no_values
    adapter: Callable[[str], Adapter | str] = no_adapter
    matrix: OpenMatrix = no_matrix
    untrained: Untrained = none_untrained
    donor: OpenDonor = no_donor
    trained: Trained | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A plan, the snapshot that it predicts, and the rows of its sidecar by tensor."""

    plan: Plan
    after: Checkpoint
    values: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    factors: Mapping[str, Factor] = field(default_factory=dict)


def plan(checkpoint: Checkpoint, recipe: Recipe, *, text: str, tool: str, ports: Ports) -> Outcome:
    """State every change that the recipe asks for. Writes nothing.

    Raises:
        RecipeError: everything that is wrong with the recipe for this checkpoint, at once.
        ConflictingFiles: the files contradict each other, so that any edit would guess.
        UnsafePath: the folder holds links or files that must not be followed.
        RefusedError: the weights cannot be edited.
    """
    _refuse_unsafe(checkpoint)
    if recipe.remove or recipe.trim is not None:
        return _renumbered(checkpoint, recipe, text=text, tool=tool, ports=ports)
    draft = _drafted(checkpoint, recipe, ports)
    files = file_edits(draft)
    for where, what in files.problems:
        draft = draft.with_problem(where, what)
    _raise_problems(draft.problems)
    adapter = None if recipe.lora is None else ports.adapter(recipe.lora.adapter)
    if isinstance(adapter, str):
        _raise_problems((Problem(where=LORA, what=adapter),))
    assert not isinstance(adapter, str)
    updates = NO_UPDATES if adapter is None else plan_low_rank(checkpoint, adapter)
    asked = RowPorts(
        ports.encode,
        ports.values,
        ports.matrix,
        ports.untrained,
        ports.donor,
        ports.trained,
        None if updates.refused else adapter,
    )
    rows = plan_rows(draft, recipe.rows or Rows(), asked)
    if ports.trained is not None:
        updates = with_trained(checkpoint, updates, ports.trained.adapter)
    _raise_problems((*rows.problems, *updates.problems))
    tokens = _tokens(draft, files, rows)
    made = _made(checkpoint, files, rows, tokens, updates)
    _require_readable(made.small, ports.library)
    _check_ids(draft, made.after)
    try_out(draft, ports.library, made.small.get("tokenizer.json"))
    plan = Plan(
        tool=tool,
        base=fingerprint(checkpoint, ports.digest),
        recipe=text,
        reconciled=files.reconciled,
        notes=(
            *draft.notes,
            *cost_or_offer(draft, recipe, checkpoint, rows.n_rows),
            *files.notes,
            *rows.notes,
            *updates.notes,
        ),
        edits=made.edits,
        tokens=tokens,
        extensions=draft.extensions,
        ids=IdTables(before=id_table(checkpoint), after=id_table(made.after)),
        files=planned_files(checkpoint, made.small, made.weights),
        totals=totals(checkpoint, made.edits, made.small, made.weights),
    )
    return Outcome(plan=plan, after=made.after, values=rows.values, factors=updates.factors)


@dataclass(frozen=True, slots=True)
class _Made:
    """What edits make of a checkpoint."""

    edits: tuple[Edit, ...]
    small: Mapping[str, bytes]
    weights: Mapping[str, WeightsFile]
    after: Checkpoint


def _made(
    checkpoint: Checkpoint,
    files: FileEdits,
    rows: RowPlan,
    tokens: tuple[PlannedToken, ...],
    updates: LowRankPlan = NO_UPDATES,
) -> _Made:
    edits = (*all_edits(checkpoint, files, rows), *updates.edits)
    small = edited_files(checkpoint, edits, tokens)
    weights = edited_weights(checkpoint, edits)
    return _Made(edits, small, weights, predicted(checkpoint, small, weights))


def _renumbered(
    checkpoint: Checkpoint, recipe: Recipe, *, text: str, tool: str, ports: Ports
) -> Outcome:
    """A plan of [[remove]] and [trim], which stand alone."""
    _raise_problems(tuple(recipe_problems(recipe)))
    draft = portable(with_table(_draft(checkpoint)))
    found = renumber(
        checkpoint,
        recipe,
        out_of_step=_out_of_step(file_edits(draft)),
        encode=ports.encode,
        count=ports.uses,
    )
    _raise_problems(found.problems)
    made = _made(checkpoint, found.files, found.rows, found.tokens)
    _require_readable(made.small, ports.library)
    check_renumbered(checkpoint, made.after, found.tokens)
    assert checkpoint.tokenizer is not None
    anew = made.small.get("tokenizer.json")
    try_renumbered(checkpoint.tokenizer, found.tokens, ports.library, anew)
    plan = Plan(
        tool=tool,
        base=fingerprint(checkpoint, ports.digest),
        recipe=text,
        notes=found.notes,
        edits=made.edits,
        tokens=found.tokens,
        renumbering=found.renumbering,
        ids=IdTables(before=id_table(checkpoint), after=id_table(made.after)),
        files=planned_files(checkpoint, made.small, made.weights),
        totals=totals(checkpoint, made.edits, made.small, made.weights),
    )
    return Outcome(plan=plan, after=made.after)


def _out_of_step(files: FileEdits) -> tuple[str, ...]:
    """What an empty recipe would change: the files' disagreements, in sentences where there are any."""
    problems = (f"{where}: {what}" for where, what in files.problems)
    changed = (f"{edit.path} would be changed" for edit in files.edits if not files.reconciled)
    return (*files.reconciled, *problems, *changed)


def _require_readable(small: Mapping[str, bytes], library: Library | None) -> None:
    """Have the library read what is to be edited, and encode with it: some files fail there alone.

    Raises:
        ChildFailed: it refuses, aborts, or takes too much time or memory.
    """
    if "tokenizer.json" in small and library is not None:
        library.spans((PROBE,))


def _refuse_unsafe(checkpoint: Checkpoint) -> None:
    unsafe = [p for p in checkpoint.problems if p.kind == "unsafe-path"]
    if unsafe:
        raise UnsafePath(
            f"{unsafe[0].subject}: {unsafe[0].text}",
            detail=f"{len(unsafe)} such files; a copy of the folder could not be complete",
            subject=str(checkpoint.root),
            hint=f"tokengraft audit {checkpoint.root}",
        )
    index = checkpoint.tensors
    if index is not None and (index.missing_files or index.misplaced):
        missing = [*index.missing_files, *index.misplaced]
        raise ConflictingFiles(
            f"the index and the weight files disagree on {missing[0]}",
            detail=f"{len(index.missing_files)} files are missing, {len(index.misplaced)} tensors "
            "are not where the index says",
            subject=index.index_file or "",
            hint="finish the download, then plan again",
        )


def _draft(checkpoint: Checkpoint) -> Draft:
    """A draft in which nothing has happened yet, of a folder whose files do not contradict themselves."""
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or not tokenizer.n_tokens:
        raise RecipeError(
            "the folder has no tokenizer" if tokenizer is None else "the folder lists no tokens",
            subject=str(checkpoint.root),
            hint="put tokenizer.json and tokenizer_config.json beside config.json",
        )
    if tokenizer.conflicts:
        first = tokenizer.conflicts[0]
        raise ConflictingFiles(
            f"the tokenizer's files contradict each other: {first.text}",
            detail="\n".join(f"{c.subject}: {c.text}" for c in tokenizer.conflicts[:10]),
            subject=first.subject,
            hint=f"tokengraft audit {checkpoint.root}",
        )
    return Draft(checkpoint=checkpoint, tokenizer=tokenizer, added=tokenizer.added)


def _drafted(checkpoint: Checkpoint, recipe: Recipe, ports: Ports) -> Draft:
    draft = _draft(checkpoint)
    draft = replace(draft, problems=(*draft.problems, *contradictions(recipe)))
    draft = rename_all(draft, recipe.rename)
    if recipe.protocol is not None:
        draft = set_protocol(draft, recipe.protocol)
    draft, more = set_chat(draft, recipe, ports.render)
    wished = as_copies(draft, (*wishes(recipe), *more))
    draft = follow_markers(add_all(draft, wished, ports.library))
    draft = set_layouts(draft, recipe.add)
    if recipe.pad is not None:
        draft = set_pad(draft, recipe.pad)
    draft = set_stop(draft, recipe.stop)
    if recipe.context is not None:
        draft = set_context(draft, recipe.context)
    draft = settle_words(draft, ports.library)
    draft = with_savings(draft, recipe.train, ports.glance)
    draft = extend_all(draft, recipe.extend, library=ports.library, count=ports.count)
    draft = untie(draft, recipe, ports.digest)
    return check_rows(portable(with_table(draft)))


def _raise_problems(problems: tuple[Problem, ...]) -> None:
    if problems:
        count = len(problems)
        raise RecipeError(
            f"the recipe has {count} problems with this checkpoint"
            if count > 1
            else "the recipe has a problem with this checkpoint",
            detail="\n".join(map(str, problems)),
            subject=problems[0].where,
            hint="mend the recipe, then: tokengraft recipe check RECIPE SRC",
            problems=tuple(problem.parts for problem in problems),
        )


def _tokens(draft: Draft, files: FileEdits, rows: RowPlan) -> tuple[PlannedToken, ...]:
    tokens: dict[TokenId, PlannedToken] = {
        TokenId(token.id): token for token in missing_tokens(draft, files)
    }
    for token_id, token in draft.planned.items():
        start = rows.starts.get(token_id)
        if start is None:
            tokens[token_id] = token
            continue
        planned = tuple(PlannedRow(tensor=name, source=s) for name, s in start.rows.items())
        update = {"init": start.init, "why": start.why, "takes": start.takes, "rows": planned}
        tokens[token_id] = token.model_copy(update=update)
    return tuple(tokens[token_id] for token_id in sorted(tokens))


def _check_ids(draft: Draft, after: Checkpoint) -> None:
    """The files as they will be must say what the draft says: a bug of ours otherwise."""
    assert after.tokenizer is not None
    assert not after.tokenizer.conflicts, after.tokenizer.conflicts
    assert dict(after.tokenizer.added) == dict(sorted(draft.added.items()))
    assert all(after.tokenizer.vocab.get(piece) == i for piece, i in draft.vocab.items())
