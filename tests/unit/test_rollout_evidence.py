"""What a rollout may count on: time in which its version served, and settings that it did not bring itself."""

from __future__ import annotations

from dataclasses import replace

from hitless.preflight.finding import PreflightReport
from hitless.preflight.rules import not_examined
from hitless.rollout.inputs import Deploy, Undo
from hitless.rollout.spec import (
    ALL_TRAFFIC_BP,
    Address,
    CanarySpec,
    CanaryStep,
    RunSpec,
    ServiceSpec,
    StrategyName,
    StrategySpecs,
    TrafficSpec,
    Version,
)
from hitless.rollout.state import Outcome
from hitless.testing.simulation import Simulation

ANN = "user:ann"
HOLD_S = 600.0
SPEC = ServiceSpec(
    name="shop",
    instances=2,
    run=RunSpec(command=("good",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080)),
    strategy=StrategySpecs(
        canary=CanarySpec(
            steps=(CanaryStep(weight_bp=2_500, hold_s=HOLD_S), CanaryStep(weight_bp=ALL_TRAFFIC_BP, hold_s=0)),
        )
    ),
)


def deploy(simulation: Simulation, version: str, *, spec: ServiceSpec = SPEC, strategy: StrategyName) -> None:
    simulation.ask(Deploy(actor=ANN, version=Version(version), spec=spec, strategy=strategy))


def test_time_in_which_the_new_version_did_not_serve_is_not_held() -> None:
    simulation = Simulation()
    unexamined = replace(SPEC, preflight=None)
    deploy(simulation, "v1", spec=unexamined, strategy=StrategyName.ROLLING)
    simulation.run_until_idle()
    deploy(simulation, "v2", spec=unexamined, strategy=StrategyName.CANARY)
    while simulation.state.running.record.settled_at is None:
        simulation.tick()
    simulation.run(2)
    canaries = [name for name, one in simulation.fleet.items() if one.seen.version == "v2"]
    for name in canaries:
        simulation.make_unready(name)
    simulation.run(HOLD_S - 3)
    for name in canaries:
        simulation.make_ready(name)
    simulation.run(HOLD_S - 10)
    assert simulation.state.running.stage == 0
    simulation.run(20)
    assert simulation.state.running.outcome is Outcome.COMPLETED or simulation.state.running.stage > 0


def test_undo_returns_to_the_settings_that_served_not_to_those_that_were_refused() -> None:
    simulation = Simulation()
    for version in ("v1", "v2"):
        deploy(simulation, version, strategy=StrategyName.ROLLING)
        assert simulation.run_until_idle() is Outcome.COMPLETED
        simulation.run(10)
    simulation.preflight = not_examined("shop", "it crashes")
    deploy(simulation, "v1", spec=replace(SPEC, run=RunSpec(command=("broken",))), strategy=StrategyName.ROLLING)
    assert simulation.run_until_idle() is Outcome.REFUSED
    simulation.preflight = PreflightReport()
    simulation.run(5)
    simulation.ask(Undo(actor=ANN))
    assert simulation.run_until_idle() is Outcome.COMPLETED
    assert simulation.state.stable == "v1"
    assert simulation.state.specs[Version("v1")].run.command == ("good",)


def test_what_was_found_and_has_ended_is_deployed_like_something_new() -> None:
    simulation = Simulation()
    deploy(simulation, "v1", strategy=StrategyName.ROLLING)
    simulation.run_until_idle()
    simulation.run(10)
    simulation.forget()
    assert simulation.state.is_found
    for name in list(simulation.fleet):
        simulation.crash(name)
    simulation.run(10)
    for name in list(simulation.fleet):
        del simulation.fleet[name]
    simulation.run(10)
    deploy(simulation, "v2", strategy=StrategyName.ROLLING)
    assert simulation.run_until_idle() is Outcome.COMPLETED
    assert (simulation.state.stable, simulation.state.is_found) == ("v2", False)
