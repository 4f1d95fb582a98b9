"""`report`: the whole story of a result, gathered and written as one file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokengraft.answers import ReportWritten
from tokengraft.applying.single import write_document
from tokengraft.behaviour import Behaviour
from tokengraft.checkpoint import RECORD_FOLDER, Checkpoint
from tokengraft.errors import (
    MalformedFile,
    StalePlan,
    TargetExists,
    TokengraftError,
    UsageError,
    WriteFailed,
)
from tokengraft.events import Done, Listen, Note, Started, ignore
from tokengraft.findings import Facts
from tokengraft.flow.making import load
from tokengraft.flow.report_parts import key_changes, positions, tensor_changes
from tokengraft.flow.report_rows import matrix_views
from tokengraft.flow.report_texts import text_views
from tokengraft.flow.serving import advice
from tokengraft.formats.plan_files import MAX_PLAN_BYTES, parse_plan
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.formats.training_records import beside as next_to
from tokengraft.formats.training_records import read_training, training_folder
from tokengraft.formats.whole_files import read_head, read_whole
from tokengraft.plans import Plan
from tokengraft.records import TrainingRecords
from tokengraft.reporting.catalogue import BY_LANGUAGE
from tokengraft.reporting.html import MARK, contents, page
from tokengraft.reporting.row_texts import row_texts
from tokengraft.reports import Report
from tokengraft.results import Verification
from tokengraft.verifying import verify as prove
from tokengraft.verifying.records import read_graft

STEP: Final = "report"
HEAD_BYTES: Final = 2048  # of a file, in which a report of ours says what it is
NOT_PROVED: Final = "nobody asked for a proof when this was written"


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What a report is to be made of.

    Attributes:
        against: the base; by default what the recipe names, where it is a folder that fits.
        training: the folder of records; by default `<OUT>.training` beside OUT.
        verification: a proof that was made just now; None makes one, unless `proves` is false.
        texts: what to show cut into tokens, beside what is shown anyway.
        deep, long_texts: as `verify` is asked: to run base and result too, and on which texts.
    """

    out: Path
    against: str | None = None
    training: Path | None = None
    verification: Verification | None = None
    proves: bool = True
    texts: Sequence[str] = ()
    deep: bool = False
    long_texts: Sequence[Path] = ()

    @property
    def makes_proof(self) -> bool:
        """Whether base and result are to be read for a proof."""
        return self.verification is None and self.proves


def report(
    asked: ReportRequest,
    file: Path,
    *,
    language: str = "en",
    replace: bool = False,
    listen: Listen = ignore,
) -> ReportWritten:
    """Tell the whole story of OUT in one HTML file.

    Raises:
        UsageError: OUT holds no record of a graft, or FILE is no place for a report.
        StalePlan: what is called the base is not the base.
        TargetExists: FILE is there and is no report of ours.
    """
    may_write(file, asked, replace=replace)
    found = gather(asked, listen)
    data = page(found, BY_LANGUAGE[language]).encode("utf-8", "backslashreplace")
    write_document(file, data)
    return ReportWritten(
        file=str(file),
        out=str(asked.out),
        language=language,
        size_bytes=len(data),
        parts=contents(found),
    )


def beside(out: Path) -> Path:
    """Where `run` puts the report of a result."""
    return next_to(out, ".html")


def report_beside(
    out: Path,
    source: str,
    verification: Verification,
    *,
    language: str = "en",
    listen: Listen = ignore,
) -> tuple[Path, ...]:
    """The report of a result that was just made; that none could be written undoes nothing."""
    file = beside(out)
    try:
        report(
            ReportRequest(out, source, verification=verification),
            file,
            language=language,
            listen=listen,
        )
    except TokengraftError as error:
        listen(Note(STEP, f"no report was written: {error.summary}"))
        return ()
    return (file,)


def may_write(file: Path, asked: ReportRequest, *, replace: bool) -> None:
    """Refuse a place inside what is read, and one where something else lies."""
    place = file.parent.resolve() / file.name
    folders = [("OUT", asked.out)]
    bases = (asked.against, _named_base(asked.out))
    folders += [("the base", Path(base)) for base in bases if base and Path(base).is_dir()]
    for what, folder in folders:
        inside = folder.resolve()
        if place == inside or inside in place.parents:
            raise UsageError(
                f"{file} lies inside {what}",
                detail="a report belongs to its reader, not to the model: its digests would not hold",
                subject=str(file),
                hint=f"write it beside: -o {shlex.quote(str(beside(asked.out)))}",
            )
    if not place.parent.is_dir():
        raise WriteFailed(
            f"the folder that is to hold {file.name} does not exist",
            subject=str(place.parent),
            hint=f"mkdir -p {shlex.quote(str(place.parent))}",
        )
    if place.is_dir():
        raise TargetExists(
            f"{file} is a folder", subject=str(file), hint="name a file: -o REPORT.html"
        )
    if not replace and file.exists() and not _is_report(file):
        raise TargetExists(
            f"{file} exists and is no report of tokengraft, so it is not replaced",
            subject=str(file),
            hint="name another file, or give --replace",
        )


