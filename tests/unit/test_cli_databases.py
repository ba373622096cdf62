"""What a rollout asks of its database, as people read it."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from hitless.cli.changes import changes
from hitless.cli.sight import Sight
from hitless.cli.symbols import PLAIN
from hitless.cli.tables import plan_picture
from hitless.cli.tree import Canvas, rollout_picture
from hitless.rollout.connections import peak
from hitless.rollout.inputs import Deploy
from hitless.rollout.spec import (
    Address,
    ChangeSpec,
    ConnectionsSpec,
    DatabaseSpec,
    RunSpec,
    ServiceSpec,
    StrategyName,
    TrafficSpec,
    Version,
)
from hitless.rollout.strategy import compile_rollout, stable_world
from hitless.schema.change.standing import Standing
from hitless.schema.headroom import Limit, Reserve, fit
from hitless.schema.release import DatabaseReport, NeededChange, Verdict
from hitless.testing.simulation import Simulation
from hitless.view.database import Asked, Room
from hitless.view.models import PlanView, RolloutView
from hitless.view.plan import plan_view
from hitless.view.service import rollout_view

OLD, NEW = Version("1.4"), Version("1.5")
SPEC = ServiceSpec(
    name="shop",
    instances=4,
    run=RunSpec(command=("shop",)),
    traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
    preflight=None,
    database=DatabaseSpec(
        url="env:DB",
        changes=(ChangeSpec(name="split-name", file="split-name.yaml"),),
        connections=ConnectionsSpec(per_instance=10),
    ),
)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CANVAS = Canvas(glyphs=PLAIN, now=NOON, width=120)
SPLIT = NeededChange(
    change="split-name", wanted=Standing.VERIFIED, standing=Standing.VERIFIED, touches=("users.full_name",)
)


def text_of(picture: Any) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(picture)
    printed = console.file
    assert isinstance(printed, io.StringIO)
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


def planned(room: Room | None = None, *, most: int = 100) -> PlanView:
    plan = compile_rollout(
        SPEC, strategy=StrategyName.BLUE_GREEN, baseline=OLD, candidate=NEW, standing=stable_world(SPEC, OLD)
    )
    found = peak(plan, spec=SPEC, specs={OLD: SPEC}, candidate=NEW)
    assert found is not None
    limit = Limit(what="server", connections=most, kept_back=3, others=7, is_server=True)
    fits = fit(found.takers, [limit], reserve=Reserve(count=5))
    room = room or Room(takers=found.takers, fits=fits)
    return plan_view(plan, spec=SPEC, strategy=StrategyName.BLUE_GREEN, baseline=OLD, candidate=NEW, room=room)


class Story:
    """A rollout from 1.4 to 1.5 in its first stage."""

    def __init__(self) -> None:
        self.simulation = Simulation()
        for version, spec in ((OLD, replace(SPEC, database=None)), (NEW, SPEC)):
            self.simulation.run_until_idle()
            self.simulation.database = None
            asked = Deploy(actor="user:ann", version=version, spec=spec, strategy=StrategyName.ROLLING)
            self.simulation.ask(asked)
        self.simulation.run(1)

    def view(self, asked: Asked | None = None) -> RolloutView:
        state = self.simulation.state
        return rollout_view(state.running, state=state, observed=self.simulation.observation(), asked=asked)

    def answer(self, report: DatabaseReport) -> None:
        self.simulation.database = report
        self.simulation.run(1)


def told(before: RolloutView, after: RolloutView) -> list[str]:
    bare: Any = {"versions": [], "instances": [], "problems": [], "health": "progressing", "stable": OLD, "notices": []}
    sights = [Sight(service=bare, rollout=one) for one in (before, after)]
    return list(changes(sights[0], sights[1], PLAIN))


def test_a_plan_shows_who_takes_which_connections_and_what_a_contract_waits_for() -> None:
    drawn = text_of(plan_picture(planned(), CANVAS))
    assert "pools fit, split-name verified" in drawn
    assert "pools server: 96 of 97 connections at the peak, fits" in drawn
    assert "  40  1.4 (4 instances x 10)" in drawn
    assert "   7  others, open now" in drawn
    assert "note  the contract of split-name is refused as long as 1.4 or 1.5 runs" in drawn


def test_a_plan_that_does_not_fit_says_so() -> None:
    assert "96 of 57 connections at the peak, 39 too many" in text_of(plan_picture(planned(most=60), CANVAS))


def test_a_plan_says_why_nobody_knows_whether_it_fits() -> None:
    room = Room(takers=(), problem="the database cannot be reached")
    assert "whether they fit is not known: the database cannot be reached" in text_of(
        plan_picture(planned(room), CANVAS)
    )


def test_how_a_backfill_gets_on_is_beside_its_condition() -> None:
    known = replace(SPLIT, standing=Standing.EXPANDED, detail="backfill 43 %, 12,000 rows/s, 2 min to go")
    drawn = text_of(rollout_picture(Story().view(Asked(changes={"split-name": known})), CANVAS))
    assert "split-name verified" in drawn
    assert "at expanded: backfill 43 %, 12,000 rows/s, 2 min to go" in drawn


def test_a_database_that_is_away_is_beside_what_waits_for_it() -> None:
    drawn = text_of(rollout_picture(Story().view(Asked(trouble="the database cannot be reached")), CANVAS))
    assert drawn.count("the database cannot be reached") >= 1


def test_a_refusal_shows_its_evidence_and_what_to_do() -> None:
    story = Story()
    report = DatabaseReport(
        verdict=Verdict.REFUSED,
        changes=(replace(SPLIT, standing=Standing.EXPANDED),),
        cause="3 rows are lost",
        evidence=("id 7: Cher",),
        remedies=("hitless migrate verify split-name --allow",),
    )
    before = story.view()
    story.answer(report)
    drawn = text_of(rollout_picture(story.view(), CANVAS))
    for words in ("refused for the database: 3 rows are lost", "id 7: Cher", "hitless migrate verify split-name"):
        assert words in drawn
    lines = told(before, story.view())
    assert "split-name stands at expanded" in lines
    begin = lines.index("database refused: 3 rows are lost")
    assert lines[begin + 1 :][:2] == ["id 7: Cher", "next: hitless migrate verify split-name --allow"]


def test_what_is_ready_is_told_once() -> None:
    story = Story()
    before = story.view()
    story.answer(DatabaseReport(verdict=Verdict.READY, changes=(SPLIT,)))
    after = story.view()
    assert [line for line in told(before, after) if "split-name" in line] == ["split-name stands at verified"]
    assert not [line for line in told(after, after) if "split-name" in line]


def test_the_way_back_says_which_schema_it_meets() -> None:
    story = Story()
    story.answer(DatabaseReport(verdict=Verdict.READY, changes=(SPLIT,)))
    story.simulation.behaviours[NEW] = replace(story.simulation._behaviour(NEW), exits_after_s=0.1)
    story.simulation.run_until_idle()
    drawn = text_of(rollout_picture(story.view(), CANVAS))
    assert "1.4 reads and writes users.full_name, and triggers keep both sides" in " ".join(drawn.split())
