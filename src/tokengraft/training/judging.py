"""A verdict for each new token: read, written, worth its row.

Measured on a part of the text that neither `fit` nor `distil` sees. `sft` divides its data by prompts
and not by documents, so that where it ran on the same file the text is not held out, and reasons and
notes say so.

The measures are those of the benchmark of rows: KL from the predictions after the pieces to those
after the token, and the binary KL from what is due to what is written, each as the share that is
recovered of what a row that knows nothing loses, the mean of all old rows.

Shapes: N tokens, D width, W windows, A places behind the phrase, V old rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.events import Done, Listen, Progress, Started
from tokengraft.row_sets import RowSet
from tokengraft.training.corpus import TEST, Corpus, corpus_of
from tokengraft.training.evidence import Part, part_of_corpus, uses
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.old_rows import mean_row
from tokengraft.training.output_rows import divergence
from tokengraft.training.output_samples import choose_neutral, samples_of
from tokengraft.training.phrases import Standing, standing
from tokengraft.training.refining import Judge
from tokengraft.training.repeating import repeats
from tokengraft.training.stages import Job
from tokengraft.training.states import due_states, neutral_states
from tokengraft.training.subject import Subject, open_subject
from tokengraft.training.windows import Phrase, Windows
from tokengraft.trainings import Repeats, TokenAnswer, TokenVerdict, TokenVerdicts

Values = NDArray[np.float64]
STEP, STEPS = "judge", 4

# Below these a token is not worth its row; the benchmark's tables show fitted rows far above them.
LEAST_READ = LEAST_WRITTEN = 0.2
MOST_LEAK = 4.0
FEWEST_WINDOWS = 4  # of held-out text, below which nothing is said
REPEATING_MODEL = 0.5  # share of old tokens that must pass the repeat test for it to say anything


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one token; None where nothing could be."""

    read: float | None = None
    write: float | None = None
    leak: float | None = None
    n_windows: int = 0
    uses: int | None = None
    positions_saved: int | None = None
    bytes_saved: int | None = None
    repeats: Repeats | None = None


def judge_rows(job: Job, *, changed_model: bool = False) -> TokenVerdicts:
    """Measure rows on the base, and say of each token whether to add it.

    Args:
        job: as a stage is given it, with the rows that are judged.
        changed_model: whether the old weights get an adapter too; the measures are without it.
    """
    listen, plan, rows = job.listen, job.plan, job.rows
    listen(Started(STEP, "", STEPS, "steps"))
    subject = open_subject(job.base, two_rows=not job.rows.is_tied)
    stand = {one.text: one for one in standing(plan, job.recipe, subject)}
    train = job.recipe.train
    corpus = corpus_of(subject, train, job.recipe_folder)
    listen(Progress(STEP, "", 1, STEPS, "steps"))
    measured = _measured(subject, corpus, rows, stand, listen)
    ids = {token.text: token for token in plan.tokens if token.rows}
    supervised = train is not None and "sft" in train.stages
    tokens = []
    for text in rows.texts:
        phrase = stand[text].phrase if text in stand else None
        is_learned = supervised and (phrase is None or phrase.is_described)
        verdict, reasons = decided(
            phrase, measured[text], corpus, is_learned=is_learned, is_seen=supervised
        )
        tokens.append(
            TokenVerdict(
                text=text,
                id=ids[text].id,
                use=ids[text].use,
                verdict=verdict,
                reasons=tuple(reasons),
                **{name: getattr(measured[text], name) for name in Measured.__slots__},
            )
        )
    notes = ["measured on the base without the adapter"] if changed_model else []
    if supervised and corpus is not None:
        notes.append(
            "sft was trained on the data that this is measured on: the shares are of text that it saw"
        )
    if subject.model.tied:  # what two rows a token would cost, where the plan offers them
        notes += [note for note in plan.notes if "[rows] untie = true gives" in note]
    listen(Done(STEP))
    return TokenVerdicts(tokens=tuple(tokens), notes=tuple(notes))


def decided(
    phrase: Phrase | None,
    found: Measured,
    corpus: Corpus | None,
    *,
    is_learned: bool = False,
    is_seen: bool = False,
) -> tuple[TokenAnswer, list[str]]:
    """The verdict and its reasons. What was not measured is not held against a token.

    Args:
        is_learned: whether supervised training decides what the token means, and no description.
        is_seen: whether supervised training saw the text too.
    """
    if is_learned:
        return "unknown", ["it means what supervised training taught: a behaviour check can say"]
    against = _against(phrase, found, corpus)
    if against:
        return "do-not-add", against
    if found.read is None:
        if phrase is None:
            return "unknown", [
                "nothing says what it stands for, so there is nothing to compare with"
            ]
        if corpus is None:
            return "unknown", ["there is no local text to measure it on"]
        return "unknown", [
            f"a part of the text shows it {found.n_windows} times, too few to measure"
        ]
    reasons = _recovered(found.read, found.write, is_seen=is_seen)
    if found.write is None and phrase is not None and phrase.is_described:
        reasons.append("how it is written, only supervised training and a behaviour check can say")
    return "go", reasons


def _recovered(read: float, write: float | None, *, is_seen: bool) -> list[str]:
    if is_seen:
        told = [f"{read:.0%} of reading is recovered on text that sft saw too"]
        return (
            told
            if write is None
            else [*told, f"{write:.0%} of writing is recovered on text that sft saw too"]
        )
    told = [f"{read:.0%} of reading is recovered on held-out text"]
    return (
        told if write is None else [*told, f"{write:.0%} of writing is recovered on held-out text"]
    )


