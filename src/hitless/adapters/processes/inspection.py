"""What can be seen of this project's instances without touching anything; for `hitless doctor`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from hitless.adapters.processes.identity import MARK, ProcessIdentity, read_stat
from hitless.adapters.processes.launch import LaunchError, check_command
from hitless.adapters.processes.records import InstanceRecords
from hitless.doctor.measures import Stray
from hitless.rollout.spec import RunSpec, Version

_MARK = f"{MARK}=".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A process that an instance of some project started, or is."""

    identity: ProcessIdentity
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """This project's processes.

    Attributes:
        known: of instances on record, by incarnation.
        strays: with this project's files open or in its folder, and of no instance on record.
    """

    known: Mapping[str, tuple[int, ...]]
    strays: tuple[Stray, ...]

    @property
    def largest_bytes(self) -> int | None:
        """Resident memory of the largest instance with all its processes."""
        return max((sum(map(_resident, pids)) for pids in self.known.values()), default=0) or None

    @property
    def most_threads(self) -> int | None:
        """Threads of the instance that has most."""
        return max((sum(map(_threads, pids)) for pids in self.known.values()), default=0) or None


def instances(state_directory: Path) -> Instances:
    """Find them. Processes first, records second: an instance has its record before its process, and loses it after."""
    marked = list(_marked())
    on_record = {record.incarnation for record in InstanceRecords(state_directory).peek()}
    known: defaultdict[str, tuple[int, ...]] = defaultdict(tuple)
    for one in marked:
        if one.incarnation in on_record:
            known[one.incarnation] += (one.identity.pid,)
    others = [one for one in marked if one.incarnation not in on_record and _is_of(one.identity.pid, state_directory)]
    strays = tuple(_stray(one) for one in others if _still_runs(one.identity))
    return Instances(known=known, strays=strays)


def missing_for(run: RunSpec, *, version: Version, project: Path) -> str | None:
    """Say what the next instance of a version would miss; None: nothing."""
    try:
        check_command(run, version=version, project=project, inherited=os.environ)
    except LaunchError as problem:
        return str(problem)
    return None


def _marked() -> Iterable[Marked]:
    for pid in psutil.pids():
        stat = read_stat(pid) if pid != os.getpid() else None
        if stat is None or stat.is_gone:
            continue
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # ended meanwhile, or another user's
            for text in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                if text.startswith(_MARK):
                    yield Marked(identity=stat.identity, incarnation=os.fsdecode(text.removeprefix(_MARK)))


def _is_of(pid: int, state_directory: Path) -> bool:
    """Tell whether a process writes to this project's logs, or works in its folder."""
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):  # ended meanwhile, or another user's
        places = [Path(f"/proc/{pid}/{name}").readlink() for name in ("cwd", "fd/1", "fd/2")]
        return any(place.is_relative_to(state_directory.resolve().parent) for place in places)
    return False


def _stray(one: Marked) -> Stray:
    pid = one.identity.pid
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80].strip()
    return Stray(pid=pid, command=command, what="a process of an instance")


def _still_runs(identity: ProcessIdentity) -> bool:
    stat = read_stat(identity.pid)
    return stat is not None and stat.identity == identity and not stat.is_gone


def _resident(pid: int) -> int:
    with suppress(psutil.Error):  # ended meanwhile
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _threads(pid: int) -> int:
    with suppress(psutil.Error):  # ended meanwhile
        return int(psutil.Process(pid).num_threads())
    return 0
