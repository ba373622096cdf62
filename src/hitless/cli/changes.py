"""One line per change: what a watch prints where nothing can be redrawn (pipes, CI logs, screen readers).

A line is a difference between two views. What only counts down or flickers (ages, open requests, seconds to go) is
none.
"""

from __future__ import annotations

from collections.abc import Iterator

from hitless.cli.databases import database_lines
from hitless.cli.figures import count, duration, moment, share
from hitless.cli.sight import Sight, current_stage, is_finished
from hitless.cli.symbols import Glyphs, rollout_symbol
from hitless.cli.verdict import ruling_line
from hitless.view.models import (
    ConditionView,
    InstanceView,
    JudgementView,
    RolloutView,
    ServiceView,
    StageView,
    VersionView,
)

ASKS = "waits for `hitless rollout promote`"
"""How the detail of a condition begins that only a person can meet, or meet now."""


def changes(before: Sight | None, after: Sight, glyphs: Glyphs) -> Iterator[str]:
    """Tell what is new in `after`, most general first; the rollout's end comes last."""
    old_rollout = before.rollout if before else None
    same = old_rollout if old_rollout and after.rollout and old_rollout["id"] == after.rollout["id"] else None
    if after.rollout:
        yield from _rollout_begins(same, after.rollout, glyphs)
        yield from _ruling(same, after.rollout)
        yield from _stage_begins(same, after.rollout)
    yield from _service(before.service if before else None, after.service)
    if after.rollout:
        yield from _findings(same, after.rollout)
        yield from database_lines(same, after.rollout)
        yield from _conditions(same, after.rollout)
        yield from _rollout_goes_on(same, after.rollout)


def _rollout_begins(before: RolloutView | None, after: RolloutView, glyphs: Glyphs) -> Iterator[str]:
    if before is None:
        baseline = after["baseline"] or "nothing"
        yield (
            f"rollout {after['id']}: {after['strategy']}, {baseline} {glyphs.arrow} {after['candidate']}, "
            f"{count(len(after['stages']), 'stage')}"
        )


def _stage_begins(before: RolloutView | None, after: RolloutView) -> Iterator[str]:
    found, earlier = current_stage(after), current_stage(before) if before else None
    if found is None or is_finished(after) or (earlier and earlier[0] == found[0]):
        return
    waits = ", ".join(condition["name"] for condition in found[1]["until"])
    yield f"{_stage_label(after, found)}: waits for {waits}" if waits else _stage_label(after, found)


def _findings(before: RolloutView | None, after: RolloutView) -> Iterator[str]:
    """Tell what the preflight has just found."""
    if after["preflight"] is None or (before is not None and before["preflight"] is not None):
        return
    for found in after["preflight"]["findings"]:
        yield f"preflight {found['severity']}: {found['sentence']} ({found['rule']})"
        yield from (f"  {line}" for line in found["evidence"])
        yield f"  do: {found['remedy']}"


def _ruling(before: RolloutView | None, after: RolloutView) -> Iterator[str]:
    """Tell what the judge says when it says something else; figures that grow are nothing else."""
    known, found = (one.get("judgement") if one else None for one in (before, after))
    if found is not None and (known is None or _said(known) != _said(found)):
        yield ruling_line(found)


def _said(judgement: JudgementView) -> tuple[str, str, str | None]:
    return judgement["call"], judgement["why"], judgement["row"]


def _conditions(before: RolloutView | None, after: RolloutView) -> Iterator[str]:
    """Tell what is newly met in the stage that is still the same, and what it has begun to ask of a person."""
    found, earlier = current_stage(after), current_stage(before) if before else None
    if found and earlier and earlier[0] == found[0] and not is_finished(after):
        told = [*_newly_met(earlier[1], found[1]), *_newly_asked(earlier[1], found[1])]
        yield from (f"{_stage_label(after, found)}: {words}" for words in told)


def _stage_label(rollout: RolloutView, found: tuple[int, StageView]) -> str:
    number, stage = found
    return f"stage {number}/{len(rollout['stages'])} {stage['name']}"


