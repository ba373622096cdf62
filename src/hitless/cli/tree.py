"""The picture of one service: head, stages, traffic, what the stage waits for, instances, causes, next commands.

Everything but the instances is short and always shown; the instances get the lines that are left (`Canvas.height`), the
troubled ones first, and what was left out is counted. So the commands at the bottom never scroll away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from hitless.cli.budgets import budget_lines
from hitless.cli.databases import database_notes
from hitless.cli.figures import UNKNOWN, moment, share, since
from hitless.cli.sight import Sight, current_stage, instances_of, is_finished, versions_shown
from hitless.cli.symbols import (
    HEALTH,
    MET,
    OPEN,
    PHASES,
    ROLLOUTS,
    ROTATIONS,
    STAGES,
    Glyphs,
    Symbol,
    mark,
    rollout_symbol,
)
from hitless.cli.verdict import ROWS, judgement_lines
from hitless.view.models import (
    ConditionView,
    InstanceView,
    PreflightFindingView,
    PreflightView,
    RolloutView,
    ServiceView,
    VersionView,
)

ALL_TRAFFIC_BP = 10_000
"""As in `hitless.rollout.spec`, whose import would cost every `hitless status` a tenth of its time."""

BAR_CELLS = 20
NARROW_BAR_CELLS = 10
HEAD_COLUMNS = 120
NARROW_COLUMNS = 90
LEAST_ROWS = 1
EVIDENCE_ROWS = ((40, ROWS), (32, 3), (0, 0))
"""How many rows of a judge's evidence a screen of so many lines has room for; the last fits every screen."""

