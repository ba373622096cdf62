"""The safety rules of a data plane, judged from outside: what a controller must never do, whatever it had in mind.

Each rule is a small function from the same change to what it breaks. They know nothing of `converge`, so they can catch
it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hitless.rollout.spec import ALL_TRAFFIC_BP, InstanceId, Region
from hitless.rollout.world import EndpointState, Instance, Phase, Table


class Rule(StrEnum):
    """What was broken."""

    UNREADY_GETS_TRAFFIC = "traffic to an instance that is not ready"
    WEIGHT_WITHOUT_ENDPOINT = "weight without an active endpoint"
    REMOVED_WHILE_ACTIVE = "endpoint removed while it got new requests"
    REQUESTS_CUT = "open requests cut before the drain deadline"
    STOPPED_WHILE_LISTED = "instance stopped while a live table lists it"
    REVISION_REUSED = "one revision for two tables"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule."""

    at: datetime
    rule: Rule
    service: str
    region: Region
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A new table beside everything that the rules ask for.

    Attributes:
        live: tables that may be in force until now.
        instances: of the service, by id.
        cuttable: instances whose drain deadline has passed.
        reaction: how long a controller may take to notice that an active instance says no.
    """

    now: datetime
    table: Table
    live: tuple[Table, ...]
    instances: Mapping[InstanceId, Instance]
    open_requests: Mapping[InstanceId, int]
    cuttable: frozenset[InstanceId]
    reaction: timedelta

    def is_ready(self, name: InstanceId) -> bool:
        """Tell whether an instance can serve."""
        instance = self.instances.get(name)
        return instance is not None and instance.phase is Phase.READY

    def is_alive(self, name: InstanceId) -> bool:
        """Tell whether an instance has a process that can answer."""
        instance = self.instances.get(name)
        return instance is not None and instance.phase is not Phase.FAILED


def problem_of_weights(table: Table) -> str | None:
    """Say why a table cannot be carried out, None when it can."""
    if table.weights and sum(table.weights.values()) != ALL_TRAFFIC_BP:
        return f"weights sum to {sum(table.weights.values())} bp"
    empty = [version for version, weight in table.weights.items() if weight and not any(table.active(version))]
    return f"no active endpoint of {', '.join(empty)}" if empty else None


def broken_rules(change: Change) -> Iterator[tuple[Rule, str]]:
    """Judge a new table."""
    for rule in (_newly_active_is_ready, _unready_is_taken_out, _drained_before_removal):
        yield from rule(change)


def _newly_active_is_ready(change: Change) -> Iterator[tuple[Rule, str]]:
    before = set[InstanceId]().union(*(_active(table) for table in change.live))
    for name in sorted(_active(change.table) - before):
        if not change.is_ready(name):
            yield Rule.UNREADY_GETS_TRAFFIC, f"{name} is {_phase(change.instances.get(name))}"


def _unready_is_taken_out(change: Change) -> Iterator[tuple[Rule, str]]:
    # The last ones may stay: an unready instance may still answer, an empty pool cannot.
    for version in change.table.endpoints:
        active = list(change.table.active(version))
        if any(change.is_ready(name) for name in active):
            yield from (
                (Rule.UNREADY_GETS_TRAFFIC, f"{name} has been {_phase(change.instances.get(name))} for long")
                for name in active
                if _says_no_for_long(change, name)
            )


def _says_no_for_long(change: Change, name: InstanceId) -> bool:
    instance = change.instances.get(name)
    if instance is None or instance.phase is Phase.READY:
        return False
    return change.now - instance.since > change.reaction


def _drained_before_removal(change: Change) -> Iterator[tuple[Rule, str]]:
    listed = set[InstanceId]().union(*(_listed(table) for table in change.live))
    active = set[InstanceId]().union(*(_active(table) for table in change.live))
    for name in sorted(listed - _listed(change.table)):
        count = change.open_requests.get(name, 0)
        if name in active and change.is_alive(name):
            yield Rule.REMOVED_WHILE_ACTIVE, name
        elif count and name not in change.cuttable:
            yield Rule.REQUESTS_CUT, f"{name} was removed with {count} open"


def _active(table: Table) -> set[InstanceId]:
    return {
        name for ends in table.endpoints.values() for name, end in ends.items() if end.state is EndpointState.ACTIVE
    }


def _listed(table: Table) -> set[InstanceId]:
    return {name for ends in table.endpoints.values() for name in ends}


def _phase(instance: Instance | None) -> str:
    return instance.phase.value if instance else "unknown"
