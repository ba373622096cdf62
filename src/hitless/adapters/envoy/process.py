"""Envoy's process: started in a session of its own, adopted by later controllers, started again when it crashed.

Theory: the admin socket is the truth. Who listens on it (SO_PEERCRED) is Envoy, whatever a pid file says; the pid file
serves for the moments in which the socket is not there yet. Every Envoy of a directory has the same base id, drawn once
and kept in the directory: a second Envoy cannot take that id's domain socket and ends at once, so two controllers can
never start two proxies on one port. A fixed id rather than `--use-dynamic-base-id`, which leaves a piece of shared
memory behind at every crash; drawn rather than computed from the path, because containers that share a network may have
the same paths.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hitless.adapters.envoy.admin import Admin
from hitless.adapters.envoy.bootstrap import bootstrap, command_line
from hitless.adapters.envoy.files import exclusive, read_resources, write_whole
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.refusals import EnvoyDidNotStart
from hitless.adapters.envoy.watches import check_budget

_READY_POLL_S = 0.01
_BASE_ID_MAX = 400_000_000  # Envoy multiplies it by ten within 32 bits
_LOG_LINES_SHOWN = 5
_CALM_S = 10.0  # lived so long: a crash is a new one, restarted without delay
_LONGEST_DELAY_S = 5.0
_TERM_GRACE_S = 3.0
_CONNECT_WITHIN_S = 0.5

Status = Literal["running", "starting", "down"]


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for certain: its pid, and its start in kernel ticks since boot, which no step of the clock moves."""

    pid: int
    started_ticks: int

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Identify a process that runs now."""
        started = _started_ticks(pid)
        return None if started is None else cls(pid, started)

    def is_alive(self) -> bool:
        """Tell whether this very process still runs."""
        return _started_ticks(self.pid) == self.started_ticks


class EnvoyProcess:
    """The one Envoy of a directory."""

    def __init__(self, layout: Layout, admin: Admin, *, concurrency: int) -> None:
        self._layout = layout
        self._admin = admin
        self._concurrency = concurrency
        self._identity: Identity | None = None
        self._is_ready = False
        self._spawned_at = float("-inf")
        self._delay_s = 0.0

    @property
    def pid(self) -> int | None:
        """Its pid, None while it is down."""
        return self._identity.pid if self._identity and self._identity.is_alive() else None

    @property
    def status(self) -> Status:
        """What it does."""
        if self.pid is None:
            return "down"
        return "running" if self._is_ready else "starting"

    def find(self) -> bool:
        """Look for a running Envoy of this directory and take it over."""
        self._layout.ensure_short_way()
        self._identity = _listener(self._layout.admin_socket) or _recorded(self._layout.process)
        return self._identity is not None

    async def start(self, *, within_s: float) -> None:
        """Start it unless it runs, and wait until it serves.

        Raises:
            EnvoyDidNotStart: with the last lines of its log.
            WatchBudgetSpent: it would abort at once.
        """
        self._is_ready = False
        if self.pid is None and not self.find():
            await asyncio.to_thread(self._spawn)
        await self._until_ready(time.monotonic() + within_s)

    async def restart_if_dead(self, *, within_s: float) -> None:
        """Start it again if it has ended; one that ends again and again is given growing pauses.

        Raises:
            EnvoyDidNotStart: with the last lines of its log.
        """
        if self.pid is None and time.monotonic() >= self._spawned_at + self._delay_s:
            calm = time.monotonic() - self._spawned_at > _CALM_S
            self._delay_s = 0.0 if calm else min(max(2 * self._delay_s, 0.25), _LONGEST_DELAY_S)
            await self.start(within_s=within_s)
        elif self.pid is not None and not self._is_ready:
            self._is_ready = await self._admin.is_ready()

    async def stop(self) -> None:
        """End it: politely, then by force; forget its socket and pid file."""
        if self.pid is not None or self.find():
            await self._end(signal.SIGTERM)
            await self._end(signal.SIGKILL)
        self._layout.admin_socket.unlink(missing_ok=True)
        self._layout.process.unlink(missing_ok=True)
        self._layout.remove_short_way()
        self._identity = None

    async def _end(self, how: signal.Signals) -> None:
        deadline = time.monotonic() + _TERM_GRACE_S
        if self.pid is not None:
            os.kill(self.pid, how)
        while self.pid is not None and time.monotonic() < deadline:  # noqa: ASYNC110 - no event: it may not be our child
            await asyncio.sleep(_READY_POLL_S)

    async def _until_ready(self, deadline: float) -> None:
        while not await self._admin.is_ready():
            if self.pid is None:
                raise EnvoyDidNotStart("it ended at once", self._layout.log, evidence=self._last_words())
            if time.monotonic() > deadline:
                raise EnvoyDidNotStart("it was not ready in time", self._layout.log, evidence=self._last_words())
            await asyncio.sleep(_READY_POLL_S)
        self._is_ready = True

    def _spawn(self) -> None:
        with exclusive(self._layout.root):  # another controller may be at it in this moment
            if self.find():
                return
            self._prepare()
            self._spawned_at = time.monotonic()
            argv = command_line(self._layout, base_id=self._base_id(), concurrency=self._concurrency)
            self._identity = Identity.of(_spawn(argv, self._layout.log))
            if self._identity is not None:
                _record(self._layout.process, self._identity)

    def _prepare(self) -> None:
        for path in (self._layout.listeners, self._layout.clusters):
            if not path.exists():
                write_whole(path, b'{"version_info": "0", "resources": []}')
        _, clusters = read_resources(self._layout.clusters)
        _, listeners = read_resources(self._layout.listeners)
        check_budget(len(clusters) + len(listeners) + 2)
        self._layout.admin_socket.unlink(missing_ok=True)
        write_whole(self._layout.bootstrap, json.dumps(bootstrap(self._layout), indent=1).encode())

    def _base_id(self) -> int:
        path = self._layout.base_id
        if not path.exists():
            write_whole(path, str(secrets.randbelow(_BASE_ID_MAX) + 1).encode())
        return int(path.read_text())

    def _last_words(self) -> tuple[str, ...]:
        lines = self._layout.log.read_text(errors="replace").splitlines()
        return tuple(lines[-_LOG_LINES_SHOWN:])


_ORPHANED = 'log=$1; shift; (while kill -0 $$ 2>&-; do sleep 0.005; done; exec "$@") </dev/null >>"$log" 2>&1 & echo $!'
"""Run the command only once this shell is gone; say its pid."""


def _spawn(argv: list[str], log: Path) -> int:
    """Start Envoy as nobody's child and return its pid.

    With hot restart on, Envoy asks the kernel for SIGTERM at its parent's death (PR_SET_PDEATHSIG in its hot restart
    code), and the kernel means the very thread that started it. So the parent must be gone before Envoy begins: init is
    its parent then, and no end of ours reaches it.
    """
    shell = subprocess.run(  # noqa: S603 - our own words; the log's path and Envoy's arguments are passed, not pasted
        ["/bin/sh", "-c", _ORPHANED, "sh", str(log), *argv],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    return int(shell.stdout)


def _record(path: Path, identity: Identity) -> None:
    write_whole(path, json.dumps({"pid": identity.pid, "started_ticks": identity.started_ticks}).encode())


def _recorded(path: Path) -> Identity | None:
    if not path.exists():
        return None
    found = Identity(**json.loads(path.read_bytes()))
    return found if found.is_alive() else None


def _listener(path: Path) -> Identity | None:
    """Identify the process that listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_CONNECT_WITHIN_S)  # a full backlog would block for ever
        try:
            client.connect(str(path))
        except OSError:  # no socket, or one that nobody listens on any more
            return None
        pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return Identity.of(pid)


def _started_ticks(pid: int) -> int | None:
    """Read when a process started; None when it has ended."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)  # asked ten times a second: a tenth of `read_text`
    except FileNotFoundError:
        return None
    try:
        fields = os.read(descriptor, 4_096).rpartition(b")")[2].split()
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)
    return None if fields[0] == b"Z" else int(fields[19])  # proc(5): state is field 3, starttime field 22
