"""`hitless migrate trace`: what files really lock, read and write anew, on a throw-away copy of the schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.scratch import SchemaText, dumped, scratch
from hitless.adapters.postgres.tracing import TracedStatement, trace_files
from hitless.cli.faults import MigrationsUnread, Usage
from hitless.cli.migrate_target import TARGET, Target, database_of
from hitless.cli.migrations import read_paths
from hitless.cli.outcome import DONE, REFUSED
from hitless.cli.output import Output
from hitless.cli.session import DEFAULTS, Common
from hitless.errors import Place
from hitless.schema.linting import read_schema
from hitless.schema.reading.source import Source, decode
from hitless.view.schema_models import TableLockView, TracedStatementView
from hitless.view.trace import lock_views

INDENT = "    "
SHOWN = 100
"""Characters of a statement."""


def trace(
    *paths: str,
    schema: Path | None = None,
    scratch_url: Annotated[str | None, Parameter(name="--scratch")] = None,
    target: Target = TARGET,
    common: Common = DEFAULTS,
) -> int:
    """Run files on a copy of the schema, and show what each statement locks.

    Args:
        paths: Files, folders, or - for stdin.
        schema: A dump to make the copy of, instead of the database's own schema; it is made on the database's server.
        scratch_url: Another server for the copy; its role needs CREATEDB.
        target: Which database.
        common: Options of every command.
    """
    output = common.output
    sources = _sources(paths)
    with _copy(schema, scratch_url, target, common.project) as (copy, text):
        catalog, _ = read_schema(Source(text.name, text.text))
        found = list(trace_files(copy, sources, catalog=catalog))
    views = [_view(one) for one in found]
    if output.json:
        output.document("trace", {"files": [one.name for one in sources], "statements": views})
    else:
        for view in views:
            _show(view, output)
    return REFUSED if any(one.error for one in found) else DONE


def _sources(paths: tuple[str, ...]) -> list[Source]:
    if not paths:
        raise Usage("name files or folders, or - for stdin", hints=("hitless migrate trace --help",))
    given = read_paths(paths)
    if given.unread:
        first = given.unread[0]
        place = Place(first.file, first.line, first.column)
        raise MigrationsUnread(files=[one.file for one in given.unread], place=place, why=first.message)
    return list(given.sources)


@contextmanager
def _copy(
    schema: Path | None, scratch_url: str | None, target: Target, project: Path | None
) -> Iterator[tuple[Database, SchemaText]]:
    server = Database(scratch_url) if scratch_url else database_of(target, project)
    text = _given(schema) if schema else dumped(database_of(target, project))
    with scratch(text, server=server) as copy:
        yield copy, text


def _given(path: Path) -> SchemaText:
    try:
        source = decode(str(path), path.read_bytes())
    except OSError as error:
        raise Usage(f"--schema {path}: {error.strerror}", hints=("pg_dump --schema-only DATABASE > FILE",)) from None
    if not isinstance(source, Source):
        raise Usage(f"--schema {path}: {source.message}")
    return SchemaText(text=source.text, name=str(path), options={})


def _view(one: TracedStatement) -> TracedStatementView:
    return {
        "file": one.file,
        "line": one.line,
        "statement": one.text,
        "locks": lock_views(one.locks),
        "said": lock_views(one.said),
        "differs": one.differs,
        "error": one.error,
    }


def _show(view: TracedStatementView, output: Output) -> None:
    statement = " ".join(view["statement"].split())
    shown = statement if len(statement) <= SHOWN else f"{statement[:SHOWN]} ..."
    output.console.print(Text(f"{view['file']}:{view['line']}: ").append(shown, "bold"), soft_wrap=True)
    if view["error"] is not None:
        output.console.print(Text(f"{INDENT}refused: {view['error']}", "bold red"), soft_wrap=True)
        return
    for lock in view["locks"]:
        output.raw(f"{INDENT}{_words(lock)}")
    if not view["locks"]:
        output.raw(f"{INDENT}no lock on a table that was there before")
    for lock in view["said"] if view["differs"] else ():
        output.console.print(Text(f"{INDENT}the lint says: {_words(lock)}", "yellow"), soft_wrap=True)


def _words(lock: TableLockView) -> str:
    waits = "readers and writers wait" if lock["blocks_reads"] else "writers wait" if lock["blocks_writes"] else ""
    work = {"none": "", "scan": "every row is read", "rewrite": "every row is written anew"}[lock["work"]]
    tail = ", ".join(one for one in (waits, work) if one)
    return f"{lock['mode']} on {lock['relation']}" + (f": {tail}" if tail else "")
