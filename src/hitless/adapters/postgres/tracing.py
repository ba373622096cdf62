"""Files traced on a copy of a schema, statement by statement, beside what the lint says of each.

Each statement commits before the next one, so that what it made is there; those that open and end transactions are left
out, and a lock is told of the statement that took it. A statement that cannot run in a transaction is asked for first,
behind a weak lock of another session, and then run. On a copy nothing has rows: what is read or written anew is seen by
what the server does, not by how long it takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import sql

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.faults import said
from hitless.adapters.postgres.trace import Traced, trace, trace_request
from hitless.schema.actions.session import TransactionStep
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.effects.effect import Lock, Work
from hitless.schema.linting import lint
from hitless.schema.names import Name
from hitless.schema.reading.script import Read, read_script
from hitless.schema.reading.sections import way_forward
from hitless.schema.reading.source import Source
from hitless.schema.report import Classified
from hitless.schema.rules.rule import Settings

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedStatement:
    """A statement, what it did and what the lint says of it.

    Attributes:
        locks, said: on tables that were there before.
        error: what the server said, where it refused; nothing more is known of it then.
        work_is_seen: it was run to its end in a transaction; otherwise the locks alone are known.
    """

    file: str
    line: int
    text: str
    locks: tuple[Lock, ...]
    said: tuple[Lock, ...]
    error: str | None = None
    work_is_seen: bool = True

    @property
    def differs(self) -> bool:
        """Tell whether the lint says another mode, or other work, of a table."""
        if self.error is not None:
            return False
        told = {one.relation: one for one in self.said}
        known = ((one, told[one.relation]) for one in self.locks if one.relation in told)
        return any(
            one.mode is not other.mode or (self.work_is_seen and one.work is not other.work) for one, other in known
        )


def trace_files(copy: Database, sources: list[Source], *, catalog: Catalog) -> Iterator[TracedStatement]:
    """Trace files, one after the other, on a copy; what is refused ends the trace of its file.

    Raises:
        DatabaseUnreachable: no answer.
    """
    with copy.connect() as connection, copy.connect() as observer:
        settings = Settings(postgres=connection.info.server_version // 10_000)
        report = lint(sources, catalog=catalog, settings=settings)
        for source in sources:
            classified = iter([one for one in report.statements if one.file == source.name])
            yield from _trace_file(connection, observer, source, classified)


def _trace_file(
    connection: psycopg.Connection, observer: psycopg.Connection, source: Source, classified: Iterator[Classified]
) -> Iterator[TracedStatement]:
    for one in read_script(way_forward(source.text)):
        if not isinstance(one, Read):
            continue
        known = next(classified)
        if one.actions and isinstance(one.actions[0], TransactionStep):
            continue
        traced = _trace(connection, observer, one, known)
        yield traced
        if traced.error is not None:
            return


def _trace(
    connection: psycopg.Connection, observer: psycopg.Connection, one: Read, known: Classified
) -> TracedStatement:
    text = one.statement.text
    try:
        if known.effect.outside_transaction:
            seen = _trace_alone(connection, observer, text)
        else:
            with connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '100ms'")
                seen = trace(connection, text)
    except psycopg.Error as error:
        return TracedStatement(
            file=known.file, line=known.line, text=text, locks=(), said=known.effect.locks, error=said(error)
        )
    return TracedStatement(
        file=known.file,
        line=known.line,
        text=text,
        locks=_locks(seen),
        said=known.effect.locks,
        work_is_seen=not known.effect.outside_transaction,
    )


def _trace_alone(connection: psycopg.Connection, observer: psycopg.Connection, text: str) -> Traced:
    names = [sql.Identifier(schema, table) for schema, table in observer.execute(_TABLES).fetchall()]
    seen = Traced(locks={}, work={})
    if names:
        with observer.transaction(force_rollback=True):
            tables = sql.SQL(", ").join(names)
            observer.execute(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(tables))
            connection.execute("SET lock_timeout = 0")  # on a copy that nobody else uses, and it is cancelled
            seen = trace_request(connection, observer, text)
    connection.execute("SET lock_timeout = '5s'")
    connection.execute(text.encode())  # what was cancelled waited for its first lock: nothing is left of it
    return seen


def _locks(seen: Traced) -> tuple[Lock, ...]:
    work: Mapping[Name, Work] = seen.work
    found = (Lock(relation=name, mode=mode, work=work.get(name, Work.NONE)) for name, mode in seen.locks.items())
    return tuple(sorted(found, key=lambda one: (-one.mode, str(one.relation))))