LABELS = {"refusal": "no", "warning": "warn"}
TROUBLE_FIRST = {"failed": 0, "unready": 1, "starting": 2, "stopping": 3, "ready": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """What is drawn on: characters, the present moment, and how many lines there are (None: as many as it takes)."""

    glyphs: Glyphs
    now: datetime
    width: int
    height: int | None = None


def service_picture(sight: Sight, canvas: Canvas, console: Console) -> Group:
    """Draw one service."""
    above, below = list(_above(sight, canvas)), list(_below(sight))
    if canvas.height is None:
        rows = None
    else:
        rows = canvas.height - sum(len(console.render_lines(block, pad=False)) for block in (*above, *below)) - 1
    return Group(*above, *_instances(sight.service, canvas, rows), *below)


def rollout_picture(rollout: RolloutView, canvas: Canvas) -> Group:
    """Draw a rollout without its service: one that has ended."""
    return Group(
        *_rollout_head(rollout, canvas),
        *_conditions(rollout, canvas),
        *_judgement(rollout, canvas),
        Text(),
        *_causes([], rollout),
        *_findings(rollout),
        *_commands(rollout["next"]),
    )


def preflight_picture(found: PreflightView, canvas: Canvas) -> Group:
    """Draw what a preflight found."""
    head = Text(f"{found['service']}{canvas.glyphs.separator}{found['version']}", style="bold")
    symbol = MET if found["passed"] else ROLLOUTS["refused"]
    outcome = mark(replace(symbol, word="passed" if found["passed"] else "refused"), canvas.glyphs)
    blocks = [block for one in found["findings"] for block in _finding(one)]
    return Group(_sides(head, outcome, canvas.width), *(blocks or [Text("nothing found", style="dim")]))


def _above(sight: Sight, canvas: Canvas) -> Iterator[RenderableType]:
    yield _service_head(sight.service, canvas)
    if (certificate := sight.service.get("certificate")) and certificate["ends_at"]:
        ends_on = moment(certificate["ends_at"]).date()
        yield Text(f"TLS certificate ends on {ends_on}, {certificate['days_left']} days left", style="dim")
    yield from budget_lines(sight.service.get("objectives", ()), canvas.glyphs, canvas.now)
    if sight.rollout:
        yield from _rollout_head(sight.rollout, canvas)
    if sight.service["versions"]:
        yield Text()
        yield _traffic(sight.service["versions"], canvas)
    if sight.rollout and not is_finished(sight.rollout):
        yield from _conditions(sight.rollout, canvas)
    if sight.rollout:
        yield from _judgement(sight.rollout, canvas)


def _below(sight: Sight) -> Iterator[RenderableType]:
    yield Text()
    yield from _causes(sight.service["problems"], sight.rollout)
    for number, notice in enumerate(sight.service.get("notices", ())):  # an older control plane sends none
        yield _hanging("note" if number == 0 else "", Text(notice))
    if sight.rollout:
        yield from _findings(sight.rollout)
        yield from _commands(sight.rollout["next"])
    elif sight.service["health"] == "idle":
        yield from _commands([f"hitless deploy {sight.service['name']} --version VERSION"])


def _service_head(service: ServiceView, canvas: Canvas) -> Table:
    name = Text(service["name"], style="bold").append(
        f"{canvas.glyphs.separator}{service['listen']}", style="not bold dim"
    )
    return _sides(name, mark(HEALTH[service["health"]], canvas.glyphs), canvas.width)


def _rollout_head(rollout: RolloutView, canvas: Canvas) -> Iterator[RenderableType]:
    glyphs = canvas.glyphs
    versions = f"{rollout['baseline'] or 'nothing'} {glyphs.arrow} {rollout['candidate']}"
    left = Text(f"{rollout['strategy']}{glyphs.separator}{versions}")
    yield _sides(left, _progress(rollout, canvas), canvas.width)
    why = f'{glyphs.separator}"{rollout["reason"]}"' if rollout["reason"] else ""
    yield Text(
        f"{rollout['id']}{glyphs.separator}by {rollout['actor']}{why}", style="dim", no_wrap=True, overflow="ellipsis"
    )
    yield _stages(rollout, glyphs)


def _progress(rollout: RolloutView, canvas: Canvas) -> Text:
    parts = [mark(rollout_symbol(rollout), canvas.glyphs)]
    if (found := current_stage(rollout)) and not is_finished(rollout):
        parts.append(Text(f"stage {found[0]}/{len(rollout['stages'])}"))
    parts.append(Text(_elapsed(rollout, canvas.now)))
    return Text(canvas.glyphs.separator).join(parts)


def _elapsed(rollout: RolloutView, now: datetime) -> str:
    if rollout["finished_at"] is None:
        return f"{since(rollout['started_at'], now)} elapsed"
    return f"took {since(rollout['started_at'], moment(rollout['finished_at']))}"


def _stages(rollout: RolloutView, glyphs: Glyphs) -> Text:
    line = Text()
    for number, stage in enumerate(rollout["stages"]):
        symbol = STAGES[stage["state"]]
        label = f"{symbol.icon} {stage['name']}" if glyphs.icons else f"{stage['name']} ({symbol.word})"
        line.append("" if number == 0 else "   " if glyphs.icons else glyphs.separator)
        line.append(label, style=f"bold {symbol.colour}" if stage["state"] == "current" else symbol.colour)
    return line


def _traffic(versions: Sequence[VersionView], canvas: Canvas) -> Table:
    table = columns("version", "role", ">ready", "traffic", ">desired", ">routed")
    for version in versions:
        is_there = version["routed_bp"] == version["desired_bp"]
        table.add_row(
            Text(version["version"], style="bold"),
            version["role"],
            Text(
                f"{version['ready_instances']}/{version['wanted_instances']}",
                style="" if version["ready_instances"] >= version["wanted_instances"] else "yellow",
            ),
            _bar(version, canvas),
            share(version["desired_bp"]),
            Text(share(version["routed_bp"]), style="" if is_there else "yellow"),
        )
    return table


def _bar(version: VersionView, canvas: Canvas) -> Text:
    """Draw what is routed, and behind it what is desired beyond that."""
    cells = NARROW_BAR_CELLS if canvas.width < NARROW_COLUMNS else BAR_CELLS
    if version["routed_bp"] is None:
        return Text("not known".ljust(cells), style="yellow")
    routed, desired = (-(-bp * cells // ALL_TRAFFIC_BP) for bp in (version["routed_bp"], version["desired_bp"]))
    glyphs, missing = canvas.glyphs, max(desired - routed, 0)  # rounded up: the smallest canary is visible
    bar = Text(glyphs.filled * routed, style="cyan").append(glyphs.missing * missing, style="yellow")
    return bar.append(glyphs.empty * (cells - routed - missing), style="dim")


def _conditions(rollout: RolloutView, canvas: Canvas) -> Iterator[RenderableType]:
    found = current_stage(rollout)
    if found is None or not found[1]["until"]:
        return
    number, stage = found
    yield Text()
    yield Text(f"stage {number}/{len(rollout['stages'])} {stage['name']}: goes on when", style="bold")
    table = Table.grid(padding=(0, 2))
    for condition in stage["until"]:
        detail = condition["detail"] or " "  # a column that is empty throughout would take from the one beside it
        table.add_row(mark(_condition_symbol(condition, canvas.glyphs), canvas.glyphs), Text(detail, style="dim"))
    yield Padding(table, (0, 0, 0, 2), expand=False)


def _judgement(rollout: RolloutView, canvas: Canvas) -> Iterator[RenderableType]:
    """Show what the judge says; of a rollout that has ended, only the evidence that turned it back."""
    judgement = rollout.get("judgement")  # an older control plane sends none
    if judgement is None or (is_finished(rollout) and not (judgement["call"] == "rollback" and judgement["rows"])):
        return
    rows = next(rows for least, rows in EVIDENCE_ROWS if canvas.height is None or canvas.height >= least)
    yield from judgement_lines(judgement, canvas.glyphs, cause=rollout["cause"], rows=rows)


def _condition_symbol(condition: ConditionView, glyphs: Glyphs) -> Symbol:
    """Say the condition's name beside the icon; where there are no icons, say in words whether it is met."""
    symbol = MET if condition["met"] else OPEN
    return replace(symbol, word=condition["name"] if glyphs.icons else f"{condition['name']}: {symbol.word}")


def _instances(service: ServiceView, canvas: Canvas, rows: int | None) -> Iterator[RenderableType]:
    versions = [version for version in versions_shown(service) if instances_of(service, version)]
    if not versions:
        return
    pools = {version: instances_of(service, version) for version in versions}
    shares = _shares_of_rows(pools, rows)
    yield Text()
    if rows is not None and rows < 1 + 2 * len(versions):
        yield _summary(service["instances"])
        return
    table = columns("instance", "state", "address", "rotation", ">open", ">age")
    for version, instances in pools.items():
        table.add_row(Text(version, style="bold"))
        _add_instances(table, instances, canvas, shares[version])
    yield table


def _summary(instances: list[InstanceView]) -> Text:
    """Count instances in one line, where there is no room for more."""
    words = Counter(instance["phase"] for instance in sorted(instances, key=_trouble))
    return Text("instances  " + ", ".join(f"{number} {word}" for word, number in words.items()))


def _shares_of_rows(pools: Mapping[str, list[InstanceView]], rows: int | None) -> dict[str, int]:
    """Share the lines out, so that a small version is seen whole before a large one takes the rest."""
    if rows is None:
        return {version: len(instances) for version, instances in pools.items()}
    left, shares = rows - 1 - len(pools), {}
    by_size = sorted(pools, key=lambda version: len(pools[version]))
    for number, version in enumerate(by_size):
        shares[version] = max(min(len(pools[version]), left // (len(pools) - number)), LEAST_ROWS)
        left -= shares[version]
    return shares


def _add_instances(table: Table, instances: list[InstanceView], canvas: Canvas, rows: int) -> None:
    shown, hidden = _fold(instances, rows)
    for number, instance in enumerate(shown, 1):
        guide = canvas.glyphs.last if number == len(shown) and not hidden else canvas.glyphs.branch
        table.add_row(*_instance_row(instance, guide, canvas))
    if hidden:
        table.add_row(Text(f"{canvas.glyphs.last}{canvas.glyphs.more} {_folded(hidden)}", style="dim"))


def _fold(instances: list[InstanceView], rows: int) -> tuple[list[InstanceView], list[InstanceView]]:
    """Split into those that are shown and those that are counted; a fold costs a row itself."""
    if len(instances) <= rows:
        return instances, []
    by_trouble = sorted(instances, key=_trouble)
    return by_trouble[: rows - 1], by_trouble[rows - 1 :]


def _trouble(instance: InstanceView) -> tuple[int, bool]:
    return TROUBLE_FIRST[instance["phase"]], instance["rotation"] == "in"


def _folded(hidden: list[InstanceView]) -> str:
    """Count what was left out; where it is not all alike, name the worst."""
    (worst, number), *others = Counter(instance["phase"] for instance in hidden).items()
    return f"{len(hidden)} more, {number} {worst}" if others else f"{number} more {worst}"


def _instance_row(instance: InstanceView, guide: str, canvas: Canvas) -> Iterator[RenderableType]:
    yield Text(guide, style="dim").append(instance["id"], style="not dim")
    yield mark(PHASES[instance["phase"]], canvas.glyphs)
    yield instance["address"]
    yield mark(ROTATIONS[instance["rotation"]], canvas.glyphs)
    yield UNKNOWN if instance["open_requests"] is None else str(instance["open_requests"])
    yield since(instance["since"], canvas.now)


def _causes(problems: Sequence[str], rollout: RolloutView | None) -> Iterator[RenderableType]:
    causes = [rollout["cause"]] if rollout and rollout["cause"] else []
    lines = list(dict.fromkeys([*causes, *problems]))
    for number, line in enumerate(lines):
        yield _hanging("why" if number == 0 else "", Text(line, style="yellow"))


def _findings(rollout: RolloutView) -> Iterator[RenderableType]:
    """Show what the preflight found; what was skipped is said too."""
    if rollout["skipped_preflight"]:
        yield _hanging("note", Text("the preflight was skipped", style="yellow"))
    if rollout["preflight"] is not None:
        for finding in rollout["preflight"]["findings"]:
            yield from _finding(finding)
    for number, line in enumerate(database_notes(rollout)):
        yield _hanging("note" if number == 0 else "", Text(line))


def _finding(finding: PreflightFindingView) -> Iterator[RenderableType]:
    yield _hanging(LABELS[finding["severity"]], Text(f"{finding['sentence']} ({finding['rule']})", style="yellow"))
    yield from (_hanging("", Text(line, style="dim")) for line in finding["evidence"])
    yield _hanging("do", Text(finding["remedy"]))


def _commands(commands: Sequence[str]) -> Iterator[RenderableType]:
    for number, command in enumerate(commands):
        yield _hanging("next" if number == 0 else "", Text(command, style="bold"))


def _hanging(label: str, content: Text) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(width=4, style="dim")
    table.add_column(overflow="fold")
    table.add_row(label, content)
    return table


def _sides(left: Text, right: Text, width: int) -> Table:
    table = Table.grid(padding=(0, 2))
    table.width = min(width, HEAD_COLUMNS)
    table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_row(left, right)
    return table


def columns(*names: str) -> Table:
    """Build a table without lines; a name that begins with `>` is a column of numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(
            name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=True, overflow="ellipsis"
        )
    return table
