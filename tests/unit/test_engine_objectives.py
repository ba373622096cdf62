"""Error budgets outside of rollouts, through a controller on fakes and virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from engine_stage import BareWorld

from hitless.analysis.counts import Cell, Fates, Second
from hitless.engine.controller import Controller
from hitless.engine.objectives import FEED_S, UNHEARD_S
from hitless.errors import EnvironmentFault, UnknownService
from hitless.rollout.spec import LOCAL, Address, LatencyObjective, RunSpec, ServiceSpec, SloSpec, TrafficSpec, Version
from hitless.rollout.state import RolloutPhase
from hitless.testing import FakeMetrics
from hitless.view.models import BurnView, ObjectiveView

MINUTE_S = 60
SHOP = ServiceSpec(
    name="shop",
    instances=2,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080)),
    preflight=None,
    slo=SloSpec(success_rate=0.999),
)


def traffic(failed: int, *, total: int = 100) -> Any:
    cell = Cell(region=LOCAL, route="/", version=Version("v1"), requests=Fates(total=total, failed=failed))
    return lambda at: Second(at=at, cells=(cell,))


class Measured(BareWorld):
    """A world in which no request fails unless a test says so."""

    def __init__(self) -> None:
        super().__init__(SHOP)
        self.metrics.tell("shop", traffic(0))

    async def deploy(self, controller: Controller, version: str = "v1") -> None:
        await controller.deploy(
            service="shop", version=version, strategy="rolling", supersede=False, actor="ann", reason=None
        )
        loop = controller.loops["shop"]
        await self.clock.run_until(lambda: loop.state.phase is RolloutPhase.IDLE, within_s=600)

    def told(self) -> list[tuple[str, str, str]]:
        entries = [record.entry for record in self.store.journal() if record.entry.type.startswith("objective.")]
        return [(one.type.partition(".")[2], one.data["objective"], one.data["window"]) for one in entries]


@pytest.fixture
async def world() -> Measured:
    made = Measured()
    made.clock.run_threads_inline()
    return made


@pytest.fixture
async def controller(world: Measured) -> AsyncIterator[Controller]:
    async with world.controlled() as one:
        await world.deploy(one)
        yield one


async def shown(controller: Controller, name: str = "success_rate") -> ObjectiveView:
    (one,) = [one for one in (await controller.service("shop"))["objectives"] if one["name"] == name]
    return one


async def burn(controller: Controller, window: str = "1h") -> BurnView:
    (one,) = [one for one in (await shown(controller))["burn"] if one["window"] == window]
    return one


async def test_a_budget_is_shown_at_rest_and_says_since_when_it_knows(world: Measured, controller: Controller) -> None:
    begun = int(world.clock.now().timestamp())
    world.metrics.tell("shop", lambda at: traffic(1 if at % 20 == 0 else 0)(at))
    await world.clock.advance(10 * MINUTE_S)
    one = await shown(controller)
    assert one["budget_left"] == pytest.approx(0.5, abs=0.05)
    assert one["since"] is not None
    assert int(datetime.fromisoformat(one["since"]).timestamp()) <= begun
    assert (await burn(controller))["long"] == pytest.approx(0.5, abs=0.05)
    assert world.told() == []


async def test_what_was_measured_lately_can_be_asked_for(world: Measured, controller: Controller) -> None:
    await world.clock.advance(10 * MINUTE_S)
    found = await controller.seconds(service="shop", minutes=5)
    assert len(found) == pytest.approx(5 * MINUTE_S, abs=3)
    assert found == (await world.metrics.seconds("shop", after=0))[-len(found) :]
    with pytest.raises(UnknownService):
        await controller.seconds(service="cart", minutes=5)


async def test_nothing_is_known_before_the_first_look_and_nothing_is_promised_without_an_slo(world: Measured) -> None:
    world.metrics.hangs = True
    async with world.controlled() as controller:
        await world.deploy(controller)
        one = await shown(controller)
        assert (one["promised"], one["budget_left"], one["since"]) == (0.999, None, None)
        assert {burn["long"] for burn in one["burn"]} == {None}
        world.metrics.hangs = False
        world.spec = replace(SHOP, slo=None)
        await world.deploy(controller, "v2")
        assert (await controller.service("shop"))["objectives"] == []


async def test_an_alert_that_begins_and_ends_is_journaled_once_each(world: Measured, controller: Controller) -> None:
    await world.clock.advance(6 * MINUTE_S)
    world.metrics.tell("shop", traffic(5))
    await world.clock.advance(10 * MINUTE_S)
    assert ("burning", "success_rate", "1h") in world.told()
    assert (await burn(controller))["burning_since"] is not None
    world.metrics.tell("shop", traffic(0))
    await world.clock.advance(10 * MINUTE_S)
    assert (await burn(controller))["burning_since"] is None
    assert [one for one in world.told() if one[2] == "1h"] == [
        ("burning", "success_rate", "1h"),
        ("recovered", "success_rate", "1h"),
    ]


async def test_what_is_not_measured_ends_no_alert_and_is_told_as_unknown(
    world: Measured, controller: Controller
) -> None:
    world.metrics.tell("shop", traffic(5))
    await world.clock.advance(10 * MINUTE_S)
    before = await shown(controller)
    world.metrics.fall_silent("Envoy did not answer")
    await world.clock.advance(30 * MINUTE_S)
    after, rates = await shown(controller), await burn(controller)
    assert (rates["long"], rates["short"]) == (None, None)
    assert rates["burning_since"] is not None
    assert after["budget_left"] == pytest.approx(before["budget_left"], rel=0.1)
    assert ("recovered", "success_rate", "1h") not in world.told()


@pytest.mark.parametrize("trouble", ["fault", "hangs"])
async def test_metrics_that_do_not_answer_make_a_rate_unknown_and_are_taken_up_again(
    world: Measured, controller: Controller, trouble: str
) -> None:
    await world.clock.advance(10 * MINUTE_S)
    assert (await burn(controller))["long"] == 0.0
    setattr(world.metrics, trouble, OSError(5, "Input/output error") if trouble == "fault" else True)
    await world.clock.advance(5 * MINUTE_S)
    assert (await burn(controller))["long"] is None
    setattr(world.metrics, trouble, None if trouble == "fault" else False)
    await world.clock.advance(UNHEARD_S + 6 * MINUTE_S)
    assert (await burn(controller))["long"] == 0.0


async def test_a_fault_inside_is_logged_and_ends_nothing(
    world: Measured, controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    world.metrics.fault = ZeroDivisionError("division by zero")
    await world.clock.advance(2 * FEED_S)
    assert "the error budgets of shop could not be brought up to date" in caplog.text
    world.metrics.fault = None
    await world.clock.advance(6 * MINUTE_S)
    assert (await burn(controller))["long"] == 0.0
    await world.deploy(controller, "v2")
    assert (await controller.service("shop"))["stable"] == "v2"


async def test_a_store_that_fails_is_told_later_and_the_alert_is_shown_meanwhile(
    world: Measured, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> Any:
        raise EnvironmentFault("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(world.store, "commit", full)
        world.metrics.tell("shop", traffic(5))
        await world.clock.advance(10 * MINUTE_S)
        assert (await burn(controller))["burning_since"] is not None
        assert world.told() == []
    await world.clock.advance(3 * FEED_S)
    assert world.told().count(("burning", "success_rate", "1h")) == 1


async def test_the_next_controller_begins_anew_with_what_the_metrics_have(world: Measured) -> None:
    async with world.controlled() as controller:
        await world.deploy(controller)
        world.metrics.tell("shop", traffic(5))
        await world.clock.advance(10 * MINUTE_S)
    world.metrics = FakeMetrics(world.clock)
    world.metrics.tell("shop", traffic(0))
    begun = world.clock.now()
    async with world.controlled() as controller:
        await world.clock.advance(MINUTE_S)
        one = await shown(controller)
        assert one["budget_left"] == 1.0
        assert one["since"] is not None
        assert one["since"] >= begun.replace(microsecond=0).isoformat()


async def test_a_changed_objective_begins_with_what_was_measured_and_the_others_keep_their_budget(
    world: Measured, controller: Controller
) -> None:
    world.metrics.tell("shop", lambda at: traffic(10 if at % 600 == 0 else 0)(at))
    await world.clock.advance(60 * MINUTE_S)
    before = await shown(controller)
    slo = SloSpec(success_rate=0.999, latency=(LatencyObjective(quantile=0.99, at_most_ms=300.0),))
    world.spec = replace(SHOP, slo=slo)
    await world.deploy(controller, "v2")
    await world.clock.advance(2 * FEED_S)
    assert (await shown(controller))["since"] == before["since"]
    added = await shown(controller, "latency.p99")
    assert (added["at_most_ms"], added["budget_left"]) == (300.0, None)
    assert added["since"] is not None
    assert added["since"] > before["since"]  # metrics keep 45 minutes
    assert added["known"] * 30 * 24 * 60 > 40


async def test_an_alert_of_an_objective_that_is_promised_no_more_ends_and_says_why(
    world: Measured, controller: Controller
) -> None:
    world.metrics.tell("shop", traffic(5))
    await world.clock.advance(10 * MINUTE_S)
    world.spec = replace(SHOP, slo=None)
    await world.deploy(controller, "v2")
    await world.clock.advance(2 * FEED_S)
    ended = [record.entry for record in world.store.journal() if record.entry.type == "objective.recovered"]
    assert {one.data["window"] for one in ended} >= {"1h"}
    assert {one.data["why"] for one in ended} == {"it is not promised any more"}
