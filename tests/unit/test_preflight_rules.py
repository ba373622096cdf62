"""Every rule of the preflight fires on what it is about, and on nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hitless.preflight.finding import Finding, Severity
from hitless.preflight.rules import RULES, judge, not_examined
from hitless.preflight.seen import Answer, CutRequest, Ending, IdleConnection, LostSession, Seen, Start
from hitless.rollout.spec import (
    Address,
    DrainSpec,
    HealthSpec,
    InstanceId,
    PreflightSpec,
    RunSpec,
    ServiceSpec,
    Sessions,
    TrafficSpec,
    Version,
)
from hitless.testing import faultless

SPEC = ServiceSpec(
    name="shop",
    instances=2,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1), keep_alive_s=5),
    health=HealthSpec(live="/health/live", ready="/health/ready"),
    drain=DrainSpec(requests_s=3),
    preflight=PreflightSpec(paths=("/", "/slow")),
)
V2 = Version("v2")
NO_ANSWER = Answer(at_s=0.1, status=None, problem="connection refused")


def seen(spec: ServiceSpec = SPEC, **shown: Any) -> Seen:
    return faultless(spec, V2, **shown)


def start(number: int = 1, **changes: Any) -> Start:
    return replace(seen().starts[number - 1], **changes)


def ok(*moments_s: float, status: int = 200) -> tuple[Answer, ...]:
    return tuple(Answer(at_s=at_s, status=status) for at_s in moments_s)


def ending(**changes: Any) -> Ending:
    return replace(Ending(waited_s=5, exited_after_s=0.2, code=0), **changes)


FAILED = Start(instance=InstanceId("shop-1"), ready=(NO_ANSWER,), problem="it exited with code 1", log="no table")

FIRES: dict[str, list[Seen]] = {
    "never_ready": [seen(starts=(FAILED, FAILED))],
    "not_side_by_side": [seen(starts=(start(), FAILED)), seen(starts=(FAILED, start()))],
    "ready_before_serving": [
        seen(starts=(start(), start(2, pages={"/": ok(0.6, 1.4, status=503) + ok(3.1)}))),
        seen(starts=(start(pages={"/slow": ok(0.6, 1.4, 4.5, status=500)}), start(2))),
        seen(starts=(start(pages={"/": (NO_ANSWER, *ok(2))}), start(2))),
    ],
    "answers_before_application": [
        seen(starts=(start(), start(2, stray=ok(0.2, 1) + ok(3, status=404)))),
        seen(starts=(start(), start(2, stray=(*ok(0.2), replace(NO_ANSWER, at_s=2))))),
    ],
    "ignores_sigterm": [seen(ending=ending(exited_after_s=None, still_ready=ok(9)[0]))],
    "loses_sessions": [
        seen(lost_sessions=(LostSession(path="/", cookie="sid"),)),
        seen(replace(SPEC, sessions=Sessions.EXTERNAL), lost_sessions=(LostSession(path="/", cookie="sid"),)),
    ],
    "readiness_knows_no_paths": [seen(starts=(start(), start(2, stray=ok(0.6, 4.6))))],
    "liveness_is_readiness": [seen(replace(SPEC, health=HealthSpec(live="/health", ready="/health")))],
    "exits_late": [
        seen(ending=ending(exited_after_s=None, still_ready=ok(9, status=503)[0])),
        seen(ending=ending(exited_after_s=None, still_ready=NO_ANSWER)),
        seen(ending=ending(exited_after_s=3.4)),
    ],
    "cuts_requests": [
        seen(ending=ending(in_flight=2, cut=(CutRequest(path="/slow", age_s=0.5, problem="closed"),))),
    ],
    "exits_uncleanly": [seen(ending=ending(code=1)), seen(ending=ending(code=None, signal=11))],
    "leaves_children": [seen(ending=ending(children=("python worker.py (process 7)",)))],
    "keep_alive_is_shorter": [seen(idle=IdleConnection(closed_after_s=2.01, watched_s=5))],
}

QUIET: dict[str, list[Seen]] = {
    "not_side_by_side": [seen(starts=(FAILED, FAILED))],
    "never_ready": [seen(starts=(start(), FAILED))],
    "ready_before_serving": [
        seen(starts=(start(pages={"/": ok(0.6, status=404)}), start(2))),  # an answer of the application
        seen(starts=(start(pages={"/": ok(0.6, status=302)}), start(2))),
    ],
    "answers_before_application": [
        seen(starts=(start(), start(2, stray=ok(0.6, 4.6)))),
        seen(starts=(start(), start(2, stray=ok(0.6, status=401)))),
    ],
    "ignores_sigterm": [
        seen(ending=ending(exited_after_s=None, still_ready=ok(9, status=503)[0])),  # it drains, and takes its time
        seen(ending=ending(exited_after_s=None, still_ready=NO_ANSWER)),
        seen(ending=None),
    ],
    "readiness_knows_no_paths": [
        seen(  # readiness is a page: what it says is what users get
            replace(SPEC, health=HealthSpec(ready="/")), starts=(start(), start(2, stray=ok(0.6, 4.6)))
        ),
    ],
    "loses_sessions": [
        seen(replace(SPEC, sessions=Sessions.IN_PROCESS), lost_sessions=(LostSession(path="/", cookie="sid"),)),
    ],
    "liveness_is_readiness": [seen(replace(SPEC, health=HealthSpec(live=None, ready="/health")))],
    "exits_late": [
        seen(ending=ending(exited_after_s=2.9)),
        seen(ending=ending(exited_after_s=None, still_ready=ok(9)[0])),  # that is worse
        seen(replace(SPEC, drain=DrainSpec(requests_s=60)), ending=ending(exited_after_s=None, still_ready=NO_ANSWER)),
        seen(replace(SPEC, drain=DrainSpec(requests_s=0)), ending=ending(exited_after_s=1)),
    ],
    "cuts_requests": [seen(ending=ending(in_flight=4))],
    "exits_uncleanly": [
        seen(ending=ending(code=143)),
        seen(ending=ending(code=None, signal=15)),
        seen(ending=ending(code=None, signal=None)),
        seen(ending=ending(code=None, signal=9, exited_after_s=None)),
    ],
    "keep_alive_is_shorter": [
        seen(idle=IdleConnection(closed_after_s=4.95, watched_s=5)),  # the timer, not the settings
        seen(idle=None),
    ],
}


def found(rule: str, sight: Seen) -> Finding | None:
    return {one.__name__: one for one in RULES}[rule](sight)


def cases(table: dict[str, list[Seen]]) -> list[Any]:
    return [
        pytest.param(rule, sight, id=f"{rule}-{number}")
        for rule, sights in table.items()
        for number, sight in enumerate(sights, 1)
    ]


def test_every_rule_has_a_case_that_makes_it_fire() -> None:
    assert set(FIRES) == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize(("rule", "sight"), cases(FIRES))
def test_a_rule_fires_and_bears_its_own_name(rule: str, sight: Seen) -> None:
    finding = found(rule, sight)
    assert finding is not None
    assert finding.rule == rule
    assert finding.sentence
    assert finding.remedy
    assert finding in judge(sight).findings


@pytest.mark.parametrize(("rule", "sight"), cases(QUIET))
def test_a_rule_stays_quiet(rule: str, sight: Seen) -> None:
    assert found(rule, sight) is None


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_nothing_is_found_in_a_version_without_fault(rule: str) -> None:
    assert found(rule, seen()) is None


def test_evidence_says_what_was_answered_and_when() -> None:
    (finding,) = judge(seen(starts=(start(pages={"/": ok(0.6, 1.4, 2.9, status=503) + ok(3.1)}), start(2)))).findings
    assert finding.sentence == "/health/ready said ready at 0.6 s, but / failed until 3.1 s"
    assert finding.evidence == (
        "/health/ready gave no answer (connection refused) at 0.1 s",
        "/health/ready answered 200 at 0.6 s",
        "/ answered 503 from 0.6 s to 2.9 s",
        "/ answered 200 at 3.1 s",
    )


def test_refusals_come_first_and_decide() -> None:
    warned = seen(ending=ending(code=1))
    assert judge(warned).passed
    both = judge(replace(warned, lost_sessions=(LostSession(path="/", cookie="sid"),)))
    assert [one.severity for one in both.findings] == [Severity.REFUSAL, Severity.WARNING]
    assert not both.passed
    assert both.cause == "sessions live in the process and end with it: cookie `sid` (loses_sessions)"


def test_a_session_is_named_by_its_cookie_and_never_by_its_value() -> None:
    finding = found("loses_sessions", seen(lost_sessions=(LostSession(path="/cart", cookie="sid"),)))
    assert finding is not None
    assert finding.evidence == (
        "/cart: the instance that had set `sid` knew it, twice; another instance set a new one",
    )


def test_only_a_shorter_keep_alive_is_measured() -> None:
    assert judge(seen(idle=IdleConnection(closed_after_s=2.0, watched_s=5))).keep_alive_s == 2.0
    assert judge(seen(idle=IdleConnection(closed_after_s=4.9, watched_s=5))).keep_alive_s is None


def test_what_could_not_be_examined_does_not_pass() -> None:
    report = not_examined("shop", "No space left on device")
    assert not report.passed
    assert "No space left on device" in report.cause
