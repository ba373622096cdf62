"""Constraints and indexes that are there without anybody having waited: the steps of each.

A constraint is added NOT VALID, which looks at no row, and validated under a lock that hinders neither readers nor
writers. NOT NULL follows from a CHECK that is valid, without another look (PostgreSQL, "ALTER TABLE", SET NOT NULL). An
index is built concurrently, and becomes a constraint afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hitless.schema.actions.values import Constraint
from hitless.schema.change.planning.checks import rows_where
from hitless.schema.change.planning.ground import SHADOW, Ground
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.rewriting import index_like
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Build, Check, Ddl, Step, Validate
from hitless.schema.effects.ground import NOT_NULL_NOT_VALID
from hitless.schema.names import Name, derived, listed, quoted


def at_once(title: str, do: str, undo: str, *, checks: tuple[Check, ...] = (), caveats: tuple[str, ...] = ()) -> Step:
    """Do something to the catalogue alone."""
    return Ddl(id="", part=Part.SWITCH, title=title, do=(do,), undo=(undo,), checks=checks, caveats=caveats)


def not_null(ground: Ground, column: str, *, is_asked: bool = False) -> tuple[Step, ...]:
    """Prove that a column is never NULL, then say so; where some rows may be, they are looked for first.

    A CHECK that is not valid yet holds whoever updates such a row, whatever he changes.
    """
    table, proof = ground.table, derived("hitless", ground.table.name, column, "proof")
    alter = f"ALTER TABLE {table}"
    dropped = f"{alter} DROP CONSTRAINT {quoted(proof)}"
    added = f"{alter} ADD CONSTRAINT {quoted(proof)} CHECK ({quoted(column)} IS NOT NULL) NOT VALID"
    checks = (
        rows_where(
            ground.table,
            (column,),
            f"{quoted(column)} IS NULL",
            trouble=f"{quoted(column)} is NULL in these rows, and will be NOT NULL",
            remedy="correct what fills it, or the rows",
        ),
    )
    return (
        at_once(f"Hold new rows to {quoted(column)} not being NULL", added, dropped, checks=checks if is_asked else ()),
        _validated(ground, proof),
        Ddl(
            id="",
            part=Part.SWITCH,
            title=f"Say that {quoted(column)} is not NULL; the valid CHECK spares a look at the rows",
            do=(f"{alter} ALTER COLUMN {quoted(column)} SET NOT NULL", dropped),
            undo=(added, f"{alter} ALTER COLUMN {quoted(column)} DROP NOT NULL"),
        ),
    )


def _validated(ground: Ground, name: str) -> Step:
    return Validate(
        id="",
        part=Part.SWITCH,
        title=f"Look whether every row meets {quoted(name)}",
        do=(f"ALTER TABLE {ground.table} VALIDATE CONSTRAINT {quoted(name)}",),
    )


def built(
    ground: Ground, name: str, definition: str, title: str, *, checks: tuple[Check, ...] = (), part: Part = Part.SWITCH
) -> tuple[Step, ...]:
    """Build an index beside writers; that of a partitioned table part by part, as PostgreSQL cannot otherwise.

    Args:
        ground: whose table.
        name: of the index.
        definition: CREATE INDEX of the table, under whatever name.
        title: in words.
        checks: what is asked first.
        part: where it belongs.

    Raises:
        CannotPlan: parts of the table have parts.
    """
    if ground.known is not None and ground.known.is_partitioned:
        return tuple(replace(one, part=part) for one in _built_in_parts(ground, name, definition, title, checks))
    return (replace(_build(ground.table, name, definition, title), checks=checks, part=part),)


def _build(table: Name, name: str, definition: str, title: str) -> Step:
    index = table.sibling(name)
    return Build(
        id="",
        part=Part.SWITCH,
        title=title,
        index=index,
        do=index_like(definition, name, {}, table=table),
        undo=f"DROP INDEX CONCURRENTLY IF EXISTS {index}",
    )


def _built_in_parts(
    ground: Ground, name: str, definition: str, title: str, checks: tuple[Check, ...]
) -> Iterator[Step]:
    whole = ground.table.sibling(name)
    yield Ddl(
        id="",
        part=Part.SWITCH,
        title=f"{title}: the whole, which holds nothing yet",
        do=(index_like(definition, name, {}, table=ground.table, whole_only=True),),
        undo=(f"DROP INDEX IF EXISTS {whole}",),
        checks=checks,
    )
    attached: list[str] = []
    for one in ground.catalog.partitions_of(ground.table):
        if one.is_partitioned:
            raise CannotPlan(
                f"{one.name.shown} is a part of {ground.table.shown} and has parts itself: its indexes are not planned",
                f"build {quoted(name)} by hand, from the innermost parts outwards",
            )
        own = _name_in_part(ground, one.name, name)
        attached.append(f"ALTER INDEX {whole} ATTACH PARTITION {one.name.sibling(own)}")
        yield _build(one.name, own, definition, f"{title}: of {one.name.shown}")
    if attached:
        yield Ddl(
            id="",
            part=Part.SWITCH,
            title=f"Attach the indexes of all parts to {quoted(name)}, which is valid then",
            do=tuple(attached),
            undo=(f"DROP INDEX {whole}",),  # with those of the parts: what is attached is not dropped by itself
        )


def _name_in_part(ground: Ground, part: Name, name: str) -> str:
    """Name the index of a part, which keeps its name when that of the whole gets another one in a swap."""
    own = derived(part.name, name.removeprefix(f"{SHADOW}_"))
    return own if part.sibling(own) not in ground.catalog.indexes else derived(own, ground.change.name)


def unique(
    ground: Ground,
    name: str,
    columns: tuple[str, ...],
    model: Constraint,
    *,
    checks: tuple[Check, ...] = (),
    caveats: tuple[str, ...] = (),
) -> tuple[Step, ...]:
    """Build a unique index, and make it a constraint."""
    including = f" INCLUDE ({listed(model.including)})" if model.including else ""
    nulls = " NULLS NOT DISTINCT" if model.nulls_not_distinct else ""
    statement = f"CREATE UNIQUE INDEX {quoted(name)} ON {ground.table} ({listed(columns)}){including}{nulls}"
    alter = f"ALTER TABLE {ground.table}"
    if ground.known is not None and ground.known.is_partitioned:
        raise CannotPlan(
            f"{ground.table.shown} is partitioned: PostgreSQL makes no index that is there its unique constraint",
            f"index: {{{name}: {{columns: [{', '.join(columns)}], unique: true}}}}   # holds the same",
        )
    return (
        *built(ground, name, statement, f"Build the index of {quoted(name)}", checks=checks),
        at_once(
            f"Make it the constraint {quoted(name)}",
            f"{alter} ADD CONSTRAINT {quoted(name)} UNIQUE USING INDEX {quoted(name)}{model.tail}",
            f"{alter} DROP CONSTRAINT {quoted(name)}",
            caveats=caveats,
        ),
    )


def check(
    ground: Ground,
    name: str,
    condition: str,
    model: Constraint,
    *,
    checks: tuple[Check, ...] = (),
    caveats: tuple[str, ...] = (),
) -> tuple[Step, ...]:
    """Add a CHECK."""
    return _added(ground, name, f"CHECK ({condition}){model.tail}", model, checks=checks, caveats=caveats)


def foreign_key(
    ground: Ground,
    name: str,
    columns: tuple[str, ...],
    model: Constraint,
    *,
    checks: tuple[Check, ...] = (),
    caveats: tuple[str, ...] = (),
) -> tuple[Step, ...]:
    """Add a foreign key.

    Raises:
        CannotPlan: the server cannot add it without a look at the rows.
    """
    is_partitioned = ground.known is not None and ground.known.is_partitioned
    if is_partitioned and ground.postgres < NOT_NULL_NOT_VALID:
        raise CannotPlan(
            f"{ground.table.shown} is partitioned: PostgreSQL before 18 refuses NOT VALID for its foreign keys",
            f"add {quoted(name)} to each part by hand",
        )
    assert model.references is not None
    there = f" ({listed(model.referenced)})" if model.referenced else ""
    body = f"FOREIGN KEY ({listed(columns)}) REFERENCES {model.references}{there}{model.tail}"
    return _added(ground, name, body, model, checks=checks, caveats=caveats)


def _added(
    ground: Ground, name: str, body: str, model: Constraint, *, checks: tuple[Check, ...], caveats: tuple[str, ...]
) -> tuple[Step, ...]:
    alter = f"ALTER TABLE {ground.table}"
    added = at_once(
        f"Hold new rows to {quoted(name)}",
        f"{alter} ADD CONSTRAINT {quoted(name)} {body} NOT VALID",
        f"{alter} DROP CONSTRAINT {quoted(name)}",
        checks=checks,
        caveats=caveats,
    )
    return (added, _validated(ground, name)) if model.is_valid else (added,)
