"""The picture of a service, as text."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from hitless.cli.budgets import burning_lines
from hitless.cli.figures import duration, share
from hitless.cli.sight import sight_of
from hitless.cli.symbols import CALLS, FANCY, HEALTH, PHASES, PLAIN, ROLLOUTS, ROTATIONS, STAGES, Glyphs
from hitless.cli.tables import journal_line
from hitless.cli.tree import Canvas, service_picture
from hitless.view.models import ServiceView
from scripted_control_plane import (
    NEW,
    NOON,
    OLD,
    at,
    condition,
    ended,
    evidence,
    instance,
    judgement,
    objective,
    preflight,
    rollout,
    service,
    stage,
    version,
)

CANARY_100_COLUMNS = """\
checkout · 127.0.0.1:8080                                                              ▶ progressing
canary · 91b07de → 4f2c1a9                                     ▶ running · stage 2/3 · 4m12s elapsed
checkout-7 · by user:ana · "fix the basket total"
✔ canary 1 %   ▶ canary 5 %   · only the new version

version  role       ready  traffic               desired  routed
4f2c1a9  candidate    1/2  █░░░░░░░░░░░░░░░░░░░      5 %     1 %
91b07de  stable       4/4  ████████████████████     95 %    99 %

stage 2/3 canary 5 %: goes on when
  ✔ ready
  ◌ held   138 s to go

instance                state       address         rotation  open     age
4f2c1a9
├─ checkout-4f2c1a9-1   ✔ ready     127.0.0.1:9001  ● in         0  14m12s
├─ checkout-4f2c1a9-2   ◌ starting  127.0.0.1:9002  ○ out        ?      4s
└─ checkout-4f2c1a9-3   ✖ failed    127.0.0.1:9003  ○ out        ?  14m12s
91b07de
├─ checkout-91b07de-10  ✔ ready     127.0.0.1:9010  ● in         3  14m12s
├─ checkout-91b07de-11  ✔ ready     127.0.0.1:9011  ● in         3  14m12s
├─ checkout-91b07de-12  ✔ ready     127.0.0.1:9012  ● in         3  14m12s
└─ checkout-91b07de-13  ✔ ready     127.0.0.1:9013  ● in         3  14m12s

