"""What users met, from Envoy's access logs: whole seconds of every service, or the reason why one is a gap.

Beside the logs, Envoy itself is looked at each time: what it had not written when it died is lost, and a disk that is
full takes its lines without a word. All that lies between the last look that found nothing wrong and this one is a gap
then, of every service. An exchange of Envoy is none: both write to the same log.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy.admin import Admin
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.lifecycle import EnvoyState
from hitless.adapters.envoy.request_log import FLUSHED_AFTER_S, Look, RequestLog, Trouble
from hitless.adapters.envoy.tail import LogTail
from hitless.analysis.counts import Second
from hitless.ports import Clock
from hitless.rollout.spec import LOCAL, InstanceId, Region

_REMEMBERED_S = 120.0
_DISK_MUST_HAVE_BYTES = 1024 * 1024
_CLOSED_WITHIN_S = 2.0
_SUFFIX = ".jsonl"

_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


class EnvoyTraffic:
    """The requests of all services of one region's Envoy.

    Args:
        directory: Envoy's, as its router has it.
        clock: what seconds are counted by.
        state: what Envoy's process does.
        names: instances of a service by their address (`host:port`), those that leave included; an address that is
            missing stands for itself.
        region: of that Envoy.
        wall: the clock that Envoy goes by.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        state: Callable[[], EnvoyState],
        names: Callable[[str], Mapping[str, InstanceId]],
        region: Region = LOCAL,
        wall: Clock | None = None,
    ) -> None:
        self._layout = Layout.of(directory, region)
        self._clock = clock
        self._wall = wall or SystemClock()
        self._state = state
        self._names = names
        self._region = region
        self._admin = Admin(self._layout.admin_socket)
        self._logs: dict[str, RequestLog] = {}
        self._known: dict[str, dict[str, InstanceId]] = {}
        self._troubles: list[Trouble] = []
        self._before: EnvoyState | None = None
        self._good_at_s: float | None = None
        self._looked_at_s: float | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Begin at the end of every log that is there."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hitless-traffic")
        await self.read()

    async def close(self) -> None:
        """Let go of logs and Envoy; a disk that hangs keeps nothing else from its end."""
        if self._thread is not None:
            closed = asyncio.wrap_future(self._thread.submit(self._close_logs))
            self._thread.shutdown(wait=False)
            self._thread = None
            await asyncio.wait({closed}, timeout=_CLOSED_WITHIN_S)
        await self._admin.close()

    def _close_logs(self) -> None:
        for one in self._logs.values():
            one.close()
        self._logs.clear()

    async def read(self) -> Mapping[str, tuple[Second, ...]]:
        """Return the seconds that have become whole since the last call, by service, oldest first."""
        assert self._thread is not None, "open() comes first"
        look = await self._look()
        for service in self._logs:
            self._known.setdefault(service, {}).update(self._names(service))
        return await self._apart(self._read_all, look)

    async def _apart(self, work: Callable[[_Given], _Found], given: _Given) -> _Found:
        """Do what touches the disk in a thread of its own: in the loop's, the store's commits wait."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, given)

    async def _look(self) -> Look:
        now_s = self._clock.now().timestamp()
        offset_s = now_s - self._wall.now().timestamp()
        state = self._state()
        reason = await self._trouble(state)
        has_restarted = self._has_restarted(state)
        if has_restarted:
            reason = reason or "Envoy was started anew; what it had not written yet is lost"
            for one in self._logs.values():
                one.forget_open()
        if reason is not None:
            from_s = (self._good_at_s if self._good_at_s is not None else now_s) - FLUSHED_AFTER_S
            self._troubles.append(Trouble(from_s=from_s, until_s=now_s, reason=reason))
        if reason is None or has_restarted:
            self._good_at_s = now_s
        self._before = state if state.pid is not None else self._before
        self._troubles = [one for one in self._troubles if one.until_s > now_s - _REMEMBERED_S]
        return Look(now_s=now_s, offset_s=offset_s, troubles=tuple(self._troubles))

    async def _trouble(self, state: EnvoyState) -> str | None:
        if state.pid is None:
            return "Envoy does not run"
        if not await self._admin.is_ready():
            return "Envoy does not answer"
        with suppress(FileNotFoundError):
            disk = await self._apart(os.statvfs, self._layout.root / "logs")
            if disk.f_bavail * disk.f_frsize < _DISK_MUST_HAVE_BYTES:
                return "the disk is full; Envoy cannot write its log"
        return None

    def _has_restarted(self, state: EnvoyState) -> bool:
        """Tell whether another Envoy runs to which the one before has not handed over."""
        before = self._before
        if before is None or state.pid is None or state.pid == before.pid:
            return False
        return state.epoch != before.epoch + 1

    def _read_all(self, look: Look) -> dict[str, tuple[Second, ...]]:
        self._find_logs(look)
        self._looked_at_s = look.now_s
        return {service: one.read(look) for service, one in self._logs.items()}

    def _find_logs(self, look: Look) -> None:
        """Follow what is new: its service has just been opened, so it is read from its beginning."""
        is_first = self._looked_at_s is None
        for path in (self._layout.root / "logs").glob(f"*{_SUFFIX}"):
            service = path.name.removesuffix(_SUFFIX)
            if service in self._logs:
                continue
            self._logs[service] = RequestLog(
                LogTail(path, at_end=is_first),
                region=self._region,
                look=look,
                name=self._namer(service),
                from_s=look.now_s if self._looked_at_s is None else self._looked_at_s,
            )

    def _namer(self, service: str) -> Callable[[str], InstanceId]:
        known = self._known.setdefault(service, {})
        return lambda address: known.get(address, InstanceId(address))
