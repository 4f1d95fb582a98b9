"""`demo`: the whole story on the small model that ships with the repository."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tokengraft.applying.single import write_document
from tokengraft.documents import Document
from tokengraft.errors import TargetExists, UsageError
from tokengraft.events import Listen, ignore
from tokengraft.flow.looking import diff, tokens
from tokengraft.flow.making import apply_planned, audit, make_plan, undo
from tokengraft.flow.proving import verify
from tokengraft.flow.reports import ReportRequest, report
from tokengraft.reporting.row_texts import row_texts

REPOSITORY = Path(__file__).resolve().parents[3]
MODEL = Path("models/tiny-qwen3-moe-base")
RECIPE = Path("examples/agent.toml")
SENTENCE = "<|my_agi_mode|><|think|>The fox is hungry.<tool_start>look</tool_end>"


@dataclass(frozen=True, slots=True)
class Chapter:
    """One step of the demo, the command that does the same, and what it answered."""

    title: str
    command: str
    value: Document | str
    texts: Mapping[int, str] = field(default_factory=dict)


def demo(folder: Path, *, language: str = "en", listen: Listen = ignore) -> Iterator[Chapter]:
    """Audit, plan, apply, verify, report and undo the small model, step by step.

    Raises:
        UsageError: the small model is not there (it ships with the repository, not with the wheel).
        TargetExists: `folder` holds something already.
    """
    base = _inside(REPOSITORY / MODEL)
    recipe = _inside(REPOSITORY / RECIPE)
    if folder.exists() and any(folder.iterdir()):
        raise TargetExists(
            f"{folder} is not empty",
            subject=str(folder),
            hint=f"tokengraft demo -o ANOTHER, or remove {shlex.quote(str(folder))}",
        )
    folder.mkdir(parents=True, exist_ok=True)
    yield from _chapters(base, recipe, folder, language, listen)


def _inside(path: Path) -> Path:
    if not path.exists():
        raise UsageError(
            "the demo's small model is not here",
            detail="it ships with the repository, not with the installed package",
            subject=str(path),
            hint="clone the repository and run `make demo` there",
        )
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _chapters(
    base: Path, recipe: Path, folder: Path, language: str, listen: Listen
) -> Iterator[Chapter]:
    src, out, back = str(base), folder / "grafted", folder / "undone"
    yield Chapter(
        "Does it make sense to change anything here?",
        f"tokengraft audit {shlex.quote(src)}",
        audit(src, listen=listen),
    )
    yield Chapter(
        "What we want: a role, two tool tokens, three modules of thought, and a pad token",
        f"cat {shlex.quote(str(recipe))}",
        recipe.read_text(encoding="utf-8"),
    )
    planned = make_plan(src, recipe, listen=listen)
    plan_path = folder / "plan.json"
    write_document(plan_path, planned.text)
    yield Chapter(
        "What would change, and what it costs",
        f"tokengraft plan {shlex.quote(src)} {shlex.quote(str(recipe))} -o {plan_path}",
        planned.plan,
        row_texts(planned.plan, planned.checkpoint.tokenizer),
    )
    applied = apply_planned(planned, out=out, listen=listen)
    yield Chapter(
        "Make it so",
        f"tokengraft apply {plan_path} --base {shlex.quote(src)} -o {out}",
        applied.receipt,
    )
    proof = verify(out, against=src, listen=listen)
    yield Chapter("Prove it", f"tokengraft verify {out} --against {shlex.quote(src)}", proof)
    for title, place in (("Try it: before", src), ("Try it: after", str(out))):
        command = f"tokengraft tokens {shlex.quote(place)} {shlex.quote(SENTENCE)}"
        yield Chapter(title, command, tokens(place, SENTENCE))
    yield Chapter("What is different", f"tokengraft diff {src} {out}", diff(src, str(out)))
    told = folder / "grafted.html"
    yield Chapter(
        "The whole story as one page, to be opened in a browser",
        f"tokengraft report {out} -o {told} --against {shlex.quote(src)}",
        report(ReportRequest(out, src, verification=proof), told, language=language, listen=listen),
    )
    undo(out, target=back, listen=listen)
    yield Chapter(
        "And back again, bit for bit",
        f"tokengraft undo {out} -o {back} && tokengraft diff {src} {back}",
        diff(src, str(back)),
    )
