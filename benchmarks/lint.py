"""What `hitless migrate lint` costs: a thousand migrations as one history, and a dump of a hundred megabytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Goal, Result, Table

FILES, DUMP_MB = 1_000, 100
MB = 1_000_000
ACCEPTED = (0, 4)
"""Nothing is refused, or something is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call took, as `wait4` tells."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    statements: int
    findings: int


def run(*, quick: bool) -> Result:
    files, dump_mb = (50, 1) if quick else (FILES, DUMP_MB)
    with tempfile.TemporaryDirectory(prefix="hitless-lint-") as name:
        folder = Path(name)
        migrations = _write_migrations(folder / "migrations", files)
        dump = _write_dump(folder / "dump.sql", dump_mb * MB)
        rows = {
            f"{files:,} migrations as one history": _lint(migrations),
            f"the same, after a dump of {files:,} tables": _lint(migrations, schema=_write_schema(folder, files)),
            f"a dump with data, {dump_mb} MB": _lint(dump),
        }
    table = Table(
        title="What linting costs (the command, from its start to its end)",
        columns=("what", "statements", "findings", "wall", "processor", "peak memory"),
        rows=tuple(
            (what, one.statements, one.findings, f"{one.wall_s:.2f} s", f"{one.cpu_s:.2f} s", f"{one.peak_mb:.0f} MB")
            for what, one in rows.items()
        ),
    )
    first, second, _ = rows.values()
    return Result(
        tables=(table,),
        goals=(
            Goal(name="1,000 migrations", measured=first.wall_s, limit=10.0, unit=" s"),
            Goal(name="1,000 migrations after a dump of 1,000 tables", measured=second.wall_s, limit=10.0, unit=" s"),
            Goal(name="memory for 1,000 migrations", measured=first.peak_mb, limit=300.0, unit=" MB"),
        ),
        broken=tuple(f"{what}: nothing was read" for what, one in rows.items() if one.statements == 0),
    )


def _lint(path: Path, *, schema: Path | None = None) -> Cost:
    """Run the command.

    Raises:
        RuntimeError: it ended by a fault, or could not read something.
    """
    options = ["--schema", str(schema)] if schema else []
    command = [sys.executable, "-m", "hitless.cli", "migrate", "lint", str(path), "--json", *options]
    with tempfile.TemporaryFile("w+") as output:
        began_s = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began_s
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if process.returncode not in ACCEPTED:
            raise RuntimeError(f"exit code {process.returncode}")
        data = json.load(output)["data"]
    return Cost(
        wall_s=wall_s,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_mb=used.ru_maxrss * 1_024 / MB,
        statements=len(data["statements"]),
        findings=len(data["findings"]),
    )


def _write_migrations(folder: Path, files: int) -> Path:
    """Write what teams write: tables, columns, constraints in the safe way, indexes, now and then what is unsafe."""
    folder.mkdir()
    for number in range(files):
        (folder / f"{number}_change.sql").write_text("\n".join(_migration(number)))
    return folder


def _migration(number: int) -> Iterator[str]:
    table, before = f"t{number}", f"t{max(number - 1, 0)}"
    yield f"-- migration {number}: a table, a column for the one before, and what belongs to them"
    yield "BEGIN;\nSET LOCAL lock_timeout = '100ms';"
    yield f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text NOT NULL, size integer DEFAULT 0, made timestamptz);"
    yield f"COMMENT ON TABLE {table} IS 'number {number}; it''s one of many';"
    yield f"CREATE INDEX {table}_name ON {table} (lower(name)) WHERE size > 0;"
    yield f"ALTER TABLE {before} ADD COLUMN extra_{number} varchar(40), ADD COLUMN flag_{number} boolean DEFAULT false;"
    yield f"ALTER TABLE {before} ADD CONSTRAINT c_{number} CHECK (extra_{number} IS NOT NULL) NOT VALID;"
    yield "COMMIT;"
    yield f"ALTER TABLE {before} VALIDATE CONSTRAINT c_{number};"
    yield f"ALTER TABLE {before} ALTER COLUMN extra_{number} SET NOT NULL;"
    yield f"CREATE OR REPLACE FUNCTION f{number}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
    if number % 10 == 0:
        yield f"CREATE INDEX {before}_extra ON {before} (extra_{number});\nUPDATE {before} SET size = 1 WHERE size = 0;"


def _write_schema(folder: Path, tables: int) -> Path:
    path = folder / "schema.sql"
    path.write_text("".join(f"CREATE TABLE public.old{number} (id bigint, a text);\n" for number in range(tables)))
    return path


def _write_dump(path: Path, size: int) -> Path:
    """Write a dump: half of it rows for COPY, half of it INSERTs with strings that need care."""
    with path.open("w") as dump:
        dump.write("CREATE TABLE big (id bigint, note text);\nCOPY big (id, note) FROM stdin;\n")
        row = '1\tit\'s; a \\n "row" -- with /* all\n'
        dump.write(row * (size // 2 // len(row)) + "\\.\n")
        insert = "INSERT INTO big VALUES " + ", ".join(["(1, 'it''s; a -- row /* with all')"] * 500) + ";\n"
        dump.write(insert * (size // 2 // len(insert)))
    return path
