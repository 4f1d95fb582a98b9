"""Values that cross a file border: frozen, strict, and refusing keys they do not know."""

from __future__ import annotations

import json
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Value(BaseModel):
    """A part of a document."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, populate_by_name=True, serialize_by_alias=True
    )


class Document(Value):
    """A value with a file of its own; `kind` and `version` say what it is."""

    kind: ClassVar[str]

    def to_json(self) -> str:
        """Write the one canonical form: two spaces, keys as declared, a final newline."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=2) + "\n"

    def as_dict(self) -> dict[str, object]:
        return self.model_dump(mode="json", by_alias=True)

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Read a parsed JSON value strictly (a string is never taken for a number).

        Raises:
            pydantic.ValidationError: the value is not such a document.
        """
        return cls.model_validate_json(json.dumps(value))


def complaint(error: ValidationError) -> str:
    """What is wrong first, in pydantic's words, as a sentence of ours would begin."""
    told = error.errors()[0]["msg"].removeprefix("Value error, ")
    return told[:1].lower() + told[1:]


def schema_field(kind: str) -> str:
    """The default of a document's `schema` key."""
    return f"tokengraft/{kind}"


class Problem(Value):
    """One thing that is wrong with a request, with its place."""

    where: str
    what: str
    suggestion: str = ""

    def __str__(self) -> str:
        tail = f" ({self.suggestion})" if self.suggestion else ""
        return f"{self.where}: {self.what}{tail}"

    @property
    def parts(self) -> tuple[str, str, str]:
        """As `RecipeError` carries it."""
        return self.where, self.what, self.suggestion


class ErrorDocument(Document):
    """An error as `--json` prints it."""

    kind: ClassVar[str] = "error"
    schema_: Literal["tokengraft/error"] = Field(default="tokengraft/error", alias="schema")
    version: Literal[1] = 1
    code: str
    summary: str
    detail: str
    subject: str
    hint: str
