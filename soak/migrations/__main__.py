"""Soak changes of the schema: `python -m soak.migrations --kills 100`.

A release of a real application reads and writes a table at a constant rate. Changes of every kind are carried out on
it and undone, and again; workers are killed with SIGKILL, and the server as a crash ends it, in the middle of whatever
they do. At the end every value is compared. Exit code 0 if every promise was kept.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from examples.accounts import stage

from hitless.testing.live import LiveLoad, live_load
from hitless.testing.postgres import PostgresServer, running_postgres
from soak.migrations.chaos import AWAY, CHANGES, THERE, Chaos
from soak.migrations.ledger import Ledger, to_markdown

LONGEST_S = 4 * 3600.0


def main() -> int:
    """Run a soak and print its ledger."""
    asked = _arguments()
    ledger = Ledger(seed=asked.seed, kills_wanted=asked.kills)
    print(f"seed {asked.seed}, {asked.kills} kills, {asked.rows:,} rows", flush=True)
    settings = {**stage.SERVER_SETTINGS, "max_connections": "60"}
    with running_postgres(asked.postgres, **settings) as server, tempfile.TemporaryDirectory() as folder:
        stage.seed(server, asked.rows)
        _soak(server, ledger, Path(folder), asked)
    text = to_markdown(ledger)
    print(text)
    if asked.report:
        asked.report.write_text(text, "utf-8")
    return 0 if ledger.is_kept else 1


def _soak(server: PostgresServer, ledger: Ledger, folder: Path, asked: argparse.Namespace) -> None:
    log, mix = folder / "values.json", folder / "mix.json"
    mix.write_text(json.dumps(stage.mix(rows=asked.rows, rate_rps=asked.rate, log=log)), "utf-8")
    began = time.monotonic()
    with (
        stage.served(server, "1", prepares=False, log=folder / "release.log") as target,
        live_load(target, "--mix", str(mix), duration_s=LONGEST_S) as load,
    ):
        load.mark(THERE)
        with contextlib.suppress(KeyboardInterrupt):
            _play(Chaos(server=server, load=load, ledger=ledger, draw=random.Random(asked.seed)), asked)
        ledger.seconds = time.monotonic() - began
        _close(server, ledger, load, log, asked.rows)


def _play(chaos: Chaos, asked: argparse.Namespace) -> None:
    deadline = time.monotonic() + asked.minutes * 60
    for change in itertools.cycle(asked.changes):
        chaos.play(change)
        ledger = chaos.ledger
        print(f"round {ledger.rounds}, {change}: {ledger.killed} of {ledger.kills_wanted} killed", flush=True)
        if ledger.killed >= ledger.kills_wanted or ledger.stuck or time.monotonic() > deadline:
            return


def _close(server: PostgresServer, ledger: Ledger, load: LiveLoad, log: Path, rows: int) -> None:
    ledger.report = load.finish()
    ledger.crash_failures = ledger.report.failed_in(AWAY) if AWAY in ledger.report.by_mark else 0
    told = json.loads(log.read_text("utf-8"))
    ledger.written, ledger.read = told["writes"], told["values_read"]
    with server.connect(stage.DATABASE) as connection:
        found = stage.audit(connection, rows=rows, log=told)
    ledger.audit, ledger.compared = str(found), found.compared
    ledger.wrong += found.faults
    if told["wrong"]:
        ledger.wrong.append(f"{told['wrong']:,} values were read wrong: {ledger.report.examples[:3]}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak.migrations", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of workers and of the server")
    parser.add_argument("--minutes", type=float, default=60.0, help="at most")
    parser.add_argument("--seed", type=int, help="the same seed draws the same sequence; without it, any")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=40.0, help="requests per second")
    parser.add_argument("--postgres", type=int, help="major version; without it, the newest that is here")
    parser.add_argument("--changes", nargs="+", choices=CHANGES, default=CHANGES)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the ledger there as Markdown")
    asked = parser.parse_args()
    if asked.seed is None:
        asked.seed = random.randrange(1_000_000)
    return asked


if __name__ == "__main__":
    sys.exit(main())
