"""Write docs/explanation/campaign.md from the results that campaigns left in docs/explanation/campaign/.

Their figures go into docs/explanation/promises.md too, between `<!-- figures NAME ... -->` and `<!-- end -->`.

Usage: python tools/campaign_page.py [--check]

A result is a JSON file: `order` (its place on the page), `title`, `method` (how, one paragraph),
`figures` (name to number or text, in the order of the page), `tests` (how many have passed, if they
are counted: "28 of 28"), `versions` (of what was used).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs" / "explanation"
PAGE = DOCS / "campaign.md"
PROMISES = DOCS / "promises.md"
_BLOCK = re.compile(r"(<!-- figures ([^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = """# What the fault campaigns found

The promises of [transactions](transactions.md) are tried by campaigns that kill, refuse, interrupt, cut the power of
and race the program thousands of times. `make campaign` runs them (at most three hours on two cores; it goes on where it
was cut); this page is written by them and by nothing else. A test in which one case failed leaves no figures, and each
campaign says how many of its tests have passed.
"""


def page(results: list[dict[str, Any]]) -> str:
    """The whole page."""
    parts = [HEAD]
    for result in sorted(results, key=lambda result: (result["order"], result["title"])):
        rows = [f"| {name} | {_number(value)} |" for name, value in result["figures"].items()]
        if "tests" in result:
            rows.append(f"| tests that passed | {result['tests']} |")
        parts.append(
            "\n".join(
                [
                    f"## {result['title']}",
                    "",
                    result["method"],
                    "",
                    "| | |",
                    "|---|---:|",
                    *rows,
                    "",
                ]
            )
        )
    return "\n".join([*parts, _versions(results)])


def with_figures(text: str, results: dict[str, dict[str, Any]]) -> str:
    """The page of promises with a line for each campaign that has left figures, by its file's name."""

    def lines(match: re.Match[str]) -> str:
        found = [results[name] for name in match[2].split() if name in results]
        told = "".join(f"- {_title(r)}: {_listed(r['figures'])}.\n" for r in found)
        return match[1] + (told or "(no figures yet)\n") + match[3]

    return _BLOCK.sub(lines, text)


def _title(result: dict[str, Any]) -> str:
    title = str(result["title"])
    return f"**{title[:1].upper()}{title[1:]}**"


def _listed(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in figures.items())


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _versions(results: list[dict[str, Any]]) -> str:
    found: dict[str, set[str]] = {}
    for result in results:
        for name, version in result["versions"].items():
            found.setdefault(name, set()).add(version)
    said = ", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in sorted(found))
    return f"## Versions\n\n{said or 'none yet'}.\n"


def main(arguments: list[str]) -> int:
    """Write the page, or say whether it is what the results make."""
    files = sorted((DOCS / "campaign").glob("*.json"))
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
    promises = with_figures(PROMISES.read_text(encoding="utf-8"), results)
    made = {PAGE: page(list(results.values())), PROMISES: promises}
    old = [
        path.name
        for path, text in made.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in arguments:
        print(f"not what the results make: {', '.join(old)}" if old else "up to date")
        return 1 if old else 0
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
