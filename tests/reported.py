"""Reports that tests look at: one of a real small graft, one of everything that may stand in one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from numpy.typing import NDArray

import behaviour_samples
import samples
import tiny
from tokengraft import flow
from tokengraft.behaviour import (
    Measured,
    Rate,
    ReadBack,
    SaidBehaviour,
    TokenBehaviour,
    ToolBehaviour,
)
from tokengraft.cli.app import app
from tokengraft.data_audits import TokenSeen
from tokengraft.formats.training_records import read_training
from tokengraft.records import TrainingRecords
from tokengraft.reports import (
    Advice,
    Frequencies,
    KeyChange,
    MapPoint,
    MatrixView,
    Near,
    NearRows,
    Report,
    RowMap,
    TensorChange,
    TextPiece,
    TextView,
)
from tokengraft.trainings import Repeats, TokenAnswer, TokenVerdict, TokenVerdicts

VOID = {"meta", "br", "input", "link", "img"}
RECIPE = """version = 1
[roles]
planner = "<|planner|>"
[[add]]
text = "<call>"
use = "tool"
[[add]]
text = "</call>"
use = "tool"
[[add]]
text = "<|planner|>"
use = "role"
meaning = "hello world"
[pad]
token = "<|pad|>"
"""


def make_graft(folder: Path, recipe: str = RECIPE, **fields: Any) -> tuple[Path, Path]:
    """A tiny base and its result, as (base, OUT)."""
    base, out = tiny.build(folder / "base", **fields), folder / "out"
    wish = folder / "recipe.toml"
    wish.write_text(recipe, encoding="utf-8")
    flow.apply(wish, base=str(base), out=out)
    return base, out


def bfloat16(data: bytes, width: int) -> NDArray[np.float32]:
    """Rows of a BF16 tensor."""
    bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
    return bits.view(np.float32).reshape(-1, width)


def lengths(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return np.where(found > 0, found, np.float32(1))


def _rate(hits: int, n: int) -> Rate:
    found = Rate.of(hits, n)
    assert found is not None
    return found


def _asked(text: str, token_id: int) -> TokenBehaviour:
    return TokenBehaviour(
        text=text,
        id=token_id,
        wanted=_rate(49, 50),
        neutral=_rate(0, 100),
        near_miss=_rate(1, 50),
        closes=_rate(49, 49),
    )


def records(texts: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """The records of a training, by file name, as documents of its writers."""
    curve = [
        {"stage": stage, "step": step, "loss": first * 0.97**step, "lr": 1e-3, "seconds": step / 9}
        for stage, first, steps in (("fit", 3.1, 12), ("distil", 60.0, 200), ("sft", 2.4, 90))
        for step in range(1, steps + 1)
    ]
    curve += [{"stage": "sft", "step": 90, "held_out_loss": 0.4}]
    curve.insert(-40, {"stage": "sft", "step": 51, "held_out_loss": 0.9})
    answers: Sequence[TokenAnswer] = ("go", "do-not-add", "unknown") * len(texts)
    tokens = [
        TokenVerdict(
            text=text, id=i, use="tool", verdict=verdict, reasons=("held-out text",), read=0.91, write=0.88,
            leak=0.004, uses=1200, positions_saved=2400, bytes_saved=9000,
            repeats=Repeats(passed=True, highest=0.97, old_tokens=0.9),
        )
        for (i, text), verdict in zip(texts, answers, strict=False)
    ]  # fmt: skip
    seen = [TokenSeen(text=text, id=i, in_loss=40, given=3, rows=30) for i, text in texts]
    data = samples.DATA.model_copy(
        update={
            "tokens": tuple(seen),
            "unseen": tuple(text for _, text in texts[:1]),
            "never_in_loss": tuple(text for _, text in texts[1:2]),
        }
    )
    behaviour = behaviour_samples.BEHAVIOUR.model_copy(
        update={
            "suite": "held out",
            "n_prompts": 200,
            "said": SaidBehaviour(
                wanted=_rate(48, 50), neutral=_rate(0, 100), near_miss=_rate(1, 50)
            ),
            "tokens": tuple(_asked(text, i) for i, text in texts),
            "tools": ToolBehaviour(
                parsed=_rate(38, 40), names=_rate(37, 40), arguments=_rate(36, 40)
            ),
            "read_back": ReadBack(modules=_rate(40, 40)),
            "before": Measured(
                tokens=tuple(
                    TokenBehaviour(text=text, id=i, wanted=_rate(0, 50)) for i, text in texts
                )
            ),
        }
    )
    return {
        "curves.jsonl": "".join(json.dumps(point) + "\n" for point in curve),
        "tokens.json": TokenVerdicts(tokens=tuple(tokens)).as_dict(),
        "data.json": data.as_dict(),
        "behaviour.json": behaviour.as_dict(),
    }


def write_records(folder: Path, found: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in found.items():
        text = value if isinstance(value, str) else json.dumps(value)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def read_records(folder: Path, texts: Sequence[tuple[int, str]]) -> TrainingRecords:
    found = read_training(write_records(folder, records(texts)))
    assert found is not None
    assert found.unreadable == ()
    return found


def everything(text: str, folder: Path) -> Report:
    """A report in which every part has something, and every text of a checkpoint is this one."""
    plan = next(v for v in samples.hostile_everywhere(text) if v.kind == "plan")
    receipt = next(v for v in samples.hostile_everywhere(text) if v.kind == "receipt")
    proof = next(v for v in samples.hostile_everywhere(text) if v.kind == "verify")
    piece = TextPiece(text, 7, is_new=True)
    point = MapPoint(7, text, 0.25, 0.5)
    matrix = MatrixView(
        text,
        "both",
        900,
        (NearRows(7, text, (Near(8, text, 0.93, is_new=True), Near(3, text, 0.5, is_new=False))),),
        RowMap((point,), (replace(point, x=0.75),), ((0.0, 0.0), (1.0, 1.0)), 0.31),
    )
    told = text.encode("utf-8", "replace").decode()
    training = read_records(folder, [(7, told), (8, told + "x"), (9, told + "y")])
    return Report(
        out=text,
        source=text,
        plan=plan,  # type: ignore[arg-type]
        receipt=receipt,  # type: ignore[arg-type]
        verification=proof,  # type: ignore[arg-type]
        facts=samples.FACTS,
        keys=(KeyChange(text, text, text, text * 40), KeyChange(text, text, None, None)),
        tensors=(TensorChange(text, 10, 12, 2, 1), TensorChange(text, updates=1)),
        texts=(
            TextView(text, (piece, TextPiece(text, 8, is_part=True)), (piece,)),
            TextView(text, None, (piece,), text),
            TextView(text, (piece,), None, text, is_token=True),
        ),
        matrices=(matrix, MatrixView(text, "input", why_not=text)),
        positions=Frequencies(
            4096, 131072, "none", "yarn", (1.0, 2.0, 4.0), (1.0, 1.0, 1.0), (text,)
        ),
        training=training,
        behaviour=training.behaviour,
        advice=(Advice("Serve it", (text,), (text,)),),
        manifest={text: samples.SHA},
    )


class Page(HTMLParser):
    """What a browser would find, and whether the tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))
