"""A throw-away copy of a schema: a database of its own, without rows, that is dropped at the end.

What it is not: it has no rows, no subscriptions (one would connect to its publisher), no large objects; owners and
privileges are left out, because the roles may not exist where the copy lies.

A copy whose maker was killed stays behind. Its name says whose it is, so that it is found: `sweep` drops those that
nobody is connected to.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.dump import schema_of
from hitless.errors import EnvironmentFault
from hitless.schema.reading.cutting import cut

PREFIX = "hitless_scratch_"
_OPTIONS = ("--no-owner", "--no-privileges", "--no-subscriptions", "--no-security-labels", "--no-tablespaces")

_EXTENSION = re.compile(r"\s*(?:CREATE|COMMENT ON) EXTENSION\b", re.IGNORECASE)
"""Many need a superuser: pg_stat_statements does, and hardly a schema needs it."""

_LOCALE = """
SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text,
       to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'
FROM pg_database d WHERE datname = current_database()
"""

_ABANDONED = r"""
SELECT datname FROM pg_database d
WHERE datname LIKE 'hitless\_scratch\_%' AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)
  AND pg_has_role(datdba, 'MEMBER')
"""


class ScratchFailed(EnvironmentFault):
    """A copy of the schema cannot be made."""

    code = "HL6504"
    temporary = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaText:
    """A schema as SQL.

    Attributes:
        text: as `pg_dump --schema-only` writes it.
        name: what people call it in messages.
        options: of CREATE DATABASE: encoding and locale that it needs; empty = the server's own.
    """

    text: str
    name: str
    options: Mapping[str, str]


def dumped(database: Database) -> SchemaText:
    """Read a database's schema, for a copy of it.

    Raises:
        DatabaseUnreachable: no answer.
        DumpUnavailable: no pg_dump fits, or it failed.
    """
    with database.connect() as connection:
        version = connection.info.server_version // 10_000
        options = _locale(connection)
    text = schema_of(database, *_OPTIONS, version=version)
    return SchemaText(text=text, name=database.shown, options=options)


@contextmanager
def scratch(schema: SchemaText, *, server: Database) -> Iterator[Database]:
    """Make a copy of a schema in a database of its own on a server, and drop it at the end.

    Args:
        schema: what `dumped` returned, or a dump that somebody gives.
        server: any database of the server that the copy shall lie on; its role needs CREATEDB.

    Raises:
        ScratchFailed: no right to create a database, or a statement of the schema fails there.
    """
    name = f"{PREFIX}{secrets.token_hex(6)}"
    with server.connect() as connection:
        _create(connection, name, schema.options, server)
    copy = Database(make_conninfo(server.conninfo, dbname=name))
    try:
        _fill(copy, schema)
        yield copy
    finally:
        with server.connect() as connection:
            _drop(connection, name)


@contextmanager
def copied(database: Database, *, server: Database | None = None) -> Iterator[Database]:
    """Copy a database's schema, on its own server unless another is named; see `scratch`."""
    with scratch(dumped(database), server=server or database) as copy:
        yield copy


def sweep(connection: psycopg.Connection) -> tuple[str, ...]:
    """Drop copies that were left behind and that nobody is connected to; return their names."""
    names = abandoned(connection)
    for name in names:
        # Without FORCE: whoever has connected since is not ended.
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    return names


def abandoned(connection: psycopg.Connection) -> tuple[str, ...]:
    """Name copies that were left behind, as far as this role may drop them."""
    return tuple(name for (name,) in connection.execute(_ABANDONED).fetchall())


def _create(connection: psycopg.Connection, name: str, options: Mapping[str, str], server: Database) -> None:
    words = [sql.SQL("{} {}").format(sql.SQL(key), sql.Literal(value)) for key, value in options.items()]
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(
        sql.Identifier(name), sql.SQL(" ").join(words)
    )
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ScratchFailed(
            f"{connection.info.user} may not create a database on {server.shown}",
            hints=(
                "name another server for the copy: --scratch postgresql://localhost/postgres",
                f'or, as a superuser: ALTER ROLE "{connection.info.user}" CREATEDB',
            ),
        ) from error
    except psycopg.Error as error:
        raise ScratchFailed(f"{server.shown}: no database for the copy: {_words(error)}") from error


def _fill(copy: Database, schema: SchemaText) -> None:
    """Run a dump; what cannot be run is an error, but settings that this server does not know yet, or any more."""
    with copy.connect() as connection:
        connection.execute("SET client_min_messages = warning")
        for piece in cut(schema.text):
            if not piece.text:
                continue
            try:
                connection.execute(piece.text.encode())
            except psycopg.errors.UndefinedObject as error:
                if not (piece.text[:4].upper() == "SET " or _EXTENSION.match(piece.text)):
                    raise _failed(schema, piece.text, error) from error
            except psycopg.errors.DuplicateSchema:  # `public` is there already
                continue
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFile) as error:
                if _EXTENSION.match(piece.text) is None:  # what needs the extension fails, and is said
                    raise _failed(schema, piece.text, error) from error
            except psycopg.Error as error:
                raise _failed(schema, piece.text, error) from error


def _failed(schema: SchemaText, statement: str, error: psycopg.Error) -> ScratchFailed:
    return ScratchFailed(
        f"the schema of {schema.name} cannot be copied: {_words(error)}",
        evidence=(" ".join(statement.split())[:200],),
        hints=("use a server of the same version with the same extensions: --scratch URL",),
    )


def _drop(connection: psycopg.Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _locale(connection: psycopg.Connection) -> dict[str, str]:
    row = connection.execute(_LOCALE).fetchone()
    assert row is not None, "a session is in a database"
    encoding, collate, ctype, provider, locale, icu = row
    options = {"ENCODING": encoding, "LC_COLLATE": collate, "LC_CTYPE": ctype}
    if provider == "i":
        return {**options, "LOCALE_PROVIDER": "icu", "ICU_LOCALE": locale or icu}
    if provider == "b":
        return {**options, "LOCALE_PROVIDER": "builtin", "BUILTIN_LOCALE": locale}
    return options


def _words(error: psycopg.Error) -> str:
    return " ".join(str(error).split())
