"""From the pieces of all intents of a change to its plan: one trigger per table, one pass over its rows.

Order within SWITCH: what needs time goes before the swap (indexes, proofs), the swap itself is one short transaction,
and what reads rows again because of it (foreign keys of other tables) comes after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from hitless.schema.change.pairs import Pair, cast
from hitless.schema.change.planning.ground import Ground, Pieces, contracting, done, undone
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Compare, Ddl, Exchange, Fill, Plan, Revoke, Step, Watch
from hitless.schema.change.triggers import Sync
from hitless.schema.names import listed, quoted


def assembled(ground: Ground, pieces: Pieces) -> Plan:
    """Put a plan together."""
    sync = Sync(change=ground.change.name, table=ground.table, pairs=pieces.pairs, gaps=pieces.gaps)
    swapped = sync.renamed(dict(pieces.swapped))
    hidden = swapped.renamed(dict(pieces.hidden))
    steps = (
        *_expand(ground, pieces, sync),
        *_backfill(ground, pieces),
        *_compared(ground, pieces),
        *pieces.switches,
        *_swap(ground, pieces, sync, swapped),
        *pieces.settles,
        *_brownout(ground, pieces),
        *_hide(pieces, swapped, hidden),
        *_drop(pieces, hidden),
    )
    return Plan(
        change=ground.change.name,
        steps=tuple(_numbered(steps)),
        removals=pieces.removals,
        watches=_watches(sync),
        notes=pieces.notes,
    )


def _numbered(steps: tuple[Step, ...]) -> Iterator[Step]:
    counted: Counter[Part] = Counter()
    for one in steps:
        counted[one.part] += 1
        yield replace(one, id=f"{one.part}.{counted[one.part]}")


def _expand(ground: Ground, pieces: Pieces, sync: Sync) -> Iterator[Step]:
    if pieces.columns or not sync.is_idle:
        both = ", and keep old and new columns the same" if pieces.pairs else ""
        title = f"Add columns to {ground.table.shown}{both}" if pieces.columns else "Fill what an older release leaves"
        yield Ddl(
            id="",
            part=Part.EXPAND,
            title=title,
            do=(*sync.counter_created(), *done(pieces.columns), *sync.created()),
            undo=(*sync.dropped(), *undone(pieces.columns), *sync.counter_dropped()),
            checks=pieces.checks,
            caveats=(*pieces.caveats, *((STARRED,) if pieces.columns else ())),
        )
    yield from pieces.expands


def _backfill(ground: Ground, pieces: Pieces) -> Iterator[Step]:
    """One pass for all: a row that needs one of its columns gets all of them, which changes the others nothing."""
    wanted = [(dict(_forward(one)), one.needs_filling()) for one in pieces.pairs]
    wanted += [({one.column: one.fill.text}, one.is_open()) for one in pieces.gaps]
    wanted += [({column: text}, todo) for column, text, todo in pieces.fills]
    if not wanted:
        return
    assignments: dict[str, str] = {}
    for texts, todo in wanted:
        for column, text in texts.items():
            is_alone = len(wanted) == 1
            assignments[column] = text if is_alone else f"CASE WHEN {todo} THEN {text} ELSE {quoted(column)} END"
    yield Fill(
        id="",
        part=Part.BACKFILL,
        title=f"Fill {listed(tuple(assignments))} of rows that are there",
        table=ground.table,
        assignments=assignments,
        todo=wanted[0][1] if len(wanted) == 1 else " OR ".join(f"({todo})" for _, todo in wanted),
    )


def _forward(pair: Pair) -> Iterator[tuple[str, str]]:
    return ((name, cast(pair, name, one).text) for name, one in pair.forward.items())


def _compared(ground: Ground, pieces: Pieces) -> Iterator[Step]:
    for pair in pieces.pairs:
        title = f"{listed(pair.new)} say{'s' * (len(pair.new) == 1)} what {listed(pair.old)} says, in every row"
        yield _comparison(ground, title, pair.is_forward(), pair.is_backward(), pair.columns)
    for gap in pieces.gaps:
        condition = f"{quoted(gap.column)} IS NOT NULL"
        yield _comparison(ground, f"No row has NULL in {quoted(gap.column)}", condition, condition, (gap.column,))


def _comparison(ground: Ground, title: str, forward: str, backward: str, shown: tuple[str, ...]) -> Step:
    return Compare(
        id="", part=Part.VERIFY, title=title, table=ground.table, forward=forward, backward=backward, shown=shown
    )


def _swap(ground: Ground, pieces: Pieces, before: Sync, after: Sync) -> Iterator[Step]:
    if pieces.swap:
        yield Ddl(
            id="",
            part=Part.SWITCH,
            title="Exchange the columns, and keep the former ones right",
            do=(*before.dropped(), *done((*pieces.unswapped, *pieces.swap)), *after.created()),
            undo=(*after.dropped(), *undone((*pieces.unswapped, *pieces.swap)), *before.created()),
            caveats=(PREPARED,),
            exchange=Exchange(table=ground.table, columns=_exchanged(pieces)),
        )


def _exchanged(pieces: Pieces) -> tuple[str, ...]:
    """Return the names that are those of a column before and afterwards."""
    return tuple(name for _, name in pieces.swapped if name in dict(pieces.swapped))


PREPARED = (
    "sessions that keep a prepared statement whose result holds the column get one error each (SQLSTATE 0A000, cached"
    " plan must not change result type); Django prepares none; with psycopg and SQLAlchemy set prepare_threshold=None"
    " before, or say `as: NEW_NAME` in the change"
)


STARRED = (
    "sessions that keep a prepared SELECT * or RETURNING * of the table get one error each (SQLSTATE 0A000), as with"
    " any new column; COPY, and INSERT of a SELECT *, without a list of columns meet one column more"
)


def _brownout(ground: Ground, pieces: Pieces) -> Iterator[Step]:
    if pieces.revoked:
        yield Revoke(
            id="",
            part=Part.BROWNOUT,
            title=f"Take privileges on {listed(pieces.revoked)} away from every role but the owner",
            table=ground.table,
            columns=pieces.revoked,
        )
    yield from pieces.brownouts


def _hide(pieces: Pieces, before: Sync, after: Sync) -> Iterator[Step]:
    if pieces.hides:
        yield Ddl(
            id="",
            part=Part.HIDE,
            title="Hide what nobody should need under another name, and keep it right",
            do=(*before.dropped(), *done(pieces.hides), *after.created()),
            undo=(*after.dropped(), *undone(pieces.hides), *before.created()),
        )


def _drop(pieces: Pieces, sync: Sync) -> Iterator[Step]:
    mark = contracting(sync.change)
    *triggers, function = sync.dropped() or ("",)
    ended = (*triggers, f"{mark}\n{function}") if function else ()
    statements = (*ended, *pieces.drops, *(f"{mark}\n{one}" for one in sync.counter_dropped()))
    if statements:
        yield Ddl(id="", part=Part.DROP, title="Drop it for good", do=statements)


def _watches(sync: Sync) -> tuple[Watch, ...]:
    if not sync.counts:
        return ()
    olds = tuple(column for pair in sync.pairs if not pair.is_swapped for column in pair.old)
    parts = [f"wrote {listed(olds)} and nothing new"] if olds else []
    parts += [f"left {listed(tuple(one.column for one in sync.gaps))} NULL"] if sync.gaps else []
    return (Watch(counter=sync.counter, sentence=f"a release {' or '.join(parts)}"),)
