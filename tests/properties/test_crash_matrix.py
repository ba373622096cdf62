"""The controller dies at every commit of every story of every strategy, in virtual time: nothing comes of it.

The real form is `acceptance/test_crash_points.py`; both are generated from `hitless.rollout.machine.TRANSITIONS`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hitless.rollout.events import RolloutFinished
from hitless.rollout.spec import StrategyName
from hitless.rollout.state import Outcome
from hitless.testing.crash_points import Moment, all_moves
from hitless.testing.crash_stories import STORIES
from hitless.testing.mortal import Death, MortalSimulation, alive, moves_by, played
from hitless.testing.simulation import Simulation, weights_now


def deaths(story: str, strategy: StrategyName) -> Iterator[Death]:
    for number, committed in enumerate(alive(story, strategy).committed):
        yield Death(commit=number, moment=Moment.BEFORE_COMMIT)
        yield Death(commit=number, moment=Moment.AFTER_COMMIT)
        for effects in range(1, committed.effects + 1):
            yield Death(commit=number, moment=Moment.AFTER_EFFECT, effects=effects)


def assert_nothing_came_of_it(simulation: MortalSimulation, as_usual: MortalSimulation) -> None:
    state = simulation.state
    assert simulation.violations == []
    assert outcomes(simulation) == outcomes(as_usual)
    assert (state.stable, state.previous) == (as_usual.state.stable, as_usual.state.previous)
    assert {name: one.version for name, one in state.instances.items()} == {
        name: one.seen.version for name, one in simulation.fleet.items()
    }
    assert weights_now(simulation) == {state.stable: 10_000}
    simulation.restart_controller()
    assert simulation.violations == []


def outcomes(simulation: Simulation) -> list[Outcome]:
    return [event.outcome for event in simulation.journal if isinstance(event, RolloutFinished)]


CASES = [pytest.param(story, strategy, id=f"{strategy}, {story}") for strategy in StrategyName for story in STORIES]


@pytest.mark.parametrize(("story", "strategy"), CASES)
def test_nothing_comes_of_a_death_at_any_commit(story: str, strategy: StrategyName) -> None:
    for death in deaths(story, strategy):
        assert_nothing_came_of_it(played(story, strategy, death), alive(story, strategy))


@pytest.mark.parametrize(("story", "strategy"), CASES)
def test_a_restart_of_the_machine_at_any_commit_is_held_against_nobody(story: str, strategy: StrategyName) -> None:
    for death in deaths(story, strategy):
        if death.moment is Moment.AFTER_COMMIT:
            simulation = played(story, strategy, death, Simulation.restart_machine)
            assert_nothing_came_of_it(simulation, alive(story, strategy))


def test_the_stories_make_every_move_of_the_table_happen() -> None:
    seen = frozenset[object]().union(*map(moves_by, StrategyName))
    assert set(all_moves()) - seen == set(), "no crash test dies here: extend hitless.testing.crash_stories"