def _named_base(out: Path) -> str | None:
    """The base that the recipe of OUT names; what OUT lacks, `gather` says."""
    try:
        path = out / RECORD_FOLDER / "plan.json"
        plan = parse_plan(read_whole(path, limit=MAX_PLAN_BYTES), file=str(path))
        return parse_recipe(plan.recipe, file="the plan's recipe")[0].base
    except TokengraftError:
        return None


def _is_report(file: Path) -> bool:
    return file.is_file() and MARK.encode() in read_head(file, HEAD_BYTES)


def gather(asked: ReportRequest, listen: Listen = ignore) -> Report:
    """Read all that is known of a result."""
    graft = read_graft(asked.out)
    plan, receipt, result = graft.plan, graft.receipt, graft.checkpoint
    if plan is None or receipt is None or result is None:
        name, why = next(iter(graft.unreadable.items()), ("", ""))
        raise MalformedFile(
            f"the records of {asked.out} cannot be read",
            detail=f"{name}: {why}",
            subject=str(asked.out),
            hint=f"tokengraft verify {shlex.quote(str(asked.out))}",
        )
    training = _training(asked)
    listen(Started(STEP, str(asked.out)))
    recipe = parse_recipe(plan.recipe, file="the plan's recipe")[0]
    source, base, missing = _base(asked, plan, recipe.base, listen)
    proof = asked.verification
    if asked.makes_proof:
        proof = prove(
            asked.out, against=base, deep=asked.deep, texts=asked.long_texts, listen=listen
        )
    found = Report(
        out=str(asked.out),
        source=source,
        plan=plan,
        receipt=receipt,
        verification=proof,
        facts=_facts(result),
        base_missing=missing,
        unproved="" if proof is not None else NOT_PROVED,
        keys=tuple(key_changes(plan, base)),
        tensors=tuple(tensor_changes(plan)),
        texts=text_views(plan, base, result, asked.texts),
        matrices=matrix_views(plan, result, listen),
        positions=positions(recipe, base, result),
        training=training,
        behaviour=_behaviour(proof, training),
        advice=advice(asked.out, source, plan, recipe),
        manifest=graft.manifest or {},
        row_texts=row_texts(plan, result.tokenizer),
        asks_training=recipe.train is not None,
    )
    listen(Done(STEP, str(asked.out)))
    return found


def _facts(result: Checkpoint) -> Facts:
    from tokengraft import auditing

    return auditing.facts(result)


def _behaviour(proof: Verification | None, training: TrainingRecords | None) -> Behaviour | None:
    """What the proof asked the model just now, else what was recorded earlier."""
    if proof is not None and proof.behaviour is not None:
        return proof.behaviour
    return None if training is None else training.behaviour


def _base(
    asked: ReportRequest, plan: Plan, named: str | None, listen: Listen
) -> tuple[str | None, Checkpoint | None, str]:
    """The base as it was named, its snapshot, and why there is none."""
    if asked.against is not None:
        base = load(asked.against, listen, weights=asked.makes_proof)
        if not base.is_planned_base(plan.base.layout, plan.base.files):
            raise StalePlan(
                f"{asked.against} is not the base that {asked.out} was made from",
                detail="its small files or the headers of its weights are others",
                subject=asked.against,
                hint=f"tokengraft diff {shlex.quote(asked.against)} {shlex.quote(str(asked.out))}",
            )
        return asked.against, base, ""
    if named is None or not Path(named).is_dir():
        return None, None, "the base is not named, so that nothing is shown of it: --against SRC"
    try:
        base = load(named, listen)
    except TokengraftError as error:
        return None, None, error.summary
    if not base.is_planned_base(plan.base.layout, plan.base.files):
        return None, None, "the base that the recipe names has changed since: --against SRC"
    return named, base, ""


def _training(asked: ReportRequest) -> TrainingRecords | None:
    if asked.training is None:
        return read_training(training_folder(asked.out))
    found = read_training(asked.training)
    if found is None:
        raise UsageError(
            f"{asked.training} holds no records of a training",
            detail="curves.jsonl, tokens.json, data.json or behaviour.json would be there",
            subject=str(asked.training),
            hint="leave --training out: <OUT>.training beside OUT is looked into",
        )
    return found
