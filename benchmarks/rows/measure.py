"""All metrics of all methods on one subject."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from benchmarks.rows.cases import Method, Rows, context
from benchmarks.rows.generating import Prompts, generated, prompts
from benchmarks.rows.mapped_peers import NotApplicable
from benchmarks.rows.peers import FIXED
from benchmarks.rows.probing import Course, course, probed
from benchmarks.rows.reading import Expected, expected, merged_states, read, third
from benchmarks.rows.strata import Stratum
from benchmarks.rows.subject import TEST, Subject
from benchmarks.rows.trained_peers import Swept
from benchmarks.rows.whole import Whole, whole_figures, whole_text
from benchmarks.rows.writing import Duties, binary_kl, duties, wrote
from numpy.typing import NDArray

from tokengraft.training.states import FINAL, log_scores
from tokengraft.training.windows import Phrase

Values = NDArray[np.float64]
REFERENCE = "mean"
USES = ("generation", "probe")


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What was measured of one method on one stratum.

    Attributes:
        variant: `tied` (one row for both jobs), `untied` (two rows, on a subject whose rows are
            tied), or empty on a subject with two matrices.
        arrays: one number a token, mean over seeds.
        figures: one number for all tokens, mean over seeds.
        skipped: why nothing was measured.
        seeds: how many that is the mean of.
    """

    method: str
    variant: str
    arrays: Mapping[str, Values] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    skipped: str = ""
    seeds: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a stratum is compared with, computed once."""

    told: Expected
    duties: Duties
    gold: Gold | None
    whole: Whole | None
    prompts: Prompts | None
    course: Course | None


@dataclass(frozen=True, slots=True, eq=False)
class Gold:
    """What the true rows of re-split words do: the text behind, and when they are written."""

    told: Expected
    log_p_W: Values
    p_NP: Values


def truth(subject: Subject, stratum: Stratum, *, uses: Collection[str] = USES) -> Truth:
    """Every pass that does not depend on a method.

    Args:
        uses: which of what takes the most time is measured: what is generated, the probe.
    """
    windows = stratum.windows[TEST]
    told = expected(subject.model, windows)
    rng = np.random.default_rng(7)
    found = duties(subject.model, windows, stratum.backgrounds[TEST], stratum.phrases, rng)
    gold = _gold(subject, stratum, told, found) if stratum.name == "S1" else None
    whole = whole_text(subject, stratum.phrases) if stratum.name == "S2" else None
    uses = uses if stratum.name == "S2" else ()
    asked = prompts(subject, stratum) if "generation" in uses else None
    steps = course(subject, stratum) if "probe" in uses else None
    return Truth(told, found, gold, whole, asked, steps)


def _gold(subject: Subject, stratum: Stratum, told: Expected, found: Duties) -> Gold:
    model, windows = subject.model, told.windows
    ids = np.array([p.without for p in stratum.phrases], np.int64)
    true_rows = model.input_VD()[ids].astype(np.float64)
    final, early = merged_states(model, windows, true_rows, (FINAL, third(model)))
    at = Expected(windows, final, early, told.targets_WA, told.exists_WA)
    _, log_p = log_scores(model, found.due.hidden_WD, ids[windows.token_W])
    rows = model.output_VD()[ids].astype(np.float64)
    logits = model.written.logits(rows @ found.neutral.hidden_PD.T.astype(np.float64))
    return Gold(at, log_p, np.exp(logits - found.neutral.log_norm_P))


def seeds_of(method: str, seeds: int) -> range:
    """The seeds that a method is measured with: one where chance has no part in it."""
    return range(1 if method in FIXED else seeds)


def measure(
    subject: Subject,
    stratum: Stratum,
    methods: Mapping[str, tuple[Method, Sequence[int]]],
    *,
    donor: Subject | None = None,
    uses: Collection[str] = USES,
    say: Callable[[str], None] = print,
) -> Iterator[tuple[int, list[Result]]]:
    """Run and measure every method with its seeds: the results of a seed, one or two variants, as they come."""
    if not any(seeds for _, seeds in methods.values()):
        return
    begin = time.perf_counter()
    measured = _Measured(subject, stratum, truth(subject, stratum, uses=uses))
    say(f"  {stratum.name}: {len(stratum.phrases)} tokens, truth in {_since(begin)}")
    for name, (method, seeds) in methods.items():
        for seed in seeds:
            begin = time.perf_counter()
            given = context(subject, stratum, seed, donor)
            try:
                # A sweep of rates is not counted: its result is used by every seed.
                rate = {"rate": method.choose(given)} if isinstance(method, Swept) else {}
                rows, cost = _timed(method, given)
            except NotApplicable as why:
                yield seed, [Result(name, "", skipped=str(why))]
                break
            found = []
            for variant, chosen in _variants(rows, tied=given.tied):
                arrays, figures = measured(chosen, is_first=seed == 0)
                found.append(Result(name, variant, arrays, {**figures, **cost, **rate}))
            say(f"  {stratum.name} {name}, seed {seed}: {_since(begin)}")
            yield seed, found


class _Measured:
    """What was measured of rows: where one row does both jobs, many peers give the same ones."""

    def __init__(self, subject: Subject, stratum: Stratum, against: Truth) -> None:
        self.of = (subject, stratum, against)
        self.known: dict[bytes, tuple[dict[str, Values], dict[str, float]]] = {}

    def __call__(self, rows: Rows, *, is_first: bool) -> tuple[dict[str, Values], dict[str, float]]:
        key = rows.input_ND.tobytes() + rows.output_ND.tobytes() + bytes([is_first])
        if key not in self.known:
            arrays, figures = scores(*self.of, rows)
            if is_first:
                figures |= _in_use(*self.of, rows)
            self.known[key] = (arrays, figures)
        return self.known[key]


def scores(
    subject: Subject, stratum: Stratum, against: Truth, rows: Rows
) -> tuple[dict[str, Values], dict[str, float]]:
    """All metrics of one set of rows."""
    model, phrases = subject.model, stratum.phrases
    sizes = np.array([len(raw) for raw in subject.words.bytes_V])
    seen = read(model, against.told, phrases, rows.input_ND, sizes)
    done = wrote(model, against.duties, rows.output_ND, stratum.frequency_N)
    arrays = {
        "read_kl": seen.kl_N,
        "read_nats": seen.nats_N,
        "read_bytes": seen.size_N,
        "hidden_final": seen.final_N,
        "hidden_third": seen.third_N,
        "own_nats": seen.own_nats_N,
        "write_gap": done.gap_N,
        "write_abs": done.gap_abs_N,
        "write_kl": done.kl_N,
        "taken": done.taken_N,
        "due": done.due_N,
        "canonical": done.canonical_N,
        "mass": done.mass_N,
        "lift": done.lift_N,
    }
    if against.gold is not None:
        gold = against.gold
        arrays["gold_read_kl"] = read(model, gold.told, phrases, rows.input_ND, sizes).kl_N
        arrays["gold_write_kl"] = _gold_writing(subject, stratum, against, rows)
    figures = {"harm": done.harm, "harm_excess": done.harm - done.harm_due}
    if against.whole is not None:
        figures |= whole_figures(model, against.whole, rows)
    return arrays, figures


def _in_use(subject: Subject, stratum: Stratum, against: Truth, rows: Rows) -> dict[str, float]:
    """What is written with the rows, and what becomes of them in a short training; first seed only."""
    figures: dict[str, float] = {}
    if against.prompts is not None:
        figures |= generated(subject, against.prompts, stratum.phrases, rows)
    if against.course is not None and against.whole is not None:
        one = subject.model.tied and np.array_equal(rows.input_ND, rows.output_ND)
        after = probed(subject.model, against.course, rows, tied=one)
        figures["p50"] = whole_figures(subject.model, against.whole, after)["bpb_more"]
    return figures


def _gold_writing(subject: Subject, stratum: Stratum, against: Truth, rows: Rows) -> Values:
    gold, duty = against.gold, against.duties
    assert gold is not None
    written = subject.model.written
    token_W = duty.due.token_W
    logits = written.logits(np.einsum("wd,wd->w", duty.due.hidden_WD, rows.output_ND[token_W]))
    p_W = np.exp(logits - np.logaddexp(duty.due.log_norm_W, logits))
    kl_W = binary_kl(np.exp(gold.log_p_W), p_W)
    n = len(stratum.phrases)
    due = np.bincount(token_W, kl_W, n) / np.maximum(1, np.bincount(token_W, minlength=n))
    logits_NP = written.logits(rows.output_ND @ duty.neutral.hidden_PD.T.astype(np.float64))
    norms = duty.log_norm_NP if duty.log_norm_NP is not None else duty.neutral.log_norm_P[None]
    p_NP = np.exp(logits_NP - np.logaddexp(norms, logits_NP))
    neutral = binary_kl(gold.p_NP, p_NP).mean(axis=1)
    return np.asarray(stratum.frequency_N * due + (1 - stratum.frequency_N) * neutral)


def _variants(rows: Rows, *, tied: bool) -> Sequence[tuple[str, Rows]]:
    if not tied:
        return (("", rows),)
    one = rows.tied()
    same = np.array_equal(rows.input_ND, rows.output_ND) and np.array_equal(
        one.input_ND, rows.input_ND
    )
    return (("tied", one),) if same else (("tied", one), ("untied", rows))


def _timed(method: Method, given: object) -> tuple[Rows, dict[str, float]]:
    """Seconds, and by how much the process's memory rose above what it was, in MB."""
    _forget_peak()
    start = _memory("VmRSS")
    begin = time.perf_counter()
    cpu = time.process_time()
    rows = method(given)  # type: ignore[arg-type]
    return rows, {
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": max(0.0, _memory("VmHWM") - start) / 1024,
    }


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # another system: the peak is then that of the whole run


def _memory(key: str) -> float:
    try:
        told = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return float("nan")
    found = re.search(rf"^{key}:\s+(\d+) kB", told, re.MULTILINE)
    return float(found[1]) if found else float("nan")


def _since(begin: float) -> str:
    return f"{time.perf_counter() - begin:.1f} s"


def names(phrases: Sequence[Phrase]) -> list[str]:
    """Texts of the tokens."""
    return [phrase.text for phrase in phrases]
