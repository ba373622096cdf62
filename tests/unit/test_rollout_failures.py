"""How failures of instances count against their version, and how long its next start waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hitless.rollout.events import InstanceFailed
from hitless.rollout.folds import evolve
from hitless.rollout.spec import LOCAL, InstanceId, Version
from hitless.rollout.state import Ordered, ServiceState
from hitless.rollout.world import Failures

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
V1 = Version("v1")


def failures_after(*failures: tuple[float, float], is_lost: bool = False) -> Failures:
    """Fold failures, each as (started, failed) in seconds after noon."""
    names = [InstanceId(f"shop-{number}") for number in range(len(failures))]
    state = ServiceState(service="shop", instances={name: Ordered(version=V1, region=LOCAL) for name in names})
    for name, (started, failed) in zip(names, failures, strict=True):
        event = InstanceFailed(
            at=NOON + timedelta(seconds=failed),
            instance=name,
            cause="exited with code 1",
            is_early=True,
            is_lost=is_lost,
            started_at=NOON + timedelta(seconds=started),
        )
        state = evolve(state, event)
    return state.failures[V1]


def test_instances_that_die_together_are_one_attempt_and_all_count() -> None:
    seen = failures_after((0, 5), (0, 5), (1, 5), (0, 5.3))
    assert (seen.count, seen.early) == (4, 1)
    assert seen.next_start_at == seen.last_at


def test_attempts_one_after_the_other_wait_longer_and_longer() -> None:
    seen = failures_after((0, 0.3), (0.3, 0.6), (1.6, 1.9), (3.9, 4.2))
    assert (seen.count, seen.early) == (4, 4)
    assert seen.next_start_at == seen.last_at + timedelta(seconds=4)


def test_a_failure_from_outside_waits_and_does_not_count() -> None:
    seen = failures_after((0, 1), (1, 2), (2, 3), is_lost=True)
    assert (seen.count, seen.early) == (0, 3)
