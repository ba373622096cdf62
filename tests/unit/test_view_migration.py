"""What a change's state says to people: lanes, what is next, what was left over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hitless.schema.change.standing import ORDER, Part, Standing
from hitless.schema.change.state import ChangeState, Done, Filled, Leftover
from hitless.schema.change.steps import Build, Ddl, Fill, Plan
from hitless.schema.change.stored import KINDS, PlanUnreadable, document_of, plan_of
from hitless.schema.names import Name
from hitless.view.migration import leftover_view, migration_view, next_command

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
PLAN = Plan(
    change="split",
    steps=(
        Ddl(id="expand.1", part=Part.EXPAND, title="adds", do=("SELECT 1",), undo=("SELECT 2",)),
        Build(
            id="expand.2",
            part=Part.EXPAND,
            title="builds",
            index=Name("i", "public"),
            do="CREATE INDEX CONCURRENTLY i ON t (a)",
            undo="DROP INDEX CONCURRENTLY i",
        ),
        Fill(
            id="backfill.1",
            part=Part.BACKFILL,
            title="fills",
            table=Name("t", "public"),
            assignments={"b": "a"},
            todo="b IS NULL",
        ),
    ),
)
STATE = ChangeState(
    change="split",
    spec={},
    plan=PLAN,
    standing=Standing.PLANNED,
    wanted=Standing.PLANNED,
    fence=1,
    worker=None,
    begun_at=AT,
    changed_at=AT,
    held_by=(),
    done={},
    begun=(),
    fills=(),
    events=(),
)
DONE = Done(at=AT, evidence={"tries": 1})


def lanes(state: ChangeState) -> dict[str, str]:
    return {lane["part"]: lane["state"] for lane in migration_view(state)["lanes"]}


def test_a_lane_is_done_current_next_or_ahead() -> None:
    assert lanes(STATE)["expand"] == "next"
    begun = replace(STATE, done={"expand.1": DONE}, begun=("expand.2",))
    assert (lanes(begun)["expand"], lanes(begun)["backfill"]) == ("current", "ahead")
    whole = replace(STATE, standing=Standing.EXPANDED, done={"expand.1": DONE, "expand.2": DONE})
    assert (lanes(whole)["expand"], lanes(whole)["backfill"], lanes(whole)["verify"]) == ("done", "next", "ahead")


def test_a_step_is_done_begun_or_ahead() -> None:
    view = migration_view(replace(STATE, done={"expand.1": DONE}, begun=("expand.2",)))
    assert [step["state"] for lane in view["lanes"] for step in lane["steps"]] == ["done", "begun", "ahead"]


@pytest.mark.parametrize(
    ("standing", "verb"),
    list(zip(ORDER, ["expand", "backfill", "verify", "switch", *["contract"] * 3, None], strict=True)),
)
def test_the_next_command_follows_from_where_it_stands(standing: Standing, verb: str | None) -> None:
    said = next_command(replace(STATE, standing=standing, wanted=standing))
    assert said == (f"hitless migrate {verb} split" if verb else None)


def test_a_change_that_is_half_taken_back_says_how_to_go_on() -> None:
    back = replace(STATE, done={"expand.1": DONE})
    assert back.goes_back
    assert next_command(back) == "hitless migrate undo split"
    verified = replace(back, standing=Standing.EXPANDED, wanted=Standing.EXPANDED)
    assert not verified.goes_back


def test_a_rate_that_is_not_known_is_none() -> None:
    fill = Filled(
        step="backfill.1",
        rows=10,
        changed=5,
        batches=1,
        upper=[9],
        position=[5],
        is_paused=False,
        begun_at=AT,
        changed_at=AT,
        evidence={},
    )
    (first,) = migration_view(replace(STATE, fills=(fill,)))["fills"]
    assert first["rows_per_s"] is None
    (later,) = migration_view(replace(STATE, fills=(replace(fill, changed_at=AT + timedelta(seconds=2)),)))["fills"]
    assert later["rows_per_s"] == 5.0


def test_what_is_left_over_says_whether_it_was_taken_away() -> None:
    one = Leftover(kind="index", name="i", why="half built", remedy="DROP INDEX CONCURRENTLY i", can_be_fixed=True)
    assert leftover_view(one, fixed=True)["fixed"] is True


def test_a_plan_comes_back_from_json_as_it_was() -> None:
    assert plan_of(document_of(PLAN)) == PLAN


def test_a_field_of_a_later_hitless_is_passed_over_and_a_step_is_not() -> None:
    document = document_of(PLAN)
    document["steps"][0]["mood"] = "good"
    document["later"] = 1
    assert plan_of(document) == PLAN
    document["steps"][0]["kind"] = "reshape"
    with pytest.raises(PlanUnreadable):
        plan_of(document)


def test_every_kind_of_step_can_be_kept() -> None:
    assert {kind.__dataclass_fields__["kind"].default for kind in KINDS.values()} == set(KINDS)
