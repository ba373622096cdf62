"""What actions are made of: types, expressions, columns, constraints."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from hitless.schema.names import Name, listed, quoted

Generated = Literal["stored", "virtual"]
Identity = Literal["always", "by default"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlType:
    """A type.

    Attributes:
        name: as SQL has it, in lower case, without its schema where that is PostgreSQL's own: `integer`, `varchar`.
        schema: of a type of the user's.
        arguments: in parentheses, such as length or precision.
        is_array: it has brackets.
    """

    name: str
    schema: str | None = None
    arguments: tuple[int, ...] = ()
    is_array: bool = False

    def __str__(self) -> str:
        """Write it as SQL does."""
        head, _, tail = self.name.partition(" with")  # timestamp(3) with time zone
        inner = f"({', '.join(map(str, self.arguments))})" if self.arguments else ""
        name = f"{head}{inner} with{tail}" if tail else f"{self.name}{inner}"
        return f"{f'{quoted(self.schema)}.' if self.schema else ''}{name}{'[]' if self.is_array else ''}"

    @property
    def named(self) -> Name:
        """The name under which a catalogue may know it."""
        return Name(self.name, self.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Which rows a part of a partitioned table takes.

    Attributes:
        lower, upper: of a range, one value per column of the key, as SQL.
        values: of a list, as SQL.
        hashed: modulus and remainder of a hash.
    """

    lower: tuple[str, ...] = ()
    upper: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    hashed: tuple[int, int] | None = None
    is_default: bool = False

    def __str__(self) -> str:
        """Write it as SQL does."""
        if self.is_default:
            return "DEFAULT"
        if self.hashed is not None:
            return "FOR VALUES WITH (MODULUS {}, REMAINDER {})".format(*self.hashed)
        if self.values:
            return f"FOR VALUES IN ({', '.join(self.values)})"
        return f"FOR VALUES FROM ({', '.join(self.lower)}) TO ({', '.join(self.upper)})"

    def condition(self, key: tuple[str, ...]) -> str | None:
        """Write it as a condition that PostgreSQL recognises, for a key of one column; None where there is none."""
        if len(key) != 1 or self.is_default or self.hashed is not None:
            return None
        column = quoted(key[0])
        if self.values:
            return f"{column} IS NOT NULL AND {column} IN ({', '.join(self.values)})"
        parts = [f"{column} IS NOT NULL"]
        parts += [f"{column} >= {one}" for one in self.lower if one.lower() != "minvalue"]
        parts += [f"{column} < {one}" for one in self.upper if one.lower() != "maxvalue"]
        return " AND ".join(parts)


