"""The exception tree: what went wrong, why, where, and the next command to run.

A bad *checkpoint* is data (a `Finding`); a bad *request* is one of these exceptions; a *bug* is an
`AssertionError` that nobody catches. The exit codes are a contract with scripts: see
`docs/reference/errors.md`.
"""

from __future__ import annotations

from typing import ClassVar


class TokengraftError(Exception):
    """A request that cannot be carried out.

    Attributes:
        summary: what happened, one line, no period.
        detail: why, as far as it is known; may be empty.
        subject: the file (with a JSON pointer) or `tensor[row]` that it is about; may be empty.
        hint: the next command or action; may be empty.
    """

    exit_code: ClassVar[int] = 70

    def __init__(
        self, summary: str, *, detail: str = "", subject: str = "", hint: str = ""
    ) -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail
        self.subject = subject
        self.hint = hint

    @property
    def code(self) -> str:
        """The stable name of this kind of error, e.g. `StalePlan`."""
        return type(self).__name__


class UsageError(TokengraftError):
    """The command line or the request makes no sense."""

    exit_code = 2


class RecipeError(UsageError):
    """The recipe is wrong; `detail` lists every problem found, one a line.

    Attributes:
        problems: the same, each as its place, what is wrong there, and a suggestion (or "").
    """

    def __init__(
        self,
        summary: str,
        *,
        detail: str = "",
        subject: str = "",
        hint: str = "",
        problems: tuple[tuple[str, str, str], ...] = (),
    ) -> None:
        super().__init__(summary, detail=detail, subject=subject, hint=hint)
        self.problems = problems


class SuiteError(UsageError):
    """A behaviour suite is wrong; `detail` lists the lines, each with what is wrong there."""


class RefusedError(TokengraftError):
    """The input is unsafe, malformed or of a kind that is not supported."""

    exit_code = 3


class UnsafePath(RefusedError):
    """A path leaves its folder, or is of a kind that must not be followed."""


class MalformedFile(RefusedError):
    """A file does not hold what its format demands."""


class LimitExceeded(RefusedError):
    """A file asks for more memory or time than an honest one needs."""


class UnsupportedFormat(RefusedError):
    """A format that is not read here, by decision (pickle) or not yet."""


class ConflictingFiles(RefusedError):
    """Files of one checkpoint contradict each other in a way that must not be guessed away."""


class PreconditionError(TokengraftError):
    """The world is not as the request presumes."""

    exit_code = 4


class StalePlan(PreconditionError):
    """The base is not the one the plan was made for."""


class SourceChanged(PreconditionError):
    """The source was edited while it was being read."""


class TargetExists(PreconditionError):
    """The destination exists and was not to be replaced."""


class TargetLocked(PreconditionError):
    """Another run holds the destination."""


class EnvironmentProblem(TokengraftError):
    """The machine does not let us: disk, permission, network, a missing extra."""

    exit_code = 5


class DiskFull(EnvironmentProblem):
    """There is not enough room for the result."""


class WriteFailed(EnvironmentProblem):
    """The operating system refused to write, to sync or to rename."""


class ReadFailed(EnvironmentProblem):
    """The operating system refused to read."""


class Offline(EnvironmentProblem):
    """The Hub is needed and cannot be reached, or offline mode forbids it."""


class NoAccess(EnvironmentProblem):
    """The Hub does not give this to the user as they are: log in, or accept the model's terms."""


class MissingExtra(EnvironmentProblem):
    """An optional dependency is needed; the hint names the extra that holds it."""


class ChildFailed(RefusedError):
    """A limited child process (tokenizers, Jinja) died or ran out of its time or memory."""


class Interrupted(TokengraftError):
    """The user stopped the run; nothing was published."""

    exit_code = 130
