"""View models of the lint, of changes of the schema, and of the contract guard."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

LintSeverity = Literal["error", "warning"]
"""An error refuses the migration, a warning is told."""

MigrationPhase = Literal["additive", "data", "destructive", "neutral"]
"""Which part of expand, migrate and contract a statement belongs to."""


class LintFindingView(TypedDict):
    """What a rule found in a migration. `lock` is the strongest of the statement, `fix` SQL to paste."""

    file: str
    line: int
    column: int
    rule: str
    phase: MigrationPhase
    lock: str | None
    severity: LintSeverity
    message: str
    fix: str


class AllowedFindingView(LintFindingView):
    """A finding that a comment in the file allows, and why."""

    reason: str


class TableLockView(TypedDict):
    """A lock that a statement takes on a relation, and what is done to it meanwhile."""

    relation: str
    mode: str
    blocks_reads: bool
    blocks_writes: bool
    work: Literal["none", "scan", "rewrite"]


class LintStatementView(TypedDict):
    """A statement of a migration, and what it does to others and to the release that runs."""

    file: str
    line: int
    column: int
    phase: MigrationPhase
    compatibility: Literal["full", "restricts", "breaks"]
    outside_transaction: bool
    locks: list[TableLockView]


class UnreadView(TypedDict):
    """A place that cannot be read, in the parser's words."""

    file: str
    line: int
    column: int
    message: str


class LintView(TypedDict):
    """A lint of migrations, in the order of their files."""

    postgres: int
    files: list[str]
    errors: int
    warnings: int
    findings: list[LintFindingView]
    allowed: list[AllowedFindingView]
    statements: list[LintStatementView]
    unread: list[UnreadView]


class LintRuleView(TypedDict):
    """A rule of the lint."""

    id: str
    family: str
    severity: Literal["error", "warning", "off"]
    summary: str
    why: str
    safe: str


LaneState = Literal["done", "current", "next", "ahead"]
"""Of a part of a change: whole; begun; may begin; waits for the one before it."""


class MigrationStepView(TypedDict):
    """A step of a change. `begun`: it cannot commit with its record, and is not recorded yet."""

    id: str
    kind: str
    title: str
    state: Literal["done", "begun", "ahead"]
    done_at: str | None
    evidence: dict[str, Any]
    caveats: list[str]


class MigrationPartView(TypedDict):
    """A part of a change: expand, backfill, verify, switch, and the three stops of contracting."""

    part: str
    state: LaneState
    steps: list[MigrationStepView]


class MigrationCheckView(TypedDict):
    """Something of the data that must hold: `counted` must give 0, `query` returns rows that speak against it."""

    query: str
    counted: str
    trouble: str
    remedy: str
    may_be_allowed: bool


class MigrationLockView(TypedDict):
    """A lock that a step takes, and what is done to the relation meanwhile: none, scan or rewrite."""

    relation: str
    mode: str
    work: str


class PlannedStepView(TypedDict):
    """A step that a change would take."""

    id: str
    part: str
    kind: str
    title: str
    do: list[str]
    undo: list[str]
    checks: list[MigrationCheckView]
    caveats: list[str]
    locks: list[MigrationLockView]


class RemovalView(TypedDict):
    """What a contract takes away; no columns = the whole table."""

    table: str
    columns: list[str]


class WatchView(TypedDict):
    """A counter that moves while an older release writes."""

    counter: str
    sentence: str


class MigrationPlanView(TypedDict):
    """A change, as it would be carried out."""

    change: str
    steps: list[PlannedStepView]
    removals: list[RemovalView]
    watches: list[WatchView]
    notes: list[str]


class MigrationPlansView(TypedDict):
    """Changes, as they would be carried out on a PostgreSQL of this major version."""

    postgres: int
    plans: list[MigrationPlanView]


class FillView(TypedDict):
    """How far a backfill is: rows looked at, rows written; `rows_per_s` since it began, None = not known yet."""

    step: str
    rows: int
    changed: int
    batches: int
    position: Any
    upper: Any
    paused: bool
    begun_at: str
    changed_at: str
    rows_per_s: float | None
    evidence: dict[str, Any]


class MigrationEventView(TypedDict):
    """Something that happened to a change."""

    number: int
    at: str
    actor: str
    type: str
    data: dict[str, Any]


class MigrationView(TypedDict):
    """A change of the schema.

    `held_by`: who works on it now; `blocked_by`: whose locks its next step waits for; `differs`: of a change that is
    switched, what no longer hangs on its table as it did right after the swap; `next`: the command that goes on, None =
    all is done.
    """

    change: str
    standing: str
    wanted: str
    goes_back: bool
    worker: str | None
    held_by: list[str]
    blocked_by: list[str]
    differs: list[str]
    begun_at: str
    changed_at: str
    lanes: list[MigrationPartView]
    fills: list[FillView]
    events: list[MigrationEventView]
    notes: list[str]
    next: str | None


class ToldView(TypedDict):
    """Something that happens while a change is carried out; `data` depends on the kind."""

    kind: str
    sentence: str
    data: dict[str, Any]


class LeftoverView(TypedDict):
    """Something in the database that no change accounts for, and the SQL or command that takes it away."""

    kind: str
    name: str
    why: str
    remedy: str
    can_be_fixed: bool
    fixed: bool


class MigrationsView(TypedDict):
    """All changes of a database, and what was left behind there."""

    database: str
    changes: list[MigrationView]
    leftovers: list[LeftoverView]


class TracedStatementView(TypedDict):
    """A statement as it was run on a copy: `differs` = the lint says something else of its locks or its work."""

    file: str
    line: int
    statement: str
    locks: list[TableLockView]
    said: list[TableLockView]
    differs: bool
    error: str | None


class TraceView(TypedDict):
    """What files really lock, read and write anew, on an empty copy of a schema."""

    files: list[str]
    statements: list[TracedStatementView]


class GuardUseView(TypedDict):
    """One use that is shown; `calls` and `last_seen` are None where nobody counts them."""

    way: str
    source: str
    origin: str
    statement: str | None
    calls: int | None
    last_seen: str | None
    place: str | None


class GuardDoubtView(TypedDict):
    """One reason why nobody can tell."""

    reason: str
    statement: str | None
    place: str | None


class GuardEvidenceView(TypedDict):
    """What one source tells: `lacks` = why it does not show absence."""

    source: str
    origin: str
    statements: int
    models: int
    since: str | None
    shows_absence: bool
    lacks: list[str]


class GuardVersionView(TypedDict):
    """A version, role or consumer, judged."""

    name: str
    because: list[str]
    verdict: Literal["clear", "references", "unknown"]
    uses: list[GuardUseView]
    doubts: list[GuardDoubtView]
    evidence: list[GuardEvidenceView]


class GuardBlockView(TypedDict):
    """One reason against a contract; `subject` is what an override names."""

    subject: str
    sentence: str
    evidence: list[str]
    remedies: list[str]
    may_be_overridden: bool


class GuardOverriddenView(GuardBlockView):
    """A reason that somebody has overridden."""

    by: str
    reason: str
    expires_at: str


class GuardView(TypedDict):
    """What the guard says of the next stop of a contract; `counters`: writes that only older releases make."""

    change: str
    part: str
    clear: bool
    versions: list[GuardVersionView]
    blocks: list[GuardBlockView]
    overridden: list[GuardOverriddenView]
    counters: dict[str, int | None]
    notes: list[str]
