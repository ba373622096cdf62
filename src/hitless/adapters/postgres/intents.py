"""From a change file, or the name of a change, to a change that is kept in the database.

A change that has begun is carried out by the plan that is kept; the file is only held against what it began with.
Before that, the plan is made of the file and of the schema as it is now.
"""

from __future__ import annotations

from pathlib import Path

from hitless.adapters.postgres.hold import Told
from hitless.adapters.postgres.keeping import require_same
from hitless.adapters.postgres.live import dump_of, read_live
from hitless.adapters.postgres.migrator import Migrator
from hitless.adapters.postgres.taking import unknown
from hitless.config.change_file import read_change
from hitless.schema.change.dependents import dependents_of
from hitless.schema.change.intent import Change
from hitless.schema.change.planner import plan_change
from hitless.schema.change.spec import spec_of
from hitless.schema.change.steps import Plan

SUFFIXES = {".yaml", ".yml"}


def begin(migrator: Migrator, word: str) -> str:
    """Keep the change that a file says, or look one up by its name; return its name.

    Args:
        migrator: of the database.
        word: a path that ends with .yaml or .yml, or a name.

    Raises:
        UnknownChange: no change of this name.
        DiffersFromBegun: the file says something else than what was begun.
        UserError, Refused: the file cannot be read, or planned.
    """
    if Path(word).suffix not in SUFFIXES:
        found = migrator.find(word)
        if found is None:
            raise unknown(word, tuple(one.change for one in migrator.states()))
        return word
    return _begin_file(migrator, Path(word))


def _begin_file(migrator: Migrator, path: Path) -> str:
    change = read_change(path)
    spec = spec_of(change)
    name = change.name
    known = migrator.find(name)
    if known is not None and known.touched:
        require_same(name, known.spec, spec)
        return name
    migrator.register(spec, plan_in(migrator, change))
    return name


def plan_in(migrator: Migrator, change: Change) -> Plan:
    """Plan a change for the schema as it is now."""
    live = read_live(migrator.database)
    if live.unread:
        first = live.unread[0]
        migrator.tell(
            Told(kind="unread", sentence=f"the schema, line {first.line}: {first.message}: planned without it")
        )
    return plan_change(
        change, live.catalog, live.postgres, dependents_of(dump_of(migrator.database, postgres=live.postgres))
    )
