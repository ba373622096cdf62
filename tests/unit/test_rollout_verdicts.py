"""What a stage that waits for a verdict says, and until when it waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hitless.analysis.ruling import Call, Ruling, Why
from hitless.rollout.spec import Undecided
from hitless.rollout.stage import Finding, Held, Judged, Stage, StageRecord, findings, is_released, patience_ends_at
from hitless.rollout.world import Limits, Observation

AT = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(instances=1, max_surge=1, max_unavailable=0)
TOO_FEW = Ruling(call=Call.HOLD, why=Why.TOO_FEW, sentence="too few requests")


def promotes(share_bp: int) -> Ruling:
    return Ruling(call=Call.PROMOTE, why=Why.NOT_WORSE, sentence="not worse", next_share_bp=share_bp)


def stage(undecided: Undecided = Undecided.WAIT) -> Stage:
    judged = Judged(next_share_bp=2_500, undecided=undecided, patience_s=60)
    return Stage(name="canary 1 %", desired={}, until=(Held(seconds=10), judged), deadline_s=100)


def record(**changes: object) -> StageRecord:
    return StageRecord(**{"entered_at": AT, "settled_at": AT, **changes})  # type: ignore[arg-type]  # by name


def verdict(ruling: Ruling | None, *, after_s: float = 30, of: Stage | None = None, **changes: object) -> Finding:
    seen = Observation(now=AT + timedelta(seconds=after_s))
    return findings(of or stage(), record(**changes), observed=seen, limits=LIMITS, ruling=ruling)[-1]


@pytest.mark.parametrize(
    ("ruling", "met", "detail"),
    [
        (None, False, "nothing is said yet"),
        (TOO_FEW, False, "too few requests"),
        (promotes(500), False, "shown for 5 % of the traffic, 25 % comes next"),
        (promotes(2_500), True, "not worse"),
        (promotes(10_000), True, "not worse"),
    ],
)
def test_only_what_is_shown_for_the_share_that_comes_next_lets_it_come(
    ruling: Ruling | None, met: bool, detail: str
) -> None:
    found = verdict(ruling)
    assert (found.met, found.detail) == (met, detail)


def test_a_promotion_waives_the_verdict_as_it_waives_the_hold() -> None:
    assert is_released(stage(), record(promoted=True), ruling=None, now=AT)
    assert verdict(TOO_FEW, promoted=True).detail == "promoted"


def test_a_verdict_shortens_no_hold() -> None:
    assert not is_released(stage(), record(), ruling=promotes(2_500), now=AT + timedelta(seconds=9))
    assert is_released(stage(), record(), ruling=promotes(2_500), now=AT + timedelta(seconds=10))


@pytest.mark.parametrize(("after_s", "asks"), [(69, False), (70, True)])
def test_a_person_is_asked_when_the_patience_is_over(after_s: float, asks: bool) -> None:
    detail = verdict(TOO_FEW, after_s=after_s, of=stage(Undecided.ASK)).detail
    assert detail == ("waits for `hitless rollout promote`: too few requests" if asks else "too few requests")


@pytest.mark.parametrize("undecided", [Undecided.WAIT, Undecided.ROLLBACK])
def test_nobody_is_asked_where_that_is_not_wanted(undecided: Undecided) -> None:
    assert verdict(TOO_FEW, after_s=9_999, of=stage(undecided)).detail == "too few requests"


@pytest.mark.parametrize("changes", [{"settled_at": None}, {"unsettled_at": AT}, {"promoted": True}])
def test_patience_runs_only_while_the_stage_is_as_wanted_and_nobody_has_promoted_it(changes: dict[str, object]) -> None:
    assert patience_ends_at(stage(), record()) == AT + timedelta(seconds=70)
    assert patience_ends_at(stage(), record(**changes)) is None
