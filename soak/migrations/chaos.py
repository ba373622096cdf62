"""Carries changes out by the command line, and kills who does it, or the server, at moments that a seed draws."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from examples.accounts import stage

from hitless.adapters.postgres.database import APPLICATION
from hitless.testing.live import LiveLoad
from hitless.testing.postgres import PostgresServer
from soak.migrations.ledger import Ledger

VERBS = ("expand", "backfill", "verify", "switch")
CHANGES = ("split", "type", "rename", "not_null", "primary_key", "drop")
WORKER, SERVER = "worker", "server"
SERVER_SHARE = 0.3
KILL_SHARE = 0.7
"""Of the attempts: in the rest a verb may come to its end."""

TRIES = 15
LONGEST_SERIES = 5
"""Of kills of one verb: then it may come to its end."""

ENDS_WITHIN_S = 300.0
SETTLES_S = 4.0
AWAY, THERE = "server away", "server there"

_OURS = """
SELECT 'index ' || indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid
UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname LIKE '%hitless%' AND NOT tgisinternal
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = to_regnamespace('hitless')
UNION ALL SELECT 'column ' || attname FROM pg_attribute WHERE attname LIKE 'hitless%' AND NOT attisdropped
UNION ALL SELECT 'constraint ' || conname FROM pg_constraint WHERE conname LIKE '%hitless%' OR NOT convalidated
UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'hitless'"""
_HELD = """
SELECT 'advisory lock of ' || pid FROM pg_locks WHERE locktype = 'advisory'
UNION ALL SELECT 'session ' || pid || ' ' || state FROM pg_stat_activity WHERE application_name = %s"""


@dataclass(slots=True, kw_only=True)
class Chaos:
    """One soak under way.

    Attributes:
        typical_s: how long each verb's session lives, as far as it was seen to its end.
    """

    server: PostgresServer
    load: LiveLoad
    ledger: Ledger
    draw: random.Random
    typical_s: dict[str, float] = field(default_factory=dict)

    def play(self, change: str) -> None:
        """Carry one change out as far as is drawn, and undo it; look at what is left."""
        before = self.server.dump(stage.DATABASE)
        file = stage.CHANGES / f"{change}.yaml"
        for verb in VERBS[: self.draw.choice((1, 2, 3, 4, 4, 4))]:
            if not self._carry_out(verb, file):
                return
        self._look_at_parity(change)
        if self._carry_out("undo", file):
            self.ledger.undone += 1
            self._look_for_left_overs(change, before)
        self.ledger.rounds += 1

    def _carry_out(self, verb: str, file: Path) -> bool:
        """Ask again until the verb comes to its end; tell whether it did."""
        said = ""
        for attempt in range(TRIES):
            is_calm = attempt >= LONGEST_SERIES or self.ledger.killed >= self.ledger.kills_wanted
            process = self._start(verb, file)
            if not is_calm and self.draw.random() < KILL_SHARE and self._hit(verb, process):
                self._look_at_status(file)
                continue
            said, _ = process.communicate(timeout=ENDS_WITHIN_S)
            if process.returncode == 0 or (verb == "undo" and not self._knows(file)):
                return True
            time.sleep(1)  # a server that was just killed refuses for a moment
        self.ledger.stuck.append(f"{verb} {file.stem}: {' '.join(said.split())[-400:]}")
        return False

    def _knows(self, file: Path) -> bool:
        """Tell whether the database knows the change: a worker that was killed may have undone all of it before."""
        with self.server.connect(stage.DATABASE) as connection:
            if connection.execute("SELECT to_regclass('hitless.change')").fetchone() == (None,):
                return False
            query = "SELECT FROM hitless.change WHERE id = %s"
            return connection.execute(query, (_name_of(file),)).fetchone() is not None

    def _start(self, verb: str, file: Path) -> subprocess.Popen[str]:
        options = ["--yes"] if verb == "undo" else []
        command = [sys.executable, "-m", "hitless.cli", "migrate", verb, str(file), *options, "--database"]
        url = stage.urls(self.server)[1]
        return subprocess.Popen([*command, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def _hit(self, verb: str, process: subprocess.Popen[str]) -> bool:
        """Kill the worker or the server in the middle of the work; tell whether it was in the middle."""
        victim = SERVER if self.draw.random() < SERVER_SHARE else WORKER
        share = self.draw.random()
        if not self._wait_for_session(process):
            return False
        began = time.monotonic()
        try:
            process.wait(share * self.typical_s.get(verb, 1.0))
        except subprocess.TimeoutExpired:
            self._kill(victim, process)
            self.ledger.kills[f"{victim} {verb}"] += 1
            return True
        self.typical_s[verb] = time.monotonic() - began
        return False

    def _wait_for_session(self, process: subprocess.Popen[str]) -> bool:
        """Wait until the worker speaks with the server; False when it ends before that."""
        query = "SELECT FROM pg_stat_activity WHERE application_name = %s"
        with self.server.connect(stage.DATABASE) as connection:
            while process.poll() is None:
                if connection.execute(query, (APPLICATION,)).fetchone() is not None:
                    return True
                time.sleep(0.002)
        return False

    def _kill(self, victim: str, process: subprocess.Popen[str]) -> None:
        if victim == WORKER:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return
        self.load.mark(AWAY)
        self.server.crash()
        process.communicate(timeout=ENDS_WITHIN_S)  # it says that the server is away, or goes on by itself
        time.sleep(SETTLES_S)  # connections that died with the server are found out by their next request
        self.load.mark(THERE)

    def _look_at_status(self, file: Path) -> None:
        """Whatever is there of ours must be told by `hitless migrate status`, by the change that it belongs to."""
        ours = self._ours()
        command = [sys.executable, "-m", "hitless.cli", "migrate", "status", "--database", stage.urls(self.server)[1]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        told, name = done.stdout + done.stderr, _name_of(file)
        for one in ours:
            is_named = one.split(" ", 1)[1] in told or (name in told and not one.startswith("index "))
            if not is_named:
                self.ledger.unnamed.append(f"{one} of {name}: {' '.join(told.split())[:200]}")

    def _look_at_parity(self, change: str) -> None:
        with self.server.connect(stage.DATABASE) as connection:
            query = "SELECT count(*) FROM hitless.change WHERE standing IN ('verified', 'switched')"
            counted = connection.execute(query).fetchone()
            if counted is not None and counted[0] and (unlike := stage.parity(connection)):
                self.ledger.wrong.append(f"{unlike} rows of {change} say two things")

    def _look_for_left_overs(self, change: str, before: str) -> None:
        self.ledger.left += [f"{one} behind {change}" for one in self._ours()]
        if self.server.dump(stage.DATABASE) != before:
            self.ledger.left.append(f"pg_dump behind {change} is not what it was")
        with self.server.connect(stage.DATABASE) as connection:
            held = connection.execute(_HELD, (APPLICATION,)).fetchall()
        self.ledger.left += [f"{one} behind {change}" for (one,) in held]

    def _ours(self) -> list[str]:
        with self.server.connect(stage.DATABASE) as connection:
            return [str(one) for (one,) in connection.execute(_OURS).fetchall()]


def _name_of(file: Path) -> str:
    line = next(one for one in file.read_text("utf-8").splitlines() if one.startswith("change:"))
    return line.partition(":")[2].strip()
