"""What happens to a service, as values; `folds.evolve` folds them into its state.

`state = fold(evolve, events)` holds always: the journal alone rebuilds every state row, and an event that is folded
twice changes nothing. An event carries facts that were decided when it was written, so that folding needs neither
clock nor rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from hitless.analysis.ruling import Ruling
from hitless.preflight.finding import PreflightReport
from hitless.rollout.spec import InstanceId, Region, ServiceSpec, Version
from hitless.rollout.stage import Plan
from hitless.rollout.state import Ordered, Outcome
from hitless.rollout.world import Limits, Table, World
from hitless.schema.release import DatabaseReport

ENGINE = "hitless"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Root of all events: when, and who."""

    at: datetime
    actor: str = ENGINE


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStarted(Event):
    """A rollout began; the first stage is entered. `skipped_preflight`: who deployed did not want one."""

    kind: Literal["rollout.started"] = "rollout.started"
    rollout: str
    number: int
    strategy: str
    baseline: Version | None
    candidate: Version
    spec: ServiceSpec
    baseline_spec: ServiceSpec | None
    plan: Plan
    reason: str | None = None
    skipped_preflight: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEntered(Event):
    """The rollout went on."""

    kind: Literal["stage.entered"] = "stage.entered"
    stage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettled(Event):
    """The world is as the stage wants it; holding begins."""

    kind: Literal["stage.settled"] = "stage.settled"
    stage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageUnsettled(Event):
    """The world is not any more as the stage wants it; its deadline runs again."""

    kind: Literal["stage.unsettled"] = "stage.unsettled"
    stage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgressed(Event):
    """Settling came further than ever: one more instance serves, or one more has left; the deadline begins anew."""

    kind: Literal["stage.progressed"] = "stage.progressed"
    stage: int
    progress: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksFinished(Event):
    """Synthetic checks were asked; `problems` is empty when all passed."""

    kind: Literal["checks.finished"] = "checks.finished"
    stage: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightFinished(Event):
    """The new version was examined out of rotation; a refusal among the findings turns the rollout back."""

    kind: Literal["preflight.finished"] = "preflight.finished"
    stage: int
    report: PreflightReport


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAnswered(Event):
    """What a stage asks of the database is there, or is not to be had; before users meet it that turns back."""

    kind: Literal["database.answered"] = "database.answered"
    stage: int
    report: DatabaseReport


@dataclass(frozen=True, slots=True, kw_only=True)
class RulingGiven(Event):
    """The judge says something else than before about the new version; `rollback` turns the rollout back."""

    kind: Literal["ruling.given"] = "ruling.given"
    stage: int
    ruling: Ruling


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePromoted(Event):
    """A person waived the hold or gave the approval; `expected`: the stage that the person said it is, from zero."""

    kind: Literal["stage.promoted"] = "stage.promoted"
    stage: int
    reason: str | None = None
    expected: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPaused(Event):
    """A person stopped the rollout where it is."""

    kind: Literal["rollout.paused"] = "rollout.paused"
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutResumed(Event):
    """A person let it go on."""

    kind: Literal["rollout.resumed"] = "rollout.resumed"
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackStarted(Event):
    """The rollout turned back; `desired` is the world of the old version alone."""

    kind: Literal["rollback.started"] = "rollback.started"
    cause: str
    desired: World
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFinished(Event):
    """The rollout reached its end."""

    kind: Literal["rollout.finished"] = "rollout.finished"
    rollout: str
    outcome: Outcome
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceOrdered(Event):
    """One more instance was decided on."""

    kind: Literal["instance.ordered"] = "instance.ordered"
    instance: InstanceId
    version: Version
    region: Region
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFailed(Event):
    """An instance exited, missed its start deadline, lost liveness, or is not there.

    Attributes:
        is_early: it did not last; the next start of its version waits.
        is_lost: nothing is held against its version: it is not there and nobody knows why (the controller died before
            it was started, somebody removed it), the machine was restarted, or a stranger took its port.
        started_at: None = not known.
    """

    kind: Literal["instance.failed"] = "instance.failed"
    instance: InstanceId
    cause: str
    is_early: bool
    is_lost: bool = False
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRetired(Event):
    """An instance out of rotation was told to end."""

    kind: Literal["instance.retired"] = "instance.retired"
    instance: InstanceId
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGone(Event):
    """An instance has ended and left nothing behind.

    Attributes:
        how: exit code or signal, and whether force was needed; None = nobody saw it.
    """

    kind: Literal["instance.gone"] = "instance.gone"
    instance: InstanceId
    how: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficRouted(Event):
    """Routing was decided; `cut`: requests and streams that a passed drain deadline ends, by instance."""

    kind: Literal["traffic.routed"] = "traffic.routed"
    region: Region
    table: Table
    revision: int
    cut: Mapping[InstanceId, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFound(Event):
    """The data plane and the fleet hold more of the service than the store remembers: it was lost, or is a backup.

    What runs is taken as it is; nothing is decided about it until a version is adopted.

    Attributes:
        why: what was found that the store does not know.
        instances: all that are there.
        number: the highest that any of them was named with.
        revision: above every routing decision that was found.
    """

    kind: Literal["service.found"] = "service.found"
    why: str
    instances: Mapping[InstanceId, Ordered]
    number: int
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionAdopted(Event):
    """A person said which version of a service that was found is the one to keep; it is the stable one from now on."""

    kind: Literal["version.adopted"] = "version.adopted"
    version: Version
    spec: ServiceSpec


ServiceEvent = (
    RolloutStarted
    | StageEntered
    | StageSettled
    | StageUnsettled
    | StageProgressed
    | ChecksFinished
    | PreflightFinished
    | DatabaseAnswered
    | RulingGiven
    | StagePromoted
    | RolloutPaused
    | RolloutResumed
    | RollbackStarted
    | RolloutFinished
    | InstanceOrdered
    | InstanceFailed
    | InstanceRetired
    | InstanceGone
    | TrafficRouted
    | ServiceFound
    | VersionAdopted
)
