"""What the engine needs of the outside, as Protocols.

Adapters and the fakes in `hitless.testing` pass the same contract tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from hitless.analysis.counts import Second
from hitless.analysis.ruling import Judgement
from hitless.analysis.settings import Background, JudgeSettings
from hitless.journal.record import Break, Entry, Record
from hitless.preflight.seen import Seen
from hitless.rollout.spec import (
    Address,
    AnalysisSpec,
    ChangeSpec,
    CheckSpec,
    InstanceId,
    Region,
    ServiceSpec,
    Version,
)
from hitless.rollout.world import Instance, RoutingView, Table
from hitless.schema.change.standing import Standing as SchemaStanding
from hitless.schema.headroom import Fit, Taker
from hitless.schema.release import NeededChange


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> datetime:
        """Return the present moment, aware, UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to act, until it runs out; `fence` grows with every new holder."""

    owner: str
    fence: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One state machine's row: `state` is JSON, `fence` that of the controller that wrote it."""

    id: str
    kind: str
    state: str
    fence: int
    updated_at: datetime


class Store(Protocol):
    """Durable state and journal. Calls block; the engine keeps them off its loop."""

    def acquire_lease(self, *, owner: str, now: datetime, ttl_s: float, above: int | None = None) -> Lease:
        """Take or renew the lease; its fence is higher than `above`, one that was seen in the data plane.

        Raises:
            LeaseHeld: another owner's lease has not run out; names it and the moment.
        """
        ...

    def release_lease(self, lease: Lease) -> None:
        """Give the lease back; the fence stays used."""
        ...

    def commit(
        self, *, lease: Lease, runs: Sequence[Run], entries: Sequence[Entry], now: datetime
    ) -> tuple[Record, ...]:
        """Write state rows and journal entries in one transaction; return the entries as recorded.

        Raises:
            Fenced: the lease's fence is no longer the newest; nothing was written.
        """
        ...

    def run(self, run_id: str) -> Run | None:
        """Read one state row."""
        ...

    def runs(self, kind: str) -> tuple[Run, ...]:
        """Read all state rows of a kind, oldest first."""
        ...

    def newest_runs(self, kind: str, *, limit: int, before: str | None = None, prefix: str = "") -> tuple[Run, ...]:
        """Read a page of state rows of a kind, the last one that was begun first.

        Args:
            kind: of the rows.
            limit: how many at most.
            before: only those begun before this one; none when there is no such row.
            prefix: how their ids begin.
        """
        ...

    def journal(self, *, after: int = 0, subject: str | None = None, limit: int | None = None) -> tuple[Record, ...]:
        """Read records with a sequence number above `after`, oldest first."""
        ...

    def last_record(self) -> Record | None:
        """Read the newest record."""
        ...

    def verify_journal(self) -> Break | None:
        """Recompute the whole chain against the head that is kept beside it; return its first break."""
        ...


class Fleet(Protocol):
    """Instances of all services in one place."""

    async def observe(self, service: str) -> tuple[Instance, ...]:
        """List the service's instances, those of earlier controllers included."""
        ...

    async def endings(self, service: str) -> Mapping[InstanceId, str]:
        """Say how instances that are listed no more have ended, the latest ones, as far as this controller saw it."""
        ...

    async def start(self, *, spec: ServiceSpec, instance: InstanceId, version: Version, region: Region) -> None:
        """List an instance as STARTING and begin to start it; return at once.

        One that is known already under this id is left alone. A start that fails (executable missing ...) is no
        exception: the instance is listed as FAILED with its cause.
        """
        ...

    async def stop(self, instance: InstanceId, *, grace_s: float) -> None:
        """Ask the instance to end, end its whole process group after `grace_s`, forget it once gone; return at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the data plane holds of one service, whoever told it.

    Attributes:
        listen: the address that is open; None = none is.
        revision: of the newest routing decision that it was told of.
        weights: basis points by version, of the table that was acknowledged last.
    """

    listen: Address | None
    revision: int
    weights: Mapping[Version, int] = field(default_factory=dict)


class Router(Protocol):
    """The data plane of all services in one place."""

    async def standing(self) -> Mapping[str, Standing]:
        """List what is open and routed, by service, those of earlier controllers included."""
        ...

    async def define(self, spec: ServiceSpec, *, hurry: asyncio.Event | None = None) -> None:
        """Open the service's addresses; known ones with the same settings are left alone, connections included.

        Once `hurry` is set, nothing is waited for any more; what is not acknowledged by then is an error.
        """
        ...

    async def remove(self, service: str) -> None:
        """Close the service's addresses."""
        ...

    async def observe(self, service: str) -> Mapping[Region, RoutingView]:
        """Report what is acknowledged, pending and open; the first two as last known when the proxy is silent."""
        ...

    async def apply(
        self,
        service: str,
        *,
        region: Region,
        table: Table,
        specs: Mapping[Version, ServiceSpec],
        fence: int,
        revision: int,
        hurry: asyncio.Event | None = None,
    ) -> None:
        """Write `table`, wait for its acknowledgement up to a time-out; the outcome is in the next `observe`.

        `specs` are the settings that each version was deployed with; a version that is missing has the service's.
        Once `hurry` is set, nothing is waited for any more: what is not acknowledged by then stays pending.

        Raises:
            Refused: the table would fail requests (a weight without active endpoint ...), or `fence` is older than
                what is in force.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Outcome of one synthetic check; `problem` is None when it passed."""

    check: CheckSpec
    problem: str | None