SERIALS = {"serial": "integer", "bigserial": "bigint", "smallserial": "smallint"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """An expression, and what matters of it.

    Attributes:
        text: written back as SQL.
        columns: that it reads, without their tables.
        functions: that it calls, in lower case, with the schema where one is written.
        types: that it casts to.
        not_null: columns of which it is only true while they are not NULL, as PostgreSQL itself concludes.
        is_constant: it calls nothing and reads nothing.
        is_null: it is NULL.
    """

    text: str
    columns: frozenset[str] = frozenset()
    functions: frozenset[Name] = frozenset()
    types: frozenset[Name] = frozenset()
    not_null: frozenset[str] = frozenset()
    is_constant: bool = False
    is_null: bool = False


class ConstraintKind(StrEnum):
    """What a constraint demands."""

    CHECK = "CHECK"
    FOREIGN_KEY = "FOREIGN KEY"
    UNIQUE = "UNIQUE"
    PRIMARY_KEY = "PRIMARY KEY"
    EXCLUSION = "EXCLUDE"
    NOT_NULL = "NOT NULL"


_SUFFIXES = {
    ConstraintKind.PRIMARY_KEY: "pkey",
    ConstraintKind.UNIQUE: "key",
    ConstraintKind.EXCLUSION: "excl",
    ConstraintKind.FOREIGN_KEY: "fkey",
    ConstraintKind.NOT_NULL: "not_null",
}
"""Ends of the names that PostgreSQL chooses (ChooseConstraintName and its callers)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A constraint.

    Attributes:
        name: None where PostgreSQL chooses one.
        check: of a CHECK.
        references: the table of a foreign key, and its columns in `referenced`; none written = its primary key.
        is_valid: the rows that are there were, or will be, checked.
        is_enforced: it is looked at in writes (NOT ENFORCED since PostgreSQL 18).
        using_index: an index that is there becomes the constraint.
        including: columns that its index carries along.
        nulls_not_distinct: two NULLs are the same to UNIQUE.
        tail: what else SQL says, such as ON DELETE CASCADE.
    """

    kind: ConstraintKind
    name: str | None = None
    columns: tuple[str, ...] = ()
    check: Expression | None = None
    references: Name | None = None
    referenced: tuple[str, ...] = ()
    is_valid: bool = True
    is_enforced: bool = True
    using_index: str | None = None
    is_deferrable: bool = False
    including: tuple[str, ...] = ()
    nulls_not_distinct: bool = False
    tail: str = ""

    @property
    def makes_index(self) -> bool:
        """Tell whether it needs an index that is built for it."""
        kinds = (ConstraintKind.UNIQUE, ConstraintKind.PRIMARY_KEY, ConstraintKind.EXCLUSION)
        return self.kind in kinds and self.using_index is None

    def named_for(self, table: str) -> str:
        """Return its name, or the one that PostgreSQL would choose."""
        if self.name is not None:
            return self.name
        if self.kind is ConstraintKind.CHECK:
            read = sorted(self.check.columns) if self.check else []
            return f"{table}_{read[0]}_check" if len(read) == 1 else f"{table}_check"
        columns = () if self.kind is ConstraintKind.PRIMARY_KEY else self.columns
        return "_".join((table, *columns, _SUFFIXES[self.kind]))

    @property
    def _included(self) -> str:
        return f" INCLUDE ({listed(self.including)})" if self.including else ""

    @property
    def index_definition(self) -> str:
        """Write its index as CREATE INDEX does behind the table's name."""
        nulls = " NULLS NOT DISTINCT" if self.nulls_not_distinct else ""
        return f"({listed(self.columns)}){self._included}{nulls}"

    def definition(self) -> str:
        """Write it as SQL does, without its name and without NOT VALID."""
        columns = f" ({listed(self.columns)})" if self.columns else ""
        match self.kind:
            case ConstraintKind.CHECK:
                body = f"CHECK ({self.check.text if self.check else '...'})"
            case ConstraintKind.NOT_NULL:
                body = f"NOT NULL {listed(self.columns)}"
            case ConstraintKind.FOREIGN_KEY:
                there = f" ({listed(self.referenced)})" if self.referenced else ""
                body = f"FOREIGN KEY{columns} REFERENCES {self.references}{there}"
            case _ if self.using_index is not None:
                body = f"{self.kind} USING INDEX {quoted(self.using_index)}"
            case _:
                body = f"{self.kind}{' NULLS NOT DISTINCT' if self.nulls_not_distinct else ''}{columns}{self._included}"
        return f"{body}{self.tail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column, as a statement defines it; `constraints` are those written at it, but for NOT NULL."""

    name: str
    type: SqlType
    is_not_null: bool = False
    default: Expression | None = None
    generated: Generated | None = None
    generation: Expression | None = None
    identity: Identity | None = None
    collation: str | None = None
    constraints: tuple[Constraint, ...] = ()

    @property
    def is_serial(self) -> bool:
        """Tell whether it draws its values from a sequence that is made with it."""
        return self.type.name in SERIALS and self.type.schema is None

    @property
    def stored_type(self) -> SqlType:
        """The type that the column has: `serial` is none."""
        return SqlType(name=SERIALS[self.type.name]) if self.is_serial else self.type

    @property
    def fills_itself(self) -> bool:
        """Tell whether an INSERT that does not name it gets a value."""
        has_default = self.default is not None and not self.default.is_null
        return has_default or self.generated is not None or self.identity is not None or self.is_serial
