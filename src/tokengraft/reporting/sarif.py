"""Findings as SARIF 2.1.0, for code scanning.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from tokengraft.answers import Rule
from tokengraft.findings import Audit, Finding
from tokengraft.reporting import escape, json
from tokengraft.reporting.catalogue import ENGLISH, Language, Words

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
# RFC 3066, as `run.language` wants it (3.14.7); en-US is what a log without it is in.
LANGUAGES: Final[dict[Language, str]] = {"en": "en-US", "ru": "ru-RU"}


def findings(
    audit: Audit,
    rules: Sequence[Rule],
    tool: str,
    *,
    home: str = "",
    folder: str = "",
    say: Words = ENGLISH,
) -> str:
    """Write the findings of an audit as one SARIF log.

    Args:
        rules: the pages of at least those rules that found something.
        tool: our version.
        home: where docs/ can be read on the web; empty where the package does not say, and a
            rule then has its page beside it and no address.
        folder: where the audited folder lies in the repository that is scanned; "" at its top.
        say: the language of messages, which the log names; fingerprints do not depend on it.
    """
    known = {rule.code: at for at, rule in enumerate(rules)}
    log: dict[str, object] = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "tokengraft",
                        "version": tool,
                        "rules": [_rule(say.rule(rule), home) for rule in rules],
                    }
                },
                "language": LANGUAGES[say.language],
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, known, folder, say) for finding in audit.findings],
                "properties": {"source": escape.inline(audit.source), "verdict": audit.verdict},
            }
        ],
    }
    return json.text(log)


def _rule(rule: Rule, home: str) -> dict[str, object]:
    page = f"{rule.text}\n`tokengraft explain {rule.code}`\n"
    made: dict[str, object] = {
        "id": rule.code,
        "shortDescription": {"text": escape.sarif_text(rule.title)},
        "fullDescription": {"text": escape.sarif_text(_first_section(rule.text))},
        "help": {"text": escape.sarif_text(page), "markdown": _markdown(page)},
        "defaultConfiguration": {"level": rule.severity},
    }
    if home:
        made["helpUri"] = f"{home.rstrip('/')}/reference/rules/{rule.code}.md"
    return made


def _first_section(page: str) -> str:
    return page.split("\n## ", 1)[0].split("\n\n", 1)[-1].strip()


def _markdown(page: str) -> str:
    """Our own prose, in which tokens are text and not HTML; code in backticks is safe as it is."""
    parts = re.split(r"(`[^`]*`)", page)
    return "".join(p if p.startswith("`") else p.replace("<", "&lt;") for p in parts)


def _result(finding: Finding, known: dict[str, int], folder: str, say: Words) -> dict[str, object]:
    said = say.translated(finding.summary)
    if finding.detail:
        said += f"\n{say.translated(finding.detail)}"
    mark = f"{finding.rule}\0{finding.subject}\0{finding.summary}"
    result: dict[str, object] = {
        "ruleId": finding.rule,
        "level": finding.severity,
        "message": {"text": escape.sarif_text(said)},
        "locations": [_location(finding.subject, folder)],
        "partialFingerprints": {
            "tokengraft/v1": hashlib.sha256(mark.encode("utf-8", "surrogatepass")).hexdigest()
        },
    }
    if finding.rule in known:
        result["ruleIndex"] = known[finding.rule]
    return result


def _location(subject: str, folder: str) -> dict[str, object]:
    """A file for what lies in one; a tensor has a logical place and stands for the whole folder."""
    path = inside(folder, file_of(subject)) or folder or "."
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(path.encode("utf-8", "surrogatepass"), safe="/")},
            # A JSON pointer is no line; GitHub shows no result without one.
            "region": {"startLine": 1},
        },
        "logicalLocations": [{"fullyQualifiedName": escape.inline(subject)}],
    }


def inside(folder: str, file: str) -> str:
    """The place of a file of the audited folder in the repository; "" where there is no file."""
    return f"{folder}/{file}" if folder and file else file


def file_of(subject: str) -> str:
    """The file of a subject `file#/pointer` or `file`; empty for `tensor[row]` and the folder."""
    path = subject.split("#", 1)[0]
    named = path.rsplit("/", 1)[-1]
    suffixes = (".json", ".jinja", ".txt", ".safetensors", ".model", ".bin", ".md", ".py", ".pt")
    is_file = "#" in subject or named.endswith(suffixes)
    return path if is_file and "[" not in named else ""
