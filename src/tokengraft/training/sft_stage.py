"""The stage `sft`: supervised fine-tuning of new tokens on a user's own data."""

from __future__ import annotations

import json
from pathlib import Path

from tokengraft.boundaries import generation_ends
from tokengraft.checkpoint import Checkpoint
from tokengraft.data_audits import DataAudit
from tokengraft.errors import UsageError
from tokengraft.events import Note
from tokengraft.families.configs import context_of
from tokengraft.formats.loading import load
from tokengraft.recipes import Supervised
from tokengraft.training.sft_data import Asked, audit_data
from tokengraft.training.sft_results import name_base, split_adapter, trained_rows
from tokengraft.training.sft_settings import Settings, check_wish, save_start
from tokengraft.training.stages import Job, StageResult

DATA_AUDIT = "data.json"
DEFAULT_LENGTH = 2048  # tokens; longer rows cost memory by their length, and few corpora have them


def run(job: Job) -> StageResult:
    """Audit the data, train rows (and factors), and hand both back.

    Writes into `job.work`: `data.json`, the data as ids, `held_out.jsonl`, `curves.jsonl`,
    checkpoints, `peft` (what PEFT loads on the untouched base) and, with `lora`, `adapter` (the
    factors alone). A second run with the same folder goes on from the last checkpoint.

    Raises:
        UsageError, NotTrainable, MissingExtra: see `check_wish`.
        NothingToLearn and others: see `audit_data`.
    """
    from tokengraft.training import ranks

    wish = wish_of(job)
    checkpoint = load(job.staged)
    check_wish(wish, quantization(checkpoint), n_processes=ranks.count())
    tokens = ids_of_new_tokens(job)
    job.work.mkdir(parents=True, exist_ok=True)
    audit = audited(job, wish, checkpoint, tokens)
    pad_id, notes = _pad(checkpoint)
    settings = Settings(
        staged=str(job.staged),
        base=str(job.base),
        ids=tuple(tokens.values()),
        length=audit.length,
        pad_id=pad_id,
        seed=job.seed,
        has_held_out=audit.rows.held_out > 0,
        wish=wish,
    )
    settings.save(job.work)
    save_start(job.work, job.rows.input_ND, job.rows.output_ND)
    notes = (*notes_on(audit), *notes)
    for note in notes:
        job.listen(Note("sft", note))
    ranks.train_together("sft", job.work, job.listen)
    return _result(job, wish, notes)


def wish_of(job: Job) -> Supervised:
    """The recipe's settings, or the defaults.

    Raises:
        UsageError: the recipe names no data.
    """
    train = job.recipe.train
    if train is None or train.data is None:
        raise UsageError(
            "supervised training needs data",
            detail="the recipe has no [train] data",
            subject="train.data",
            hint="name a file in [train] data: messages, prompt and completion, ShareGPT, Alpaca or text",
        )
    return train.sft or Supervised()


def audited(
    job: Job, wish: Supervised, checkpoint: Checkpoint, tokens: dict[str, int]
) -> DataAudit:
    """Read the data once, unless an earlier run of the same stage has."""
    assert job.recipe.train is not None
    assert job.recipe.train.data is not None
    told = job.work / DATA_AUDIT
    if told.exists():  # written last, so the data beside it are whole
        return DataAudit.from_dict(json.loads(told.read_text(encoding="utf-8")))
    asked = Asked(
        source=job.recipe.train.data,
        folder=job.recipe_folder,
        length=length_of(wish, checkpoint),
        held_out=wish.validation,
        seed=job.seed,
        max_rows=wish.max_rows,
        max_trained=None if wish.steps is None or wish.packing else wish.steps * wish.batch,
    )
    audit = audit_data(checkpoint, tokens, asked, write_to=job.work, listen=job.listen)
    told.write_text(audit.to_json(), encoding="utf-8")
    return audit


