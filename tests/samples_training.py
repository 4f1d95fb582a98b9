"""One small value of every document of training."""

from __future__ import annotations

from tokengraft.data_audits import (
    DataAudit,
    DroppedRow,
    LengthBin,
    RowCounts,
    TokenSeen,
)
from tokengraft.plans import Plan
from tokengraft.results import Receipt, Verification
from tokengraft.trainings import (
    MadeRow,
    Need,
    Repeats,
    StageDone,
    StageRecord,
    TokenVerdict,
    TokenVerdicts,
    Training,
    TrainingEstimate,
)

VERDICTS = TokenVerdicts(
    tokens=(
        TokenVerdict(
            text=" lighthouse",
            id=7,
            use="word",
            verdict="go",
            reasons=("73% of reading is recovered on held-out text",),
            read=0.73,
            write=0.94,
            leak=1.1,
            n_windows=24,
            uses=382,
            positions_saved=764,
            bytes_saved=2900,
            repeats=Repeats(passed=True, highest=0.4, old_tokens=0.8),
        ),
        TokenVerdict(
            text="<|plan|>",
            id=8,
            use="thinking",
            verdict="do-not-add",
            reasons=("8% of reading is recovered, at least 20% is wanted",),
            read=0.08,
        ),
    ),
    notes=("measured on the base without the adapter",),
)
STAGES = (
    StageDone(stage="fit", seconds=25.5, resumed=True),
    StageDone(
        stage="sft",
        seconds=812.0,
        resumed=False,
        notes=("there is no local text to fit on: rows are composed of pieces",),
    ),
)


def training(plan: Plan, receipt: Receipt, verify: Verification) -> Training:
    return Training(
        plan=plan,
        stages=STAGES,
        tokens=VERDICTS,
        receipt=receipt,
        verify=verify,
        folder="out.training",
        seconds=850.0,
    )


ESTIMATE = TrainingEstimate(
    source="base",
    parameters=30_532_122_624,
    active_parameters=3_345_000_000,
    new_tokens=4,
    corpus_tokens=175_000,
    needs=(
        Need(
            method="fit",
            parts={"program": 629145600, "weights": 122_128_490_496},
            memory_bytes=122_757_636_096,
            seconds=912.0,
            asked=True,
        ),
        Need(
            method="sft: qlora",
            parts={"program": 629145600, "weights": 17_000_000_000},
            memory_bytes=17_629_145_600,
            disk_bytes=61_064_245_248,
            notes=(
                (
                    "needs bitsandbytes and a GPU; experts stay in bf16: transfor"
                    "mers 5 keeps them in tensors that bitsandbytes leaves alone"
                ),
            ),
        ),
    ),
    notes=("no local file of data is there, so the time of supervised training is not guessed",),
)
STAGE = StageRecord(
    stage="fit",
    key="0f" * 32,
    seconds=25.5,
    made=(MadeRow(text=" lighthouse", read="refined", write="solved", n_contexts=25, leak=1.1),),
    figures={"loss_after": 0.1},
)

DATA = DataAudit(
    source="chat.jsonl",
    length=512,
    rows=RowCounts(
        read=103, parts=0, train=90, held_out=10, dropped=3, truncated=2, no_stop=2, complete=False
    ),
    forms={"messages": 103},
    reasons={"the row is no JSON": 3},
    dropped=tuple(DroppedRow(line=line, reason="the row is no JSON") for line in (7, 19, 80)),
    tokens=(TokenSeen(text="<tool_start>", id=151670, in_loss=1040, given=3, rows=30),),
    unseen=("<|pad|>",),
    never_in_loss=("<|my_agi_mode|>",),
    lengths=(LengthBin(up_to=64, rows=40),),
    n_tokens=8000,
    n_in_loss=3100,
)
