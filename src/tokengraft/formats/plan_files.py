"""Plans as files: readable JSON, and a sidecar for what would not be readable.

Above 1,000 tokens the token table and the row sources are columns of the sidecar. In memory a plan
is always whole; only its file is packed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from tokengraft.documents import complaint
from tokengraft.errors import MalformedFile, PreconditionError, StalePlan
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.plan_columns import Columns, read_columns
from tokengraft.formats.sidecars import LazyTensor, PackedSidecar, pack_tensors
from tokengraft.formats.whole_files import digest_of, read_whole
from tokengraft.plans import (
    COLUMNS_ABOVE,
    Edit,
    Keep,
    Mean,
    Mix,
    Plan,
    PlannedRow,
    PlannedToken,
    RemapRows,
    RowSource,
    Sidecar,
    Stored,
    Taken,
)

ACTIONS = ("add", "rename", "claim", "keep", "remove")
KINDS = ("keep", "mix", "mean", "value")
TAKEN: tuple[Literal["bounded", "parents", "unknown"] | None, ...] = (
    None,
    "bounded",
    "parents",
    "unknown",
)
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
MAX_PLAN_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan as it was read: whole in memory, with the text and the sidecar it came from."""

    plan: Plan
    text: bytes
    sidecar: Path | None


def pack(
    plan: Plan,
    values: Mapping[str, NDArray[np.generic]],
    factors: Mapping[str, LazyTensor] | None = None,
) -> tuple[bytes, PackedSidecar | None]:
    """Write a plan's text, and lay out its sidecar if it needs one; factors are read once.

    Args:
        values: rows for `Stored` sources, by tensor, in the tensor's dtype.
        factors: of low-rank updates, by the names that the plan gives them.
    """
    columns: Columns = {f"values.{name}": rows for name, rows in values.items()}
    n_values = sum(len(rows) for rows in values.values())
    n_columns = 0
    if len(plan.tokens) > COLUMNS_ABOVE:
        n_columns = len(plan.tokens)
        columns |= _token_columns(plan.tokens)
        edits: list[Edit] = []
        for number, edit in enumerate(plan.edits):
            if isinstance(edit, RemapRows):
                columns |= _source_columns(f"sources.{number}", edit.rows)
                edits.append(edit.model_copy(update={"rows": (), "in_columns": len(edit.rows)}))
            else:
                edits.append(edit)
        plan = plan.model_copy(update={"tokens": (), "edits": tuple(edits)})
    if not columns and not factors:
        return plan.to_json().encode(), None
    sidecar = pack_tensors(columns, factors or {})
    about = Sidecar(
        sha256=sidecar.digest(),
        values=n_values,
        columns=n_columns,
        factors=len(factors or {}),
    )
    return plan.model_copy(update={"sidecar": about}).to_json().encode(), sidecar


def read_plan(path: Path, *, sidecars: Sequence[Path] | None = None) -> PlanFile:
    """Read a plan, and find its sidecar beside it.

    Args:
        sidecars: where alone it may be, for a plan in a folder that nobody vouches for.
    Raises:
        ReadFailed, RefusedError: it cannot be read, or is no plan.
        StalePlan: the sidecar is not the one that the plan was written with.
        PreconditionError: the sidecar is missing.
    """
    text = read_whole(path, limit=MAX_PLAN_BYTES)
    plan = parse_plan(text, file=str(path))
    if plan.sidecar is None:
        return PlanFile(_whole(plan, str(path)), text, None)
    places = (path.with_name(f"{path.stem}.rows.safetensors"), path.with_name("rows.safetensors"))
    known = places if sidecars is None else sidecars
    sidecar = next((place for place in known if place.is_file()), None)
    if sidecar is None:
        raise PreconditionError(
            "the plan's sidecar is missing",
            detail=f"looked for {places[0].name} and {places[1].name} beside the plan",
            subject=str(path),
            hint="a plan with values travels with its sidecar; copy both",
        )
    if digest_of(sidecar) != plan.sidecar.sha256:
        raise StalePlan(
            "the sidecar is not the one that this plan was written with",
            subject=str(sidecar),
            hint="plan again, or copy plan and sidecar together",
        )
    return PlanFile(unpack(plan, sidecar), text, sidecar)


