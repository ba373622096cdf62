"""What stands in the way of columns that are replaced or dropped: refused, with names and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from hitless.schema.actions.values import ConstraintKind
from hitless.schema.catalog.catalog import Index, Table
from hitless.schema.change.dependents import Kind
from hitless.schema.change.planning.ground import Ground
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.change.triggers import PREFIX
from hitless.schema.names import quoted


class Fate(Enum):
    """What becomes of a column."""

    RENAMED = auto()  # columns of other names take its place
    SWAPPED = auto()  # another column takes its name
    KEY = auto()  # the same, of a primary key
    DROPPED = auto()

    @property
    def is_swapped(self) -> bool:
        """Tell whether another column takes its name."""
        return self in {Fate.SWAPPED, Fate.KEY}


def hold_free(ground: Ground, column: str, fate: Fate) -> None:
    """Hold that nothing is in the way.

    Raises:
        CannotPlan: something is.
    """
    if ground.known is None:
        return
    if fate is not Fate.DROPPED:
        hold_table(ground)
    _hold_key(ground, ground.known, column, fate)
    found = (*_in_schema(ground, ground.known, column, fate), *_in_definitions(ground, column, fate))
    for name, remedy in found[:1]:
        others = tuple(f"so is {other}: {way}" for other, way in found[1:])
        raise CannotPlan(
            f"{name} depends on {ground.table.shown}.{quoted(column)}, and cannot be carried over",
            remedy,
            evidence=others,
        )


def hold_table(ground: Ground) -> None:
    """Hold that rows of the table, and no others, meet triggers of the table.

    Raises:
        CannotPlan: they do not.
    """
    known = ground.known
    if known is None:
        return
    where = ground.table.shown
    if known.partition_of is not None:
        parent = known.partition_of.shown
        raise CannotPlan(f"{where} is a part of {parent}: its columns are those of the whole", f"table: {parent}")
    if known.parents or known.has_heirs:
        raise CannotPlan(
            f"{where} is part of an inheritance: triggers of one table do not see rows of another",
            "change each table by hand, or turn them into partitions first",
        )
    if known.is_foreign:
        raise CannotPlan(
            f"{where} is a foreign table: what writes it elsewhere meets no trigger here", "change it there"
        )
    for trigger in ground.dependents.on(ground.table, Kind.TRIGGER) if ground.dependents else ():
        if (
            trigger.name.name > PREFIX
            and not trigger.name.name.startswith(f"{PREFIX}_")
            and " BEFORE " in trigger.text.upper()
        ):
            raise CannotPlan(
                f"the trigger {quoted(trigger.name.name)} fires after those of a change, and what it sets is not seen",
                f"ALTER TRIGGER {quoted(trigger.name.name)} ON {ground.table} RENAME TO ...   # before {PREFIX}",
            )
    for rule in ground.dependents.on(ground.table, Kind.RULE) if ground.dependents else ():
        raise CannotPlan(
            f"the rule {quoted(rule.name.name)} rewrites statements on {where} before triggers see rows",
            "replace it by a trigger first",
        )


def _hold_key(ground: Ground, known: Table, column: str, fate: Fate) -> None:
    if column in known.partition_key:
        raise CannotPlan(
            f"{ground.table.shown} is partitioned by {quoted(column)}: a row would have to move when it is written",
            "make a new table with the key that is wanted, and move the rows",
        )
    if _is_key(known, column) and fate is not Fate.KEY:
        raise CannotPlan(
            f"{ground.table.shown}.{quoted(column)} is of the primary key",
            f"for int to bigint: primary_key: {{{column}: bigint}}",
            "a primary key keeps its name; a view can give it another",
        )


def _is_key(known: Table, column: str) -> bool:
    return bool(known.primary_key and column in known.primary_key.columns)


def _in_schema(ground: Ground, known: Table, column: str, fate: Fate) -> Iterator[tuple[str, str]]:
    """Name what the catalogue of the lint knows."""
    for name, one in known.columns.items():
        if one.generation is not None and column in one.generation.columns:
            yield f"the generated column {quoted(name)}", f"drop {quoted(name)} first, and add it again afterwards"
    if known.columns.get(column) and known.columns[column].identity and fate is Fate.RENAMED:
        yield "its identity", "a column that counts keeps its name; a view can give it another"
    for name, constraint in known.constraints_on(column):
        if constraint.references and "SET DEFAULT" in constraint.tail and fate.is_swapped:
            yield f"the foreign key {quoted(name)} (SET DEFAULT)", "let it SET NULL, or drop it, first"
        if constraint.kind is ConstraintKind.EXCLUSION and fate is not Fate.DROPPED:
            yield f"the constraint {quoted(name)} (EXCLUDE)", "no index of EXCLUDE can be built beside writers: by hand"
    for other, constraint in ground.catalog.foreign_keys_to(ground.table):
        is_of_key = known.primary_key is not None and set(constraint.referenced) == set(known.primary_key.columns)
        if column in constraint.referenced and not (fate is Fate.KEY and is_of_key):
            name = quoted(constraint.named_for(other.name.name))
            yield f"the foreign key {name} of {other.name.shown}", "reference the primary key instead, or drop it first"


_REMEDIES = {
    Kind.POLICY: "write the policy so that it does not read the column, or drop it first",
    Kind.PUBLICATION: "publish the whole table, or other columns, first",
    Kind.TRIGGER: "let the trigger look at other columns, or at every UPDATE, first",
    Kind.MATERIALIZED_VIEW: "drop it first, and make it anew afterwards",
}


def _in_definitions(ground: Ground, column: str, fate: Fate) -> Iterator[tuple[str, str]]:
    """Name what only definitions know."""
    if ground.dependents is None:
        return
    for one in ground.dependents.on(ground.table, Kind.REPLICA_IDENTITY):
        index = next((index for index in ground.catalog.indexes_on(ground.table) if _identifies(one.text, index)), None)
        if index is not None and column in index.columns:
            way = (
                f"ALTER TABLE {ground.table} REPLICA IDENTITY DEFAULT   # first, or UPDATE fails once the index is gone"
            )
            yield f"the replica identity {quoted(index.name.name)}", way
    yield from _of_other_changes(ground, column)
    kinds = [one for one in _REMEDIES if fate.is_swapped or one is not Kind.MATERIALIZED_VIEW]
    for one in ground.dependents.naming(ground.table, column, *kinds):
        if one.name.name.startswith(PREFIX):
            yield "another change, which is not at its end,", "hitless migrate status   # contract or undo it first"
        yield f"the {one.kind} {quoted(one.name.name)}", _REMEDIES[one.kind]


def _identifies(text: str, index: Index) -> bool:
    return text.rstrip("; ").endswith((f"USING INDEX {index.name.name}", f"USING INDEX {quoted(index.name.name)}"))


def _of_other_changes(ground: Ground, column: str) -> Iterator[tuple[str, str]]:
    """Name other changes whose function reads the column: it would not find it under another name."""
    for trigger in ground.catalog.triggers.values():
        is_another = trigger.table == ground.table and trigger.name.startswith(f"{PREFIX}_")
        words = ground.catalog.words.get(ground.catalog.resolve(trigger.function), frozenset()) if is_another else ()
        if column.lower() in words:
            yield f"the trigger {quoted(trigger.name)} of another change", FINISH


FINISH = "hitless migrate status   # contract or undo that change first"


def hold_unchanged(ground: Ground, column: str) -> None:
    """Hold that no other change that is under way is about a column that an expression reads.

    Raises:
        CannotPlan: one is.
    """
    for _, way in _of_other_changes(ground, column):
        raise CannotPlan(
            f"{ground.table.shown}.{quoted(column)} is that of another change, which is not at its end", way
        )


def views_that_stay(ground: Ground, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Say which views read columns that will be dropped: they go on until then, and must be written anew before."""
    if ground.dependents is not None:
        kinds = (Kind.VIEW, Kind.MATERIALIZED_VIEW)
        names = {one.name.shown for column in columns for one in ground.dependents.naming(ground.table, column, *kinds)}
    else:
        names = {one.name.shown for one in ground.catalog.views_on(ground.table) if one.columns & set(columns)}
    return tuple(
        f"the view {name} reads {', '.join(map(quoted, columns))}: write it anew, without, before the contract"
        for name in sorted(names)
    )


def triggers_that_name(ground: Ground, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Say which functions of the table's triggers name columns that will be hidden: they would fail from then on."""
    return tuple(
        f"{trigger.function.shown}() of the trigger {quoted(trigger.name)} names {quoted(column)}:"
        " write it anew, without, before the contract"
        for trigger in ground.catalog.triggers.values()
        if trigger.table == ground.table
        for column in columns
        if column.lower() in ground.catalog.words.get(ground.catalog.resolve(trigger.function), ())
    )
