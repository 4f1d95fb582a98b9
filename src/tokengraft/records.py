"""Records of a training, as they lie beside a result: its writers' own documents, and its curves."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from tokengraft.behaviour import Behaviour
from tokengraft.data_audits import DataAudit
from tokengraft.trainings import StageRecord, TokenVerdicts


class CurvePoint(BaseModel):
    """One line of `curves.jsonl`; losses are in nats a token. A stage may write further figures.

    Attributes:
        held_out_loss: on text that is not trained on; `validation` to some stages.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    stage: str
    step: int
    loss: float | None = None
    held_out_loss: float | None = Field(
        default=None, validation_alias=AliasChoices("held_out_loss", "validation")
    )


@dataclass(frozen=True, slots=True)
class TrainingRecords:
    """All that lies in the folder beside a result; None where a record is missing.

    Attributes:
        folder: its name.
        unreadable: records that are there and cannot be read, with the reason.
    """

    folder: str
    stages: tuple[StageRecord, ...] = ()
    curves: tuple[CurvePoint, ...] = ()
    verdicts: TokenVerdicts | None = None
    data: DataAudit | None = None
    behaviour: Behaviour | None = None
    unreadable: tuple[tuple[str, str], ...] = ()
