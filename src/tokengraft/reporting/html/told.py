"""What the page says in sentences of its own: the verdict above all, and numbers beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from tokengraft.behaviour import Behaviour, Example, Kind, Rate, SaidBehaviour, TokenBehaviour
from tokengraft.documents import Value
from tokengraft.reporting.catalogue import Words
from tokengraft.reporting.text_plan import summary
from tokengraft.reporting.text_renumbering import removed_words
from tokengraft.reports import Report
from tokengraft.results import Estimate, Status
from tokengraft.trainings import TokenAnswer, TokenVerdict

Tone = Literal["good", "bad", "open"]
STATUSES: Final[tuple[Status, ...]] = ("pass", "fail", "skipped", "unknown")
VERDICT_TONES: Final[dict[TokenAnswer, Tone]] = {
    "go": "good",
    "do-not-add": "bad",
    "unknown": "open",
}

EXAMPLE_KINDS: Final[dict[Kind, str]] = {
    "wanted": "a token is wanted",
    "neutral": "no token is wanted",
    "near-miss": "a near miss",
}
VERDICT_WORDS: Final[dict[TokenAnswer, str]] = {
    "go": "go",
    "do-not-add": "do not add",
    "unknown": "undecided",
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the verdict, and whether it is good news."""

    tone: Tone
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """Sentences in one language."""

    say: Words

    def headline(self, report: Report) -> Sentence:
        """The verdict in two or three words."""
        proof = report.verification
        if proof is None:
            return Sentence("open", self.say("NOT PROVED"))
        if not proof.passed:
            return Sentence("bad", self.say("NOT VERIFIED"))
        records = report.training
        if records is not None and records.verdicts is not None:
            doubted = any(token.verdict != "go" for token in records.verdicts.tokens)
            return Sentence("open" if doubted else "good", self.say("VERIFIED, TRAINED"))
        if any(token.rows for token in report.plan.tokens):
            return Sentence("good", self.say("VERIFIED, NOT TRAINED"))
        return Sentence("good", self.say("VERIFIED"))

    def sentences(self, report: Report) -> Iterator[Sentence]:
        """The verdict in words, the most important first."""
        yield self._proof(report)
        yield Sentence("open", self._changed(report))
        if removed_words(self.say, report.plan):
            text = "ids moved: adapters, grafts and cached ids of the base do not fit this folder"
            yield Sentence("bad", self.say(text))
        if any(token.rows for token in report.plan.tokens):
            yield from self._trained(report)
        yield from self._behaved(report)

    def _changed(self, report: Report) -> str:
        text = summary(self.say, report.plan)
        return self.say("Changed: {sum}.", sum=text)

    def _proof(self, report: Report) -> Sentence:
        proof = report.verification
        if proof is None:
            return Sentence(
                "open", self.say("Nothing was proved: {why}.", why=self.tr(report.unproved))
            )
        counts = {s: sum(check.status == s for check in proof.checks) for s in STATUSES}
        left = counts["skipped"] + counts["unknown"]
        if not proof.passed:
            names = ", ".join(c.name for c in proof.checks if c.status == "fail")
            text = self.say("Do not use this folder: {failed} failed ({names}).",
                            failed=self.say.count(counts["fail"], "check"), names=names)  # fmt: skip
            return Sentence("bad", text)
        text = self.say(
            "The folder holds what the plan says and nothing else moved: {passed} passed, none failed; "
            "not run or not known: {left}.",
            passed=self.say.count(counts["pass"], "check"),
            left=self.say.number(left),
        )
        return Sentence("good", text)

    def tr(self, text: str) -> str:
        return self.say.translated(text)

    def _trained(self, report: Report) -> Iterator[Sentence]:
        records = report.training
        if records is None or records.verdicts is None:
            yield Sentence(
                "open",
                self.say(
                    "The new tokens are not trained: each has a starting value, not a meaning. "
                    "The model reads them as a blur and does not write them by itself."
                ),
            )
            return
        tokens = records.verdicts.tokens
        found = {answer: sum(t.verdict == answer for t in tokens) for answer in VERDICT_WORDS}
        tone: Tone = "bad" if found["do-not-add"] else "open" if found["unknown"] else "good"
        text = self.say(
            "New tokens that are worth having: {go} of {n}; not to be added: {no}; undecided: {unknown}.",
            n=self.say.number(len(tokens)),
            go=self.say.number(found["go"]),
            no=self.say.number(found["do-not-add"]),
            unknown=self.say.number(found["unknown"]),
        )
        yield Sentence(tone, text)

    def _behaved(self, report: Report) -> Iterator[Sentence]:
        found = report.behaviour
        if found is None:
            return
        said = found.said or SaidBehaviour()
        if (rate := said.wanted) is not None:
            text = self.say("Where new tokens are wanted, all of them are written in {share} of {n} prompts.", **self._of(rate))  # fmt: skip
            yield Sentence("open", text)
        if (rate := said.neutral) is not None:
            text = self.say("Where none is wanted, one is written in {share} of {n} prompts.", **self._of(rate))  # fmt: skip
            yield Sentence("open", text)
        if (rate := said.near_miss) is not None:
            text = self.say("On near misses, one is written in {share} of {n} prompts.", **self._of(rate))  # fmt: skip
            yield Sentence("open", text)
        if bits := self.bits(found):
            yield Sentence("open", bits)

    def _of(self, rate: Rate) -> dict[str, str]:
        return {"share": self.percent(rate.rate), "n": self.say.number(rate.n)}

    def said_before(self, found: Behaviour) -> SaidBehaviour:
        """What the untrained tokens did together; empty where they were not asked."""
        return (found.before.said if found.before else None) or SaidBehaviour()

    def bits(self, found: Behaviour) -> str:
        """What became of neutral text, "" where it was not measured."""
        bits = found.neutral_bits
        if bits is None or bits.before is None or bits.after is None:
            return ""
        change = self.say.decimal(f"{bits.after - bits.before:+.4f}")
        if bits.low is not None and bits.high is not None:
            ends = (self.say.decimal(f"{end:+.4f}") for end in (bits.low, bits.high))
            change += " [" + " – ".join(ends) + "]"
        return self.say(
            "Text without new tokens costs {before} bits a byte before and {after} after ({change}).",
            before=self.say.decimal(f"{bits.before:.4f}"),
            after=self.say.decimal(f"{bits.after:.4f}"),
            change=change,
        )

    # ── numbers ──────────────────────────────────────────────────────────────────────────────────

    def number(self, value: float | None, digits: int = 3) -> str:
        """A number with a fraction, a dash where there is none."""
        if value is None or not math.isfinite(value):
            return "–"
        return self.say.decimal(f"{value:.{digits}g}")

    def mean(self, value: Estimate | None, sign: str = "") -> str:
        """A mean in nats, a dash where a loss was not finite."""
        return "–" if value is None else self.say.decimal(f"{value.mean:{sign}.3f}")

    def ends(self, value: Estimate | None) -> str:
        """The interval of a difference, "" where there is none."""
        if value is None or value.low is None or value.high is None:
            return ""
        low, high = (self.say.decimal(f"{end:+.3f}") for end in (value.low, value.high))
        return self.say("{low} to {high}", low=low, high=high)

    def apart(self, value: Estimate | None) -> str:
        """Whether a loss is clearly another one: the style of its cell."""
        if value is None or value.low is None or value.high is None:
            return ""
        return "open" if value.low > 0 else "good" if value.high < 0 else ""

    def cosine(self, value: float) -> str:
        return self.say.decimal(f"{value:.3f}")

    def percent(self, share: float | None) -> str:
        if share is None or not math.isfinite(share):
            return "–"
        return self.say.decimal(f"{100 * share:.3g}") + " %"

    def rate(self, rate: Rate) -> str:
        """A share with how many of how many."""
        return f"{self.percent(rate.rate)} ({self.say.number(rate.hits)}/{self.say.number(rate.n)})"

    def interval(self, rate: Rate) -> str:
        return f"{self.percent(rate.low)} – {self.percent(rate.high)}"

    def capped(self, total_rows: int, shown: int, place: str) -> str:
        """What stands below a table that is not whole, "" below one that is."""
        if total_rows <= shown:
            return ""
        return self.say(
            "The first {shown} of {total}; all of them are in {place}.",
            shown=self.say.number(shown),
            total=self.say.number(total_rows),
            place=place,
        )

    def tone(self, token: TokenVerdict) -> Tone:
        return VERDICT_TONES[token.verdict]

    def kind(self, example: Example) -> str:
        """The word for the kind of an example, English."""
        return EXAMPLE_KINDS[example.kind]

    def verdict(self, token: TokenVerdict) -> str:
        """The word for a verdict, English."""
        return VERDICT_WORDS[token.verdict]


def before(found: Behaviour, token: TokenBehaviour) -> TokenBehaviour:
    """What the untrained token did; empty where it was not asked."""
    others = () if found.before is None else found.before.tokens
    twin = next((other for other in others if other.text == token.text), None)
    return TokenBehaviour(text=token.text, id=token.id) if twin is None else twin


# What shares are called, by the names in a record.
SHARE_NAMES: Final = {
    "parsed": "a call is read back",
    "names": "by the right name",
    "arguments": "with the right arguments",
    "role": "the right role",
    "modules": "the right modules of thought",
    "thoughts": "the right thoughts in them",
    "content": "the right text",
    "stopped": "the answer ends by itself",
}


def examples(found: Behaviour) -> list[Example]:
    """Examples, those that went wrong first."""
    return sorted(found.examples, key=lambda example: example.ok)


def shares(counted: Value | None, earlier: Value | None) -> list[tuple[str, Rate, Rate | None]]:
    """The shares of a part of a record: what is counted, its rate, and the rate before."""
    now, was = (dict(part) if part is not None else {} for part in (counted, earlier))
    return [(SHARE_NAMES[name], rate, was.get(name)) for name, rate in now.items() if rate]
