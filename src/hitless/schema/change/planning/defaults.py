"""Where a column's values come from when nobody writes it: defaults, sequences, identities; and how they move.

A new column has no default of its own while both releases write: it would look like a value that somebody wrote. A
column that is swapped hands its default over in the swap; one that is renamed when it is dropped, and until then its
default fills the old column, and the trigger the new one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from hitless.schema.actions.values import Column
from hitless.schema.change.dependents import Definition, Kind
from hitless.schema.change.expressions import RowExpression, read_trusted
from hitless.schema.change.pairs import Pair, cast
from hitless.schema.change.planning.columns import undefaulted
from hitless.schema.change.planning.ground import FORMER, Ground, Pieces, Turn, allowing, type_text
from hitless.schema.change.refusals import CannotPlan
from hitless.schema.effects.columns import fills_every_row
from hitless.schema.names import Name, derived, literal, quoted

_SEQUENCE = re.compile(r"SEQUENCE\s+NAME\s+((?:\"[^\"]+\"|\w+)(?:\.(?:\"[^\"]+\"|\w+))?)", re.IGNORECASE)
_LITERAL = re.compile(r"'([^']*)'(?:::.*)?", re.DOTALL)
_OPTIONS = re.compile(r"GENERATED\s+(ALWAYS|BY\s+DEFAULT)\s+AS\s+IDENTITY\s*(\(.*\))?", re.IGNORECASE | re.DOTALL)


def filling_themselves(ground: Ground, columns: Iterable[str]) -> dict[str, RowExpression | None]:
    """Return the columns that fill themselves, each with its value; None = it is another one each time."""
    found: dict[str, RowExpression | None] = {}
    for name in columns:
        column = ground.known.columns.get(name) if ground.known else None
        if column is not None and column.fills_itself:
            is_fixed = column.default is not None and not fills_every_row(column, ground.catalog)
            text = column.default.text if column.default is not None else ""
            found[name] = read_trusted(text).cast(type_text(column.stored_type)) if is_fixed else None
    return found


def is_cascaded(ground: Ground, columns: Iterable[str]) -> bool:
    """Tell whether a foreign key writes one of these columns when its partner changes or goes."""
    keys = [one for column in columns for _, one in (ground.known.constraints_on(column) if ground.known else ())]
    return any(one.references and ("CASCADE" in one.tail or " SET " in one.tail) for one in keys)


def default_moved(ground: Ground, pair: Pair, names: Mapping[str, str]) -> Pieces:
    """Hand defaults over when the old columns are dropped."""
    assert ground.known is not None
    statements: list[str] = []
    for old, new in names.items():
        column = ground.known.columns.get(old)
        if column is None:
            continue
        text = _default_of(ground, column)
        if text is not None:
            value = cast(pair, new, pair.forward[new].over({old: read_trusted(text)})).text
            statements.append(f"ALTER TABLE {ground.table} ALTER COLUMN {quoted(new)} SET DEFAULT {value}")
        elif undefaulted(ground, column.stored_type):
            statements.append(f"ALTER TABLE {ground.table} ALTER COLUMN {quoted(new)} DROP DEFAULT")
        owner = f"{ground.table}.{quoted(new)}"
        statements += [f"ALTER SEQUENCE {one} OWNED BY {owner}" for one in _owned(ground, column)]
    return Pieces(drops=tuple(statements))


def default_swapped(ground: Ground, pair: Pair, names: Mapping[str, str]) -> Pieces:
    """Hand defaults over in the swap. The statements come after both columns have their new names."""
    assert ground.known is not None
    turns: list[Turn] = []
    for old, new in names.items():
        column = ground.known.columns.get(old)
        if column is not None:
            turns += _handed_over(ground, pair, column, new)
    return Pieces(swap=tuple(turns))


def _handed_over(ground: Ground, pair: Pair, column: Column, shadow: str) -> Iterator[Turn]:
    name, former = column.name, derived(FORMER, column.name)
    if column.identity is not None:
        belongings = _belongings(ground, name)
        yield from (Turn(undo=one) for one in belongings)
        yield _identity(ground, name, former)
        yield from (Turn(do=one) for one in belongings)
    text = _default_of(ground, column)
    if text is not None:
        value = _value(ground, pair, name, shadow, text)
        alter = f"ALTER TABLE {ground.table} ALTER COLUMN"
        yield Turn(
            f"{allowing('default-dropped', 'the column that takes its name has it now')}\n"
            f"{alter} {quoted(former)} DROP DEFAULT, ALTER COLUMN {quoted(name)} SET DEFAULT {value}",
            f"{alter} {quoted(name)} DROP DEFAULT, ALTER COLUMN {quoted(former)} SET DEFAULT {text}",
        )
    for sequence in _owned(ground, column):
        yield Turn(
            f"ALTER SEQUENCE {sequence} OWNED BY {ground.table}.{quoted(name)}",
            f"ALTER SEQUENCE {sequence} OWNED BY {ground.table}.{quoted(former)}",
        )


def _value(ground: Ground, pair: Pair, column: str, shadow: str, default: str) -> str:
    """Return the default of the new column: what the old one's gives."""
    if not pair.values:
        return cast(pair, shadow, pair.forward[shadow].over({column: read_trusted(default)})).text
    said = _LITERAL.fullmatch(default)
    if said is None or said[1] not in pair.values:
        raise CannotPlan(
            f"the default of {ground.table.shown}.{quoted(column)} is {default}: no value of the enum",
            f"ALTER TABLE {ground.table} ALTER COLUMN {quoted(column)} DROP DEFAULT   # first",
        )
    return f"{literal(pair.values[said[1]])}::{pair.casts[shadow]}"