def _against(phrase: Phrase | None, found: Measured, corpus: Corpus | None) -> list[str]:
    reasons = []
    plain = phrase is not None and not phrase.is_described
    if plain and found.uses == 0 and corpus is not None and corpus.is_whole:
        reasons.append("the text never uses it, so it saves nothing")
    if found.read is not None and found.read < LEAST_READ:
        reasons.append(
            f"{found.read:.0%} of reading is recovered, at least {LEAST_READ:.0%} is wanted"
        )
    if found.write is not None and found.write < LEAST_WRITTEN:
        reasons.append(
            f"{found.write:.0%} of writing is recovered, at least {LEAST_WRITTEN:.0%} is wanted"
        )
    if found.leak is not None and found.leak > MOST_LEAK:
        reasons.append(f"it is written {found.leak:.1f} times as often as is due")
    told = found.repeats
    if plain and told is not None and not told.passed and told.old_tokens >= REPEATING_MODEL:
        reasons.append(
            f"asked to repeat it, the model gives it {told.highest:.2g} at most, while it repeats "
            f"{told.old_tokens:.0%} of old tokens"
        )
    return reasons


def _measured(
    subject: Subject,
    corpus: Corpus | None,
    rows: RowSet,
    stand: dict[str, Standing],
    listen: Listen,
) -> dict[str, Measured]:
    written_ND = rows.input_ND if rows.output_ND is None else rows.output_ND
    told = repeats(subject, rows.input_ND, written_ND)
    listen(Progress(STEP, "", 2, STEPS, "steps"))
    known = [
        (n, phrase)
        for n, text in enumerate(rows.texts)
        if text in stand and (phrase := stand[text].phrase) is not None
    ]
    found = {text: Measured(repeats=told[n]) for n, text in enumerate(rows.texts)}
    if corpus is None or not known:
        return found
    phrases = [phrase for _, phrase in known]
    part = part_of_corpus(subject, corpus, phrases, TEST, seed=0)
    at = [n for n, _ in known]
    read_N = read_recovery(subject.model, part.windows, phrases, rows.input_ND[at])
    listen(Progress(STEP, "", 3, STEPS, "steps"))
    write_N, leak_N = write_recovery(subject, part, phrases, written_ND[at])
    counts = uses(subject, corpus, phrases)
    for n, (place, phrase) in enumerate(known):
        enough = part.windows_N[n] >= FEWEST_WINDOWS
        plain = not phrase.is_described
        saved = int(counts[n]) * (len(phrase.pieces) - 1) if plain else None
        size = corpus.n_bytes / max(1, corpus.n_positions)
        found[phrase.text] = Measured(
            read=_number(read_N[n]) if enough else None,
            write=_number(write_N[n]) if enough and plain else None,
            leak=_number(leak_N[n]) if enough and plain else None,
            n_windows=int(part.windows_N[n]),
            uses=int(counts[n]) if plain else None,
            positions_saved=saved,
            bytes_saved=None if saved is None else round(saved * size),
            repeats=told[place],
        )
    return found


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


# ── read ─────────────────────────────────────────────────────────────────────────────────────────


def read_recovery(
    model: LanguageModel, windows: Windows, phrases: Sequence[Phrase], rows_ND: Values
) -> Values:
    """1 - KL of these rows over KL of the mean of all rows, by token; NaN without windows."""
    if not len(windows):
        return np.full(len(phrases), np.nan)
    mean_ND = np.repeat(mean_row(model.input_VD())[None], len(phrases), 0)
    judge = Judge(model, windows, phrases, None)
    (_, ours_N), (_, theirs_N) = judge(rows_ND), judge(mean_ND)
    with np.errstate(all="ignore"):
        return np.asarray(1 - ours_N / theirs_N)


# ── written ──────────────────────────────────────────────────────────────────────────────────────


def write_recovery(
    subject: Subject, part: Part, phrases: Sequence[Phrase], rows_ND: Values
) -> tuple[Values, Values]:
    """The same for what is written, and the leak, by token; NaN where nothing is due or known."""
    model = subject.model
    recovered, leak = np.full((2, len(phrases)), np.nan)
    if not part.has_neutral or not len(part.windows):
        return recovered, leak
    neutral = neutral_states(model, part.ids_ST, part.keep_ST, phrases)
    usable = np.ones(len(neutral.at_P), np.bool_)
    chosen = choose_neutral(model, neutral, phrases, usable, np.random.default_rng(0), rows_ND)
    due = due_states(model, part.windows, phrases)
    frequency = np.maximum(part.counts_N, 1) / max(1, part.n_positions)
    told = samples_of(model, phrases, (due, neutral), chosen, frequency)
    mean_D = mean_row(model.output_VD())
    for n, (phrase, samples) in enumerate(zip(phrases, told, strict=True)):
        if phrase.is_described:
            continue
        theirs = divergence(model.written, samples, mean_D)
        if theirs > 0:
            recovered[n] = 1 - divergence(model.written, samples, rows_ND[n]) / theirs
        here = chosen[n]
        logits = model.written.logits(
            neutral.hidden_PD[here.place_C].astype(np.float64) @ rows_ND[n]
        )
        norms = neutral.log_norms(model, phrase)[here.place_C]
        taken = float(here.weight_C @ np.exp(logits - np.logaddexp(norms, logits)))
        owed = float(here.weight_C @ here.q_C)
        if owed > 0:
            leak[n] = taken / owed
    return recovered, leak
