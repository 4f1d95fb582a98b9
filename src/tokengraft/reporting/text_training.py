"""What a training did and what its tokens are worth, as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tokengraft.reporting import text_results
from tokengraft.reporting.screen import Cell, Page
from tokengraft.trainings import (
    Need,
    StageDone,
    StageRecord,
    TokenAnswer,
    TokenVerdict,
    TokenVerdicts,
    Training,
    TrainingEstimate,
)

ANSWERS: Final[dict[TokenAnswer, tuple[str, str]]] = {
    "go": ("GO", "green"),
    "do-not-add": ("DO NOT ADD", "red"),
    "unknown": ("UNKNOWN", "yellow"),
}


def training(page: Page, value: Training, place: str) -> None:
    """All of a training: stages, verdicts, what was written, what was proved."""
    stages(page, value.stages)
    verdicts(page, value.tokens)
    page.heading(page.say("Result"))
    text_results.receipt(page, value.receipt, place, (), value.seconds)
    text_results.verification(page, value.verify)
    page.line(page.say("records of the training: {folder}", folder=value.folder), "dim", indent=2)


def stages(page: Page, value: Sequence[StageDone]) -> None:
    """Each stage with its time and what it has to say."""
    say = page.say
    page.heading(say("Stages"))
    for one in value:
        seconds = say("{seconds} s", seconds=say.decimal(f"{one.seconds:.1f}"))
        done = say("finished before") if one.resumed else seconds
        page.item("+", f"{one.stage}: {done}", "dim" if one.resumed else "")
        for note in one.notes:
            page.item("-", say.translated(note), indent=4)


def stage(page: Page, value: StageRecord) -> None:
    """The record of one stage: how each row was made."""
    done = StageDone(stage=value.stage, seconds=value.seconds, resumed=False, notes=value.notes)
    stages(page, (done,))
    page.table((), ((made.text, made.read, made.write) for made in value.made))


def verdicts(page: Page, value: TokenVerdicts) -> None:
    """A table of all tokens; reasons where the answer is not yes."""
    say = page.say
    page.heading(say("New tokens"))
    headers = ("", say("token"), "id", say("read"), say("written"), say("leak"), say("saved"))
    page.table(
        headers, (_row(page, token) for token in value.tokens), right=frozenset({2, 3, 4, 5, 6})
    )
    for token in value.tokens:
        if token.verdict != "go":
            for reason in token.reasons:
                page.item("!", f"{token.text}: {say.translated(reason)}", "yellow")
    for note in value.notes:
        page.item("-", say.translated(note))


def _row(page: Page, token: TokenVerdict) -> tuple[Cell, str, str, str, str, str, str]:
    say = page.say
    name, style = ANSWERS[token.verdict]
    read, write = [
        say.decimal(f"{x:.2f}") if x is not None else "" for x in (token.read, token.write)
    ]
    leak = "" if token.leak is None else say.decimal(f"{token.leak:.1f}")
    saved = "" if token.bytes_saved is None else say.size(token.bytes_saved)
    return Cell(say(name), style), token.text, str(token.id), read, write, leak, saved


def estimate(page: Page, value: TrainingEstimate) -> None:
    """Memory and time of every method; what the recipe asks for is marked."""
    say = page.say
    page.banner(say("ESTIMATE: nothing was loaded"), "")
    page.pairs(_facts(page, value))
    headers = ("", say("method"), say("memory"), say("disk"), say("time"), say("of which"))
    page.table(headers, (_need(page, need) for need in value.needs), right=frozenset({2, 3, 4}))
    for need in value.needs:
        for note in need.notes:
            page.item("-", f"{need.method}: {say.translated(note)}")
    for note in value.notes:
        page.item("-", say.translated(note))


def _facts(page: Page, value: TrainingEstimate) -> Iterator[tuple[str, str]]:
    say = page.say
    yield say("parameters"), say.number(value.parameters)
    if value.active_parameters != value.parameters:
        yield say("active for a token"), say.number(value.active_parameters)
    yield say("new tokens"), say.number(value.new_tokens)
    if value.corpus_tokens is not None:
        yield say("tokens of text, about"), say.number(value.corpus_tokens)


def _need(page: Page, need: Need) -> tuple[Cell, str, str, str, str, str]:
    say = page.say
    sign = Cell("+", "green") if need.asked else Cell(" ")
    largest = sorted(need.parts.items(), key=lambda part: -part[1])[:3]
    parts = ", ".join(f"{say(name)} {say.size(size)}" for name, size in largest if size)
    time = "" if need.seconds is None else _time(page, need.seconds)
    disk = say.size(need.disk_bytes) if need.disk_bytes else ""
    return sign, need.method, say.size(need.memory_bytes), disk, time, parts


def _time(page: Page, seconds: float) -> str:
    say = page.say
    if seconds < 90:  # noqa: PLR2004 - a minute and a half is told in seconds
        return say("{seconds} s", seconds=say.decimal(f"{max(1, round(seconds))}"))
    if seconds < 5400:  # noqa: PLR2004
        return say("{minutes} min", minutes=say.decimal(f"{round(seconds / 60)}"))
    return say("{hours} h", hours=say.decimal(f"{seconds / 3600:.1f}"))
