"""Lists for people: services, rollouts, records of the journal, the stages of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hitless.cli.databases import planned_database_lines
from hitless.cli.figures import count, duration, moment, share, since, stamp
from hitless.cli.sight import current_stage, is_finished
from hitless.cli.symbols import HEALTH, Glyphs, mark, rollout_symbol
from hitless.cli.tree import Canvas, columns
from hitless.view.models import JournalRecordView, PlannedStageView, PlanView, RolloutRowView, RolloutView, ServiceView


def problem_lines(services: Sequence[ServiceView]) -> Iterator[str]:
    """What is wrong, each problem once, whoever has it."""
    held = {problem: [one["name"] for one in services if problem in one["problems"]] for problem in _problems(services)}
    for problem, names in held.items():
        yield problem if len(names) == len(services) else f"{', '.join(names)}: {problem}"


def _problems(services: Sequence[ServiceView]) -> list[str]:
    return list(dict.fromkeys(problem for service in services for problem in service["problems"]))


def services_table(services: Sequence[ServiceView], canvas: Canvas) -> Table:
    """One line per service."""
    table = columns("service", "health", "address", "stable", ">ready", "rollout")
    for service in services:
        table.add_row(
            Text(service["name"], style="bold"),
            mark(HEALTH[service["health"]], canvas.glyphs),
            service["listen"],
            service["stable"] or "none",
            _ready(service),
            _rollout_cell(service["rollout"], canvas.glyphs),
        )
    return table


def rollouts_table(rollouts: Sequence[RolloutRowView], canvas: Canvas) -> Table:
    """One line per rollout."""
    table = columns("rollout", "service", "strategy", "versions", "state", "started", "took", "by")
    for rollout in rollouts:
        table.add_row(
            Text(rollout["id"], style="bold"),
            rollout["service"],
            rollout["strategy"],
            f"{rollout['baseline'] or 'nothing'} {canvas.glyphs.arrow} {rollout['candidate']}",
            mark(rollout_symbol(rollout), canvas.glyphs),
            stamp(moment(rollout["started_at"])),
            _took(rollout, canvas),
            rollout["actor"],
        )
    return table


def journal_line(record: JournalRecordView) -> str:
    """One record on one line: number, moment, what, whom, who, and the gist of its data; `journal show` has it all."""
    head = f"{record['seq']:>6} {stamp(moment(record['at']))} {record['type']} {record['subject']} by {record['actor']}"
    return f"{head} {_gist(record['data'])}".rstrip()


def _gist(data: Mapping[str, Any]) -> str:
    """Plain values as they are, of a ruling what it says and why, of a routing table who gets how much."""
    ruling = data["ruling"] if isinstance(data.get("ruling"), dict) else {}
    said = [f"{key}={ruling[key]}" for key in ("call", "why") if key in ruling]
    plain = [f"{key}={value}" for key, value in data.items() if isinstance(value, str | int | float)]
    weights = data["table"].get("weights", {}) if isinstance(data.get("table"), dict) else {}
    return " ".join([*said, *plain, *(f"{version}={weight / 100:g}%" for version, weight in weights.items())])


def plan_picture(plan: PlanView, canvas: Canvas) -> Group:
    """What a deploy would do."""
    return Group(*_plan_head(plan, canvas.glyphs), Text(), _plan_stages(plan["stages"]), *_plan_foot(plan))


def _plan_head(plan: PlanView, glyphs: Glyphs) -> Iterator[RenderableType]:
    versions = f"{plan['baseline'] or 'nothing'} {glyphs.arrow} {plan['candidate']}"
    yield Text(plan["service"], style="bold").append(
        f"{glyphs.separator}{plan['strategy']}{glyphs.separator}{versions}", "not bold"
    )
    yield Text(
        f"{count(len(plan['stages']), 'stage')}, at least {duration(plan['least_s'])} of holding, "
        f"at most {count(plan['peak_instances'], 'instance')} at once"
    )


def _plan_stages(stages: Sequence[PlannedStageView]) -> Table:
    table = columns(">#", "stage", "instances", "traffic", "goes on when")
    for number, stage in enumerate(stages, 1):
        table.add_row(
            str(number),
            Text(stage["name"], style="bold"),
            ", ".join(f"{version} x {wanted}" for version, wanted in stage["pools"].items()),
            ", ".join(f"{version} {share(weight)}" for version, weight in stage["weights"].items() if weight),
            ", ".join(stage["until"]),
        )
    return table


def _plan_foot(plan: PlanView) -> Iterator[Text]:
    yield Text()
    yield from planned_database_lines(plan)
    for label, lines in (("needs", plan["needs"]), ("next ", plan["next"])):
        yield from (Text(f"{label if number == 0 else '     '} {line}") for number, line in enumerate(lines))


def _ready(service: ServiceView) -> str:
    ready = sum(version["ready_instances"] for version in service["versions"])
    return f"{ready}/{sum(version['wanted_instances'] for version in service['versions'])}"


def _rollout_cell(rollout: RolloutView | None, glyphs: Glyphs) -> Text:
    if rollout is None:
        return Text("none", style="dim")
    cell = mark(rollout_symbol(rollout), glyphs).append(f" {rollout['candidate']}", style="default")
    if (found := current_stage(rollout)) and not is_finished(rollout):
        cell.append(f" stage {found[0]}/{len(rollout['stages'])}", style="default")
    return cell


def _took(rollout: RolloutRowView, canvas: Canvas) -> str:
    if rollout["finished_at"] is None:
        return since(rollout["started_at"], canvas.now)
    return since(rollout["started_at"], moment(rollout["finished_at"]))
