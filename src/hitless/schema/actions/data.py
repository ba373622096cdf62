"""Actions on rows, and on a table as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hitless.schema.actions.action import Action
from hitless.schema.actions.values import Expression
from hitless.schema.names import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Write(Action):
    """INSERT, UPDATE, DELETE and MERGE, and COPY into a table.

    Attributes:
        called: the table's name in the statement, where that is another.
        columns: of an INSERT, as far as they are named, or set by an UPDATE.
        where: the condition of an UPDATE or DELETE.
        source: where an INSERT gets its rows from.
        rows: of VALUES.
        reads: other tables that are read.
        assigned: columns that an UPDATE sets, each with its value where it has one of its own.
        parts: columns of which it sets fields or elements.
        pinned: columns that the condition holds to values of its own, such as `id = 7` or `id <= 1000`.
        joined: columns that it only holds to columns of other tables.
        is_always: the condition is met by every row, such as `WHERE true`.
    """

    verb: Literal["insert", "update", "delete", "merge", "copy"]
    table: Name
    called: str = ""
    columns: tuple[str, ...] = ()
    where: Expression | None = None
    source: Literal["values", "query", "defaults", "stdin", "file", "none"] = "none"
    rows: int = 0
    reads: tuple[Name, ...] = ()
    on_conflict: bool = False
    assigned: tuple[tuple[str, Expression], ...] = ()
    parts: frozenset[str] = frozenset()
    pinned: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()
    is_always: bool = False

    @property
    def takes_all(self) -> bool:
        """Tell whether an UPDATE or DELETE leaves no row out."""
        return self.where is None or self.is_always


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Action):
    """SELECT, and COPY out of a table; `locked` are the tables of FOR UPDATE and its kin."""

    reads: tuple[Name, ...] = ()
    locked: tuple[Name, ...] = ()
    functions: frozenset[Name] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate(Action):
    """TRUNCATE."""

    tables: tuple[Name, ...]
    cascade: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTables(Action):
    """LOCK TABLE; `mode` is PostgreSQL's number, 1 (ACCESS SHARE) to 8 (ACCESS EXCLUSIVE)."""

    tables: tuple[Name, ...]
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuum(Action):
    """VACUUM and ANALYZE; without tables, all of the database."""

    tables: tuple[Name, ...] = ()
    is_vacuum: bool = True
    is_full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster(Action):
    """CLUSTER; without a table, all that were clustered before."""

    table: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(Action):
    """DO: a program in the database; `actions` are those of its statements that can be read without running it."""

    language: str = "plpgsql"
    actions: tuple[Action, ...] = ()
    is_dynamic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Action):
    """CALL of a procedure."""

    procedure: Name
