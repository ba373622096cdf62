"""Stages: worlds with the conditions under which they are left.

A condition is a value; whether it is met is a pure function of the stage, what is seen, and what the rollout has
recorded about the stage (`StageRecord`). `Ready`, `Routed` and `Drained` describe the world: while they are not all
met, the stage is *settling* and its deadline runs. The others are asked once it has settled. `Judged` also looks at
what the rollout's judge has said last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from hitless.analysis.ruling import Call, Ruling
from hitless.rollout.pools import Pools, split_pools
from hitless.rollout.spec import CheckSpec, Region, Undecided, Version
from hitless.rollout.world import EMPTY_TABLE, Limits, Observation, RegionWorld, World
from hitless.schema.change.standing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Every wanted instance of the newest wanted version is ready and acknowledged in rotation.

    Not of the version beside it: a running version that is in trouble must not hinder the one that mends it.
    """

    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The proxy has acknowledged exactly the wanted weights."""

    kind: Literal["routed"] = "routed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """Whatever is not wanted has finished its ordinary requests; long streams may go on."""

    kind: Literal["drained"] = "drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The settled world has lasted so long, time in which it was not settled left out."""

    kind: Literal["held"] = "held"
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Synthetic checks against the new version passed."""

    kind: Literal["passed"] = "passed"
    checks: tuple[CheckSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A person has said `promote`."""

    kind: Literal["approved"] = "approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The preflight of the new version has found nothing that users would suffer from."""

    kind: Literal["examined"] = "examined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """It is shown that the new version may get the share of the traffic that comes next.

    Attributes:
        next_share_bp: that share.
        undecided: what becomes of the stage when nothing is shown `patience_s` after its own time is over.
    """

    kind: Literal["judged"] = "judged"
    next_share_bp: int
    undecided: Undecided = Undecided.WAIT
    patience_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolsFit:
    """The pools of all versions that run at the peak fit into the database."""

    kind: Literal["pools_fit"] = "pools_fit"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleMade:
    """The new version has a login role of its own in the database."""

    kind: Literal["role_made"] = "role_made"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaAt:
    """A change of the schema has come as far as the new version needs it.

    Attributes:
        change: its name.
        standing: so far, or further.
        may_stay: the stage is left without it too, once it is known why: the version that runs does not need it.
    """

    kind: Literal["schema_at"] = "schema_at"
    change: str
    standing: Standing
    may_stay: bool = False


Condition = Ready | Routed | Drained | Held | Passed | Approved | Examined | Judged | PoolsFit | RoleMade | SchemaAt
Settling = Ready | Routed | Drained
Asked = Held | Passed | Approved | Examined | Judged | PoolsFit | RoleMade | SchemaAt
OfDatabase = PoolsFit | RoleMade | SchemaAt


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A desired world, when it is left, and how long settling may take before the rollout turns back."""

    name: str
    desired: World
    until: tuple[Condition, ...]
    deadline_s: float

    @property
    def checks(self) -> tuple[CheckSpec, ...]:
        """All synthetic checks of this stage."""
        return tuple(check for one in self.until if isinstance(one, Passed) for check in one.checks)

    @property
    def is_preflight(self) -> bool:
        """Tell whether the new version is examined out of rotation in this stage."""
        return any(isinstance(one, Examined) for one in self.until)

    @property
    def asks_database(self) -> bool:
        """Tell whether the database is asked for something in this stage."""
        return any(isinstance(one, OfDatabase) for one in self.until)

    @property
    def is_before_users(self) -> bool:
        """Tell whether the world stays as it is in this stage: no user meets the new version."""
        return self.is_preflight or (self.asks_database and not self.may_stay)

    @property
    def may_stay(self) -> bool:
        """Tell whether the rollout goes on without what is asked of the database here."""
        return any(isinstance(one, SchemaAt) and one.may_stay for one in self.until)

    @property
    def changes(self) -> tuple[SchemaAt, ...]:
        """What is asked of the schema in this stage."""
        return tuple(one for one in self.until if isinstance(one, SchemaAt))

    @property
    def asks(self) -> bool:
        """Tell whether this stage is left only when what was asked of the new version has passed."""
        return self.is_preflight or bool(self.checks) or (self.asks_database and not self.may_stay)

    @property
    def has_questions(self) -> bool:
        """Tell whether somebody must be asked in this stage."""
        return self.asks or self.asks_database

    @property
    def hold_s(self) -> float:
        """How long this stage is held once it has settled."""
        return sum(one.seconds for one in self.until if isinstance(one, Held))

    @property
    def judged(self) -> Judged | None:
        """What a judge must show before this stage is left; None = nothing."""
        return next((one for one in self.until if isinstance(one, Judged)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a strategy compiles to."""

    stages: tuple[Stage, ...]
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """What has happened to the current stage.

    Attributes:
        settled_at: when the world first was as wanted, later by the time in which it was not any more.
        unsettled_at: since when it is not any more.
        progress: the furthest that settling came, as `progress` counts it, and when that was.
        promoted: a person said go on: hold, approval and verdict are waived, the world and the checks are not.
        checks_passed: of synthetic checks, of the preflight, or of the database; None = no answer yet.
    """

    entered_at: datetime
    settled_at: datetime | None = None
    unsettled_at: datetime | None = None
    progress: int = 0
    progressed_at: datetime | None = None
    promoted: bool = False
    checks_passed: bool | None = None

    def waiting_since(self) -> datetime | None:
        """Return since when nothing has moved on the way to a settled world; None while it is settled."""
        if self.settled_at is not None:
            return self.unsettled_at
        return self.progressed_at or self.entered_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Whether one condition is met, and what is missing or was seen."""

    condition: Condition
    met: bool
    detail: str


def is_settled(stage: Stage, *, observed: Observation, limits: Limits) -> bool:
    """Tell whether the world is as the stage wants it."""
    return all(one.met for one in _world_findings(stage, observed, limits))


def is_released(stage: Stage, record: StageRecord, *, ruling: Ruling | None, now: datetime) -> bool:
    """Tell whether everything is met that is asked of a settled stage."""
    asked = (one for one in stage.until if not isinstance(one, Settling))
    return all(_asked_finding(one, stage, record, ruling, now).met for one in asked)


def patience_ends_at(stage: Stage, record: StageRecord) -> datetime | None:
    """Return when the stage's judge should have shown something; None while the stage is not as wanted, or promoted."""
    judged = stage.judged
    if judged is None or record.promoted or record.settled_at is None or record.unsettled_at is not None:
        return None
    return record.settled_at + timedelta(seconds=stage.hold_s + judged.patience_s)


def is_undecided(stage: Stage, record: StageRecord, *, ruling: Ruling | None, now: datetime) -> bool:
    """Tell whether patience with the stage's judge is over, and it has not shown what comes next."""
    judged, ends_at = stage.judged, patience_ends_at(stage, record)
    return judged is not None and ends_at is not None and now >= ends_at and not _shows(ruling, judged)


def progress(stage: Stage, *, observed: Observation, limits: Limits) -> int:
    """Count instances that came in and those that left: it only falls back when the world does."""
    done = 0
    for pools in _sorted_for(stage, observed).values():
        leaving = sum(not pools.is_held_by_streams(one, limits) for one in pools.surplus)
        done += sum(len(pools.serving(version)) for version in pools.kept) - leaving
    return done


def findings(
    stage: Stage, record: StageRecord, *, observed: Observation, limits: Limits, ruling: Ruling | None = None
) -> tuple[Finding, ...]:
    """Judge every condition of the stage, in the order in which it names them; `ruling` is the rollout's last one."""
    of_world = {one.condition.kind: one for one in _world_findings(stage, observed, limits)}
    return tuple(
        of_world[one.kind] if isinstance(one, Settling) else _asked_finding(one, stage, record, ruling, observed.now)
        for one in stage.until
    )


def _sorted_for(stage: Stage, observed: Observation) -> dict[Region, Pools]:
    return {region: split_pools(wish, observed=observed, region=region) for region, wish in stage.desired.items()}


def _world_findings(stage: Stage, observed: Observation, limits: Limits) -> Iterator[Finding]:
    pools = _sorted_for(stage, observed)
    for one in stage.until:
        if isinstance(one, Settling):
            judge = _JUDGES[one.kind]
            missing = [
                problem for region, wish in stage.desired.items() for problem in judge(wish, pools[region], limits)
            ]
            yield Finding(condition=one, met=not missing, detail="; ".join(missing))


def _not_ready(wanted: RegionWorld, pools: Pools, _limits: Limits) -> Iterator[str]:
    for version, count in list(wanted.pools.items())[:1]:
        ready = len(pools.serving(version))
        if ready < count:
            yield f"{version}: {ready} of {count} ready and in rotation"


def _not_routed(wanted: RegionWorld, pools: Pools, _limits: Limits) -> Iterator[str]:
    view = pools.view
    if view is None:
        yield "nothing is known of the proxy"
        return
    table = view.acknowledged or EMPTY_TABLE
    if view.pending is not None:
        yield view.problem or "waiting for the proxy's acknowledgement"
    elif _nonzero(table.weights) != _nonzero(wanted.weights):
        yield f"traffic is {_shares(table.weights)}, wanted {_shares(wanted.weights)}"
    elif table.preview != wanted.preview:
        yield f"the preview shows {table.preview or 'nothing'}"


def _not_drained(_wanted: RegionWorld, pools: Pools, limits: Limits) -> Iterator[str]:
    left = [one for one in pools.surplus if not pools.is_held_by_streams(one, limits)]
    if left:
        names = ", ".join(one.id for one in left)
        yield f"{len(left)} retiring: {names}"


_JUDGES = {"ready": _not_ready, "routed": _not_routed, "drained": _not_drained}


def _asked_finding(
    condition: Asked, stage: Stage, record: StageRecord, ruling: Ruling | None, now: datetime
) -> Finding:
    if isinstance(condition, Judged) and not record.promoted:
        is_over = is_undecided(stage, record, ruling=ruling, now=now)
        return _verdict(condition, ruling, asks=is_over and condition.undecided is Undecided.ASK)
    return _record_finding(condition, record, now)


def _verdict(condition: Judged, ruling: Ruling | None, *, asks: bool) -> Finding:
    detail = "nothing is said yet" if ruling is None else ruling.sentence
    if ruling is not None and ruling.call is Call.PROMOTE and not _shows(ruling, condition):
        shown, wanted = ruling.next_share_bp / 100, condition.next_share_bp / 100
        detail = f"shown for {shown:g} % of the traffic, {wanted:g} % comes next"
    if asks:
        detail = f"waits for `hitless rollout promote`: {detail}"
    return Finding(condition=condition, met=_shows(ruling, condition), detail=detail)


def _shows(ruling: Ruling | None, wanted: Judged) -> bool:
    return ruling is not None and ruling.promotes_to(wanted.next_share_bp)


def _record_finding(condition: Asked, record: StageRecord, now: datetime) -> Finding:
    if isinstance(condition, Examined):
        words = {None: "instances out of rotation are looked at", True: "passed", False: "refused"}
        detail = words[record.checks_passed]
        return Finding(condition=condition, met=record.checks_passed is True, detail=detail)
    if isinstance(condition, OfDatabase):
        return _database_finding(condition, record)
    if isinstance(condition, Passed):
        detail = {None: "not asked yet", True: "passed", False: "failed"}[record.checks_passed]
        return Finding(condition=condition, met=record.checks_passed is True, detail=detail)
    return _waiting_finding(condition, record, now)


def _database_finding(condition: OfDatabase, record: StageRecord) -> Finding:
    is_met = record.checks_passed is True or (record.checks_passed is False and _may_stay(condition))
    detail = {None: "not there yet", True: "", False: "not to be had"}[record.checks_passed]
    return Finding(condition=condition, met=is_met, detail=detail)


def _waiting_finding(condition: Held | Approved | Judged, record: StageRecord, now: datetime) -> Finding:
    if record.promoted:
        return Finding(condition=condition, met=True, detail="promoted")
    if not isinstance(condition, Held):
        return Finding(condition=condition, met=False, detail="waits for `hitless rollout promote`")
    if record.settled_at is None:
        return Finding(condition=condition, met=False, detail=f"{condition.seconds:g} s to go once settled")
    left_s = (record.settled_at + timedelta(seconds=condition.seconds) - (record.unsettled_at or now)).total_seconds()
    return Finding(condition=condition, met=left_s <= 0, detail=f"{max(left_s, 0):.0f} s to go")


def _may_stay(condition: OfDatabase) -> bool:
    return isinstance(condition, SchemaAt) and condition.may_stay


def _nonzero(weights: Mapping[Version, int]) -> dict[Version, int]:
    return {version: weight for version, weight in weights.items() if weight}


def _shares(weights: Mapping[Version, int]) -> str:
    return ", ".join(f"{version} {weight / 100:g} %" for version, weight in weights.items() if weight) or "nothing"
