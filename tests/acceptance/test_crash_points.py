"""The real controller kills itself, with SIGKILL, around every move of the rollout machine; users notice nothing.

Its exhaustive form, in virtual time, is `properties/test_crash_matrix.py`. Here every move is died at once, before or
after its commit, in or behind its effect in turn, in one strategy or another; HITLESS_CRASH_MATRIX=full dies at every
moment in every strategy.
"""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import psutil
import pytest
from soak.books import TRIAL
from soak.nursery import Nursery, died_at, nursery
from soak.operator import NAME, POLL_S, Operator, operated

from hitless.adapters.processes.file_names import file_name
from hitless.adapters.processes.identity import boot_id, parse_stat
from hitless.analysis.ruling import Call
from hitless.cli.place import STATE_DIRECTORY
from hitless.rollout.spec import StrategyName, Version
from hitless.rollout.state import Outcome, ServiceState
from hitless.rollout.world import EndpointState
from hitless.testing.crash_points import CrashPoint, Move, all_crash_points, all_moves
from hitless.testing.crash_stories import (
    HARMS_USERS,
    ONLY_IN_VIRTUAL_TIME,
    STORIES,
    Condition,
    Verb,
    has_settled,
    is_idle,
    is_whole,
    play,
    shows_candidate,
)
from hitless.testing.live import LiveLoad, live_load
from hitless.testing.load import Report, as_text
from hitless.testing.mortal import moves_in

SETTINGS = {
    "steps": "[{weight: 50%, hold: 800ms}, {weight: 100%, hold: 200ms}]",
    "keep_warm": "800ms",
    "max_failures": 2,
}
KINDS = ("keepalive", "close", "h2", "post", "sticky")
RATE_RPS = "60"
WITHIN_S = 60.0
MOST_ROUNDS = 3
"""A point that needs luck, such as a command that comes before the rollout has gone on, may take more than one."""


class Survivor:
    """A story's life on the real thing: a controller that has killed itself is started again, with the points left."""

    def __init__(self, operator: Operator, *, dies_by: Nursery) -> None:
        self.operator, self.nursery = operator, dies_by
        self.strategy, self.points = StrategyName.ROLLING, set[CrashPoint]()
        self.numbers, self.deaths = itertools.count(2), 0

    def live_by(self, strategy: StrategyName, *, dying_at: set[CrashPoint]) -> None:
        """Go on with another strategy, and a controller that is to die elsewhere."""
        self.strategy, self.points = strategy, set(dying_at)
        self.operator.end(signal.SIGKILL)
        self._be_born()

    def _be_born(self) -> None:
        self.nursery.start(sorted(self.points))
        self.operator.await_answer()

    @property
    def state(self) -> ServiceState:
        return self.operator.books.state

    def deploy(self, *, is_bad: bool = False, is_examined: bool = False, supersede: bool = False) -> None:
        assert not is_examined, "only in virtual time"
        version = f"{self.strategy}-{next(self.numbers)}{'-crash' if is_bad else ''}"
        asked = {"version": version, "strategy": self.strategy.value, "supersede": supersede, "reason": None}
        self._ask(lambda actor: self.operator.client.deploy(NAME, actor=actor, **asked))

    def ask(self, verb: Verb) -> None:
        self._ask(lambda actor: self.operator.client.act(NAME, verb, actor=actor, reason=None))

    def _ask(self, asking: Callable[[str], Any]) -> None:
        self.revive()
        while not self.operator.heard(asking):
            self.revive()

    def lose_store(self) -> None:
        raise AssertionError("only in virtual time")

    def adopt(self, version: Version) -> None:
        raise AssertionError(f"only in virtual time: {version}")

    def rule(self, call: Call) -> None:
        raise AssertionError(f"only in virtual time: {call}")

    def fail_one(self, version: Version) -> None:
        ends = itertools.chain(*(table.endpoints.get(version, {}).items() for table in self.state.tables.values()))
        serving = [name for name, end in ends if end.state is EndpointState.ACTIVE]
        if serving:
            instances = self.operator.shop.project.directory / STATE_DIRECTORY / "instances"
            claim = instances / file_name(serving[0]) / "process"
            os.kill(parse_stat(claim.read_text()).identity.pid, signal.SIGTERM)

    def until(self, condition: Condition) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not condition(self.state):
            if self.revive():
                deadline = time.monotonic() + WITHIN_S
            assert time.monotonic() < deadline, (self.state.rollout, self.operator.last_words())
            time.sleep(POLL_S)

    def revive(self) -> bool:
        """Have a control plane that answers, however often it dies on the way; tell whether it had died."""
        known = self.deaths
        while not self.operator.is_alive():
            self.points.remove(CrashPoint.parse(died_at(self.operator).read_text()))
            self.deaths += 1
            self._be_born()
        return self.deaths > known


TOLD = tuple(name for name in STORIES if name not in ONLY_IN_VIRTUAL_TIME)


@cache
def moves_by(strategy: StrategyName) -> frozenset[Move]:
    return frozenset[Move]().union(*(moves_in(story, strategy) for story in TOLD))


def points_told() -> tuple[CrashPoint, ...]:
    told = frozenset[Move]().union(*map(moves_by, StrategyName))
    return tuple(point for point in all_crash_points() if point.move in told)