def sequence_widened(ground: Ground, column: Column) -> tuple[Turn, ...]:
    """Let a sequence of integers count on to bigint; one row is written anew."""
    return tuple(
        Turn(f"ALTER SEQUENCE {one} AS bigint", f"ALTER SEQUENCE {one} AS {column.stored_type}")
        for one in _owned(ground, column)
    )


def _default_of(ground: Ground, column: Column) -> str | None:
    if column.is_serial:
        sequence = Name(derived(ground.table.name, column.name, "seq"), ground.table.schema)
        return f"nextval({literal(str(sequence))}::regclass)"
    return column.default.text if column.default is not None else None


def _owned(ground: Ground, column: Column) -> Iterator[Name]:
    """Return the sequences that belong to a column."""
    if ground.dependents is not None:
        found = [one.name for one in ground.dependents.naming(ground.table, column.name, Kind.SEQUENCE)]
        if found or not column.is_serial:
            yield from found
            return
    if column.is_serial:
        yield Name(derived(ground.table.name, column.name, "seq"), ground.table.schema)


def _identity(ground: Ground, name: str, former: str) -> Turn:
    """Exchange an identity: it cannot be handed over, so its sequence is made anew and goes on where it was.

    Nobody draws a number meanwhile: the table is locked.
    """
    found = _identity_of(ground, name)
    sequence, kind, options = _parts(ground, name, found)
    return Turn(
        _identity_moved(ground, former, name, sequence=sequence, generated=f"{kind} AS IDENTITY {options}"),
        _identity_moved(ground, name, former, sequence=sequence, generated=f"{kind} AS IDENTITY {options}"),
    )


def _belongings(ground: Ground, name: str) -> tuple[str, ...]:
    """Return what is said of an identity's sequence: it is made anew, in either direction."""
    sequence = _parts(ground, name, _identity_of(ground, name))[0]
    every = ground.dependents.definitions if ground.dependents else ()
    said = (one for one in every if one.kind in {Kind.GRANT, Kind.COMMENT} and str(one.name) == sequence)
    return tuple(dict.fromkeys(one.text for one in said))


def _identity_of(ground: Ground, name: str) -> Definition | None:
    if ground.dependents is None:
        return None
    return next(ground.dependents.naming(ground.table, name, Kind.IDENTITY), None)


def _parts(ground: Ground, name: str, found: Definition | None) -> tuple[str, str, str]:
    said = _OPTIONS.search(found.text) if found else None
    sequence = _SEQUENCE.search(found.text) if found else None
    if found is None or said is None or sequence is None:
        raise CannotPlan(
            f"{ground.table.shown}.{quoted(name)} is an identity, and its sequence is not known",
            "show the schema as pg_dump writes it: --schema dump.sql, or --database URL",
        )
    return sequence[1], " ".join(said[1].upper().split()), " ".join((said[2] or "").split())


def _identity_moved(ground: Ground, source: str, target: str, *, sequence: str, generated: str) -> str:
    alter = f"ALTER TABLE {ground.table} ALTER COLUMN"
    return (
        f"{allowing('identity-changed', 'the column that takes its name has it now')}\n"
        "DO $$ DECLARE last bigint; used boolean; BEGIN\n"
        f"    SELECT last_value, is_called INTO last, used FROM {sequence};\n"
        f"    {alter} {quoted(source)} DROP IDENTITY;\n"
        f"    {alter} {quoted(target)} ADD GENERATED {generated};\n"
        f"    PERFORM setval({literal(sequence)}, last, used);\n"
        "END $$"
    )
