"""What is known of the database's schema: a value. Changes return another one.

Rules. What was never seen created may be there all the same: a table whose CREATE stands in no file is known as far as
statements about it tell (`is_complete` is False then), and counts as one that is in use. Names are resolved by the
search path, `public` unless a script sets another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from hitless.schema.actions.tables import Persistence
from hitless.schema.actions.values import Column, Constraint, ConstraintKind
from hitless.schema.names import PUBLIC, Name

TEMPORARY = "pg_temp"
"""The schema of temporary tables, which is looked at first."""

_PROVING = (ConstraintKind.CHECK, ConstraintKind.NOT_NULL, ConstraintKind.PRIMARY_KEY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index.

    Attributes:
        columns: its keys that are plain columns, in their order.
        has_expressions: some of its keys are none.
        is_valid: its build came to an end; one that was built concurrently may be left invalid.
        constraint: the constraint that it serves.
    """

    name: Name
    table: Name
    columns: tuple[str, ...] = ()
    has_expressions: bool = False
    is_unique: bool = False
    is_partial: bool = False
    is_valid: bool = True
    method: str = "btree"
    constraint: str | None = None
    born: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        is_complete: its CREATE was seen, and all its columns: what is not listed is not there.
        born: number of the file that created it; 0 = the dump, or nobody knows.
        new_columns: those that the file `changed` added.
    """

    name: Name
    columns: Mapping[str, Column] = field(default_factory=dict)
    constraints: Mapping[str, Constraint] = field(default_factory=dict)
    is_complete: bool = False
    born: int = 0
    new_columns: Mapping[str, int] = field(default_factory=dict)
    persistence: Persistence = Persistence.PERMANENT
    is_partitioned: bool = False
    partition_of: Name | None = None
    is_default_partition: bool = False
    partition_key: tuple[str, ...] = ()
    parents: tuple[Name, ...] = ()
    has_heirs: bool = False
    is_foreign: bool = False

    @property
    def is_parent(self) -> bool:
        """Tell whether other tables may be parts of it, or inherit from it."""
        return self.is_partitioned or self.has_heirs

    def proves_not_null(self, column: str) -> bool:
        """Tell whether a validated constraint says that the column is never NULL."""
        return any(
            one.is_valid and one.is_enforced and (column in proven(one))
            for one in self.constraints.values()
            if one.kind in _PROVING
        )

    def constraints_on(self, column: str) -> Iterator[tuple[str, Constraint]]:
        """Return the constraints that read a column."""
        for name, one in self.constraints.items():
            if column in one.columns or (one.check and column in one.check.columns):
                yield name, one

    @property
    def primary_key(self) -> Constraint | None:
        """The primary key, where one is known."""
        keys = (one for one in self.constraints.values() if one.kind is ConstraintKind.PRIMARY_KEY)
        return next(keys, None)


def proven(constraint: Constraint) -> frozenset[str]:
    """Return the columns that a constraint keeps from being NULL."""
    if constraint.kind is ConstraintKind.CHECK:
        return constraint.check.not_null if constraint.check else frozenset()
    return frozenset(constraint.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view: what it reads, and the names of columns that stand in it."""

    name: Name
    is_materialized: bool = False
    reads: tuple[Name, ...] = ()
    columns: frozenset[str] = frozenset()
    takes_all: bool = False
    options: frozenset[str] = frozenset()
    born: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger."""

    name: str
    table: Name
    function: Name
    is_enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Everything that is known.

    Attributes:
        file: number of the file that is being read.
        session_path, local_path: where names without a schema are looked for, as SET and SET LOCAL have set it.
        enums: values of enums, in their order.
        functions: volatility of functions.
        words: of functions whose body is text, the words in it: what they name is found when they are called.
        domains: constraints of domains.
        statistics: the tables of extended statistics.
        born: numbers of the files that created types and sequences.
        rows: what somebody said of tables that are not known otherwise.
    """

    file: int = 0
    session_path: tuple[str, ...] = (PUBLIC,)
    local_path: tuple[str, ...] | None = None
    tables: Mapping[Name, Table] = field(default_factory=dict)
    indexes: Mapping[Name, Index] = field(default_factory=dict)
    views: Mapping[Name, View] = field(default_factory=dict)
    enums: Mapping[Name, tuple[str, ...]] = field(default_factory=dict)
    functions: Mapping[Name, str] = field(default_factory=dict)
    words: Mapping[Name, frozenset[str]] = field(default_factory=dict)
    domains: Mapping[Name, tuple[Constraint, ...]] = field(default_factory=dict)
    sequences: Mapping[Name, Name | None] = field(default_factory=dict)
    triggers: Mapping[tuple[Name, str], Trigger] = field(default_factory=dict)
    statistics: Mapping[Name, Name] = field(default_factory=dict)
    rows: Mapping[Name, int] = field(default_factory=dict)
    born: Mapping[Name, int] = field(default_factory=dict)

    @property
    def search_path(self) -> tuple[str, ...]:
        """Where names without a schema are looked for; the first takes what is created."""
        return self.session_path if self.local_path is None else self.local_path

    def resolve(self, name: Name) -> Name:
        """Return a relation's or type's name with its schema."""
        if name.schema is not None:
            return name
        for schema in (TEMPORARY, *self.search_path):
            full = Name(name.name, schema)
            if any(full in known for known in (self.tables, self.views, self.indexes, self.enums, self.domains)):
                return full
        return Name(name.name, self.search_path[0])

    def table(self, name: Name) -> Table | None:
        """Return a table, as far as it is known."""
        return self.tables.get(self.resolve(name))

    def column(self, table: Name, column: str) -> Column | None:
        """Return a column, as far as it is known."""
        found = self.table(table)
        return found.columns.get(column) if found else None

    def index(self, name: Name) -> Index | None:
        """Return an index, as far as it is known."""
        return self.indexes.get(self.resolve(name))

    def indexes_on(self, table: Name) -> Iterator[Index]:
        """Return the indexes of a table."""
        full = self.resolve(table)
        return (one for one in self.indexes.values() if one.table == full)

    def is_new(self, table: Name) -> bool:
        """Tell whether the file that is being read has created this table: nobody uses it yet, nothing waits for it."""
        found = self.table(table)
        if found is None:
            return self._is_new_view(table) or self.is_new_type(table)
        if found.persistence is Persistence.TEMPORARY:
            return True
        return found.born == self.file > 0

    def _is_new_view(self, name: Name) -> bool:
        view = self.views.get(self.resolve(name))
        return view is not None and view.born == self.file > 0

    def is_new_column(self, table: Name, column: str) -> bool:
        """Tell whether the file that is being read has added this column."""
        found = self.table(table)
        return found is not None and (self.is_new(table) or found.new_columns.get(column) == self.file)

    def is_new_type(self, name: Name) -> bool:
        """Tell whether the file that is being read has created this type, or sequence."""
        return self.born.get(self.resolve(name)) == self.file > 0

    def rows_of(self, table: Name) -> int | None:
        """Return about how many rows a table has; None = nobody said."""
        return self.rows.get(self.resolve(table))

    def foreign_keys_to(self, table: Name) -> Iterator[tuple[Table, Constraint]]:
        """Return the foreign keys that reference a table."""
        full = self.resolve(table)
        for one in self.tables.values():
            for constraint in one.constraints.values():
                if constraint.references is not None and self.resolve(constraint.references) == full:
                    yield one, constraint

    def views_on(self, relation: Name) -> Iterator[View]:
        """Return the views that read a relation, those that read such a view too."""
        wanted, found = [self.resolve(relation)], set()
        while wanted:
            name = wanted.pop()
            for view in self.views.values():
                if name in view.reads and view.name not in found:
                    found.add(view.name)
                    wanted.append(view.name)
                    yield view

    def partitions_of(self, table: Name) -> Iterator[Table]:
        """Return the parts of a partitioned table."""
        full = self.resolve(table)
        return (one for one in self.tables.values() if one.partition_of == full)

    def heirs_of(self, table: Table) -> Iterator[Table]:
        """Return the parts of a table and those that inherit from it, theirs too, each once.

        Scripts may say that two tables inherit from each other; PostgreSQL refuses that, the catalogue does not.
        """
        wanted, found = [table], {table.name}
        while wanted:
            parent = wanted.pop().name
            for one in self.tables.values():
                if (one.partition_of == parent or parent in one.parents) and one.name not in found:
                    found.add(one.name)
                    wanted += [one] if one.is_parent else []
                    yield one

    def next_file(self) -> Catalog:
        """Begin the next file: what is there from now on is in use; what belonged to the session is gone."""
        kept = {name: one for name, one in self.tables.items() if name.schema != TEMPORARY}
        tables = kept if len(kept) < len(self.tables) else self.tables
        return replace(self, file=self.file + 1, session_path=(PUBLIC,), local_path=None, tables=tables)

    def with_table(self, table: Table) -> Catalog:
        """Return it with a table."""
        return replace(self, tables={**self.tables, table.name: table})

    def with_rows(self, table: Name, rows: int) -> Catalog:
        """Return it with an estimate of a table's rows."""
        return replace(self, rows={**self.rows, self.resolve(table): rows})