why   instance checkout-4f2c1a9-3 exited with status 1
next  hitless rollout promote checkout
      hitless rollout abort checkout"""


def busy(stable_instances: int = 4) -> ServiceView:
    until = [condition("ready", met=True), condition("held", detail="138 s to go")]
    stages = [stage("canary 1 %", "done"), stage("canary 5 %", "current", until), stage("only the new version")]
    new = [
        instance(1, NEW),
        instance(2, NEW, "starting", "out", since=at(248), open_requests=None),
        instance(3, NEW, "failed", "out", open_requests=None),
    ]
    old = [instance(number, OLD, open_requests=3) for number in range(10, 10 + stable_instances)]
    count = {"ready": stable_instances, "wanted": stable_instances}
    return service(
        health="progressing",
        versions=[
            version(NEW, "candidate", 500, ready=1, routed=100),
            version(OLD, "stable", 9_500, routed=9_900, **count),
        ],
        instances=new + old,
        rollout=rollout(stages=stages, reason="fix the basket total"),
        problems=["instance checkout-4f2c1a9-3 exited with status 1"],
    )


def drawn(view: ServiceView, glyphs: Glyphs = FANCY, *, width: int = 100, height: int | None = None) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    canvas = Canvas(glyphs=glyphs, now=NOON + timedelta(seconds=252), width=width, height=height)
    console.print(service_picture(sight_of(view), canvas, console))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def test_the_picture_shows_desired_beside_routed_and_what_the_stage_waits_for() -> None:
    assert drawn(busy()) == CANARY_100_COLUMNS


@pytest.mark.parametrize("instances", [1, 4, 12, 200])
@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 30), (80, 24), (120, 50)])
@pytest.mark.parametrize("glyphs", [FANCY, PLAIN], ids=["fancy", "plain"])
def test_the_picture_fits_the_terminal_and_keeps_the_next_commands(
    instances: int, width: int, height: int, glyphs: Glyphs
) -> None:
    lines = drawn(busy(instances), glyphs, width=width, height=height).splitlines()
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)
    assert lines[-1].strip() == "hitless rollout abort checkout"


def test_what_does_not_fit_is_counted_and_the_troubled_come_first() -> None:
    text = drawn(busy(200), height=30)
    assert "✖ failed" in text
    assert "more ready" in text
    assert "instances  1 failed, 1 starting, 201 ready" in drawn(busy(200), height=20)


def test_plain_pictures_are_ascii() -> None:
    assert drawn(busy(), PLAIN).isascii()


def test_what_is_not_known_is_said_and_never_drawn_as_zero() -> None:
    unknown = version(OLD, "stable", 10_000, routed=None)
    text = drawn(service(versions=[unknown], instances=[instance(1, OLD, rotation="unknown", open_requests=None)]))
    assert "not known" in text
    assert "100 %       ?" in text
    assert "? unknown     ?" in text


def test_weight_that_is_wanted_and_not_routed_yet_is_visible() -> None:
    half = version(NEW, "candidate", 5_000, routed=2_500), version(OLD, "stable", 5_000, routed=7_500)
    assert "█████▒▒▒▒▒░░░░░░░░░░" in drawn(service(versions=list(half)))


def test_a_service_without_a_deploy_says_how_to_begin() -> None:
    text = drawn(service(health="idle", stable=None, versions=[], instances=[]))
    assert "○ idle" in text
    assert text.endswith("next  hitless deploy checkout --version VERSION")


def test_a_finished_rollout_is_shown_with_its_cause() -> None:
    text = drawn(service(rollout=ended("rolled_back", cause="3 failures of 4f2c1a9", next=["hitless logs checkout"])))
    assert "↶ rolled back · took 1m12s" in text
    assert "why   3 failures of 4f2c1a9\nnext  hitless logs checkout" in text


def test_what_a_preflight_found_is_shown_with_evidence_and_remedy() -> None:
    refused = ended("refused", cause="refused by the preflight", preflight=preflight("refusal", "warning"))
    text = drawn(service(rollout=refused))
    assert "⊘ refused · took 1m12s" in text
    assert "no    it is refusal number 1 (rule_1)\n      / answered 503 at 0.3 s\ndo    mend it" in text
    assert "warn  it is warning number 2 (rule_2)" in text


def test_a_preflight_that_was_skipped_is_said() -> None:
    assert "note  the preflight was skipped" in drawn(service(rollout=rollout(skipped_preflight=True)))


def judged(call: str = "hold", **changes: Any) -> ServiceView:
    rows = [evidence("errors"), evidence("latency", log_evidence=None, estimate=None), evidence("onset", canary=[0, 0])]
    view = judgement(call, **{"rows": rows, "missing_requests": 1_240, "missing_s": 250, **changes})
    return {**busy(), "rollout": rollout(judgement=view)}


def test_what_a_judge_says_is_shown_with_what_is_missing_and_the_evidence_of_rows_that_have_some() -> None:
    memory = evidence("memory", acts="hold", canary=None, log_needed=None, detail="grows by 12 MB/h")
    rows = [evidence("latency", log_evidence=None, estimate=None), evidence("errors"), memory]
    text = drawn(judged(rows=[*rows, evidence("onset", canary=[0, 0])]))
    assert text.partition("judge ")[2].partition("instance")[0].rstrip().splitlines() == [
        "◌ cannot tell yet: too few requests",
        "  missing: 1,240 requests of the new version, about 4m10s",
        "  evidence       new          old             odds  towards rollback",
        "  errors    3 of 812  9 of 15,430  6.3x (0.6 to ?)               50%",
        "  latency   3 of 812  9 of 15,430                ?                 ?",
        "  memory: grows by 12 MB/h",
    ]


def test_what_holds_a_rollout_is_shown_however_many_rows_there_are() -> None:
    memory = evidence("memory", acts="hold", canary=None, log_needed=None, since=at(60), detail="grows by 12 MB/h")
    assert "memory: grows by 12 MB/h" in drawn(judged(rows=[*(evidence(f"row {n}") for n in range(8)), memory]))


@pytest.mark.parametrize("call", ["hold", "promote", "rollback"])
def test_every_call_has_a_word(call: str) -> None:
    text = drawn({**busy(), "rollout": rollout(judgement=judgement(call))}, PLAIN)
    assert f"judge {CALLS[call].word}: {judgement(call)['sentence']}" in text
    assert text.isascii()


def test_a_journal_line_tells_what_a_judge_says() -> None:
    line = journal_line(
        {
            "seq": 342, "at": at(0), "type": "ruling.given", "subject": "service/shop", "actor": "hitless",
            "data": {"ruling": {"call": "hold", "why": "resources", "sentence": "memory grows"}, "stage": 0},
            "previous": "", "hash": "",
        }
    )  # fmt: skip
    assert line.endswith("ruling.given service/shop by hitless call=hold why=resources stage=0")


def test_the_evidence_that_turned_a_rollout_back_stays_and_no_other() -> None:
    worse, fit = judgement("rollback", rows=[evidence("errors", since=at(60))]), judgement("promote")
    text = drawn(service(rollout=ended("rolled_back", cause=worse["sentence"], judgement=worse)))
    assert "3 of 812" in text
    assert "judge ✖ worse\n" in text  # the sentence is the cause, and said there
    assert f"why   {worse['sentence']}" in text
    assert "judge" not in drawn(service(rollout=ended("completed", judgement=fit)))


def test_a_judge_leaves_room_for_the_next_commands_and_an_older_control_plane_has_none() -> None:
    for height in (26, 30, 34, 40, 50):
        lines = drawn(judged(), height=height).splitlines()
        assert len(lines) <= height
        assert lines[-1].strip() == "hitless rollout abort checkout"
    without = rollout()
    del without["judgement"]  # type: ignore[misc]  # as it was before there were any
    assert "judge" not in drawn(service(rollout=without))


def test_error_budgets_take_a_line_and_what_burns_another_one() -> None:
    quiet = objective("latency.p99", budget_left=None, since=None)
    lines = drawn(service(objectives=[objective(page=True), quiet]), width=200).splitlines()
    assert lines[1] == "error budget  success_rate 87% left · latency.p99 ? · seen for 46m12s of 30d"
    assert lines[2] == (
        "page: the error budget of success_rate burns 21.5 times as fast as it may over 1h, 21.5 times over 5m; "
        "14.4 times calls somebody; since 5m42s"
    )
    assert "burns" not in drawn(service(objectives=[quiet]))
    assert "nothing seen yet" in drawn(service(objectives=[quiet]))
    assert "budget" not in drawn(service())


def test_an_older_control_plane_tells_no_objectives() -> None:
    without = service()
    del without["objectives"]  # type: ignore[misc]  # as it was before there were any
    assert "budget" not in drawn(without)
    assert list(burning_lines([without], NOON)) == []


def test_of_many_services_only_what_burns_is_listed() -> None:
    burns, quiet = service(objectives=[objective(page=True)]), service(name="cart", objectives=[objective()])
    (line,) = burning_lines([burns, quiet], NOON)
    assert line.startswith("checkout: page: the error budget of success_rate burns 21.5 times")


@pytest.mark.parametrize("table", [CALLS, PHASES, ROTATIONS, HEALTH, ROLLOUTS, STAGES])
def test_every_state_has_an_icon_and_a_word_of_its_own(table: dict) -> None:
    assert len({symbol.icon for symbol in table.values()}) == len(table)
    assert len({symbol.word for symbol in table.values()}) == len(table)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0.9, "0s"),
        (59, "59s"),
        (60, "1m"),
        (252, "4m12s"),
        (7_500, "2h05m"),
        (86_400, "1d"),
        (100_000, "1d03h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("weight_bp", "text"), [(0, "0 %"), (1, "0.01 %"), (500, "5 %"), (3_333, "33.33 %"), (None, "?")]
)
def test_shares_are_percent_and_unknown_is_not_zero(weight_bp: int | None, text: str) -> None:
    assert share(weight_bp) == text