def _newly_met(before: StageView, after: StageView) -> Iterator[str]:
    was_met = {condition["name"] for condition in before["until"] if condition["met"]}
    return (one["name"] for one in after["until"] if one["met"] and one["name"] not in was_met)


def _newly_asked(before: StageView, after: StageView) -> Iterator[str]:
    asked = {condition["name"] for condition in before["until"] if _asks(condition)}
    return (one["detail"] for one in after["until"] if _asks(one) and one["name"] not in asked)


def _asks(condition: ConditionView) -> bool:
    return not condition["met"] and condition["detail"].startswith(ASKS)


def _rollout_goes_on(before: RolloutView | None, after: RolloutView) -> Iterator[str]:
    if before and (before["state"], before["phase"]) == (after["state"], after["phase"]):
        return
    if is_finished(after):
        yield _end(after)
    elif before or after["phase"] != "advancing":
        yield _with_cause(f"rollout {after['id']}: {rollout_symbol(after).word}", after["cause"])


def _end(rollout: RolloutView) -> str:
    took = ""
    if rollout["finished_at"]:
        took = f" after {duration((moment(rollout['finished_at']) - moment(rollout['started_at'])).total_seconds())}"
    return _with_cause(f"rollout {rollout['id']}: {rollout_symbol(rollout).word}{took}", rollout["cause"])


def _with_cause(sentence: str, cause: str | None) -> str:
    return f"{sentence}: {cause}" if cause else sentence


def _service(before: ServiceView | None, after: ServiceView) -> Iterator[str]:
    if before is None or before["health"] != after["health"]:
        yield f"{after['health']}, stable version {after['stable'] or 'none'}"
    yield from _instances(before["instances"] if before else [], after["instances"])
    yield from _traffic(before["versions"] if before else [], after["versions"])
    known = before["problems"] if before else []
    yield from (f"problem: {problem}" for problem in after["problems"] if problem not in known)


def _instances(before: list[InstanceView], after: list[InstanceView]) -> Iterator[str]:
    old = {instance["id"]: instance for instance in before}
    for instance in after:
        yield from _instance(old.pop(instance["id"], None), instance)
    yield from (f"instance {name} gone" for name in old)


def _instance(before: InstanceView | None, after: InstanceView) -> Iterator[str]:
    name = f"instance {after['id']}"
    if before is None:
        yield _with_cause(
            f"{name} ({after['version']}, {after['address']}) {after['phase']}{_place(after)}", after["cause"]
        )
    elif before["phase"] != after["phase"]:
        yield _with_cause(f"{name} {after['phase']}{_place(after)}", after["cause"])
    elif before["rotation"] != after["rotation"]:
        yield f"{name} {_rotation(after)}"


def _place(instance: InstanceView) -> str:
    """Say the place in the rotation where it is not obvious: one that starts or has failed is out."""
    return f", {_rotation(instance)}" if instance["phase"] in {"ready", "unready"} else ""


def _rotation(instance: InstanceView) -> str:
    if instance["rotation"] == "draining" and instance["open_requests"]:
        return f"draining, {instance['open_requests']} open"
    words = {"in": "in rotation", "out": "out of rotation", "draining": "draining", "unknown": "rotation unknown"}
    return words[instance["rotation"]]


def _traffic(before: list[VersionView], after: list[VersionView]) -> Iterator[str]:
    """Give all shares in one line when any has changed."""
    if _shares(before) != _shares(after) and after:
        yield "traffic " + ", ".join(_version_share(version) for version in after)


def _shares(versions: list[VersionView]) -> dict[str, tuple[int, int | None]]:
    return {one["version"]: (one["desired_bp"], one["routed_bp"]) for one in versions}


def _version_share(version: VersionView) -> str:
    routed = f"{version['version']} {share(version['routed_bp'])}"
    return (
        routed if version["routed_bp"] == version["desired_bp"] else f"{routed} (wanted {share(version['desired_bp'])})"
    )
