"""A service's durable state: what is wanted, what was decided, where its rollout stands.

Folded from events, never edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from hitless.analysis.ruling import Ruling
from hitless.preflight.finding import PreflightReport
from hitless.rollout.spec import InstanceId, MetricsSpec, Region, ServiceSpec, Version
from hitless.rollout.stage import Plan, Stage, StageRecord
from hitless.rollout.world import NOWHERE, Failures, Limits, Table, World
from hitless.schema.release import DatabaseReport, NeededChange


class RolloutPhase(StrEnum):
    """What the rollout machine is doing; `IDLE` between rollouts."""

    IDLE = "idle"
    ADVANCING = "advancing"
    PAUSED = "paused"
    ROLLING_BACK = "rolling_back"


class Outcome(StrEnum):
    """How a rollout ended."""

    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"
    REFUSED = "refused"  # by the preflight, or for the database: no user had met it
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One rollout, going on or ended.

    Attributes:
        strategy: name for people: a strategy, `undo` or `settings`.
        baseline: the version to return to, None for a first release; with its settings.
        spec_before: settings that the candidate had, were it deployed before; unless it completes, it has them again.
        cause: why it turned back or failed.
        preflight: what was found before users met it; None = not examined (yet).
        skipped_preflight: who deployed did not want one.
        database: what became of what it asked of the database last; of an undo, what is known from before.
        ruling: what its judge has said last; None = nothing, or nobody judged.
    """

    id: str
    strategy: str
    baseline: Version | None
    candidate: Version
    baseline_spec: ServiceSpec | None
    plan: Plan
    started_at: datetime
    actor: str
    record: StageRecord
    spec_before: ServiceSpec | None = None
    reason: str | None = None
    stage: int = 0
    cause: str | None = None
    outcome: Outcome | None = None
    finished_at: datetime | None = None
    preflight: PreflightReport | None = None
    skipped_preflight: bool = False
    database: DatabaseReport | None = None
    ruling: Ruling | None = None

    @property
    def compares(self) -> bool:
        """Tell whether another version stands beside the new one, to be compared with and to return to."""
        return self.baseline not in {None, self.candidate}

    @property
    def current_stage(self) -> Stage:
        """The stage that the rollout is in."""
        return self.plan.stages[self.stage]

    @property
    def is_last_stage(self) -> bool:
        """Tell whether completion comes next."""
        return self.stage == len(self.plan.stages) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """An instance that was decided on.

    Attributes:
        is_failed: its failure was counted.
        is_retired: it was told to stop.
    """

    version: Version
    region: Region
    is_failed: bool = False
    is_retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceState:
    """Everything hitless must remember about a service.

    Attributes:
        desired: what `converge` aims at, rollout or not.
        specs: settings by version, as they were when the version was deployed.
        keep_alives_s: by version, keep-alive time-outs that were measured and are shorter than its settings say.
        stable: the version that completed last.
        previous: where `undo` returns to, unless the last rollout to complete changed settings alone: then to
            `settings_before`.
        instances: decided on and not gone yet.
        tables: routing decided last, by region.
        revision: number of routing decisions; grows with each.
        named: numbers given to instances so far.
        rollouts: number of rollouts so far.
        rollout: the present or last one.
        changes: of the schema, as rollouts have found them last.
        is_found: it runs and the store does not know what was wanted of it; nothing is decided until it is adopted.
    """

    service: str
    phase: RolloutPhase = RolloutPhase.IDLE
    desired: World = field(default_factory=lambda: NOWHERE)
    limits: Limits | None = None
    specs: Mapping[Version, ServiceSpec] = field(default_factory=dict)
    stable: Version | None = None
    previous: Version | None = None
    settings_before: ServiceSpec | None = None
    instances: Mapping[InstanceId, Ordered] = field(default_factory=dict)
    keep_alives_s: Mapping[Version, float] = field(default_factory=dict)
    failures: Mapping[Version, Failures] = field(default_factory=dict)
    tables: Mapping[Region, Table] = field(default_factory=dict)
    revision: int = 0
    named: int = 0
    rollouts: int = 0
    rollout: Rollout | None = None
    changes: tuple[NeededChange, ...] = ()
    is_found: bool = False

    @property
    def running(self) -> Rollout:
        """The present or last rollout, where there must be one."""
        assert self.rollout is not None
        return self.rollout

    @property
    def limits_in_force(self) -> Limits:
        """The limits, with the drains that users of each version were promised."""
        limits = self.limits
        assert limits is not None
        differing = {version: spec.drain for version, spec in self.specs.items() if spec.drain != limits.drain}
        return replace(limits, drain_of=differing) if differing else limits

    @property
    def settings_in_force(self) -> ServiceSpec | None:
        """The settings by which users are addressed and routed: the new version's from where it may get users.

        Until then, on the way back and after it they are the old version's; only the preview stays open as long as a
        rollout lasts that wants it. None: nothing serves that was deployed.
        """
        rollout = self.rollout
        if rollout is None or self.phase is RolloutPhase.IDLE:
            return self.specs.get(self.stable) if self.stable is not None else None
        asked, home = self.specs[rollout.candidate], rollout.baseline_spec
        if home is None or not (rollout.current_stage.is_before_users or self.phase is RolloutPhase.ROLLING_BACK):
            return asked
        return home.with_preview_of(asked)

    @property
    def settled_settings(self) -> ServiceSpec | None:
        """The settings that completed last, whatever a rollout that is on may change of them; else those in force."""
        home = self.rollout.baseline_spec if self.rollout is not None else None
        return home if home is not None and self.phase is not RolloutPhase.IDLE else self.settings_in_force

    @property
    def figures_wanted(self) -> MetricsSpec | None:
        """What is read of all versions' figures: what the newest settings say, as their judge compares that."""
        versions = [self.rollout.candidate] if self.rollout is not None and self.rollout.outcome is None else []
        found = (self.specs.get(version) for version in (*versions, self.stable) if version is not None)
        return next((spec.metrics for spec in found if spec is not None), None)

    def routing_specs(self) -> Mapping[Version, ServiceSpec]:
        """Return the settings by version as the proxy is told: what was measured counts, not what was written."""
        return {version: self._as_measured(version, spec) for version, spec in self.specs.items()}

    def _as_measured(self, version: Version, spec: ServiceSpec) -> ServiceSpec:
        measured_s = min(self.keep_alives_s.get(version, spec.traffic.keep_alive_s), spec.traffic.keep_alive_s)
        return replace(spec, traffic=replace(spec.traffic, keep_alive_s=measured_s))
