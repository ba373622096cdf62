"""What can go wrong on the command line itself, before or beside what the control plane says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hitless.errors import EnvironmentFault, Place, Refused, UserError
from hitless.view.models import ProblemView, VerifyView

PROJECT_FILE = "hitless.yaml"


class ProblemReported(Exception):
    """The control plane answered with a problem document."""

    def __init__(self, problem: ProblemView) -> None:
        super().__init__(problem["detail"])
        self.problem = problem


class ProjectNotFound(UserError):
    """No `hitless.yaml` is here or above."""

    code = "HL2082"

    def __init__(self, start: Path) -> None:
        super().__init__(
            f"no {PROJECT_FILE} in {start} or above",
            hints=("hitless init", "hitless --project DIR ..., or HITLESS_PROJECT=DIR in the environment"),
        )


class ServiceNotNamed(UserError):
    """The project has several services and the command names none."""

    code = "HL2083"

    def __init__(self, names: list[str]) -> None:
        known = ", ".join(names) or "none"
        super().__init__(
            "which service?", evidence=(f"the project has {len(names)}: {known}",), hints=("name one of them",)
        )


class UnknownInstance(UserError):
    """No instance of this name has written a log."""

    code = "HL2085"

    def __init__(self, name: str) -> None:
        super().__init__(f"no log of an instance {name!r}", hints=("hitless status", "hitless logs"))


class UnknownRecord(UserError):
    """The journal has no record of this number."""

    code = "HL2086"

    def __init__(self, seq: int) -> None:
        super().__init__(f"the journal has no record {seq}", hints=("hitless journal tail",))


class InputUnreadable(UserError):
    """What is to be analysed cannot be read."""

    code = "HL2087"

    def __init__(self, found: Sequence[str], how_many: int, first: Place | None) -> None:
        more = how_many - len(found)
        super().__init__(
            "nothing was judged: " + (found[0] if how_many == 1 else f"{how_many} lines cannot be read"),
            place=first,
            evidence=(*(found if how_many > 1 else ()), *((f"and {more} more",) if more else ())),
            hints=("hitless explain HL2087   # what a line looks like",),
        )


class MigrationsUnread(UserError):
    """A migration cannot be read."""

    code = "HL2088"

    def __init__(self, *, files: Sequence[str], place: Place, why: str) -> None:
        what = f"{files[0]} cannot be read" if len(files) == 1 else f"{len(files)} files cannot be read, the first one"
        super().__init__(
            f"{what}: {why}",
            place=place,
            evidence=("everything else was judged",),
            hints=("correct the place, then lint again",),
        )


class Usage(UserError):
    """The command line does not fit the command."""

    code = "HL2090"


class NoPage(UserError):
    """There is no page for this code."""

    code = "HL2091"

    def __init__(self, code: str, known: list[str]) -> None:
        super().__init__(f"no page for {code}", evidence=(f"pages: {', '.join(known)}",))


class ConfirmationNeeded(Refused):
    """The command ends something, and nobody can be asked."""

    code = "HL4080"

    def __init__(self, consequence: str, command: str) -> None:
        super().__init__(f"{consequence}; nobody can be asked here", hints=(f"{command} --yes",))


class NotConfirmed(Refused):
    """The question was answered with no."""

    code = "HL4081"

    def __init__(self) -> None:
        super().__init__("not confirmed; nothing was done")


class WouldOverwrite(Refused):
    """The file is there already."""

    code = "HL4082"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is there already", hints=(f"edit {path}", "hitless init --force"))


class MigrationsRefused(Refused):
    """A migration would hold up, break or lose something."""

    code = "HL4501"

    def __init__(self, *, errors: int, warnings: int, rule: str) -> None:
        counted = [f"{errors} error{'s' if errors > 1 else ''}"] if errors else []
        counted += [f"{warnings} warning{'s' if warnings > 1 else ''}"] if warnings else []
        super().__init__(
            f"refused: {', '.join(counted)}",
            hints=(
                f"hitless explain {rule}   # why, and the safe way",
                f"-- hitless: allow {rule}: REASON   # before the statement, when you know better",
            ),
        )


class JournalBroken(EnvironmentFault):
    """The journal's chain of hashes does not hold."""

    code = "HL6080"
    temporary = False

    def __init__(self, check: VerifyView) -> None:
        super().__init__(
            f"the journal was tampered with or damaged: record {check['seq']} {check['problem']}",
            evidence=(f"{check['records']} records read",),
            hints=("keep a copy of .hitless/ as it is", "compare it with your last `hitless journal export`"),
        )


class Unfit(EnvironmentFault):
    """The machine or the project is not fit, or it could not be told."""

    code = "HL6401"
    temporary = False

    def __init__(self, *, failed: list[str], unknown: list[str]) -> None:
        parts = [f"failed: {', '.join(failed)}"] if failed else []
        parts += [f"could not tell: {', '.join(unknown)}"] if unknown else []
        super().__init__(
            "not fit for rollouts" if failed else "fitness for rollouts is not proven",
            evidence=tuple(parts),
            hints=(
                "run the commands that are named with each",
                f"then look again: hitless doctor --only {','.join([*failed, *unknown])}",
            ),
        )


class Unreachable(EnvironmentFault):
    """No control plane answers."""

    code = "HL8001"
    exit_code = 8

    def __init__(self, socket_path: Path, why: str) -> None:
        super().__init__(
            f"no control plane answers at {socket_path}",
            evidence=(why, "services that run go on without it"),
            hints=("hitless up",),
        )


class NotAuthorised(EnvironmentFault):
    """The control plane's socket belongs to somebody else."""

    code = "HL8002"
    exit_code = 8
    http_status = 403
    temporary = False

    def __init__(self, socket_path: Path) -> None:
        super().__init__(f"not allowed to open {socket_path}", hints=(f"ls -l {socket_path}", "run as its owner"))


class DemoNotFound(EnvironmentFault):
    """The demonstrations are not part of this installation."""

    code = "HL6512"
    temporary = False

    def __init__(self, places: Sequence[Path]) -> None:
        super().__init__(
            "the demonstrations are not here",
            evidence=tuple(f"looked in {place}" for place in places),
            hints=("install hitless anew: its wheel brings them; a checkout has them in examples/",),
        )
