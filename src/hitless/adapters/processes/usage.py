"""What instances use: memory, processor time and descriptors of all their processes, read from `/proc` in one pass.

Memory is the sum of resident sizes: pages that processes of one instance share count once for each, the same way in
every version. Processor time includes that of children which have ended and were waited for, so that a server which
replaces its workers does not seem to have worked less.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hitless.adapters.processes.identity import ProcessIdentity, ProcessStat, all_processes, mark_of, ticks_now
from hitless.analysis.counts import Usage
from hitless.rollout.spec import InstanceId, Region, Version

_CPU_FIELDS = slice(11, 15)  # utime, stime, cutime, cstime of proc(5), counted behind the command
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An instance whose main process is known; `mark` is in the environment of all of its processes."""

    instance: InstanceId
    region: Region
    version: Version
    main: ProcessIdentity
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """Of one process; None = could not be read."""

    cpu_s: float | None
    memory_bytes: int | None
    descriptors: int | None


def read_usage(subjects: Iterable[Subject]) -> tuple[Usage, ...]:
    """Look at every process of the machine once; instances whose main process has ended are left out. Blocks."""
    known = tuple(subjects)
    by_main = {one.main.pid: one for one in known}
    by_mark = {one.mark: one for one in known}
    uses: dict[InstanceId, list[_Use]] = {}
    alive: set[InstanceId] = set()
    for stat in all_processes():
        owner = None if stat.is_gone else _owner(stat, by_main, by_mark)
        if owner is not None:
            uses.setdefault(owner.instance, []).append(_use_of(stat.identity.pid))
            if stat.identity == owner.main:
                alive.add(owner.instance)
    now = ticks_now()
    return tuple(_usage(one, uses[one.instance], now) for one in known if one.instance in alive)


def _owner(stat: ProcessStat, by_main: Mapping[int, Subject], by_mark: Mapping[str, Subject]) -> Subject | None:
    found = by_main.get(stat.group) or by_main.get(stat.session)
    if found is not None and stat.identity.start_ticks >= found.main.start_ticks:
        return found
    mark = mark_of(stat.identity.pid)
    return by_mark.get(mark) if mark is not None else None


def _usage(one: Subject, uses: list[_Use], now_ticks: float) -> Usage:
    return Usage(
        instance=one.instance,
        region=one.region,
        version=one.version,
        age_s=max(now_ticks - one.main.start_ticks, 0.0) / _TICKS_PER_S,
        cpu_s=_sum(use.cpu_s for use in uses),
        memory_bytes=_sum(use.memory_bytes for use in uses),
        descriptors=_sum(use.descriptors for use in uses),
    )


def _sum(found: Iterable[_Number | None]) -> _Number | None:
    """Add up; one that could not be read makes the sum unknown."""
    total: _Number | None = None
    for value in found:
        if value is None:
            return None
        total = value if total is None else total + value
    return total


def _use_of(pid: int) -> _Use:
    cpu_s = memory_bytes = descriptors = None
    with suppress(OSError):  # it has ended meanwhile, or belongs to another user: unknown
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        cpu_s = sum(int(one) for one in fields[_CPU_FIELDS]) / _TICKS_PER_S
    with suppress(OSError):
        memory_bytes = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    with suppress(OSError):
        descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return _Use(cpu_s=cpu_s, memory_bytes=memory_bytes, descriptors=descriptors)
