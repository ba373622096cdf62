"""Three roots of errors, and nothing else raised to a user.

* `Refused`: a rule said no. Carries the evidence and how to go on.
* `UserError`: bad input. Carries its place.
* `EnvironmentFault`: Envoy, the store, a file system; says whether trying again can help.

A class has a stable `code` (one page each under `explain/`, read by `hitless explain CODE`), the `exit_code` that a
script sees and the `http_status` that an API client sees. Exit codes: 0 done, 1 unexpected, 2 usage or configuration,
3 rolled back, 4 refused by a rule, 5 timed out and still going on, 6 a human is needed, 7 conflict, 8 control plane
unreachable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the user's input something stands; lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        """Render as `file:line:column`, as far as known."""
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


class HitlessError(Exception):
    """Root of all errors that are told to a user.

    Args:
        message: the cause, in one sentence.
        place: where in the user's input, if it is there.
        evidence: what was seen, one fact a line.
        hints: next steps, ready to paste.
    """

    code: ClassVar[str] = "HL1000"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(
        self, message: str, *, place: Place | None = None, evidence: tuple[str, ...] = (), hints: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.evidence = evidence
        self.hints = hints

    @property
    def in_words(self) -> str:
        """Cause and next step in one line, for lists of problems."""
        return f"{self.message}; {self.hints[0]}" if self.hints else self.message


class UserError(HitlessError):
    """The input is wrong."""

    code = "HL2000"
    exit_code = 2
    http_status = 422


class Refused(HitlessError):
    """A rule says no."""

    code = "HL4000"
    exit_code = 4
    http_status = 409


class Conflict(Refused):
    """Something else is going on that must end first."""

    code = "HL7000"
    exit_code = 7


class EnvironmentFault(HitlessError):
    """A part outside hitless failed."""

    code = "HL6000"
    exit_code = 6
    http_status = 503
    temporary: ClassVar[bool] = True


class UnknownService(UserError):
    """No service of this name is in `hitless.yaml`."""

    code = "HL2001"
    http_status = 404


class UnknownRollout(UserError):
    """No rollout and no service has this name."""

    code = "HL2005"
    http_status = 404

    def __init__(self, name: str) -> None:
        super().__init__(f"no rollout and no service is called {name!r}", hints=("hitless rollout list",))


class NothingToUndo(Refused):
    """No earlier version is known to return to."""

    code = "HL4001"


class NoRollout(Refused):
    """The verb needs a rollout that is going on, and none is."""

    code = "HL4002"


class NotAllowedNow(Refused):
    """The verb does not fit the rollout's present phase."""

    code = "HL4003"


class AlreadyRunning(Refused):
    """This version runs already."""

    code = "HL4004"


class AddressInUse(Refused):
    """A service that serves cannot move to another address."""

    code = "HL4005"


class SessionsWouldEnd(Refused):
    """The service keeps its users' sessions in process, and a rollout would end them."""

    code = "HL4150"

    def __init__(self, *, service: str, baseline: str, candidate: str) -> None:
        super().__init__(
            f"{service} keeps sessions in its processes: they would end with the instances of {baseline}",
            evidence=("hitless.yaml says `sessions: in_process`", "no instance is kept until its last user has left"),
            hints=(
                "keep sessions outside the processes (database, cache, signed cookie), then say `sessions: external`",
                f'if they may end: hitless deploy {service} --version {candidate} --skip-preflight --reason "..."',
            ),
        )


class NotAdopted(Refused):
    """The service runs, and the store does not know it: what runs must be adopted first."""

    code = "HL4411"


class StageMoved(Conflict):
    """The rollout is in another stage than the one that was to be promoted."""

    code = "HL4410"


class RolloutInProgress(Conflict):
    """Another rollout of this service is going on."""

    code = "HL7001"


class Fenced(Conflict):
    """Another controller has taken over; this one writes nothing more."""

    code = "HL7002"


class LeaseHeld(Conflict):
    """Another controller works on this state directory."""

    code = "HL7003"

    def __init__(
        self, message: str, *, owner: str, fence: int, evidence: tuple[str, ...] = (), hints: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, evidence=evidence, hints=hints)
        self.owner = owner
        self.fence = fence
