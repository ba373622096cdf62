"""What a user asks for, as values: the service and how it is to be released.

Durations are seconds, weights are basis points (1 bp = 0.01 %; 10,000 bp = all traffic).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from typing import NewType

from hitless.schema.change.standing import Standing

Version = NewType("Version", str)
Region = NewType("Region", str)
InstanceId = NewType("InstanceId", str)

ALL_TRAFFIC_BP = 10_000
LOCAL = Region("local")
ROLE_POOL = "database_role"
"""The pool whose use the database itself tells: sessions of a version's role, over the role's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A TCP endpoint."""

    host: str
    port: int

    def __str__(self) -> str:
        """Render as `host:port`, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A count of instances, or a share of them: exactly one of the two is set."""

    count: int | None = None
    share_bp: int | None = None

    def rounded_up(self, instances: int) -> int:
        """Return the count for `instances`, a share rounded up (surge: never stuck at zero)."""
        return self.count if self.count is not None else math.ceil(self._share_of(instances))

    def rounded_down(self, instances: int) -> int:
        """Return the count for `instances`, a share rounded down (unavailable: never more than promised)."""
        return self.count if self.count is not None else math.floor(self._share_of(instances))

    def _share_of(self, instances: int) -> Fraction:
        return Fraction((self.share_bp or 0) * instances, ALL_TRAFFIC_BP)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """How one instance is started; `{port}`, `{version}` and `{instance}` are filled in."""

    command: tuple[str, ...]
    directory: str = "."
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSpec:
    """Liveness and readiness: paths that answer 200, and how often they are asked."""

    live: str | None = None
    ready: str = "/"
    interval_s: float = 1.0
    timeout_s: float = 1.0
    healthy_after: int = 1
    unhealthy_after: int = 3
    start_deadline_s: float = 60.0
    max_failures: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainSpec:
    """How long a retiring instance may finish: ordinary requests, then whatever is still open (streams)."""

    requests_s: float = 30.0
    streams_s: float = 7200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSpec:
    """Certificate chain and key, PEM files."""

    cert: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideSpec:
    """Testers choose a version by `header`; only with the right `token` in `<header>-token`."""

    header: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSpec:
    """How users reach the service.

    Attributes:
        sticky_cookie: name of the cookie that keeps a user on its version; None = every request is drawn anew.
        keep_alive_s: the application's own keep-alive time-out; the proxy closes idle connections 1 s earlier (at
            half, below 2 s).
        idle_timeout_s: a stream without a byte for so long is closed.
        http2: instances speak HTTP/2 without TLS (h2c).
    """

    listen: Address
    tls: TlsSpec | None = None
    sticky_cookie: str | None = None
    override: OverrideSpec | None = None
    keep_alive_s: float = 2.0
    idle_timeout_s: float = 3600.0
    http2: bool = False


class StrategyName(StrEnum):
    """The ways to bring a version in."""

    ROLLING = "rolling"
    BLUE_GREEN = "blue_green"
    CANARY = "canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingSpec:
    """Replace instance by instance."""

    max_surge: Amount = Amount(share_bp=2_500)
    max_unavailable: Amount = Amount(count=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """A synthetic request that the new version must answer before users see it."""

    path: str
    status: int = 200
    contains: str | None = None
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueGreenSpec:
    """Two full environments and a flip.

    Attributes:
        preview: where the new version can be looked at before the flip.
        checks: all must pass before the flip.
        keep_warm_s: how long the old environment stays full after the flip.
        approve: wait for `hitless rollout promote` before the flip.
    """

    preview: Address | None = None
    checks: tuple[CheckSpec, ...] = ()
    keep_warm_s: float = 900.0
    approve: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStep:
    """A share of the traffic, held for a time; `pause` waits for `hitless rollout promote`."""

    weight_bp: int
    hold_s: float = 0.0
    pause: bool = False


def _usual_steps() -> tuple[CanaryStep, ...]:
    return (
        CanaryStep(weight_bp=100, hold_s=600.0),
        CanaryStep(weight_bp=500, hold_s=900.0),
        CanaryStep(weight_bp=2_500, hold_s=1800.0),
        CanaryStep(weight_bp=ALL_TRAFFIC_BP),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySpec:
    """Widen the new version's share step by step, the old one full and warm until the end."""

    steps: tuple[CanaryStep, ...] = field(default_factory=_usual_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySpecs:
    """Parameters of each strategy, and the one taken when a deploy names none."""

    default: StrategyName = StrategyName.ROLLING
    rolling: RollingSpec = RollingSpec()
    blue_green: BlueGreenSpec = BlueGreenSpec()
    canary: CanarySpec = CanarySpec()


class Sessions(StrEnum):
    """Where the state of users' sessions is."""

    EXTERNAL = "external"
    IN_PROCESS = "in_process"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightSpec:
    """What is asked of a version before users meet it; `paths` are pages as users ask them, with GET."""

    paths: tuple[str, ...] = ("/",)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyObjective:
    """At most so slow, for this share of the answers."""

    quantile: float
    at_most_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SloSpec:
    """What users of the service are promised.

    Attributes:
        success_rate: least share of requests that succeed, 0.9995 for 99.95 %; None = nothing is promised.
        success_for_s: so long it may be below that before a rollout is taken back.
        latency: by quantile.
    """

    success_rate: float | None = None
    success_for_s: float = 60.0
    latency: tuple[LatencyObjective, ...] = ()


class Undecided(StrEnum):
    """What becomes of a step whose judge cannot tell, after `patience_s`."""

    WAIT = "wait"
    ROLLBACK = "rollback"
    ASK = "ask"  # waits for `hitless rollout promote`, and says so


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSpec:
    """How the new version is compared with the old one.

    Attributes:
        false_rollback: at most this share of rollouts of a version that is no worse is taken back by the judge.
        false_promotion: at most this share of steps is left with a version that is worse than the margin.
        error_margin: so many more of all requests may fail and a step is still left, 0.001 for 0.1 percentage points.
        latency_margin: slower by less than this share is not slower.
        dependencies: whose calls are compared, as the application's metrics name them.
        warm_up_s: so long after a version got users, or more of them, the durations of answers and the calls to
            dependencies are left out, on both sides: caches are cold. Failures count from the first second.
        undecided: what to do when nothing is shown `patience_s` after the step's own time is over.
    """

    false_rollback: float = 0.01
    false_promotion: float = 0.05
    error_margin: float = 0.001
    latency_margin: float = 0.05
    dependencies: tuple[str, ...] = ()
    warm_up_s: float = 30.0
    undecided: Undecided = Undecided.WAIT
    patience_s: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioSpec:
    """What an application counts of good and bad: two of `good`, `bad` and `total` are set.

    Attributes:
        good, bad, total: a name with matchers of labels, as in PromQL; or a query.
        margin: so much greater the new version's odds of bad may be, 0.1 for a tenth.
        is_query: both are queries to a Prometheus.
    """

    name: str
    good: str | None = None
    bad: str | None = None
    total: str | None = None
    margin: float = 0.0
    is_query: bool = False

    @property
    def parts(self) -> Mapping[str, str]:
        """The two that are set, by name."""
        found = {"good": self.good, "bad": self.bad, "total": self.total}
        return {part: text for part, text in found.items() if text is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """What an instance tells of one of its pools, as gauges: a name with matchers; `size` may be a number."""

    name: str
    used: str
    size: str | float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSpec:
    """A Prometheus that is asked.

    Attributes:
        url: where it answers, without `/api/v1`.
        version: label that holds the version.
        token_file: holds a bearer token.
    """

    url: str
    version: str = "version"
    token_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSpec:
    """Where each instance tells figures of its own, and what is read out of them.

    Attributes:
        path: answers in Prometheus or OpenMetrics text.
        prometheus: None = none is asked.
    """

    path: str = "/metrics"
    ratios: tuple[RatioSpec, ...] = ()
    pools: tuple[PoolSpec, ...] = ()
    prometheus: PrometheusSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSpec:
    """A change of the schema that a release needs.

    Attributes:
        name: as its file says.
        file: the change file.
        standing: how far it must have come before the release's first instance starts.
    """

    name: str
    file: str
    standing: Standing = Standing.VERIFIED


class SwitchWhen(StrEnum):
    """Who says that the changes of a release are switched."""

    MANUAL = "manual"
    AUTOMATIC = "automatic"  # once the new version has all traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsSpec:
    """What the service's pools take of the database's connections.

    Attributes:
        per_instance: at most so many an instance opens.
        jobs: at most so many jobs and consoles beside it open.
        reserve: of what the server has for users, so much stays free; an amount without a share is a count.
        role: whom instances connect as, or only the jobs where versions have roles; None = as the url says, or nobody.
        during_migration: at most so many an instance may open while the service's changes are carried out; None = no
            more than usual.
    """

    per_instance: int
    jobs: int = 0
    reserve: Amount = Amount(share_bp=1_000)
    role: str | None = None
    during_migration: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolesSpec:
    """A login role for each version.

    Attributes:
        group: the role that all of them are members of, which has the privileges.
        prefix: how their names begin.
        variable: of an instance's environment, in which it finds the URL with its role.
    """

    group: str
    prefix: str
    variable: str = "DATABASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSpec:
    """The service's database.

    Attributes:
        url: where the URL is to be had, as `env:NAME` or `file:PATH`, or itself where no password is in it.
        connections: None = nothing is said of pools, so they are not held against the database's limits.
        roles: None = versions share whatever role they connect as.
    """

    url: str
    changes: tuple[ChangeSpec, ...] = ()
    switch: SwitchWhen = SwitchWhen.MANUAL
    connections: ConnectionsSpec | None = None
    roles: RolesSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service as `hitless.yaml` describes it, with all defaults filled in.

    Attributes:
        preflight: None = new versions are not examined.
        sessions: None = nobody has said.
        slo: None = nothing is promised.
        analysis: None = no step waits for a verdict; a version that is shown to be worse is taken back all the same.
        metrics: None = instances tell no figures of their own.
        database: None = nothing is known of one.
    """

    name: str
    instances: int
    run: RunSpec
    traffic: TrafficSpec
    health: HealthSpec = HealthSpec()
    drain: DrainSpec = DrainSpec()
    strategy: StrategySpecs = StrategySpecs()
    progress_deadline_s: float = 600.0
    preflight: PreflightSpec | None = PreflightSpec()
    sessions: Sessions | None = None
    slo: SloSpec | None = None
    analysis: AnalysisSpec | None = None
    metrics: MetricsSpec | None = None
    database: DatabaseSpec | None = None

    def with_preview_of(self, other: ServiceSpec) -> ServiceSpec:
        """Return these settings with the address of the preview that others have."""
        preview = other.strategy.blue_green.preview
        blue_green = replace(self.strategy.blue_green, preview=preview)
        return replace(self, strategy=replace(self.strategy, blue_green=blue_green))
