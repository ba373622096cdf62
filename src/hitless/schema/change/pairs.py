"""Two groups of columns of one row that say the same: what an older release reads and writes, and what a newer does.

The invariant of a row is *new = f(old) or old = g(new)*. One of them is enough: whoever wrote last was right, and what
the other direction loses is no contradiction. Nothing says which release a session belongs to; which columns a
statement changed does.

Values are the same when no reader could tell them apart. Equality of some types is wider than that (1.0 = 1.00 of
numeric, 'a' = 'A' of citext, and of collations that are not deterministic), and json has none: those are compared as
text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from hitless.schema.actions.values import Column, SqlType
from hitless.schema.change.expressions import RowExpression
from hitless.schema.names import quoted

_EXACT = frozenset(
    """
    smallint integer bigint oid boolean text varchar character bytea uuid date inet cidr macaddr
    """.split()
) | {"timestamp with time zone", "timestamp without time zone", "time without time zone"}
"""Types whose equality is that of what readers see."""

_EXACT_COLLATIONS = {None, '"C"', 'pg_catalog."C"', 'pg_catalog."default"', 'pg_catalog."POSIX"'}


def is_exact(column_type: SqlType | None, collation: str | None = None) -> bool:
    """Tell whether `=` of a type tells all values apart; of one that is not known, it is assumed."""
    if column_type is None:
        return True
    is_plain = column_type.schema is None and not column_type.is_array
    return is_plain and column_type.name in _EXACT and collation in _EXACT_COLLATIONS


_WORDS = frozenset(("text", "varchar", "character"))


def follows_collation(column_type: SqlType | None) -> bool:
    """Tell whether `=` of a type is that of the collation, which may come from the other side of a comparison."""
    return column_type is None or (column_type.name in _WORDS and not column_type.is_array)


def is_exact_column(column: Column | None) -> bool:
    """Tell it of a column as the catalogue knows it."""
    return column is None or is_exact(column.stored_type, column.collation)


def differs(left: str, right: str, *, exact: bool) -> str:
    """Write the condition that two values are not the same."""
    if exact:
        return f"{left} IS DISTINCT FROM {right}"
    return f'({left})::text COLLATE "C" IS DISTINCT FROM ({right})::text COLLATE "C"'


def same(left: str, right: str, *, exact: bool) -> str:
    """Write the condition that two values are the same."""
    return differs(left, right, exact=exact).replace(" IS DISTINCT FROM ", " IS NOT DISTINCT FROM ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Old columns and new columns, and how each are made of the others.

    Attributes:
        forward: each new column, over old ones.
        backward: each old column, over new ones.
        as_text: columns that are compared as text.
        casts: types that values of new columns are cast to where PostgreSQL does not by itself: outside of triggers.
        values: of a column of an enum, the old ones and what they become.
        defaults: of old columns that fill themselves, the value; None = it is another one each time.
        is_cascaded: a foreign key of an old column may write it when its partner changes.
        is_swapped: the new columns take the names of the old ones in the end, and no release knows the shadows.
    """

    forward: Mapping[str, RowExpression]
    backward: Mapping[str, RowExpression]
    as_text: frozenset[str] = field(default_factory=frozenset)
    is_swapped: bool = False
    casts: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, RowExpression | None] = field(default_factory=dict)
    is_cascaded: bool = False

    @property
    def old(self) -> tuple[str, ...]:
        """The old columns."""
        return tuple(self.backward)

    @property
    def new(self) -> tuple[str, ...]:
        """The new columns."""
        return tuple(self.forward)

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.old, *self.new)

    def renamed(self, names: Mapping[str, str]) -> Pair:
        """Return it once columns have other names."""

        def side(expressions: Mapping[str, RowExpression]) -> dict[str, RowExpression]:
            return {names.get(name, name): one.renamed(names) for name, one in expressions.items()}

        return replace(
            self,
            forward=side(self.forward),
            backward=side(self.backward),
            as_text=frozenset(names.get(one, one) for one in self.as_text),
            defaults={names.get(name, name): one for name, one in self.defaults.items()},
        )

    def is_forward(self, row: str = "") -> str:
        """Write the condition that the new columns are what the old ones give."""
        return " AND ".join(self._compared(self.forward, row, same))

    def is_backward(self, row: str = "") -> str:
        """Write the condition that the old columns are what the new ones give."""
        return " AND ".join(self._compared(self.backward, row, same))

    def is_not_forward(self, row: str = "") -> str:
        """Write the condition that they are not; it is in parentheses where it needs them."""
        return _any(self._compared(self.forward, row, differs))

    def is_not_backward(self, row: str = "") -> str:
        """Write the condition that they are not; it is in parentheses where it needs them."""
        return _any(self._compared(self.backward, row, differs))

    def _compared(self, side: Mapping[str, RowExpression], row: str, how: Callable[..., str]) -> list[str]:
        return [how(at(row, name), one.operand(row), exact=name not in self.as_text) for name, one in side.items()]

    def changed(self, names: Iterable[str]) -> str:
        """Write the condition that an UPDATE changed one of these columns; in parentheses where it needs them."""
        return _any([differs(at("OLD", one), at("NEW", one), exact=one not in self.as_text) for one in names])

    def is_written(self, row: str) -> str | None:
        """Write the condition that somebody wrote an old column of a new row, not its default; None = nothing can tell.

        A newer release that leaves all of them out gets the default of the old ones, which have it until the contract.
        """
        told = [
            differs(at(row, one), default.operand(), exact=one not in self.as_text)
            for one, default in self.defaults.items()
            if default is not None
        ]
        told += [f"{at(row, one)} IS NOT NULL" for one in self.old if one not in self.defaults]
        return _any(told) if told else None

    def needs_filling(self, row: str = "") -> str:
        """Write the condition under which a new row, or one that is there, still needs one side from the other.

        All new columns NULL is nothing that anybody has written yet, though the inverse may give the old ones of it.
        """
        return f"{self.is_not_forward(row)} AND ({all_null(self.new, row)} OR {self.is_not_backward(row)})"

    def is_torn(self) -> str:
        """Write the condition that an UPDATE has changed one side, and the other must follow."""
        return f"{self.changed(self.columns)} AND {self.is_not_forward('NEW')} AND {self.is_not_backward('NEW')}"


def cast(pair: Pair, column: str, value: RowExpression) -> RowExpression:
    """Return a value of a new column as a statement must write it."""
    return value.cast(pair.casts[column]) if column in pair.casts else value


def _any(conditions: list[str]) -> str:
    return conditions[0] if len(conditions) == 1 else f"({' OR '.join(conditions)})"


def at(row: str, column: str) -> str:
    """Write a column of a row."""
    return f"{row}.{quoted(column)}" if row else quoted(column)


def all_null(columns: Iterable[str], row: str = "") -> str:
    """Write the condition that all of these are NULL."""
    return " AND ".join(f"{at(row, one)} IS NULL" for one in columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A column in which NULL is filled, while an older release may still write it."""

    column: str
    fill: RowExpression

    def is_open(self, row: str = "") -> str:
        """Write the condition that it needs to be filled."""
        return f"{at(row, self.column)} IS NULL"
