"""`hitless migrate status`: where each change stands, what holds it up, and what was left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from hitless.adapters.postgres.database import Database, DatabaseUnreachable
from hitless.adapters.postgres.exchanging import lost_since_exchange
from hitless.adapters.postgres.faults import all_in_words
from hitless.adapters.postgres.leftovers import find_leftovers, take_away
from hitless.adapters.postgres.states import read_states
from hitless.adapters.postgres.taking import unknown
from hitless.adapters.postgres.waiting import blockers_of
from hitless.cli.clock import WallClock
from hitless.cli.figures import UNKNOWN, since
from hitless.cli.migrate_target import TARGET, Target, database_of
from hitless.cli.outcome import DETACHED, DONE, HUMAN_NEEDED
from hitless.cli.output import Output
from hitless.cli.session import DEFAULTS, Common
from hitless.cli.symbols import STAGES, Glyphs, Symbol, mark
from hitless.view.migration import leftover_view, migration_view
from hitless.view.schema_models import FillView, LeftoverView, MigrationPartView, MigrationsView, MigrationView

PAUSE_S = 1.0
LANES = {
    "done": STAGES["done"],
    "current": STAGES["current"],
    "next": Symbol("◌", "next", "yellow"),
    "ahead": STAGES["ahead"],
}
STEPS = {"done": STAGES["done"], "begun": Symbol("◐", "begun", "cyan"), "ahead": STAGES["ahead"]}


def status(
    change: str | None = None,
    /,
    *,
    watch: bool = False,
    fix: bool = False,
    target: Target = TARGET,
    common: Common = DEFAULTS,
) -> int:
    """Show where changes stand, and what was left behind.

    Args:
        change: Name of a change; without it, all.
        watch: Go on looking; Ctrl-C ends the watch alone.
        fix: Take away what was left behind and holds no data.
        target: Which database.
        common: Options of every command.
    """
    output, database = common.output, database_of(target, common.project)
    if watch:
        return _watch(output, database, change)
    view = look(database, change, fixes=fix)
    _print(output, view)
    return HUMAN_NEEDED if any(not one["fixed"] for one in view["leftovers"]) else DONE


def look(database: Database, change: str | None = None, *, fixes: bool = False) -> MigrationsView:
    """Return what a database says of its changes.

    Raises:
        UnknownChange: the one that is asked for is not there.
        DatabaseUnreachable, StatementFailed, NotPermitted, ConnectionLost: the server.
    """
    with database.connect() as connection, all_in_words(database):
        states = read_states(connection)
        blocked = {one.change: blockers_of(connection, one) for one in states}
        differs = {one.change: lost_since_exchange(connection, one) for one in states}
        found = find_leftovers(connection)
        fixed = take_away(connection, found) if fixes else ()
    if change is not None and all(one.change != change for one in states):
        raise unknown(change, tuple(one.change for one in states))
    return {
        "database": database.shown,
        "changes": [
            migration_view(one, blocked[one.change], differs[one.change])
            for one in states
            if change in {None, one.change}
        ],
        "leftovers": [leftover_view(one, fixed=one in fixed) for one in found],
    }


def _watch(output: Output, database: Database, change: str | None) -> int:
    clock = WallClock()
    try:
        with _shower(output, clock) as show:
            while True:
                view = _seen(database, change)
                if view is None:
                    output.narrate(f"{database.shown} does not answer; this watch tries again")
                else:
                    show(view)
                clock.pause(PAUSE_S)
    except KeyboardInterrupt:
        output.narrate("detached; what goes on goes on")
        return DETACHED


@contextmanager
def _shower(output: Output, clock: WallClock) -> Iterator[Callable[[MigrationsView], None]]:
    """Redraw in a terminal; elsewhere print what has changed."""
    if output.redraws:
        with Live(console=output.console, auto_refresh=False) as live:
            yield lambda view: live.update(picture(view, output.glyphs, clock), refresh=True)
        return
    shown: list[MigrationsView] = []

    def show(view: MigrationsView) -> None:
        if shown[-1:] != [view]:
            shown[:] = [view]
            _print(output, view)

    yield show


def _seen(database: Database, change: str | None) -> MigrationsView | None:
    try:
        return look(database, change)
    except DatabaseUnreachable:
        return None


def _print(output: Output, view: MigrationsView) -> None:
    if output.json:
        output.document("migrations", view)
    else:
        output.show(picture(view, output.glyphs, WallClock()))


def picture(view: MigrationsView, glyphs: Glyphs, clock: WallClock) -> RenderableType:
    """Draw all of it."""
    parts: list[RenderableType] = [_change(one, glyphs, clock) for one in view["changes"]]
    if not parts:
        parts.append(Text("no change is under way"))
    parts += [_leftover(one) for one in view["leftovers"]]
    return Group(*parts)


def _change(view: MigrationView, glyphs: Glyphs, clock: WallClock) -> RenderableType:
    head = Text(view["change"], style="bold").append(f"  {view['standing'].replace('_', ' ')}", "not bold")
    if view["goes_back"]:
        head.append(f", on its way back to {view['wanted'].replace('_', ' ')}", "yellow")
    held = [Text(f"  worked on by {one}") for one in view["held_by"]]
    held += [Text(f"  waits for {one}", "yellow") for one in view["blocked_by"]]
    held += [Text(f"  since the swap: {one}", "yellow") for one in view["differs"]]
    lanes = [line for lane in view["lanes"] if lane["steps"] for line in _lane(lane, view, glyphs)]
    last = view["events"][-1:]
    events = [
        Text(f"  last: {one['type']} by {one['actor']}, {since(one['at'], clock.now())} ago", "dim") for one in last
    ]
    notes = [Text(f"  note: {one}", "dim") for one in view["notes"]]
    following = [Text(f"  next: {view['next']}")] if view["next"] else []
    return Group(head, *held, *lanes, *notes, *events, *following)


def _lane(lane: MigrationPartView, view: MigrationView, glyphs: Glyphs) -> list[Text]:
    lines = [Text("  ").append_text(mark(LANES[lane["state"]], glyphs)).append(f" {lane['part']}")]
    fills = {one["step"]: one for one in view["fills"]}
    for step in lane["steps"]:
        line = Text("    ").append_text(mark(STEPS[step["state"]], glyphs)).append(f" {step['id']} {step['title']}")
        lines.append(line.append(_progress(fills[step["id"]]), "dim") if step["id"] in fills else line)
    return lines


def _progress(fill: FillView) -> str:
    rate = UNKNOWN if fill["rows_per_s"] is None else f"{fill['rows_per_s']:,.0f}"
    paused = ", paused" if fill["paused"] else ""
    return f": {fill['rows']:,} rows, {fill['changed']:,} changed, {rate} rows/s{paused}"


def _leftover(view: LeftoverView) -> Text:
    state = "taken away" if view["fixed"] else "left over"
    line = Text(f"{state}: ", "yellow").append(f"{view['kind']} {view['name']}: {view['why']}", "default")
    return line if view["fixed"] else line.append(f"\n    {view['remedy']}")