def all_over(points: Iterable[CrashPoint]) -> dict[StrategyName, set[CrashPoint]]:
    """Deal points out to the strategies that can reach them, round and round."""
    dealt: dict[StrategyName, set[CrashPoint]] = {strategy: set() for strategy in StrategyName}
    for number, point in enumerate(points):
        able = [strategy for strategy in StrategyName if point.move in moves_by(strategy)]
        dealt[able[number % len(able)]].add(point)
    return dealt


def in_turn(points: Iterable[CrashPoint]) -> Iterator[CrashPoint]:
    """Choose one moment around each move, in turn."""
    for number, (_, moments) in enumerate(itertools.groupby(points, lambda point: point.move)):
        known = list(moments)
        yield known[number % len(known)]


IS_FULL = os.environ.get("HITLESS_CRASH_MATRIX") == "full"


def dealt() -> dict[StrategyName, set[CrashPoint]]:
    if IS_FULL:
        return {one: {point for point in points_told() if point.move in moves_by(one)} for one in StrategyName}
    return all_over(in_turn(points_told()))


def test_every_move_of_the_table_is_died_at_in_some_strategy() -> None:
    died_at = {point.move for points in dealt().values() for point in points}
    left = {move.event for move in set(all_moves()) - died_at}
    assert left == {"database.answered", "preflight.finished", "ruling.given", "version.adopted"}


@pytest.mark.acceptance
@pytest.mark.timeout(3600)
def test_users_notice_no_death_of_the_controller() -> None:
    with (
        operated(**SETTINGS) as operator,
        nursery(operator) as born,
        live_load(str(operator.shop.listen), "--rate", RATE_RPS, "--kinds", *KINDS) as load,
    ):
        survivor = Survivor(operator, dies_by=born)
        never = live_and_die(survivor, load)
        report = load.finish()
    back_s = statistics.median(operator.came_back_s)
    print(f"\n{survivor.deaths} deaths; an answer again after {back_s:.2f} s (median)\n{as_text(report)}")
    assert never == set()
    assert_nobody_noticed(report)


def live_and_die(survivor: Survivor, load: LiveLoad) -> set[CrashPoint]:
    """Play the stories of every strategy; what one did not come by, as it happens, the next one may."""
    left, carried = dealt(), set[CrashPoint]()
    for strategy in itertools.chain(*[StrategyName] * MOST_ROUNDS):
        wanted = left[strategy] | {point for point in carried if point.move in moves_by(strategy)}
        if wanted:
            began = time.monotonic()
            survivor.live_by(strategy, dying_at=wanted)
            play_all(survivor, load)
            assert list(survivor.operator.books.broken_journal()) == []
            died = len(wanted - survivor.points)
            print(f"{strategy}: {died} of {len(wanted)} deaths in {time.monotonic() - began:.0f} s", flush=True)
        carried = (carried - wanted) | survivor.points
        left[strategy] = set()
    return carried


def play_all(survivor: Survivor, load: LiveLoad) -> None:
    """Play every story in which a point may come; compare everything with everything behind it."""
    for story in TOLD:
        if moves_in(story, survivor.strategy) & {point.move for point in survivor.points}:
            load.mark(story)
            play(story, survivor)
            survivor.until(lambda _: not survivor.operator.books.discrepancies())


def assert_nobody_noticed(report: Report) -> None:
    failed = {mark: report.failed_in(mark) for mark in report.by_mark}
    print({mark: count for mark, count in failed.items() if count})
    assert sum(count for mark, count in failed.items() if mark not in HARMS_USERS) == 0, report.examples
    assert report.posts is not None
    assert (report.posts.problem, report.posts.duplicates, report.posts.lost) == (None, 0, 0)


@pytest.mark.acceptance
@pytest.mark.timeout(400)
def test_after_a_restart_of_the_machine_the_rollout_goes_on_from_what_served() -> None:
    with operated(**SETTINGS) as operator:
        moments = (lambda state: not is_idle(state), shows_candidate, has_settled)
        cases = itertools.product(StrategyName, moments) if IS_FULL else zip(StrategyName, moments, strict=True)
        for number, (strategy, moment) in enumerate(cases, 2):
            version = f"v{number}"
            operator.client.deploy(
                NAME, version=version, strategy=strategy.value, supersede=False, actor="user:test", reason=None
            )
            wait_until(lambda moment=moment: moment(operator.books.state))
            restart_machine(operator)
            wait_until(lambda: is_whole(operator.books.state) and not operator.books.discrepancies())
            assert list(operator.books.broken_journal()) == []
            rollout = operator.books.state.rollout
            assert rollout is not None
            assert (rollout.outcome, rollout.candidate) == (Outcome.COMPLETED, version), rollout.cause


def restart_machine(operator: Operator) -> None:
    """End every process of the project at once, and let what they left behind be of another boot."""
    for process in all_processes(operator):
        process.kill()
    operator.process.wait()
    for record in (operator.shop.project.directory / STATE_DIRECTORY / "instances").glob("*/record.json"):
        text = record.read_text().replace(boot_id(), "00000000-0000-0000-0000-000000000000")
        record.write_text(text)
    operator.start()
    assert operator.await_answer(), operator.last_words()


def all_processes(operator: Operator) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get(TRIAL) == operator.books.trial:
            yield process


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
