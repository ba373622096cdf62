"""The one place that knows the safety rules: move the observed world one safe step towards the desired one.

Theory. `converge` is called again and again; each call looks at the world afresh and returns effects that are safe
*now*, in any order and even when some never happen. Nothing is remembered between calls. Per region five rules look
at the same situation, in this order, and the order is the argument for safety:

1. heal    instances that failed or said "not ready" leave the rotation, unless nobody else could serve in their place;
2. surge   missing instances are started, the old version's first, never above the ceiling;
3. route   ready instances are admitted; weights follow the capacity that every table in force already confirms;
4. drain   surplus instances stop getting requests as far as the rest carries the load: never below the ready floor,
           never the last one of a version that any table in force gives weight;
5. retire  what is drained (or past its deadline) leaves the table; what no table in force lists is stopped.

Two tables may be in force at once: the acknowledged one and one that was written and is not acknowledged yet. A rule
that takes something away requires its condition of both. A rule that reads "draining since" or "open requests" takes
unknown as "no".

Rules 1 and 3-5 only edit a draft of the region's table; `converge` turns the draft into at most one `Route` a region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hitless.rollout.capacity import capacity_bp, carried_weights
from hitless.rollout.effects import Effect, Route, Start, Stop
from hitless.rollout.pools import Pools, split_pools
from hitless.rollout.spec import InstanceId, Region, Version
from hitless.rollout.world import (
    EMPTY_TABLE,
    Endpoint,
    EndpointState,
    Failures,
    Instance,
    Limits,
    Observation,
    Phase,
    RegionWorld,
    Table,
    World,
)

ROUNDING_SLACK_BP = 10
"""Weights are whole basis points: shares of a third never fit exactly. 0.1 % is far below the noise of any load."""

NOTHING_WANTED = RegionWorld()


@dataclass(slots=True, kw_only=True)
class Draft:
    """A region's table while the rules edit it; endpoints as (version, instance) -> endpoint."""

    weights: dict[Version, int]
    endpoints: dict[tuple[Version, InstanceId], Endpoint]
    preview: Version | None
    salt: str
    cut: dict[InstanceId, int | None] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Table) -> Draft:
        """Begin with a table as it is."""
        return cls(
            weights=dict(table.weights),
            endpoints={(version, name): end for version, ends in table.endpoints.items() for name, end in ends.items()},
            preview=table.preview,
            salt=table.salt,
        )

    def put(self, instance: Instance, state: EndpointState) -> None:
        """Enter an instance in a state."""
        self.endpoints[instance.version, instance.id] = Endpoint(address=instance.address, state=state)

    def state(self, instance: Instance) -> EndpointState | None:
        """Return an instance's state; None = not listed."""
        end = self.endpoints.get((instance.version, instance.id))
        return end.state if end else None

    def active(self, version: Version) -> int:
        """Count a version's endpoints that get new requests."""
        return sum(one == version and end.state is EndpointState.ACTIVE for (one, _), end in self.endpoints.items())

    def listed(self, version: Version) -> int:
        """Count a version's endpoints."""
        return sum(one == version for one, _ in self.endpoints)

    def table(self) -> Table:
        """Finish."""
        ends: dict[Version, dict[InstanceId, Endpoint]] = {}
        for (version, name), end in self.endpoints.items():
            ends.setdefault(version, {})[name] = end
        return Table(weights=self.weights, endpoints=ends, preview=self.preview, salt=self.salt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What every rule looks at."""

    region: Region
    wanted: RegionWorld
    pools: Pools
    limits: Limits
    observed: Observation

    @property
    def newest_table(self) -> Table:
        """The table that was written last."""
        tables = self.pools.tables
        return tables[-1] if tables else EMPTY_TABLE

    @property
    def floor(self) -> int:
        """Fewest ready instances in rotation; nothing is promised for a service that is to end."""
        return self.limits.ready_floor if self.wanted.pools else 0

    def highest_weight(self, version: Version, draft: Draft) -> int:
        """Return the most that the version gets in any table that may be or come into force."""
        return max(draft.weights.get(version, 0), *(table.weight_bp(version) for table in self.pools.tables), 0)

    def is_shown(self, version: Version, draft: Draft) -> bool:
        """Tell whether any table that may be or come into force gives the version users or a preview."""
        previews = {draft.preview, *(table.preview for table in self.pools.tables)}
        return self.highest_weight(version, draft) > 0 or version in previews


def converge(
    desired: World,
    observed: Observation,
    limits: Limits,
    *,
    failures: Mapping[Version, Failures],
    name_from: int,
    service: str,
) -> tuple[Effect, ...]:
    """Return the effects that are safe now and bring the observed world nearer to the desired one.

    Args:
        desired: the wish, by region.
        observed: the truth; a region without routing view is only ever given more instances.
        limits: what may be risked on the way.
        failures: slow the next start of a version down.
        name_from: first free number for names of new instances.
        service: prefix of those names.
    """
    regions = {*desired, *observed.routing, *(one.region for one in observed.instances)}
    effects: list[Effect] = []
    for region in sorted(regions):
        wanted = desired.get(region, NOTHING_WANTED)
        pools = split_pools(wanted, observed=observed, region=region)
        situation = Situation(region=region, wanted=wanted, pools=pools, limits=limits, observed=observed)
        started = sum(isinstance(one, Start) for one in effects)
        effects += surge(situation, failures, f"{service}-", name_from + started)
        if pools.view is not None:
            effects += _reroute_and_stop(situation)
    return tuple(effects)


def _reroute_and_stop(situation: Situation) -> Iterator[Effect]:
    draft = Draft.of(situation.newest_table)
    for rule in (heal, route, drain, retire):
        rule(situation, draft)
    table, view = draft.table(), situation.pools.view
    assert view is not None
    if view.pending is not None or not is_same(table, view.acknowledged or EMPTY_TABLE):
        yield Route(region=situation.region, table=table, cut=draft.cut)
    yield from stop(situation, draft)


def is_same(one: Table, other: Table) -> bool:
    """Tell whether two tables are equal, the order of weights included (it decides which sticky users are first)."""
    return one == other and list(one.weights) == list(other.weights)


def heal(situation: Situation, draft: Draft) -> None:
    """Take instances out of rotation that cannot serve; where nobody else could, all stay and the proxy tries them."""
    for one in situation.pools.all:
        if one.phase is Phase.READY or draft.state(one) is not EndpointState.ACTIVE:
            continue
        if situation.pools.serving(one.version) or not situation.is_shown(one.version, draft):
            draft.put(one, EndpointState.DRAINING)


def surge(situation: Situation, failures: Mapping[Version, Failures], prefix: str, name_from: int) -> Iterator[Start]:
    """Start what is missing, oldest version first: what serves already comes before what is new."""
    pools, limits = situation.pools, situation.limits
    running = [one for one in pools.all if one.phase is not Phase.FAILED and not pools.is_held_by_streams(one, limits)]
    room = limits.ceiling - len(running)
    for version, count in reversed(list(situation.wanted.pools.items())):
        if version in failures and situation.observed.now < failures[version].next_start_at:
            continue
        for _ in range(min(count - len(pools.kept[version]), room)):
            room -= 1
            yield Start(instance=InstanceId(f"{prefix}{name_from}"), version=version, region=situation.region)
            name_from += 1


def route(situation: Situation, draft: Draft) -> None:
    """Admit ready instances; weigh versions by what they can carry for certain."""
    pools, wanted = situation.pools, situation.wanted
    for one in (one for some in pools.kept.values() for one in some):
        if one.phase is Phase.READY and draft.state(one) is not EndpointState.ACTIVE:
            draft.put(one, EndpointState.ACTIVE)
    oldest_first = sorted(pools.all, key=lambda one: (one.started_at, one.id))
    versions = dict.fromkeys(one.version for one in oldest_first)  # of two that leave, the older one carries more
    serving = {version: len(pools.serving(version)) for version in versions}
    weights = carried_weights(wanted.weights, serving=serving, full_strength=situation.limits.ready_floor)
    if weights or not wanted.weights:
        draft.weights = _in_order_of_age(weights, draft.weights, wanted.weights)
    if draft.endpoints and sum(weight > 0 for weight in situation.newest_table.weights.values()) <= 1:
        draft.salt = wanted.salt or draft.salt  # a new order of users must not move those who are divided already
    if wanted.preview is None or serving.get(wanted.preview, 0) > 0:
        draft.preview = wanted.preview


def _in_order_of_age(
    weights: Mapping[Version, int], before: Mapping[Version, int], wanted: Mapping[Version, int]
) -> dict[Version, int]:
    """Keep the order in force and put new versions in front, so that a growing share only moves users forward."""
    fresh = [version for version in (*wanted, *weights) if version not in before]
    order = dict.fromkeys([*fresh, *before])
    return {version: weights[version] for version in order if weights.get(version, 0) > 0}


def drain(situation: Situation, draft: Draft) -> None:
    """Stop sending requests to surplus instances, as many as the rest can spare."""
    pools = situation.pools
    serving = sum(len(some) for some in pools.in_rotation.values())
    for one in sorted(pools.surplus, key=lambda one: (one.started_at, one.id)):
        if draft.state(one) is not EndpointState.ACTIVE or one.phase is not Phase.READY:
            continue
        if not _is_needed(one, situation, draft, serving=serving):
            draft.put(one, EndpointState.DRAINING)
            serving -= pools.serves(one)


def _is_needed(instance: Instance, situation: Situation, draft: Draft, *, serving: int) -> bool:
    pools, version = situation.pools, instance.version
    if pools.serves(instance) and serving - 1 < situation.floor:
        return True
    if draft.active(version) == 1:
        return situation.is_shown(version, draft)
    left = sum(draft.state(one) is EndpointState.ACTIVE for one in pools.serving(version)) - pools.serves(instance)
    carried = capacity_bp(left, full_strength=situation.limits.ready_floor) + ROUNDING_SLACK_BP
    return situation.highest_weight(version, draft) > carried


def retire(situation: Situation, draft: Draft) -> None:
    """Remove drained endpoints from the table, and those whose deadline has passed; say what that cuts."""
    for one in situation.pools.surplus:
        if not situation.pools.is_draining(one) or draft.state(one) is not EndpointState.DRAINING:
            continue
        if draft.listed(one.version) == 1 and situation.is_shown(one.version, draft):
            continue
        is_over, cut = _drain_outcome(one, situation)
        if is_over:
            del draft.endpoints[one.version, one.id]
            if cut != 0:
                draft.cut[one.id] = cut
    _forget_ghosts(situation, draft)


def _drain_outcome(instance: Instance, situation: Situation) -> tuple[bool, int | None]:
    left, promised = situation.pools.open_requests(instance.id), situation.limits.drain_for(instance.version)
    if left.is_quiet:
        return True, 0
    patience_s = promised.requests_s
    if instance.phase is not Phase.FAILED:
        patience_s = max(patience_s, promised.streams_s)
    return situation.pools.has_drained_for(instance, patience_s), left.count


def _forget_ghosts(situation: Situation, draft: Draft) -> None:
    """Remove endpoints whose instance does not exist any more, as heal and drain would have, had they met it."""
    names = {one.id for one in situation.pools.all}
    for version, name in [key for key in draft.endpoints if key[1] not in names]:
        last_active = draft.active(version) == (draft.endpoints[version, name].state is EndpointState.ACTIVE)
        if not (last_active and situation.is_shown(version, draft)):
            del draft.endpoints[version, name]


def stop(situation: Situation, draft: Draft) -> Iterator[Stop]:
    """End surplus instances that no table in force, nor the one to come, lists."""
    for one in situation.pools.surplus:
        if one.phase is not Phase.STOPPING and situation.pools.is_out(one) and draft.state(one) is None:
            yield Stop(instance=one.id, why=one.cause or ("failed" if one.phase is Phase.FAILED else "not wanted"))