def notes_on(audit: DataAudit) -> tuple[str, ...]:
    """What a reader should know of the data before the training begins, a sentence each."""
    rows = audit.rows
    notes = [
        (
            f"data: {rows.train:,} rows to train on, {rows.held_out:,} held out, {rows.dropped:,} dropped; "
            f"{audit.n_in_loss:,} of {audit.n_tokens:,} tokens are in the loss"
        )
    ]
    if audit.reasons:
        first = audit.dropped[0]
        notes.append(f"dropped first: line {first.line}, {first.reason}")
    if rows.truncated:
        notes.append(f"{rows.truncated:,} rows were cut behind {audit.length:,} tokens")
    if audit.unseen:
        notes.append("the data never show " + _listed(audit.unseen))
    if audit.never_in_loss:
        notes.append("read, and never to be written: " + _listed(audit.never_in_loss))
    return (*notes, *audit.notes)


def _listed(texts: tuple[str, ...]) -> str:
    shown = ", ".join(texts[:8])
    return shown if len(texts) <= 8 else f"{shown} and {len(texts) - 8:,} more"  # noqa: PLR2004


def length_of(wish: Supervised, checkpoint: Checkpoint) -> int:
    """Tokens behind which rows are cut: as wished, and never more than the model reads."""
    config = checkpoint.value("config.json", "")
    keys = config if isinstance(config, dict) else {}
    most, _ = context_of(checkpoint.family, keys, checkpoint.text_config)
    limit = most if most is not None and most > 1 else DEFAULT_LENGTH
    return min(wish.length or DEFAULT_LENGTH, limit)


def quantization(checkpoint: Checkpoint) -> str:
    """How the weights are quantised, as config.json says; empty if they are not."""
    for pointer in ("/quantization_config", f"{checkpoint.text_config}/quantization_config"):
        told = checkpoint.value("config.json", pointer)
        if isinstance(told, dict):
            return str(told.get("quant_method") or "an unnamed method")
    return ""


def ids_of_new_tokens(job: Job) -> dict[str, int]:
    """The ids of the row set's tokens, in its order."""
    ids = {token.text: token.id for token in job.plan.tokens if token.action != "remove"}
    ids |= {token.key: token.id for token in job.plan.tokens if token.action != "remove"}
    return {text: ids[text] for text in job.rows.texts}


def _pad(checkpoint: Checkpoint) -> tuple[int, tuple[str, ...]]:
    """What fills sequences up; never a stop token, though no filling is in the loss anyway."""
    stops = generation_ends(checkpoint)
    tokenizer = checkpoint.tokenizer
    pad = None if tokenizer is None else tokenizer.named_id("pad")
    if pad is not None and pad not in stops:
        return pad, ()
    other = next(i for i in range(len(stops) + 1) if i not in stops)
    why = "there is no pad token" if pad is None else "the pad token ends generation"
    note = (
        f"{why}: sequences are filled up with id {other} here, outside of the loss; "
        '[pad] token = "auto" gives the model one of its own'
    )
    return other, (note,)


def _result(job: Job, wish: Supervised, notes: tuple[str, ...]) -> StageResult:
    from tokengraft.training import sft_training

    folder = job.work / sft_training.RESULT
    name_base(folder, str(job.base))
    names = json.loads((job.work / sft_training.NAMES).read_text(encoding="utf-8"))
    rows = trained_rows(folder, job.rows, names["input"], names["output"])
    if wish.method == "rows":
        settled = job.work / sft_training.SETTLED
        told = settled.read_text(encoding="utf-8") if settled.exists() else ""
        return StageResult(rows, None, (*notes, told) if told else notes)
    baked = wish.save == "baked"
    adapter = split_adapter(folder, job.work / "adapter", str(job.base))
    if baked:
        return StageResult(rows, adapter, notes)
    kept = (
        f"the adapter stays beside the model: {_short(adapter)} for the result, which has the rows; "
        f"{_short(folder)} for the untouched base, rows included"
    )
    return StageResult(rows, None, (*notes, kept))


def _short(path: Path) -> str:
    return "/".join(path.parts[-3:])