def parse_plan(text: bytes, *, file: str) -> Plan:
    """Read a plan's text, packed as it is.

    Raises:
        MalformedFile: the text is no plan of this version.
    """
    value = parse_json(text, file=file).value
    if isinstance(value, dict) and value.get("schema") == "tokengraft/plan":
        version = value.get("version")
        if version != 1:
            raise MalformedFile(
                f"the plan has version {version}, this tool reads version 1",
                subject=file,
                hint="plan again with this version of tokengraft",
            )
    try:
        return Plan.from_dict(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = "/".join(str(part) for part in first["loc"])
        raise MalformedFile(
            "the file is no plan", detail=complaint(error), subject=f"{file}#/{place}"
        ) from error


def _whole(plan: Plan, file: str) -> Plan:
    """Refuse a plan whose rows are said to lie in columns that it does not have."""
    if any(isinstance(edit, RemapRows) and edit.in_columns is not None for edit in plan.edits):
        raise MalformedFile(
            "the sidecar's columns are not what the plan says",
            detail="rows are said to lie in columns, and there are none",
            subject=file,
        )
    return plan


def unpack(plan: Plan, sidecar: Path) -> Plan:
    """Make a packed plan whole again.

    Raises:
        RefusedError: the columns are not what the plan says.
    """
    packed = plan.sidecar is not None and plan.sidecar.columns > 0
    if not packed:
        return _whole(plan, str(sidecar))
    columns = read_columns(sidecar)
    try:
        edits: list[Edit] = []
        for number, edit in enumerate(plan.edits):
            if isinstance(edit, RemapRows) and edit.in_columns is not None:
                rows = _sources(columns, f"sources.{number}", edit.in_columns)
                edits.append(
                    RemapRows(
                        tensor=edit.tensor,
                        of=edit.of,
                        n_rows_before=edit.n_rows_before,
                        n_rows_after=edit.n_rows_after,
                        rows=rows,
                    )
                )
            else:
                edits.append(edit)
        remaps = [edit for edit in edits if isinstance(edit, RemapRows)]
        tokens = _tokens(columns, remaps)
    except (KeyError, IndexError, ValueError) as error:
        raise MalformedFile(
            "the sidecar's columns are not what the plan says",
            detail=str(error),
            subject=str(sidecar),
        ) from error
    return plan.model_copy(update={"edits": tuple(edits), "tokens": tokens})


def _texts_to_columns(name: str, texts: Sequence[str]) -> Columns:
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    return {
        f"{name}": np.frombuffer(b"".join(encoded), np.uint8),
        f"{name}_end": ends,
    }


def _texts(columns: Columns, name: str) -> list[str]:
    data = columns[name].tobytes()
    ends = _ends(columns, f"{name}_end", len(data))
    return [data[begin:end].decode() for begin, end in zip([0, *ends], ends, strict=False)]


def _ends(columns: Columns, name: str, length: int) -> list[int]:
    """Where each part ends; parts follow each other from nought to the end."""
    ends: list[int] = columns[name].tolist()
    if [0, *ends] != sorted([0, *ends]) or (ends[-1] if ends else 0) != length:
        raise ValueError(f"{name} does not add up")
    return ends


def _token_columns(tokens: Sequence[PlannedToken]) -> Columns:
    flags = [sum(getattr(t, flag) << bit for bit, flag in enumerate(FLAGS)) for t in tokens]
    return {
        "tokens.id": np.array([token.id for token in tokens], np.int64),
        "tokens.action": np.array([ACTIONS.index(token.action) for token in tokens], np.uint8),
        "tokens.flags": np.array(flags, np.uint8),
        **_taken_columns([token.takes for token in tokens]),
        "tokens.cut": np.array([token.cut for token in tokens], np.int64),
        **_texts_to_columns("tokens.piece", [token.piece or "" for token in tokens]),
        **_texts_to_columns("tokens.text", [token.text for token in tokens]),
        **_texts_to_columns("tokens.use", [token.use for token in tokens]),
        **_texts_to_columns("tokens.init", [token.init for token in tokens]),
        **_texts_to_columns("tokens.why", [token.why for token in tokens]),
        **_texts_to_columns("tokens.was", [token.was or "" for token in tokens]),
    }


def _taken_columns(taken: Sequence[Taken | None]) -> Columns:
    kinds = [TAKEN.index(None if one is None else one.kind) for one in taken]
    most = [np.nan if one is None or one.at_most is None else one.at_most for one in taken]
    return {
        "tokens.takes": np.array(kinds, np.uint8),
        "tokens.at_most": np.array(most, np.float64),
    }


def _taken(columns: Columns) -> list[Taken | None]:
    kinds, most = columns["tokens.takes"].tolist(), columns["tokens.at_most"].tolist()
    found: dict[tuple[int, float], Taken | None] = {}
    for kind, at_most in zip(kinds, most, strict=True):
        if (kind, at_most) not in found:
            bound = None if np.isnan(at_most) else at_most
            name = TAKEN[kind]
            found[kind, at_most] = None if name is None else Taken(kind=name, at_most=bound)
    return [found[pair] for pair in zip(kinds, most, strict=True)]


def _tokens(columns: Columns, remaps: Sequence[RemapRows]) -> tuple[PlannedToken, ...]:
    """Rebuild the token table; a new token's rows are those that the edits give its id."""
    ids = [int(i) for i in columns["tokens.id"]]
    sources = {edit.tensor: _new_sources(edit, ids) for edit in remaps}
    tokens = []
    parts = zip(
        ids,
        columns["tokens.action"].tolist(),
        columns["tokens.flags"].tolist(),
        _taken(columns),
        columns["tokens.cut"].tolist(),
        *(
            _texts(columns, f"tokens.{name}")
            for name in ("text", "use", "init", "why", "was", "piece")
        ),
        strict=True,
    )
    for token_id, action, flags, takes, cut, text, use, init, why, was, piece in parts:
        rows = tuple(
            PlannedRow(tensor=name, source=found[token_id])
            for name, found in sources.items()
            if token_id in found
        )
        tokens.append(
            PlannedToken(
                text=text,
                id=token_id,
                action=ACTIONS[action],  # type: ignore[arg-type]  # one of them by index
                use=use,
                init=init,
                why=why,
                takes=takes,
                was=was or None,
                piece=piece or None,
                cut=cut,
                rows=rows,
                **_flags(flags),
            )
        )
    return tuple(tokens)


def _flags(bits: int) -> Any:  # noqa: ANN401 - keywords of five names, all of them booleans
    return {flag: bool(bits >> bit & 1) for bit, flag in enumerate(FLAGS)}


def _new_sources(edit: RemapRows, ids: Sequence[int]) -> dict[int, RowSource]:
    firsts = [0, *accumulate(source.n_rows for source in edit.rows)]
    found: dict[int, RowSource] = {}
    for token_id in ids:
        at = bisect_right(firsts, token_id) - 1
        if 0 <= at < len(edit.rows) and not isinstance(edit.rows[at], Keep):
            found[token_id] = _one(edit.rows[at])
    return found


def _source_columns(name: str, sources: Sequence[RowSource]) -> Columns:
    firsts: list[int] = []
    counts: list[int] = []
    rows: list[int] = []
    ends: list[int] = []
    parents: list[tuple[int, float]] = []
    for source in sources:
        first = count = 0
        match source:
            case Keep() | Mean():
                first, count = source.first, source.count
            case Stored():
                first = source.index
            case Mix():
                parents.extend(source.parents)
        if isinstance(source, Mean):  # what it leaves out, without a weight
            parents.extend((row, 0.0) for row in source.without)
        firsts.append(first)
        counts.append(count)
        rows.append(source.rows if isinstance(source, Mix | Mean) else 1)
        ends.append(len(parents))
    return {
        f"{name}.kind": np.array([KINDS.index(s.kind) for s in sources], np.uint8),
        f"{name}.first": np.array(firsts, np.int64),
        f"{name}.count": np.array(counts, np.int64),
        f"{name}.rows": np.array(rows, np.int64),
        f"{name}.parent": np.array([parent for parent, _ in parents], np.int64),
        f"{name}.weight": np.array([weight for _, weight in parents], np.float64),
        f"{name}.parents_end": np.array(ends, np.int64),
    }


def _sources(columns: Columns, name: str, expected: int) -> tuple[RowSource, ...]:
    kinds = columns[f"{name}.kind"].tolist()
    if len(kinds) != expected:
        raise ValueError(f"{name} has {len(kinds)} sources, the plan says {expected}")
    parents = list(
        zip(columns[f"{name}.parent"].tolist(), columns[f"{name}.weight"].tolist(), strict=True)
    )
    ends = _ends(columns, f"{name}.parents_end", len(parents))
    if not np.isfinite(columns[f"{name}.weight"]).all():
        raise ValueError(f"{name}.weight has something that is no number")
    sources: list[RowSource] = []
    numbers = zip(
        kinds,
        *(columns[f"{name}.{part}"].tolist() for part in ("first", "count", "rows")),
        [0, *ends[:-1]],
        ends,
        strict=True,
    )
    for kind, first, count, rows, begin, end in numbers:
        match KINDS[kind]:
            case "keep":
                sources.append(Keep(first=first, count=count))
            case "mix":
                sources.append(Mix(parents=tuple(parents[begin:end]), rows=rows))
            case "mean":
                without = tuple(row for row, _ in parents[begin:end])
                sources.append(Mean(first=first, count=count, without=without, rows=rows))
            case _:
                sources.append(Stored(index=first))
    return tuple(sources)


def _one(source: RowSource) -> RowSource:
    """The source of one row of those that a new source gives, which are all alike."""
    return source.model_copy(update={"rows": 1}) if isinstance(source, Mix | Mean) else source
