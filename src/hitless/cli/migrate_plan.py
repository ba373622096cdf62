"""`hitless migrate plan`: what a change would do, as SQL. Needs no server, no project and no control plane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hitless.cli.faults import Usage
from hitless.cli.outcome import DONE
from hitless.cli.session import DEFAULTS, Common
from hitless.config.change_file import read_change
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.change.dependents import Dependents, dependents_of
from hitless.schema.change.footprint import footprints
from hitless.schema.change.planner import OLDEST, plan_change
from hitless.schema.change.script import script_of
from hitless.schema.linting import read_schema
from hitless.schema.reading.source import Source, decode
from hitless.view.migration_plan import migration_plan_view


def plan(
    *changes: Path,
    schema: Path | None = None,
    database: str | None = None,
    postgres: Literal[15, 16, 17, 18] | None = None,
    common: Common = DEFAULTS,
) -> int:
    """Print what changes would do, part by part, as SQL; nothing is done.

    Args:
        changes: Change files.
        schema: The schema as it is, as pg_dump --schema-only writes it.
        database: The database whose schema it is, as psql takes it; read, and not written.
        postgres: The server's major version; 15, or that of the database.
        common: Options of every command.
    """
    if not changes:
        raise Usage("name change files", hints=("hitless migrate plan changes/split-full-name.yaml",))
    if schema is not None and database is not None:
        raise Usage("--schema or --database, not both", hints=("the database is asked with what pg_dump says",))
    wanted = [read_change(one) for one in changes]
    known = _known(schema, database, common)
    version = postgres or known.postgres
    documents = []
    for one in wanted:
        made = plan_change(one, known.catalog, version, known.dependents)
        effects = footprints(made, known.catalog or Catalog(), version)
        if common.json:
            documents.append(migration_plan_view(made, effects))
        else:
            common.output.raw(script_of(made, effects).rstrip())
    if common.json:
        common.output.document("migration-plan", {"postgres": version, "plans": documents})
    return DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What somebody has told of the schema."""

    catalog: Catalog | None = None
    dependents: Dependents | None = None
    postgres: int = OLDEST


def _known(schema: Path | None, database: str | None, common: Common) -> _Known:
    if database is not None:
        return _of_database(database)
    return _of_dump(schema, common) if schema is not None else _Known()


def _of_database(conninfo: str) -> _Known:
    from hitless.adapters.postgres.database import Database  # noqa: PLC0415 - the driver loads only where it is used
    from hitless.adapters.postgres.live import dump_of, read_live  # noqa: PLC0415 - as above

    asked = Database(conninfo)
    live = read_live(asked)
    dependents = dependents_of(dump_of(asked, postgres=live.postgres))
    return _Known(catalog=live.catalog, dependents=dependents, postgres=live.postgres)


def _of_dump(path: Path, common: Common) -> _Known:
    try:
        source = decode(str(path), path.read_bytes())
    except OSError as error:
        raise Usage(f"--schema {path}: {error.strerror}", hints=("pg_dump --schema-only DATABASE > FILE",)) from None
    if not isinstance(source, Source):
        raise Usage(f"--schema {path}: {source.message}", hints=("pg_dump --schema-only DATABASE > FILE",))
    catalog, unread = read_schema(source)
    for one in unread:
        common.output.narrate(f"{one.file}:{one.line}:{one.column}: cannot be read, and is left out: {one.message}")
    return _Known(catalog=catalog, dependents=dependents_of(source.text))
