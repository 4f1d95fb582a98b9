"""All commands by name: where they live, and what `--help` says of them without loading them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command lives."""

    module: str
    attribute: str
    help: str


_HERE: Final = "tokengraft.cli.commands"
COMMANDS: Final = {
    "audit": Place(f"{_HERE}.audit", "audit", "Does it make sense to change anything here?"),
    "recipe": Place(f"{_HERE}.recipe", "recipe", "Write a recipe, check one, print its schema."),
    "plan": Place(f"{_HERE}.plan", "plan", "What would change, row by row and file by file."),
    "apply": Place(f"{_HERE}.apply", "apply", "Make a new folder exactly as planned."),
    "train": Place(f"{_HERE}.train", "train", "Train the new tokens, and make the folder."),
    "verify": Place(f"{_HERE}.verify", "verify", "Prove what can be proved of a result."),
    "run": Place(f"{_HERE}.run", "run", "Audit, plan, train, apply, verify and report."),
    "report": Place(f"{_HERE}.report", "report", "The whole story of a result as one HTML file."),
    "undo": Place(f"{_HERE}.undo", "undo", "Give the base back, bit for bit."),
    "diff": Place(f"{_HERE}.look", "diff", "What differs between two checkpoints."),
    "show": Place(f"{_HERE}.look", "show", "Show a plan, a receipt, a recipe or a folder."),
    "tokens": Place(f"{_HERE}.look", "tokens", "How a tokenizer cuts a text."),
    "explain": Place(f"{_HERE}.look", "explain", "What an audit rule checks, and why."),
    "doctor": Place(f"{_HERE}.doctor", "doctor", "What this machine and installation can do."),
    "demo": Place(f"{_HERE}.demo", "demo", "The whole story on a small model: offline, CPU."),
}

# Commands that are promised and not there yet: what does their work until then.
LATER: Final = {
    "export": (
        "tokengraft exports nothing yet",
        "OUT is an ordinary model folder, which every converter reads",
        "give OUT to the converter of the program that shall run it",
    ),
    "push": (
        "tokengraft uploads nothing yet",
        "OUT is an ordinary model folder",
        "tokengraft verify OUT && hf upload ORG/NAME OUT",
    ),
    "web": (
        "tokengraft has no web page yet",
        "the same values are shown in the terminal",
        "tokengraft show OUT",
    ),
}
