"""Worlds: what a strategy wants, what the router is told, and what is seen.

* `World` is the wish: per region how many instances of which version serve, and how traffic is split.
* `Table` is one region's routing as the proxy can carry it out: endpoints and the weights they can bear.
* `Observation` is the truth: instances, the routing that the proxy acknowledged, open requests.

A wish never names instances or addresses; a table always does. `converge` is what lies between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hitless.rollout.spec import ALL_TRAFFIC_BP, Address, DrainSpec, InstanceId, Region, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionWorld:
    """The wish for one region.

    Attributes:
        pools: instances wanted in rotation, by version.
        weights: share of the traffic by version, basis points that sum to 10,000; empty = no traffic at all.
            Newest version first: sticky users move from the back to the front.
        preview: the version that the preview address shows.
        salt: decides which users are first; one per rollout.
    """

    pools: Mapping[Version, int] = field(default_factory=dict)
    weights: Mapping[Version, int] = field(default_factory=dict)
    preview: Version | None = None
    salt: str = ""

    def __post_init__(self) -> None:
        """Refuse weights that do not sum to all traffic, or that have no instances behind them."""
        if self.weights and sum(self.weights.values()) != ALL_TRAFFIC_BP:
            raise ValueError(f"weights must sum to {ALL_TRAFFIC_BP} bp: {dict(self.weights)}")
        if any(weight > 0 and self.pools.get(version, 0) < 1 for version, weight in self.weights.items()):
            raise ValueError(f"a version with weight needs instances: {dict(self.weights)} over {dict(self.pools)}")


World = Mapping[Region, RegionWorld]
NOWHERE: World = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be risked on the way from one world to the next.

    Attributes:
        instances: how many carry all traffic at full strength.
        max_surge: how many more may exist meanwhile.
        max_unavailable: how many of `instances` may be missing meanwhile.
        drain: how long a retiring instance may finish, unless `drain_of` says otherwise for its version.
        max_failures: failures of one version within `FAILURE_WINDOW` that end its rollout.
    """

    instances: int
    max_surge: int
    max_unavailable: int
    drain: DrainSpec = DrainSpec()
    drain_of: Mapping[Version, DrainSpec] = field(default_factory=dict)
    max_failures: int = 3

    @property
    def ready_floor(self) -> int:
        """Fewest ready instances in rotation that hitless itself ever leaves."""
        return max(self.instances - self.max_unavailable, 0)

    def drain_for(self, version: Version) -> DrainSpec:
        """Return what was promised to users of a version."""
        return self.drain_of.get(version, self.drain)

    @property
    def ceiling(self) -> int:
        """Most instances that hitless itself ever creates, those held only by long streams aside."""
        return self.instances + self.max_surge


