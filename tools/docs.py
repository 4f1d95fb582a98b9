"""Write what the documentation repeats of the code: pages of docs/reference, and marked parts.

    python tools/docs.py            write docs/reference and docs/ru/reference, and the parts between markers
    python tools/docs.py --check    say what is not current, and exit with 1

A part stands between `<!-- docs: NAME -->` and `<!-- /docs -->` in README.md, README.ru.md and
docs/start.md: real output of the program on the small model, cut to the lines that `STORIES` keeps,
or the support table, which is probed on checkpoints made for it.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO / "src"), str(REPO / "tests"), str(REPO / "tools")]

import docs_families  # noqa: E402  after the path: this checkout's own code is documented
import docs_pages  # noqa: E402
import docs_rules  # noqa: E402

DOCS = REPO / "docs"
WITH_PARTS = ("README.md", "README.ru.md", "docs/start.md")
PART = re.compile(r"(<!-- docs: ([\w-]+) -->\n).*?(<!-- /docs -->)", re.DOTALL)
HEAD = "<!-- Written by tools/docs.py from the code; `make docs` writes it again. -->\n\n"
WIDTH = "100"
BASE = "models/tiny-qwen3-moe-base"


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a story, and which lines of its output are kept; runs of others become `...`.

    What follows the first match of `until`, and whatever is cut at the end, leaves no sign.

    A line that is indented far continues the one before it, and shares its fate.
    """

    command: str
    keep: str = "."
    until: str = "^(Next|Дальше)$"
    language: str = "en"

    def cut(self, output: str) -> str:
        kept: list[str] = []
        keeps = True
        for line in re.split(self.until, output, maxsplit=1, flags=re.MULTILINE)[0].splitlines():
            if not line.startswith(" " * 20):
                keeps = re.search(self.keep, line) is not None
            if keeps:
                kept.append(line.rstrip())
            elif line.strip() and kept[-1:] != ["..."]:
                kept.append("...")
            elif not line and self.keep == ".":
                kept.append("")
        while kept and kept[-1] in ("", "..."):
            kept.pop()
        return "\n".join([f"$ {self.command}", *kept]) + "\n"

    @property
    def output(self) -> str:
        return outputs(self.language)[self.command]


AUDIT = f"tokengraft audit {BASE}"
PLAN = f"tokengraft plan {BASE} examples/agent.toml -o plan.json"
APPLY = f"tokengraft apply plan.json --base {BASE} -o out"
VERIFY = f"tokengraft verify out --against {BASE}"
TEXT = shlex.quote("<tool_start>{}</tool_end>")
STORIES: Mapping[str, tuple[Step, ...]] = {
    "story": (
        Step(AUDIT, "^VERDICT|^  - |^  gen", "^  - The rest"),
        Step(PLAN, "^PLAN|^untouched|^Put|declares|^  </tool|  402[67] |row 4026 "),
        Step(APPLY, "^DONE"),
        Step(VERIFY, "^VERIFIED|(tensors-against-base|old-text) |passed,"),
    ),
    "story-ru": (
        Step(AUDIT, "^ВЕРДИКТ|^  - |^  [а-я]|^  2", "^  - Остальное", "ru"),
        Step(
            PLAN,
            "^ПЛАН|^[а-я]|^Сначала|объявляет|^    [<t]|  402[67] |строка 4030 ",
            language="ru",
        ),
        Step(APPLY, "^ГОТОВО", language="ru"),
        Step(VERIFY, "^ПРОВЕРЕНО|old-text |верно [0-9]", language="ru"),
    ),
    "start-audit": (Step(AUDIT, until="^Facts"),),
    "start-goal": (Step(f"{AUDIT} --goal roles", until="^Findings"),),
    "start-plan": (Step(PLAN),),
    "start-apply": (
        Step(APPLY, "^DONE|as before"),
        # Lines with digests change with every change of the plan's text: they are left out.
        Step(VERIFY, "^VERIFIED|  pass +(?!plan-and|base-)|skipped|passed,"),
    ),
    "start-look": (
        Step(f"tokengraft tokens {BASE} {TEXT}"),
        Step(f"tokengraft tokens out {TEXT}"),
    ),
}


@functools.cache
def outputs(language: str) -> Mapping[str, str]:
    """Run the commands of all stories, each once and in order, beside the model and the examples."""
    steps = (step for steps in STORIES.values() for step in steps if step.language == language)
    commands = dict.fromkeys(step.command for step in steps)
    with tempfile.TemporaryDirectory() as made:
        for part in (BASE, "examples"):
            shutil.copytree(REPO / part, Path(made, part))
        return {command: ran(command, Path(made), language) for command in commands}


def told(name: str) -> str:
    """Show a story as a block of a terminal."""
    return "```console\n" + "\n".join(s.cut(s.output) for s in STORIES[name]) + "```\n"


def ran(command: str, folder: Path, language: str) -> str:
    """What a command prints on stdout; a bug of ours ends the generator."""
    environ = {
        **{key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "TMPDIR")},
        "COLUMNS": WIDTH,
        "NO_COLOR": "1",
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "TOKENGRAFT_LANG": language,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(REPO / "src"),
    }
    program, *arguments = shlex.split(command)
    first = [sys.executable, "-m", "tokengraft"] if program == "tokengraft" else [program]
    done = subprocess.run(
        [*first, *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        sys.exit(f"{command} gave {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def support() -> str:
    """The support table."""
    return docs_families.support_table(docs_families.support())


PARTS: Mapping[str, Callable[[], str]] = {
    **{name: functools.partial(told, name) for name in STORIES},
    "support": support,
}
PAGES: Mapping[str, Callable[[], str]] = {
    "reference/cli.md": docs_pages.cli_page,
    "reference/errors.md": docs_pages.errors_page,
    "reference/families.md": docs_families.families_page,
    "reference/initializers.md": docs_pages.initializers_page,
    "reference/recipe.md": docs_pages.recipe_page,
    **docs_rules.rule_pages(),
}


def current() -> Iterator[tuple[Path, str]]:
    """Every file that is generated, in whole or in part, and what it should hold."""
    for name, page in PAGES.items():
        yield DOCS / name, HEAD + page()
    for name in WITH_PARTS:
        path = REPO / name
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            yield path, PART.sub(lambda part: part[1] + PARTS[part[2]]() + part[3], text)


def left_over(known: set[Path]) -> Iterator[Path]:
    """Pages of rules that are no longer there."""
    yield from sorted(set(DOCS.rglob("rules/*.md")) - known)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args(arguments).check
    stale = 0
    wanted = dict(current())
    for path, text in wanted.items():
        there = path.read_text(encoding="utf-8") if path.is_file() else ""
        if there == text:
            continue
        stale += 1
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        print(f"{'not current' if check else 'written'}: {path.relative_to(REPO)}")
    for path in left_over(set(wanted)):
        stale += 1
        if not check:
            path.unlink()
        print(f"{'left over' if check else 'removed'}: {path.relative_to(REPO)}")
    if check and stale:
        print("make docs writes them again")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
