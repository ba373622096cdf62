"""A data plane that exists only on the clock: acknowledges late, refuses, vanishes, holds streams open, and judges.

What a controller must never do is collected in `FakeRouter.violations`; a test ends with
`assert router.violations == []`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hitless.errors import Fenced, Refused
from hitless.ports import Clock, Standing
from hitless.rollout.spec import LOCAL, Address, InstanceId, Region, ServiceSpec, Version
from hitless.rollout.world import Answers, EndpointState, Instance, OpenRequests, Phase, RoutingView, Table
from hitless.testing.fleet import FakeFleet
from hitless.testing.violations import Change, Rule, Violation, broken_rules, problem_of_weights


@dataclass(slots=True, kw_only=True)
class RouterFaults:
    """What goes wrong, until it is set back.

    Attributes:
        acknowledge_after_s: how long the proxy takes; the table may be in force meanwhile.
        rejects: the proxy refuses every table for this reason; the last good one stays in force.
        unreachable: the proxy cannot be asked; a table that is written meanwhile may be in force, and is acknowledged
            once it can be asked again.
    """

    acknowledge_after_s: float = 0.0
    rejects: str | None = None
    unreachable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One table that was written."""

    at: datetime
    service: str
    region: Region
    table: Table
    fence: int
    revision: int


@dataclass(slots=True, kw_only=True)
class _Line:
    """One service's routing in one region."""

    service: str
    region: Region
    listen: Address
    deadline_s: float
    acknowledged: Table | None = None
    pending: Table | None = None
    acknowledge_at: datetime | None = None
    newest: tuple[int, int] = (0, 0)
    newest_table: Table | None = None
    problem: str | None = None
    draining_since: dict[InstanceId, datetime] = field(default_factory=dict)

    @property
    def live(self) -> tuple[Table, ...]:
        return tuple(table for table in (self.acknowledged, self.pending) if table is not None)

    def standing(self) -> Standing:
        weights = self.acknowledged.weights if self.acknowledged else {}
        return Standing(listen=self.listen, revision=self.newest[1], weights=weights)

    def acknowledge(self, moment: datetime) -> None:
        assert self.pending is not None
        self.acknowledged, self.pending, self.acknowledge_at, self.problem = self.pending, None, None, None
        for ends in self.acknowledged.endpoints.values():
            for name, end in ends.items():
                if end.state is EndpointState.DRAINING:
                    self.draining_since.setdefault(name, moment)
                else:
                    self.draining_since.pop(name, None)

    def may_cut(self, name: InstanceId, now: datetime) -> bool:
        since = self.draining_since.get(name)
        return since is not None and now - since >= timedelta(seconds=self.deadline_s)


