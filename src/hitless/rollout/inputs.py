"""What comes into the rollout machine: what people ask, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass

from hitless.analysis.ruling import Ruling
from hitless.preflight.finding import PreflightReport
from hitless.rollout.spec import ServiceSpec, StrategyName, Version
from hitless.rollout.world import Observation
from hitless.schema.release import DatabaseReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Root of what a person asks for."""

    actor: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy(Command):
    """Bring a version in.

    Attributes:
        supersede: take the place of a rollout that is going on.
        skip_preflight: do not examine it before, whatever its settings say.
    """

    version: Version
    spec: ServiceSpec
    strategy: StrategyName
    supersede: bool = False
    skip_preflight: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote(Command):
    """Go on now; `to_the_end` goes to the last stage at once; `stage`: the one that was looked at, from zero."""

    to_the_end: bool = False
    stage: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Command):
    """Stay in this stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Command):
    """Go on by itself again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort(Command):
    """Turn back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo(Command):
    """Return to the version before: of a rollout that is going on, or of the one that completed last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The world was looked at.

    Attributes:
        checks: problems that the current stage's synthetic checks found; None = no answer yet.
        preflight: what the preflight found, in its stage; None = no answer yet.
        database: what became of what the current stage asks of the database; None = no answer yet.
        ruling: what the judge of this very rollout says; None = there is none, or it has not said anything yet.
    """

    observation: Observation
    checks: tuple[str, ...] | None = None
    preflight: PreflightReport | None = None
    database: DatabaseReport | None = None
    ruling: Ruling | None = None


Input = Deploy | Promote | Pause | Resume | Abort | Undo | Observed
