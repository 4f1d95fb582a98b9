"""Attacks on whoever reads the answer: texts that terminals, GitHub, SARIF viewers and shells obey."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tiny
from attacks.registry import Attack, Build
from attacks.requests import HONEST, planned

# A terminal's commands, its title, a link, a bidi override, what has no width, a new line that
# GitHub would obey, markup of rich, HTML, Markdown, a formula, placeholders and links of SARIF.
HOSTILE = (
    "[/INST]\x1b[31m\x1b]0;owned\x07\x1b]8;;http://evil\x1b\\\u202e\u2066\u200b\ufeff\x9b\x00\x7f\r\n"
    "::error::owned\n::set-output name=a::b\n[bold red]rich[/] <img src=x onerror=alert(1)> "
    "[link](http://evil) `code` =cmd|'/C calc'!A0 {0} %0A\u3164\U000e0041e\u0301\u0301\u0301\u0301"
)
NAME = HOSTILE.replace("\x00", "").replace("/", "")[:120]


def _model(folder: Path) -> Path:
    """A model whose every text is hostile."""
    token = tiny.Added(HOSTILE.replace("\x00", ""), special=True)
    files: dict[str, dict[str, Any]] = {
        "config.json": {
            "model_type": HOSTILE, "architectures": [HOSTILE], "torch_dtype": HOSTILE,
            "rope_scaling": {"rope_type": HOSTILE, "factor": HOSTILE}, HOSTILE: HOSTILE,
            "auto_map": {HOSTILE: HOSTILE}, "eos_token_id": 5,
        },
        "tokenizer_config.json": {
            "tokenizer_class": HOSTILE, "eos_token": HOSTILE, "pad_token": HOSTILE, HOSTILE: HOSTILE,
            "chat_template": [{"name": HOSTILE, "template": f"{{{{ '{NAME}' }}}}"},
                              {"name": "default", "template": "{% if 'x' in content %}" + HOSTILE}],
        },
        "generation_config.json": {"eos_token_id": [1, 99999], "transformers_version": HOSTILE},
    }  # fmt: skip
    return tiny.build(folder / "model", added=(*tiny.QWEN_LIKE, token), files=files)


def shown(*command: str) -> Build:
    """Show such a model."""

    def build(folder: Path) -> list[str]:
        _model(folder)
        (folder / "recipe.toml").write_text(HONEST, encoding="utf-8")
        return [*command]

    return build


def named(*command: str) -> Build:
    """A model in which a file has a hostile name, of which one byte is no UTF-8."""

    def build(folder: Path) -> list[str]:
        place = os.fsencode(tiny.build(folder / "model"))
        for name in (NAME.encode(), b"\xff\x1b[31m.txt"):
            Path(os.fsdecode(place + b"/" + name)).write_bytes(b"x")
        (folder / "recipe.toml").write_text(HONEST, encoding="utf-8")
        return [*command]

    return build


def _plan(folder: Path) -> list[str]:
    path = planned(folder)
    value = json.loads(path.read_bytes())
    value["tool"] = value["base_name"] = HOSTILE
    value["notes"] = [HOSTILE]
    value["tokens"][0].update(text=HOSTILE, why=HOSTILE, init=HOSTILE, use=HOSTILE)
    value["recipe"] += f"# {HOSTILE.encode('ascii', 'backslashreplace').decode()}"
    path.write_text(json.dumps(value), encoding="utf-8")
    return ["show", "plan.json"]


def _receipt(folder: Path) -> list[str]:
    value = {"schema": "tokengraft/receipt", "version": 1, "plan": HOSTILE, "tool": HOSTILE,
             "files": [{"path": HOSTILE, "before": HOSTILE, "after": HOSTILE}]}  # fmt: skip
    (folder / "receipt.json").write_text(json.dumps(value), encoding="utf-8")
    return ["show", "receipt.json"]


def _audit(folder: Path) -> list[str]:
    finding = {"rule": HOSTILE, "severity": "error", "subject": HOSTILE, "summary": HOSTILE,
               "detail": HOSTILE, "fix": None, "safety": None}  # fmt: skip
    value = {"schema": "tokengraft/error", "version": 1, "code": HOSTILE, "summary": HOSTILE,
             "detail": HOSTILE, "subject": HOSTILE, "hint": json.dumps(finding)}  # fmt: skip
    (folder / "error.json").write_text(json.dumps(value), encoding="utf-8")
    return ["show", "error.json", "--json"]


def _recipe(folder: Path) -> list[str]:
    tiny.build(folder / "model")
    text = "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in HOSTILE.replace("\\", "/"))
    (folder / "recipe.toml").write_text(
        f'version = 1\n[[add]]\ntext = "{text}"\nuse = "evil"\n', encoding="utf-8"
    )
    return ["plan", "model", "recipe.toml"]


AUDIT = ("audit", "model", "--fail-on", "never")
SHOWN: dict[str, tuple[Build, int]] = {
    "an audit": (shown(*AUDIT, "--all"), 0),
    "an audit in Russian": (shown(*AUDIT, "--all", "--lang", "ru"), 0),
    "an audit in colour": (shown(*AUDIT, "--all", "--color", "never"), 0),
    "an audit as JSON": (shown(*AUDIT, "--json"), 0),
    "an audit as SARIF": (shown(*AUDIT, "--format", "sarif"), 0),
    "an audit as annotations": (shown(*AUDIT, "--format", "github"), 0),
    "a folder": (shown("show", "model"), 0),
    "a text cut into tokens": (shown("tokens", "model", HOSTILE.replace("\x00", "")), 0),
    "a difference": (shown("diff", "model", "model"), 0),
    "an error of the command line": (shown("audit", NAME), 2),
    "a command that is none": (shown(NAME), 2),
    "a plan": (_plan, 0),
    "a receipt": (_receipt, 0),
    "an error": (_audit, 0),
    "a recipe": (_recipe, 2),
    "names of files, audited": (named(*AUDIT, "--all"), 0),
    "names of files, as SARIF": (named(*AUDIT, "--format", "sarif"), 0),
    "names of files, planned": (named("plan", "model", "recipe.toml"), 3),
    "names of files, copied": (named("apply", "recipe.toml", "--base", "model", "-o", "out"), 3),
}  # fmt: skip


def attacks() -> Iterator[Attack]:
    """All of them."""
    for name, (build, code) in SHOWN.items():
        yield Attack(f"shown: {name}", build, code, "", as_json=False)
