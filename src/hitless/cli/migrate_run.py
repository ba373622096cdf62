"""`hitless migrate run`: plain SQL files, run with short locks, each statement with its record."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hitless.adapters.postgres.hold import Stopped
from hitless.adapters.postgres.keeping import FILE, require_same
from hitless.adapters.postgres.live import Live, read_live
from hitless.adapters.postgres.migrator import Migrator
from hitless.cli.faults import MigrationsRefused, MigrationsUnread
from hitless.cli.migrate_target import TARGET, Target, migrator_of, say_where_it_stands, show_outcome, stoppable
from hitless.cli.migrations import read_paths
from hitless.cli.outcome import DONE
from hitless.cli.output import Output
from hitless.cli.session import DEFAULTS, Common
from hitless.errors import Place
from hitless.schema.change.files import plan_of_file
from hitless.schema.change.standing import Standing, Verb
from hitless.schema.linting import lint
from hitless.schema.reading.source import Source
from hitless.schema.rules.registry import RULES
from hitless.schema.rules.rule import Family, Settings, Severity

HARMLESS_HERE = frozenset(
    {
        "lock-timeout-missing",
        "lock-timeout-long",
        "statement-timeout-missing",
        "transactions-mixed",
        "index-may-stay-invalid",
    }
)
"""What the lint says of files that other tools run: here each lock has its time-out, each statement its record."""


def run(*paths: str, target: Target = TARGET, common: Common = DEFAULTS) -> int:
    """Run files of SQL, one after the other.

    Args:
        paths: Files, or folders: their *.sql in natural order.
        target: Which database.
        common: Options of every command.
    """
    output = common.output
    sources = _read(paths)
    with stoppable(output) as stopping:
        migrator = migrator_of(target, output, stopping, project=common.project)
        try:
            for source in sources:
                _run(migrator, source, output)
        except Stopped as stopped:
            return say_where_it_stands(output, migrator, stopped)
    return DONE


def _read(paths: tuple[str, ...]) -> tuple[Source, ...]:
    given = read_paths(paths)
    if given.unread:
        first = given.unread[0]
        place = Place(first.file, first.line, first.column)
        raise MigrationsUnread(files=[one.file for one in given.unread], place=place, why=first.message)
    return given.sources


def _run(migrator: Migrator, source: Source, output: Output) -> None:
    name = Path(source.name).name
    spec = {FILE: name, "sha256": hashlib.sha256(source.text.encode()).hexdigest()}
    known = migrator.find(name)
    if known is not None and known.touched:
        require_same(name, known.spec, spec)
        if known.standing is Standing.EXPANDED:
            output.narrate(f"{name} was run already")
    else:
        live = read_live(migrator.database)
        _judge(source, live, output)
        migrator.register(spec, plan_of_file(source, catalog=live.catalog, postgres=live.postgres))
    show_outcome(output, migrator.carry_out(name, Verb.EXPAND))


def _judge(source: Source, live: Live, output: Output) -> None:
    """Lint a file by the schema as it is.

    Raises:
        MigrationsUnread, MigrationsRefused: it cannot be read, or something in it is refused.
    """
    report = lint([source], catalog=live.catalog, settings=Settings(postgres=live.postgres))
    if report.unread:
        first = report.unread[0]
        raise MigrationsUnread(
            files=[source.name], place=Place(first.file, first.line, first.column), why=first.message
        )
    found = [one for one in report.findings if one.rule not in HARMLESS_HERE]
    for one in found:
        output.narrate(f"{one.file}:{one.line}:{one.column}: {one.severity.value} {one.rule}: {one.message}")
    grave = [one.rule for one in found if one.severity is Severity.ERROR]
    if grave:
        named = next((one for one in grave if RULES[one].family is not Family.LINT), grave[0])
        raise MigrationsRefused(errors=len(grave), warnings=report.count(Severity.WARNING), rule=named)