class EndpointState(StrEnum):
    """What the proxy does with an endpoint."""

    ACTIVE = "active"  # gets new requests
    DRAINING = "draining"  # gets none; open ones go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One instance in a routing table."""

    address: Address
    state: EndpointState


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One region's routing: what the proxy is told, whole.

    Attributes:
        weights: basis points by version; sums to 10,000, or is empty while nothing serves. Order matters for sticky
            users: the first version takes the low end of the hash range, so the newest comes first.
        endpoints: by version, then by instance. Every version with weight has an ACTIVE endpoint.
        preview: the version behind the preview address.
        salt: changes which users are first; one per rollout.
    """

    weights: Mapping[Version, int] = field(default_factory=dict)
    endpoints: Mapping[Version, Mapping[InstanceId, Endpoint]] = field(default_factory=dict)
    preview: Version | None = None
    salt: str = ""

    def weight_bp(self, version: Version) -> int:
        """Share of `version`, 0 when it is not in the table."""
        return self.weights.get(version, 0)

    def endpoint(self, version: Version, instance: InstanceId) -> Endpoint | None:
        """Look up one endpoint."""
        ends = self.endpoints.get(version)
        return ends.get(instance) if ends else None

    def active(self, version: Version) -> Iterator[InstanceId]:
        """Instances of `version` that get new requests."""
        return (name for name, end in self.endpoints.get(version, {}).items() if end.state is EndpointState.ACTIVE)


EMPTY_TABLE = Table()


class Phase(StrEnum):
    """Where an instance is in its life, as its fleet sees it."""

    STARTING = "starting"  # runs, was never ready
    READY = "ready"
    UNREADY = "unready"  # was ready, says no now
    FAILED = "failed"  # exited, missed its start deadline, or liveness lost; `cause` says which
    STOPPING = "stopping"  # told to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance as its fleet sees it; one that has ended and was forgotten is not listed.

    Attributes:
        since: when it entered `phase`.
        cause: why it failed, in one sentence for people.
        is_to_blame: False = something outside the version made it fail (a stranger took its port, the machine was
            restarted, the controller died before it began); another one may well succeed.
    """

    id: InstanceId
    version: Version
    region: Region
    address: Address
    phase: Phase
    since: datetime
    started_at: datetime
    cause: str | None = None
    is_to_blame: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequests:
    """Requests and streams that one endpoint still has open.

    Attributes:
        count: None = not known (proxy unreachable); never taken for zero.
        is_quiet: zero in several reads, long enough after the acknowledgement that every worker thread has it.
        draining_since: when the proxy acknowledged that the endpoint gets no new request.
    """

    count: int | None = None
    is_quiet: bool = False
    draining_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What became of a version's requests, as the proxy counts them; a 5xx is a failure, the proxy's own included.

    Attributes:
        total, failed: since the version got its share of the traffic, or this controller first looked; none without.
        recent_total, recent_failed: within the last seconds in which it had any; of versions side by side, at most
            since all of them have their share.
    """

    total: int = 0
    failed: int = 0
    recent_total: int = 0
    recent_failed: int = 0

    def __add__(self, other: Answers) -> Answers:
        """Return both together."""
        return Answers(
            total=self.total + other.total,
            failed=self.failed + other.failed,
            recent_total=self.recent_total + other.recent_total,
            recent_failed=self.recent_failed + other.recent_failed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The certificate that users get.

    Attributes:
        path: of the file that it came from.
        ends_at: when it ends, as the proxy says; None = not known yet.
        problem: why what lies in the file now is not in force; the last good one is.
    """

    path: str
    ends_at: datetime | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingView:
    """One region's routing as the proxy reports it.

    Attributes:
        acknowledged: the last table that the proxy confirmed; None before the first.
        pending: a table that was written and is not confirmed yet: it may be live, or the acknowledged one may.
        open_requests: by instance, for every endpoint of `acknowledged` and `pending`.
        answers: by version, while several stand side by side; one that is missing is unknown.
        problem: why the proxy cannot be told or refuses, for people.
        certificate: that users get; None without TLS.
        notices: what people should know although nothing is wrong; nothing is decided on it.
    """

    acknowledged: Table | None = None
    pending: Table | None = None
    open_requests: Mapping[InstanceId, OpenRequests] = field(default_factory=dict)
    answers: Mapping[Version, Answers] = field(default_factory=dict)
    problem: str | None = None
    certificate: Certificate | None = None
    notices: tuple[str, ...] = ()

    def live(self) -> tuple[Table, ...]:
        """Every table that may be in force right now; rules must hold for all of them."""
        return tuple([table for table in (self.acknowledged, self.pending) if table is not None])


FAILURE_WINDOW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Failed instances of one version, each at most `FAILURE_WINDOW` after the one before.

    Attributes:
        count: all of them.
        early: those in a row that did not last; they slow the next start down.
    """

    count: int
    early: int
    last_at: datetime

    @property
    def next_start_at(self) -> datetime:
        """Earliest moment for another start: at once, then after 1, 2, 4 ... 30 s."""
        delay_s = min(2 ** (self.early - 2), 30) if self.early > 1 else 0
        return self.last_at + timedelta(seconds=delay_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything a decision may rest on, at one moment.

    Attributes:
        now: the moment.
        instances: of this service, in all regions.
        routing: by region; a region that is missing is unknown.
        endings: how instances that are listed no more have ended, as far as it is known.
        sorted_by: what `split_pools` made of it, by region; several rules of one step ask for the same.
    """

    now: datetime
    instances: tuple[Instance, ...] = ()
    routing: Mapping[Region, RoutingView] = field(default_factory=dict)
    endings: Mapping[InstanceId, str] = field(default_factory=dict)

    sorted_by: dict[Region, tuple[RegionWorld, Any]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def answers(self, version: Version) -> Answers:
        """Return what became of a version's requests, in all regions."""
        return sum((view.answers.get(version, Answers()) for view in self.routing.values()), Answers())

    def instance(self, name: InstanceId) -> Instance | None:
        """Look up one instance."""
        return next((one for one in self.instances if one.id == name), None)
