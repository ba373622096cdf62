"""One view model per noun: what `--json` prints, what the API returns, what the terminal and the pages draw.

Plain JSON shapes (TypedDict), so that the command line reads them without any library. Times are RFC 3339 UTC,
durations seconds, weights basis points. Wanted and observed stand side by side; what is not known is None, never zero.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypedDict, TypeVar

Payload = TypeVar("Payload")
Since = TypeVar("Since", str, int)

RolloutState = Literal["running", "paused", "completed", "rolled_back", "refused", "superseded", "failed"]
"""`running` includes the way back (`phase` = `rolling_back`); refused: by the preflight or for the database, before any
user met it."""

Role = Literal["stable", "candidate", "retiring"]

Health = Literal["idle", "healthy", "progressing", "degraded", "down"]
"""idle: nothing was ever deployed; degraded: serves, but not as wanted; down: nothing ready, or no Envoy."""


class InstanceView(TypedDict):
    """One instance: its process and its place in the rotation."""

    id: str
    version: str
    region: str
    address: str
    phase: Literal["starting", "ready", "unready", "failed", "stopping"]
    rotation: Literal["in", "draining", "out", "unknown"]
    since: str
    open_requests: int | None
    cause: str | None


class VersionView(TypedDict):
    """One version: what is wanted of it and what is seen."""

    version: str
    role: Role
    wanted_instances: int
    ready_instances: int
    desired_bp: int
    routed_bp: int | None


class ConditionView(TypedDict):
    """One condition of a stage: `detail` says what is missing, or what was seen."""

    name: str
    met: bool
    detail: str


class StageView(TypedDict):
    """One stage of a rollout."""

    name: str
    state: Literal["done", "current", "ahead", "skipped"]
    pools: dict[str, int]
    weights: dict[str, int]
    until: list[ConditionView]
    entered_at: str | None
    hold_s: float


class PreflightFindingView(TypedDict):
    """What a rule of the preflight found: a refusal turns the rollout back, a warning is told."""

    rule: str
    severity: Literal["refusal", "warning"]
    sentence: str
    evidence: list[str]
    remedy: str


class PreflightView(TypedDict):
    """What a version showed out of rotation; `keep_alive_s`: measured, where it is shorter than the settings say."""

    service: str
    version: str
    passed: bool
    findings: list[PreflightFindingView]
    keep_alive_s: float | None


class TakerView(TypedDict):
    """Who takes connections of a database, and why so many."""

    who: str
    connections: int
    because: str | None


class ConnectionsView(TypedDict):
    """What is taken of one limit of a database at the peak of a rollout; `room`: what users may have of it."""

    limit: str
    room: int
    taken: int
    fits: bool
    takers: list[TakerView]


class ChangeStateView(TypedDict):
    """A change of the schema that a release needs; `standing` None = not known, `detail`: what is going on."""

    change: str
    wanted: str
    standing: str | None
    detail: str
    touches: list[str]


class DatabaseView(TypedDict):
    """What a rollout asks of its database; `verdict` None = no answer yet.

    `connections`: the tightest limit first. `returns`: which schema the version meets that users are brought back to.
    """

    changes: list[ChangeStateView]
    connections: list[ConnectionsView]
    role: str | None
    verdict: Literal["ready", "refused", "failed"] | None
    cause: str | None
    evidence: list[str]
    remedies: list[str]
    returns: list[str]


class PlannedChangeView(TypedDict):
    """How far a plan takes a change of the schema; `may_stay`: the rollout completes without it too."""

    change: str
    standing: str
    may_stay: bool


class PlannedDatabaseView(TypedDict):
    """What a plan asks of the database; `unknown`: why nobody knows whether `takers` fit."""

    changes: list[PlannedChangeView]
    connections: list[ConnectionsView]
    takers: list[TakerView]
    unknown: str | None
    notes: list[str]


class EstimateView(TypedDict):
    """How much worse the new version is; None = unbounded on that side as yet, or nothing to estimate from."""

    value: float | None
    low: float | None
    high: float | None
    unit: str


class EvidenceView(TypedDict, Generic[Since]):
    """One row of a judge as it stands.

    It decides where `log_evidence` reaches `log_needed`; None there: it is outside the sum. `canary` and `baseline` are
    `[bad, all]`. `since` is the second in which it first reached its bound: a moment, or counted from the beginning of
    what `hitless analyse` has read.
    """

    name: str
    title: str
    acts: Literal["rollback", "promote", "hold"]
    log_evidence: float | None
    log_needed: float | None
    weight: float
    canary: list[int] | None
    baseline: list[int] | None
    coverage: float | None
    estimate: EstimateView | None
    since: Since | None
    detail: str


class JudgementView(TypedDict):
    """What a rollout's judge says, with its evidence as it stands.

    `missing_*` say what a hold waits for, None = not known. `at` is the last second that it rests on; None: the
    evidence is not at hand any more, only what was journaled. `settings` is the hash of what the judge was told.
    """

    call: Literal["rollback", "promote", "hold"]
    why: str
    row: str | None
    sentence: str
    detail: str
    next_share_bp: int
    rows: list[EvidenceView[str]]
    missing_requests: int | None
    missing_s: float | None
    promise: str
    settings: str
    at: str | None


class RolloutRowView(TypedDict):
    """One rollout in a list."""

    id: str
    service: str
    strategy: str
    baseline: str | None
    candidate: str
    state: RolloutState
    phase: Literal["advancing", "paused", "rolling_back", "finished"]
    started_at: str
    finished_at: str | None
    actor: str
    reason: str | None
    cause: str | None


class RolloutView(RolloutRowView):
    """One rollout. `next` lists commands that make sense now, ready to paste; `stage` counts from zero.

    `preflight` and `judgement` are None where there was none, or none yet; `database` where it asks nothing of one.
    """

    stage: int
    stages: list[StageView]
    preflight: PreflightView | None
    skipped_preflight: bool
    database: DatabaseView | None
    judgement: JudgementView | None
    next: list[str]


class CertificateView(TypedDict):
    """The certificate that users get: `problem` says why what lies at `path` now is not in force."""

    path: str
    ends_at: str | None
    days_left: int | None
    problem: str | None


class BurnView(TypedDict):
    """How many times faster than it may an error budget burns, in a long window and in the short one at its end.

    Rates are None where they are not known; `known` is the share of the long window that was seen. An alert is on
    while both are above `factor`: `burning_since`, as far as this control plane saw it; None = it is not on.
    """

    window: str
    short_minutes: int
    long: float | None
    short: float | None
    factor: float
    urgency: Literal["page", "ticket"]
    known: float
    burning_since: str | None


class ObjectiveView(TypedDict):
    """One objective of a service and its error budget of 30 days, outside of rollouts and in them.

    `budget_left`: 1 = untouched, below 0 = overspent, of what was seen since `since`; None = not known. `known` is the
    share of the 30 days that was seen. `at_most_ms` is None where success is what is promised.
    """

    name: str
    promised: float
    at_most_ms: float | None
    budget_left: float | None
    since: str | None
    known: float
    burn: list[BurnView]


class ServiceView(TypedDict):
    """One service now; `seq` is the newest journal record this view has seen.

    `objectives` is empty where nothing is promised. `problems` are wrong now; `notices` will be, or are worth knowing:
    a certificate that ends soon, an older Envoy.
    """

    name: str
    listen: str
    health: Health
    stable: str | None
    versions: list[VersionView]
    instances: list[InstanceView]
    rollout: RolloutView | None
    objectives: list[ObjectiveView]
    problems: list[str]
    notices: list[str]
    certificate: CertificateView | None
    seq: int


class SecondsView(TypedDict):
    """What was measured of a service, oldest second first, in the form of a recording; a second that is a gap says so.

    Each has `t`, when it began, `g`, why it is a gap, and what is not empty of `c`, cells, `b`, their bytes, and `k`,
    calls.
    """

    service: str
    seconds: list[dict[str, Any]]


class JournalRecordView(TypedDict):
    """One record of the journal, as exported: enough to recompute its hash."""

    seq: int
    at: str
    type: str
    subject: str
    actor: str
    data: dict[str, object]
    previous: str
    hash: str


class ControlPlaneView(TypedDict):
    """The control plane itself."""

    version: str
    pid: int
    started_at: str
    directory: str
    envoy: Literal["running", "starting", "down"]
    envoy_pid: int | None
    problems: list[str]
    services: list[ServiceView]


class EarlierEnvoyView(TypedDict):
    """An Envoy that was replaced and lives for its streams, at most until `until`; None connections = not known."""

    pid: int
    open_connections: int | None
    until: str


class EnvoyView(TypedDict):
    """Envoy's process. `differences`: in what it is not the one that would be started now."""

    status: Literal["running", "starting", "down"]
    pid: int | None
    version: str | None
    epoch: int
    problem: str | None
    differences: list[str]
    earlier: list[EarlierEnvoyView]
    next: list[str]


