"""What a rollout takes of its database's connections at its peak."""

from __future__ import annotations

from dataclasses import replace

from hitless.rollout.connections import Peak, peak
from hitless.rollout.spec import (
    Address,
    Amount,
    CanarySpec,
    CanaryStep,
    ChangeSpec,
    ConnectionsSpec,
    DatabaseSpec,
    PreflightSpec,
    RollingSpec,
    RunSpec,
    ServiceSpec,
    StrategyName,
    StrategySpecs,
    TrafficSpec,
    Version,
)
from hitless.rollout.strategy import compile_rollout, stable_world
from hitless.schema.headroom import WORKERS

OLD, NEW = Version("1.4"), Version("1.5")
SPEC = ServiceSpec(
    name="shop",
    instances=4,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
    strategy=StrategySpecs(
        rolling=RollingSpec(max_surge=Amount(count=1)),
        canary=CanarySpec(steps=(CanaryStep(weight_bp=100, hold_s=1), CanaryStep(weight_bp=10_000))),
    ),
    preflight=None,
    database=DatabaseSpec(url="env:DATABASE_URL", connections=ConnectionsSpec(per_instance=10, jobs=3)),
)


def peak_of(strategy: StrategyName, spec: ServiceSpec = SPEC, old: ServiceSpec = SPEC) -> Peak:
    plan = compile_rollout(spec, strategy=strategy, baseline=OLD, candidate=NEW, standing=stable_world(old, OLD))
    found = peak(plan, spec=spec, specs={OLD: old}, candidate=NEW)
    assert found is not None
    return found


def taken(found: Peak) -> int:
    return sum(one.connections for one in found.takers)


def test_a_blue_green_rollout_takes_two_sets_of_pools() -> None:
    assert taken(peak_of(StrategyName.BLUE_GREEN)) == 2 * 4 * 10 + 3


def test_a_rolling_one_takes_its_surge_more() -> None:
    assert taken(peak_of(StrategyName.ROLLING)) == (4 + 1) * 10 + 3


def test_a_canary_has_both_versions_full_in_the_end() -> None:
    assert taken(peak_of(StrategyName.CANARY)) == 2 * 4 * 10 + 3


def test_instances_that_are_examined_open_pools_too() -> None:
    examined = replace(SPEC, preflight=PreflightSpec())
    assert taken(peak_of(StrategyName.ROLLING, examined)) == (4 + 2) * 10 + 3


def test_each_version_opens_what_its_own_settings_say() -> None:
    old = replace(SPEC, database=DatabaseSpec(url="env:X", connections=ConnectionsSpec(per_instance=20)))
    assert taken(peak_of(StrategyName.BLUE_GREEN, old=old)) == 4 * 10 + 4 * 20 + 3


def test_instances_that_open_more_during_a_migration_are_counted_with_it() -> None:
    pool = ConnectionsSpec(per_instance=10, jobs=3, during_migration=30)
    spec = replace(SPEC, database=DatabaseSpec(url="env:X", connections=pool))
    assert taken(peak_of(StrategyName.ROLLING, spec)) == (4 + 1) * 10 + 3
    changes = (ChangeSpec(name="a", file="a.yaml"),)
    changing = replace(spec, database=DatabaseSpec(url="env:X", connections=pool, changes=changes))
    found = peak_of(StrategyName.ROLLING, changing, old=spec)
    assert taken(found) == 4 * 30 + 3 + WORKERS
    assert found.most_of_candidate == 4 + 2


def test_a_migration_takes_connections_of_its_own() -> None:
    assert SPEC.database is not None
    spec = replace(SPEC, database=replace(SPEC.database, changes=(ChangeSpec(name="a", file="a.yaml"),)))
    assert taken(peak_of(StrategyName.ROLLING, spec)) == (4 + 1) * 10 + 3 + 4


def test_the_role_of_the_new_version_has_room_for_all_of_it_and_two_that_are_examined() -> None:
    assert peak_of(StrategyName.ROLLING).most_of_candidate == 4 + 2


def test_nothing_is_known_where_nobody_says_what_an_instance_opens() -> None:
    spec = replace(SPEC, database=DatabaseSpec(url="env:DATABASE_URL"))
    plan = compile_rollout(spec, strategy=StrategyName.ROLLING, baseline=OLD, candidate=NEW)
    assert peak(plan, spec=spec, specs={}, candidate=NEW) is None
