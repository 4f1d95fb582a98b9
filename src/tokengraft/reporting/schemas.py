"""The published JSON Schemas: one for each kind of document.

`python -m tokengraft.reporting.schemas DIR` writes them; a test keeps the committed ones current.
They describe what is written. All but the recipe's permit more keys than they name: `contract.md`
promises that keys are only ever added.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from tokengraft import answers, trainings
from tokengraft.behaviour import Behaviour, Suite
from tokengraft.data_audits import DataAudit
from tokengraft.documents import Document, ErrorDocument
from tokengraft.findings import Audit
from tokengraft.plans import Plan
from tokengraft.recipes import Recipe
from tokengraft.results import Receipt, Verification

KINDS: Final[tuple[type[Document], ...]] = (
    Audit,
    Behaviour,
    Plan,
    Receipt,
    Suite,
    Verification,
    DataAudit,
    ErrorDocument,
    Recipe,
    answers.Demo,
    answers.Diff,
    answers.Doctor,
    answers.Folder,
    answers.Problems,
    answers.RecipeText,
    answers.ReportWritten,
    answers.Rule,
    answers.Rules,
    answers.Run,
    answers.Tokens,
    answers.Version,
    trainings.StageRecord,
    trainings.TokenVerdicts,
    trainings.Training,
    trainings.TrainingEstimate,
)
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# What the answer of `apply` and `undo` knows beyond the receipt that lies in OUT.
RECEIPT_ANSWER: Final = {
    "seconds": {"type": "number", "description": "How long it took; only in a command's answer."},
    "undone": {
        "type": "array",
        "items": {"type": "string"},
        "description": "What the recipe asks for and this command leaves; only in its answer.",
    },
}

RECIPE_ANSWER: Final = {
    "const": "tokengraft/recipe",
    "description": "Only in the answer of `show --json`; a recipe's own file has no such key.",
}


def schema(kind: type[Document]) -> dict[str, object]:
    """The JSON Schema of one kind of document."""
    mode = "validation" if kind is Recipe else "serialization"
    made = kind.model_json_schema(by_alias=True, mode=mode)  # type: ignore[arg-type]
    if kind is not Recipe:
        _open(made)
    if kind is Recipe:
        made["properties"]["schema"] = RECIPE_ANSWER
    if kind is Receipt:
        made["properties"].update(RECEIPT_ANSWER)
    return {"$schema": DIALECT, "$id": f"tokengraft/{kind.kind}/1", **made}


def _open(part: object) -> None:
    """Permit keys that are not named."""
    if isinstance(part, dict):
        if part.get("additionalProperties") is False:
            del part["additionalProperties"]
        for value in part.values():
            _open(value)
    elif isinstance(part, list):
        for value in part:
            _open(value)


def files() -> dict[str, str]:
    """All schemas as file name and text."""
    return {
        f"{kind.kind}.json": json.dumps(schema(kind), ensure_ascii=False, indent=2) + "\n"
        for kind in KINDS
    }


def main(arguments: list[str]) -> int:
    """Write all schemas into a folder."""
    if len(arguments) != 1:
        print("usage: python -m tokengraft.reporting.schemas DIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