class FakeRouter:
    """`hitless.ports.Router` on virtual time, with open requests, faults and a watchful eye.

    An endpoint that gets traffic always has one request open, and for `request_s` after it stopped getting any; `hold`
    adds long ones. A dead instance has none.

    Attributes:
        faults: set its fields at any time.
        answers: what became of requests, by service and version; nothing by itself.
        violations: broken rules, oldest first.
        history: every table that was written, oldest first.
    """

    def __init__(
        self,
        clock: Clock,
        fleet: FakeFleet,
        *,
        regions: Sequence[Region] = (LOCAL,),
        request_s: float = 0.1,
        quiet_s: float = 0.1,
        reaction_s: float = 10.0,
        timeout_s: float = 5.0,
    ) -> None:
        """Build a router whose stops are watched as well.

        Args:
            clock: the test's.
            fleet: whose instances are routed to.
            regions: one proxy each.
            request_s: how long an ordinary request takes.
            quiet_s: how long no request must be open before it is believed.
            reaction_s: how long an active instance may say no before its traffic is held against the controller.
            timeout_s: how long `apply` waits for the acknowledgement.
        """
        self._clock = clock
        self._fleet = fleet
        self._regions = tuple(regions)
        self._request = timedelta(seconds=request_s)
        self._quiet = timedelta(seconds=quiet_s)
        self._reaction = timedelta(seconds=reaction_s)
        self._timeout_s = timeout_s
        self._lines: dict[tuple[str, Region], _Line] = {}
        self._held_until: dict[InstanceId, list[datetime]] = {}
        self.faults = RouterFaults()
        self.answers: dict[tuple[str, Version], Answers] = {}
        self.violations: list[Violation] = []
        self.history: list[Applied] = []
        self.defined: dict[str, ServiceSpec] = {}
        fleet.on_stop(self._judge_stop)

    def hold(self, instance: str, *, for_s: float, count: int = 1) -> None:
        """Keep `count` more requests or streams open at an instance for so many virtual seconds."""
        until = self._clock.now() + timedelta(seconds=for_s)
        self._held_until.setdefault(InstanceId(instance), []).extend([until] * count)

    def declare_deadline(self, service: str, seconds: float) -> None:
        """Let requests be cut after so many seconds of draining; without it, after the spec's `drain.streams_s`."""
        for line in self._lines_of(service):
            line.deadline_s = seconds

    def acknowledged(self, service: str, region: Region = LOCAL) -> Table | None:
        """Return the table that is in force for certain."""
        return self._caught_up(self._lines[service, region]).acknowledged

    def open_at(self, instance: str) -> int:
        """Count what is open at an instance now, whatever the proxy would say."""
        name, now = InstanceId(instance), self._clock.now()
        seen = self._fleet.instance(name)
        if seen is None or seen.phase is Phase.FAILED:
            return 0
        held = sum(until > now for until in self._held_until.get(name, ()))
        return held + any(self._serves(line, name, now) for line in self._lines.values())

    async def define(self, spec: ServiceSpec, *, hurry: asyncio.Event | None = None) -> None:  # noqa: ARG002 - at once
        """Open the service's addresses; known ones are left alone."""
        self.defined[spec.name] = spec
        for region in self._regions:
            known = self._lines.get((spec.name, region))
            if known is None:
                listen, deadline_s = spec.traffic.listen, spec.drain.streams_s
                line = _Line(service=spec.name, region=region, listen=listen, deadline_s=deadline_s)
                self._lines[spec.name, region] = line

    async def standing(self) -> Mapping[str, Standing]:
        """List what is open and routed, by service."""
        return {line.service: line.standing() for line in self._lines.values()}

    async def remove(self, service: str) -> None:
        """Close the service's addresses."""
        for line in self._lines_of(service):
            del self._lines[service, line.region]

    async def observe(self, service: str) -> Mapping[Region, RoutingView]:
        """Report what is acknowledged, pending and open."""
        return {line.region: self._view(self._caught_up(line)) for line in self._lines_of(service)}

    async def apply(
        self,
        service: str,
        *,
        region: Region,
        table: Table,
        specs: Mapping[Version, ServiceSpec],  # noqa: ARG002 - a fake has no clusters to set up
        fence: int,
        revision: int,
        hurry: asyncio.Event | None = None,
    ) -> None:
        """Write `table` and wait for its acknowledgement, up to a time-out or `hurry`.

        Raises:
            Refused: a weight has no active endpoint behind it, or the service is not defined.
            Fenced: a newer controller has written already.
        """
        line = self._line(service, region)
        self._check(line, table, (fence, revision))
        self._judge_table(line, table)
        self._write(line, table, (fence, revision))
        if line.pending is table:
            await self._wait(min(self.faults.acknowledge_after_s, self._timeout_s), hurry)
            self._caught_up(line)

    async def _wait(self, seconds: float, hurry: asyncio.Event | None) -> None:
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._clock.sleep(seconds))]
        if hurry is not None:
            waits.append(asyncio.create_task(hurry.wait()))
        _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()

    def _line(self, service: str, region: Region) -> _Line:
        line = self._lines.get((service, region))
        if line is None:
            raise Refused(f"{service} is not defined in region {region}")
        return self._caught_up(line)

    def _lines_of(self, service: str) -> list[_Line]:
        return [line for line in self._lines.values() if line.service == service]

    def _check(self, line: _Line, table: Table, number: tuple[int, int]) -> None:
        if number[0] < line.newest[0]:
            raise Fenced(f"fence {number[0]} is older than {line.newest[0]}, which is in force")
        if problem := problem_of_weights(table):
            self._note(line, Rule.WEIGHT_WITHOUT_ENDPOINT, problem)
            raise Refused(f"the table would fail requests: {problem}")
        if number == line.newest and table != line.newest_table:
            self._note(line, Rule.REVISION_REUSED, f"fence {number[0]}, revision {number[1]}")

    def _write(self, line: _Line, table: Table, number: tuple[int, int]) -> None:
        fence, revision = number
        now = self._clock.now()
        line.newest, line.newest_table = number, table
        applied = Applied(at=now, service=line.service, region=line.region, table=table, fence=fence, revision=revision)
        self.history.append(applied)
        if self.faults.rejects is not None and self.faults.unreachable is None:
            line.pending, line.acknowledge_at, line.problem = None, None, self.faults.rejects
            return
        line.pending, line.acknowledge_at = table, now + timedelta(seconds=self.faults.acknowledge_after_s)
        self._caught_up(line)

    def _caught_up(self, line: _Line) -> _Line:
        now = self._clock.now()
        if self.faults.unreachable is None and line.acknowledge_at is not None and line.acknowledge_at <= now:
            line.acknowledge(now)
        return line

    def _view(self, line: _Line) -> RoutingView:
        names = {name for table in line.live for ends in table.endpoints.values() for name in ends}
        return RoutingView(
            acknowledged=line.acknowledged,
            pending=line.pending,
            open_requests={name: self._open_requests(line, name) for name in sorted(names)},
            answers={version: some for (service, version), some in self.answers.items() if service == line.service},
            problem=self.faults.unreachable or line.problem,
        )

    def _open_requests(self, line: _Line, name: InstanceId) -> OpenRequests:
        since = line.draining_since.get(name)
        if self.faults.unreachable is not None:
            return OpenRequests(draining_since=since)
        count = self.open_at(name)
        return OpenRequests(count=count, is_quiet=count == 0 and self._is_quiet(since, name), draining_since=since)

    def _is_quiet(self, since: datetime | None, name: InstanceId) -> bool:
        if since is None:
            return False
        now = self._clock.now()
        ended = (until for until in self._held_until.get(name, ()) if until <= now)
        return now >= max(since + self._request, *ended, since) + self._quiet

    def _serves(self, line: _Line, name: InstanceId, now: datetime) -> bool:
        if any(
            name in table.active(version)
            for table in line.live
            for version in table.endpoints
            if table.weight_bp(version)
        ):
            return True
        since = line.draining_since.get(name)
        return since is not None and now < since + self._request

    def _judge_table(self, line: _Line, table: Table) -> None:
        now = self._clock.now()
        instances = {one.id: one for one in self._fleet.instances(line.service)}
        change = Change(
            now=now,
            table=table,
            live=line.live,
            instances=instances,
            open_requests={name: self.open_at(name) for name in instances},
            cuttable=frozenset(name for name in instances if line.may_cut(name, now)),
            reaction=self._reaction,
        )
        for rule, detail in broken_rules(change):
            self._note(line, rule, detail)

    def _judge_stop(self, service: str, instance: Instance) -> None:
        line = self._lines.get((service, instance.region))
        if line is None:
            return
        name, now = instance.id, self._clock.now()
        if any(table.endpoint(instance.version, name) for table in self._caught_up(line).live):
            self._note(line, Rule.STOPPED_WHILE_LISTED, name)
        if (count := self.open_at(name)) and not line.may_cut(name, now):
            self._note(line, Rule.REQUESTS_CUT, f"{name} was stopped with {count} open")
        line.draining_since.pop(name, None)
        self._held_until.pop(name, None)

    def _note(self, line: _Line, rule: Rule, detail: str) -> None:
        found = Violation(at=self._clock.now(), rule=rule, service=line.service, region=line.region, detail=detail)
        self.violations.append(found)
