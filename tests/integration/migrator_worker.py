"""A worker that tests kill: waits for a line, then carries a change out or back.

migrator_worker.py CONNINFO CHANGE forward|back
"""

from __future__ import annotations

import sys

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.migrator import Migrator
from hitless.schema.change.standing import Verb


def main(conninfo: str, change: str, way: str) -> None:
    migrator = Migrator(database=Database(conninfo), actor="worker")
    print("ready", flush=True)
    sys.stdin.readline()
    if way == "back":
        migrator.undo(change)
    else:
        for verb in (Verb.EXPAND, Verb.BACKFILL, Verb.VERIFY, Verb.SWITCH):
            migrator.carry_out(change, verb)


if __name__ == "__main__":
    main(*sys.argv[1:])