class Checker(Protocol):
    """Asks synthetic checks."""

    async def run(self, *, checks: Sequence[CheckSpec], targets: Sequence[Address]) -> tuple[CheckResult, ...]:
        """Ask every check of every target; one result per check, the first problem found."""
        ...


class Preflighter(Protocol):
    """Examines versions before users meet them."""

    async def examine(self, *, spec: ServiceSpec, version: Version) -> Seen:
        """Start instances of the version out of rotation, look at what they do, end them.

        Nothing of them is left on return, or when it is cancelled: then they end at once. What cannot be started is
        no exception, it is what was seen.
        """
        ...


class Schemas(Protocol):
    """The users' databases, as rollouts need them."""

    async def fits(self, *, spec: ServiceSpec, takers: Sequence[Taker]) -> tuple[Fit, ...]:
        """Hold what is taken at the peak against every limit of the service's database; the tightest comes first.

        Raises:
            EnvironmentFault: the database cannot be asked, so nothing is known.
        """
        ...

    async def make_role(self, *, spec: ServiceSpec, version: Version, connections: int | None) -> str:
        """Make the version's login role, with at most so many connections; return its name. Idempotent.

        Raises:
            Refused: the name is somebody else's, or the privileges do not suffice.
            EnvironmentFault: the database cannot be asked.
        """
        ...

    async def bring(
        self, *, spec: ServiceSpec, change: ChangeSpec, standing: SchemaStanding, tell: Callable[[str], None]
    ) -> NeededChange:
        """Carry a change out until it stands there, and go on where an earlier worker has stopped; return its state.

        When it is cancelled, the worker stops at the next moment at which nothing is half done.

        Args:
            spec: of the service.
            change: to be carried out.
            standing: how far.
            tell: told what is going on, in words, on the loop.

        Raises:
            Refused: a rule says no; what was done stays, and can be gone on with.
            EnvironmentFault: the database cannot be asked, or a person is needed.
        """
        ...

    async def states(self, spec: ServiceSpec) -> tuple[NeededChange, ...]:
        """Say where each change of the service stands.

        Raises:
            EnvironmentFault: the database cannot be asked.
        """
        ...

    async def keep_roles(self, *, spec: ServiceSpec, versions: frozenset[Version]) -> tuple[str, ...]:
        """Drop login roles of every other version of the service; say which had to be kept, and why.

        Raises:
            EnvironmentFault: the database cannot be asked.
        """
        ...


class Metrics(Protocol):
    """What users of every service met, second by second, by version."""

    async def seconds(self, service: str, *, after: int) -> tuple[Second, ...]:
        """Return whole seconds that began later than `after` (seconds since 1970), oldest first, each exactly once.

        No second is missing between the first and the last one: what could not be read is a gap. At least the last
        40 minutes that this controller was there for are kept. A source that is silent gives gaps, not nothing.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One second of a rollout, as its judge took it.

    Attributes:
        share_bp: the canary's share of the traffic by region, all of this second long; a region in which it changed, or
            nothing is known of it, is missing.
    """

    second: Second
    share_bp: Mapping[Region, int]


class Recorder(Protocol):
    """What judges of rollouts saw: so that the next controller judges on, and everybody can judge again."""

    async def begin(self, rollout: str, settings: JudgeSettings) -> None:
        """Begin a rollout's recording; one that is there already is left as it is."""
        ...

    async def add(self, rollout: str, seconds: Sequence[Recorded]) -> None:
        """Append; a disk that is full or slow holds up no decision, what could not be written is told."""
        ...

    async def read(self, rollout: str) -> tuple[JudgeSettings, tuple[Recorded, ...]] | None:
        """Read a recording, oldest second first, each once; None = there is none."""
        ...

    async def begun_by(self, rollout: str) -> str | None:
        """Return which version of hitless has begun a recording that is there; None = it does not say.

        Raises:
            OSError: it cannot be read.
        """
        ...


class Judge(Protocol):
    """Compares the two versions of one rollout, second by second."""

    def take(self, second: Second, share_bp: Mapping[Region, int]) -> None:
        """Take one whole second, in order.

        Args:
            second: what was seen.
            share_bp: the canary's share of the traffic by region, all of this second long; a region in which it
                changed, or nothing is known of it, is missing.

        Raises:
            ValueError: the second makes no sense; it was not taken.
        """
        ...

    def judgement(self, *, next_share_bp: int) -> Judgement:
        """Say what is known after the seconds taken so far; PROMOTE is asked for `next_share_bp`."""
        ...


class BackgroundOf(Protocol):
    """Measures what the old version was like."""

    def __call__(self, seconds: Sequence[Second], *, baseline: Version, analysis: AnalysisSpec) -> Background:
        """Return what these seconds, all from before the canary got traffic, say of the baseline."""
        ...
