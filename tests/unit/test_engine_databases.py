"""Rollouts that need something of a database, on fakes and virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from engine_stage import SHOP, BareWorld

from hitless.adapters.postgres.database import DatabaseUnreachable
from hitless.engine.controller import Controller
from hitless.engine.outside import Outside
from hitless.errors import EnvironmentFault, Refused
from hitless.rollout.spec import (
    ALL_TRAFFIC_BP,
    ChangeSpec,
    ConnectionsSpec,
    DatabaseSpec,
    RolesSpec,
    SwitchWhen,
    Version,
)
from hitless.rollout.state import RolloutPhase
from hitless.schema.change.standing import Standing
from hitless.schema.headroom import Limit
from hitless.testing import FakeSchemas, VirtualClock

CHANGE = ChangeSpec(name="split-name", file="split-name.yaml")
DATABASE = DatabaseSpec(url="env:DATABASE_URL", changes=(CHANGE,))
AWAY = DatabaseUnreachable("the database cannot be reached")


class SchemaWorld(BareWorld):
    """A world with a database; it outlives controllers."""

    def __init__(self) -> None:
        super().__init__(replace(SHOP, slo=None, analysis=None))
        self.is_measured = False
        self.schemas = FakeSchemas(self.clock)

    def outside(self) -> Outside:
        return replace(super().outside(), schemas=self.schemas)

    def need(self, database: DatabaseSpec) -> None:
        self.spec = replace(self.spec, database=database)


@pytest.fixture
async def world() -> SchemaWorld:
    VirtualClock.run_threads_inline()
    return SchemaWorld()


async def deploy(controller: Controller, version: str, strategy: str = "rolling") -> None:
    await controller.deploy(
        service="shop", version=version, strategy=strategy, supersede=False, actor="ann", reason=None
    )


async def idle(world: SchemaWorld, controller: Controller) -> None:
    loop = controller.loops["shop"]
    await world.clock.run_until(lambda: loop.state.phase is RolloutPhase.IDLE, within_s=36_000)


async def with_v1(world: SchemaWorld, controller: Controller) -> None:
    """Have v1 alone, from before anybody knew of a database."""
    wish, world.spec = world.spec.database, replace(world.spec, database=None)
    await deploy(controller, "v1")
    await idle(world, controller)
    world.spec = replace(world.spec, database=wish)


async def until_standing(world: SchemaWorld, standing: Standing) -> None:
    await world.clock.run_until(lambda: world.schemas.standings.get(CHANGE.name) is standing, within_s=30)


async def rollout(controller: Controller) -> Any:
    return (await controller.service("shop"))["rollout"]


async def test_nothing_of_a_version_starts_before_the_schema_is_as_it_needs_it(world: SchemaWorld) -> None:
    world.need(DATABASE)
    async with world.controlled() as controller:
        await with_v1(world, controller)
        before = len(world.fleet.history)
        await deploy(controller, "v2")
        await until_standing(world, Standing.BACKFILLED)
        assert len(world.fleet.history) == before
        await idle(world, controller)
        assert world.schemas.standings[CHANGE.name] is Standing.VERIFIED
        assert world.weight("v2") == ALL_TRAFFIC_BP
        view = await rollout(controller)
        assert view["database"]["verdict"] == "ready"
        assert view["database"]["changes"][0]["standing"] == "verified"


async def test_how_a_change_gets_on_is_shown(world: SchemaWorld) -> None:
    world.need(DATABASE)
    world.schemas.takes_s = 1_000
    async with world.controlled() as controller:
        await with_v1(world, controller)
        await deploy(controller, "v2")
        await world.clock.advance(420)
        view = await rollout(controller)
        (condition,) = view["stages"][0]["until"]
        assert condition == {"name": "split-name verified", "met": False, "detail": "expanded 40 %"}
        assert view["database"]["changes"][0]["detail"] == "expanded 40 %"


async def test_a_controller_that_dies_in_a_backfill_leaves_it_to_the_next(world: SchemaWorld) -> None:
    world.need(DATABASE)
    async with world.controlled() as controller:
        await with_v1(world, controller)
        await deploy(controller, "v2")
        await until_standing(world, Standing.EXPANDED)
    assert world.schemas.brought[-1].ended == "stopped"
    async with world.controlled() as controller:
        await idle(world, controller)
        assert world.weight("v2") == ALL_TRAFFIC_BP
        assert [one.ended for one in world.schemas.brought] == ["stopped", "done"]


async def test_an_abort_stops_the_worker_and_leaves_the_old_version_alone(world: SchemaWorld) -> None:
    world.need(DATABASE)
    world.schemas.takes_s = 1_000
    async with world.controlled() as controller:
        await with_v1(world, controller)
        before = len(world.fleet.history)
        await deploy(controller, "v2")
        await world.clock.advance(100)
        await controller.act(service="shop", verb="abort", actor="ann", reason=None)
        await idle(world, controller)
        assert (await rollout(controller))["state"] == "rolled_back"
        assert world.schemas.brought[-1].ended == "stopped"
        assert len(world.fleet.history) == before


async def test_what_a_rule_refuses_refuses_the_rollout_and_says_how_to_go_on(world: SchemaWorld) -> None:
    world.need(DATABASE)
    world.schemas.fail(CHANGE.name, Refused("3 rows are lost", evidence=("id 7: Cher",), hints=("mend them",)))
    async with world.controlled() as controller:
        await with_v1(world, controller)
        before = len(world.fleet.history)
        await deploy(controller, "v2")
        await idle(world, controller)
        view = await rollout(controller)
        assert (view["state"], view["cause"]) == ("refused", "refused for the database: 3 rows are lost")
        assert view["database"]["evidence"] == ["id 7: Cher"]
        assert view["next"][0] == "mend them"
        assert len(world.fleet.history) == before


async def test_a_database_that_is_away_holds_the_rollout_until_it_is_back(world: SchemaWorld) -> None:
    world.need(DATABASE)
    async with world.controlled() as controller:
        await with_v1(world, controller)
        world.schemas.go_away(AWAY)
        await deploy(controller, "v2")
        await world.clock.advance(120)
        assert (await rollout(controller))["state"] == "running"
        problems = (await controller.service("shop"))["problems"]
        assert any("cannot be reached" in one and "asked again" in one for one in problems)
        world.schemas.come_back()
        await idle(world, controller)
        assert world.weight("v2") == ALL_TRAFFIC_BP
        assert (await controller.service("shop"))["problems"] == []


async def test_a_database_that_stays_away_needs_a_person(world: SchemaWorld) -> None:
    world.need(DATABASE)
    async with world.controlled() as controller:
        await with_v1(world, controller)
        world.schemas.go_away(AWAY)
        await deploy(controller, "v2")
        await idle(world, controller)
        assert (await rollout(controller))["state"] == "failed"
        assert world.weight("v1") == ALL_TRAFFIC_BP


async def test_time_in_which_a_backfill_was_heard_of_is_not_time_without_the_database(world: SchemaWorld) -> None:
    world.need(DATABASE)
    world.schemas.takes_s = 1_000
    async with world.controlled() as controller:
        await with_v1(world, controller)
        await deploy(controller, "v2")
        await world.clock.advance(2_000)
        world.schemas.go_away(AWAY)
        await world.clock.advance(500)
        world.schemas.come_back()
        await world.clock.advance(100)
        assert (await rollout(controller))["state"] == "running"


async def test_a_fault_that_does_not_pass_is_told_at_once(world: SchemaWorld) -> None:
    class Broken(EnvironmentFault):
        temporary = False

    world.need(DATABASE)
    world.schemas.fail(CHANGE.name, Broken("the index is invalid"))
    async with world.controlled() as controller:
        await with_v1(world, controller)
        await deploy(controller, "v2")
        await world.clock.advance(30)
        view = await rollout(controller)
        assert (view["state"], view["cause"]) == ("failed", "the database is not ready: the index is invalid")


async def test_pools_that_do_not_fit_refuse_the_rollout_before_the_schema_is_touched(world: SchemaWorld) -> None:
    world.need(replace(DATABASE, connections=ConnectionsSpec(per_instance=10)))
    world.schemas.limits = (Limit(what="server", connections=42, kept_back=3, is_server=True),)
    async with world.controlled() as controller:
        await with_v1(world, controller)
        await deploy(controller, "v2", "canary")
        await idle(world, controller)
        view = await rollout(controller)
        assert view["state"] == "refused"
        assert "the pools of all versions do not fit" in view["cause"]
        assert view["database"]["connections"][0]["fits"] is False
        assert any("max_surge" in one for one in view["next"])
        assert world.schemas.standings == {}


async def test_a_plan_says_whether_its_pools_fit_and_what_its_contract_waits_for(world: SchemaWorld) -> None:
    world.need(replace(DATABASE, connections=ConnectionsSpec(per_instance=10)))
    world.schemas.limits = (Limit(what="server", connections=100, kept_back=3, is_server=True),)
    async with world.controlled() as controller:
        await with_v1(world, controller)
        plan = await controller.plan(service="shop", version="v2", strategy="rolling")
        assert plan["stages"][0]["until"] == ["pools fit", "split-name verified"]
        assert plan["database"] is not None
        assert plan["database"]["connections"][0]["fits"]
        assert "as long as v1 or v2 runs or can be returned to" in plan["database"]["notes"][0]
        world.schemas.go_away(AWAY)
        plan = await controller.plan(service="shop", version="v2", strategy="rolling")
        assert plan["database"] is not None
        assert "cannot be reached" in (plan["database"]["unknown"] or "")


async def test_a_version_has_a_role_before_its_first_instance_and_loses_it_when_it_cannot_come_back(
    world: SchemaWorld,
) -> None:
    world.need(replace(DATABASE, changes=(), roles=RolesSpec(group="app", prefix="shop")))
    async with world.controlled() as controller:
        for version in ("v1", "v2", "v3"):
            await deploy(controller, version)
            await idle(world, controller)
            assert (await rollout(controller))["database"]["role"] == f"shop_v{version}"
        await world.clock.run_until(lambda: set(world.schemas.roles) == {"v2", "v3"}, within_s=60)


async def test_roles_that_cannot_be_dropped_now_are_dropped_later(world: SchemaWorld) -> None:
    world.need(replace(DATABASE, changes=(), roles=RolesSpec(group="app", prefix="shop")))
    async with world.controlled() as controller:
        await deploy(controller, "v1")
        await idle(world, controller)
        world.schemas.roles[Version("v0")] = None
        controller.loops["shop"].roles.forget()
        world.schemas.go_away(AWAY)
        await world.clock.advance(30)
        assert any("stay for now" in one for one in (await controller.service("shop"))["problems"])
        world.schemas.come_back()
        await world.clock.run_until(lambda: set(world.schemas.roles) == {"v1"}, within_s=120)


async def test_a_switch_by_itself_comes_once_the_new_version_has_all_traffic(world: SchemaWorld) -> None:
    world.need(replace(DATABASE, switch=SwitchWhen.AUTOMATIC))
    async with world.controlled() as controller:
        await with_v1(world, controller)
        await deploy(controller, "v2")
        await world.clock.run_until(lambda: world.weight("v2") == ALL_TRAFFIC_BP, within_s=120)
        assert world.schemas.standings[CHANGE.name] is Standing.VERIFIED
        await idle(world, controller)
        assert world.schemas.standings[CHANGE.name] is Standing.SWITCHED


async def test_a_switch_that_fails_is_told_and_takes_nothing_back(world: SchemaWorld) -> None:
    world.need(replace(DATABASE, switch=SwitchWhen.AUTOMATIC))
    async with world.controlled() as controller:
        await with_v1(world, controller)
        await deploy(controller, "v2")
        await world.clock.run_until(lambda: world.weight("v2") == ALL_TRAFFIC_BP, within_s=120)
        world.schemas.fail(CHANGE.name, Refused("somebody holds a lock"))
        await idle(world, controller)
        view = await rollout(controller)
        assert view["state"] == "completed"
        assert view["cause"] == "the version is in, its schema is not switched: somebody holds a lock"
        assert world.weight("v2") == ALL_TRAFFIC_BP


async def test_an_undo_asks_nothing_of_the_database_and_says_which_schema_it_returns_to(world: SchemaWorld) -> None:
    world.need(DATABASE)
    async with world.controlled() as controller:
        await with_v1(world, controller)
        await deploy(controller, "v2")
        await idle(world, controller)
        world.schemas.go_away(AWAY)
        await controller.act(service="shop", verb="undo", actor="ann", reason=None)
        await idle(world, controller)
        view = await rollout(controller)
        assert (view["state"], world.weight("v1")) == ("completed", ALL_TRAFFIC_BP)
        (met,) = view["database"]["returns"]
        assert met.startswith("the schema stays where split-name has brought it, at verified: v1 reads and writes")


async def test_a_version_that_is_examined_by_hand_has_a_role_for_that_long(world: SchemaWorld) -> None:
    world.need(
        replace(
            DATABASE,
            changes=(),
            connections=ConnectionsSpec(per_instance=7),
            roles=RolesSpec(group="app", prefix="shop"),
        )
    )
    async with world.controlled() as controller:
        await deploy(controller, "v1")
        await idle(world, controller)
        asked = asyncio.ensure_future(controller.preflight(service="shop", version="v2", actor="ann", reason=None))
        await world.clock.advance(1)
        assert world.schemas.roles["v2"] == 14
        await world.clock.advance(10)
        assert (await asked)["passed"]
        await world.clock.run_until(lambda: set(world.schemas.roles) == {"v1"}, within_s=120)


async def test_a_role_is_made_only_once_nobody_drops_roles_any_more(world: SchemaWorld) -> None:
    world.need(replace(DATABASE, changes=(), roles=RolesSpec(group="app", prefix="shop")))
    dropped = world.schemas.keep_roles

    async def slowly(**asked: Any) -> tuple[str, ...]:
        await world.clock.sleep(20)
        return await dropped(**asked)

    world.schemas.keep_roles = slowly  # type: ignore[method-assign]  # a server that takes its time
    async with world.controlled() as controller:
        await deploy(controller, "v1")
        await idle(world, controller)
        await world.clock.advance(5)
        await deploy(controller, "v2")
        await idle(world, controller)
        assert "v2" in world.schemas.roles


async def test_a_database_that_hangs_is_told_of_and_needs_a_person_in_the_end(world: SchemaWorld) -> None:
    world.need(replace(DATABASE, connections=ConnectionsSpec(per_instance=7)))

    async def hangs(**_: Any) -> Any:
        await asyncio.Event().wait()

    async with world.controlled() as controller:
        await with_v1(world, controller)
        world.schemas.fits = hangs  # type: ignore[method-assign]  # a server that takes the question and says nothing
        await deploy(controller, "v2")
        await world.clock.advance(40)
        problems = (await controller.service("shop"))["problems"]
        assert any("the database of shop: no answer within 30 s" in one for one in problems)
        await idle(world, controller)
        assert (await rollout(controller))["state"] == "failed"


async def test_who_hangs_while_roles_are_dropped_holds_up_no_deploy_for_ever(world: SchemaWorld) -> None:
    world.need(replace(DATABASE, changes=(), roles=RolesSpec(group="app", prefix="shop")))

    async def hangs(**_: Any) -> Any:
        await asyncio.Event().wait()

    async with world.controlled() as controller:
        await with_v1(world, controller)
        await deploy(controller, "v2")
        world.schemas.keep_roles = hangs  # type: ignore[method-assign]
        await idle(world, controller)
        await world.clock.advance(5)
        await deploy(controller, "v3")
        await idle(world, controller)
        assert (await rollout(controller))["state"] == "failed"
        assert world.weight("v2") == ALL_TRAFFIC_BP


async def test_a_worker_that_is_told_to_stop_is_given_its_time(world: SchemaWorld) -> None:
    world.need(DATABASE)
    ended: list[str] = []

    async def slow_to_stop(**_: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            await world.clock.sleep(5)
            ended.append("at a moment at which nothing is half done")

    async with world.controlled() as controller:
        await with_v1(world, controller)
        world.schemas.bring = slow_to_stop  # type: ignore[method-assign]
        await deploy(controller, "v2")
        await world.clock.advance(2)
        await controller.act(service="shop", verb="abort", actor="ann", reason=None)
        await world.clock.advance(2)
        assert (await rollout(controller))["state"] == "rolled_back"
        await world.clock.advance(10)
        assert ended


async def test_a_plan_counts_the_instances_that_the_old_version_has(world: SchemaWorld) -> None:
    world.need(DatabaseSpec(url="env:DATABASE_URL", connections=ConnectionsSpec(per_instance=10)))
    async with world.controlled() as controller:
        await with_v1(world, controller)
        before = world.spec.instances
        world.spec = replace(world.spec, instances=before + 5)
        planned = await controller.plan(service="shop", version="v2", strategy="blue_green")
        assert planned["database"] is not None
        takers = {one["who"]: one["connections"] for one in planned["database"]["takers"]}
        assert (takers["v1"], takers["v2"]) == (10 * before, 10 * (before + 5))


async def test_what_has_been_answered_is_shown_while_a_change_is_carried_out(world: SchemaWorld) -> None:
    world.need(
        replace(DATABASE, connections=ConnectionsSpec(per_instance=7), roles=RolesSpec(group="app", prefix="shop"))
    )
    world.schemas.limits = (Limit(what="server", connections=100, is_server=True),)
    world.schemas.takes_s = 1_000
    async with world.controlled() as controller:
        await with_v1(world, controller)
        await deploy(controller, "v2")
        await world.clock.advance(100)
        fit, made, _ = (await rollout(controller))["stages"][0]["until"]
        assert "connections at the peak, fits" in fit["detail"]
        assert made["detail"] == "shop_vv2"


async def test_a_change_of_which_nothing_is_heard_is_shown_as_such(world: SchemaWorld) -> None:
    world.need(DATABASE)

    async def hangs(*, tell: Callable[[str], None], **_: Any) -> Any:
        tell("backfill: 27 %")
        await asyncio.Event().wait()

    async with world.controlled() as controller:
        await with_v1(world, controller)
        world.schemas.bring = hangs  # type: ignore[method-assign]
        await deploy(controller, "v2")
        await world.clock.advance(20)
        assert (await rollout(controller))["stages"][0]["until"][0]["detail"] == "backfill: 27 %"
        await world.clock.advance(20)
        detail = (await rollout(controller))["stages"][0]["until"][0]["detail"]
        assert detail.startswith("backfill: 27 %; nothing was heard of it since, for ")