class Envelope(TypedDict, Generic[Payload]):
    """A document and the name of its shape; the version rises when a reader of the old shape would break."""

    schema: str
    data: Payload


class ProblemView(TypedDict):
    """An error as RFC 9457 problem details, with what a command line needs to show it and to exit."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    exit_code: int
    place: str | None
    evidence: list[str]
    hints: list[str]


class PlannedStageView(TypedDict):
    """One stage that a deploy would go through. `hold_s` is the least it takes; what it waits for may take longer."""

    name: str
    pools: dict[str, int]
    weights: dict[str, int]
    until: list[str]
    hold_s: float


class PlanView(TypedDict):
    """What a deploy would do. `peak_instances` live at once at most; `least_s` is the sum of all holds."""

    service: str
    strategy: str
    baseline: str | None
    candidate: str
    stages: list[PlannedStageView]
    peak_instances: int
    least_s: float
    needs: list[str]
    database: PlannedDatabaseView | None
    next: list[str]


class VerifyView(TypedDict):
    """Outcome of recomputing the journal's chain: `problem` is None when it holds, else `seq` is where it breaks."""

    records: int
    problem: str | None
    seq: int | None


CheckVerdict = Literal["ok", "warning", "unknown", "failed"]
"""`unknown`: could not be measured, which is never ok."""


class FindingView(TypedDict):
    """One line of a check: what was measured against what limit. `next` lists commands, ready to paste."""

    verdict: CheckVerdict
    measured: str
    next: list[str]


class CheckView(TypedDict):
    """One check; its verdict is the worst of its findings, `limit` says what is enough."""

    name: str
    title: str
    scope: Literal["machine", "project"]
    limit: str
    verdict: CheckVerdict
    findings: list[FindingView]


class DoctorView(TypedDict):
    """An examination; its verdict is the worst of its checks."""

    directory: str
    verdict: CheckVerdict
    checks: list[CheckView]
