from __future__ import annotations

from hitless.adapters.processes.health import Answer, Health
from hitless.rollout.spec import HealthSpec
from hitless.rollout.world import Phase

SPEC = HealthSpec(ready="/ready", live="/live", healthy_after=2, unhealthy_after=3)
YES = Answer(passed=True, detail="200")
NO = Answer(passed=False, detail="503")


def phases(start: Phase, rounds: str, live: str | None = None) -> list[Phase]:
    """Phases after each round; `+` = passed, `-` = failed."""
    health, found = Health(phase=start), []
    for number, sign in enumerate(rounds):
        alive = None if live is None else (YES if live[number] == "+" else NO)
        health = health.after(ready=YES if sign == "+" else NO, live=alive, spec=SPEC)
        found.append(health.phase)
    return found


def test_ready_after_enough_passed_probes_in_a_row() -> None:
    assert phases(Phase.STARTING, "-+-++") == [*[Phase.STARTING] * 4, Phase.READY]


def test_never_ready_is_not_unready() -> None:
    assert set(phases(Phase.STARTING, "-" * 20)) == {Phase.STARTING}


def test_unready_after_enough_failed_probes_in_a_row_and_back() -> None:
    assert phases(Phase.READY, "--+---+++") == [
        *[Phase.READY] * 5,
        Phase.UNREADY,
        Phase.UNREADY,
        Phase.READY,
        Phase.READY,
    ]


def test_liveness_is_lost_after_enough_failed_probes_in_a_row() -> None:
    assert phases(Phase.READY, "+++++", live="--+--") == [Phase.READY] * 5
    assert phases(Phase.READY, "+++", live="---") == [Phase.READY, Phase.READY, Phase.FAILED]
    assert phases(Phase.UNREADY, "---", live="---")[-1] is Phase.FAILED


def test_one_that_answers_again_has_no_cause() -> None:
    unready = Health(phase=Phase.UNREADY, cause="not ready")
    once = unready.after(ready=YES, live=None, spec=SPEC)
    assert once.cause == "not ready"
    assert once.after(ready=YES, live=None, spec=SPEC).cause is None
