"""What the kernel hands out by number, measured."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from hitless.adapters.machine.groups import group_limits
from hitless.doctor.finding import sysctl
from hitless.doctor.measures import Ceiling, Memory, OpenFiles, Processes

_WATCH_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
_UNLIMITED = 2**40
_MOST_TASKS = 2**22  # proc(5): pid_max of 64-bit kernels
_CAP_NET_BIND_SERVICE, _CAP_SYS_ADMIN, _CAP_SYS_RESOURCE = 10, 21, 24  # linux/capability.h


def has_capability(number: int) -> bool:
    """Tell whether this process has a capability in force."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bool(found and int(found[1], 16) >> number & 1)


def may_bind_low_ports() -> bool:
    """Tell whether this process may bind any port."""
    return has_capability(_CAP_NET_BIND_SERVICE)


def watch_limit() -> int | None:
    """Read how many inotify watches a user may have."""
    return int(_WATCH_LIMIT.read_text()) if _WATCH_LIMIT.exists() else None


def watches_in_use() -> int:
    """Count the inotify watches of this user's processes, as far as /proc shows them."""
    return sum(watches_of(pid) for pid in pids() if _owner(pid) == os.getuid())


def watches_of(pid: int) -> int:
    """Count one process's inotify watches: proc(5), fdinfo."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as descriptors:
            names = [one.name for one in descriptors if _is_inotify(one.path)]
        return sum(_watches(Path(f"/proc/{pid}/fdinfo/{name}").read_text()) for name in names)
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended meanwhile, or hides its descriptors
        return 0


def open_files(*, services: int, instances: int, envoy_pid: int | None) -> OpenFiles:
    """Look at this process's limits, and at those of the Envoy that runs."""
    soft, hard = (_finite(one) for one in resource.getrlimit(resource.RLIMIT_NOFILE))
    in_use, most = _files_of(envoy_pid) if envoy_pid is not None else (None, None)
    return OpenFiles(
        soft=soft, hard=hard, services=services, instances=instances, envoy_in_use=in_use, envoy_limit=most
    )


def processes(*, instances: int, threads_per_instance: int | None) -> Processes:
    """Look at everything that limits tasks."""
    ceilings = (*_of_the_user(), *_of_the_machine(), *_of_the_groups())
    return Processes(ceilings=ceilings, instances=instances, threads_per_instance=threads_per_instance)


def memory(*, to_start: int, instance_bytes: int | None, is_up: bool) -> Memory:
    """Look at what is left."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    left = [one.limit - one.in_use for one in group_limits("memory")]
    return Memory(
        available_bytes=int(found[1]) * 1024 if found else None,
        group_left_bytes=max(min(left), 0) if left else None,
        instance_bytes=instance_bytes,
        to_start=to_start,
        is_up=is_up,
    )


def pids() -> Iterator[int]:
    """List all processes that can be seen."""
    with os.scandir("/proc") as entries:
        yield from [int(entry.name) for entry in entries if entry.name.isdecimal()]


def _of_the_user() -> Iterator[Ceiling]:
    # getrlimit(2): not enforced for who has one of these capabilities
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft == resource.RLIM_INFINITY or has_capability(_CAP_SYS_RESOURCE) or has_capability(_CAP_SYS_ADMIN):
        return
    tasks = sum(_threads(pid) for pid in pids() if _owner(pid) == os.getuid())
    remedy = (
        f"ulimit -u {2 * soft}   # in the shell that runs hitless up; under systemd: LimitNPROC={2 * soft}",
        f"echo '* - nproc {2 * soft}' | sudo tee /etc/security/limits.d/60-hitless-nproc.conf   # then log in anew",
    )
    yield Ceiling(name="RLIMIT_NPROC of this user", limit=soft, in_use=tasks, remedy=remedy)


def _of_the_machine() -> Iterator[Ceiling]:
    tasks = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    for name in ("pid_max", "threads-max"):
        most = int(Path(f"/proc/sys/kernel/{name}").read_text())
        yield Ceiling(
            name=f"kernel.{name}", limit=most, in_use=tasks, remedy=sysctl(f"kernel.{name}", min(2 * most, _MOST_TASKS))
        )


def _of_the_groups() -> Iterator[Ceiling]:
    for one in group_limits("pids"):
        remedy = (
            f"echo {2 * one.limit} | sudo tee {one.file}",
            "systemctl show -p TasksMax UNIT   # and raise it there",
        )
        yield Ceiling(name=str(one.file), limit=one.limit, in_use=one.in_use, remedy=remedy)


def _files_of(pid: int) -> tuple[int | None, int | None]:
    try:
        in_use = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - counted, not opened
        text = Path(f"/proc/{pid}/limits").read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended meanwhile, or another user's
        return None, None
    found = re.search(r"^Max open files\s+(\d+|unlimited)", text, re.MULTILINE)
    if found is None:
        return None, None
    return in_use, _UNLIMITED if found[1] == "unlimited" else int(found[1])


def _finite(limit: int) -> int:
    return _UNLIMITED if limit == resource.RLIM_INFINITY else limit


def _owner(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except FileNotFoundError:  # ended meanwhile
        return None


def _threads(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[17])
    except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
        return 0


def _is_inotify(path: str) -> bool:
    try:
        return str(Path(path).readlink()) == "anon_inode:inotify"
    except FileNotFoundError:  # closed meanwhile
        return False


def _watches(fdinfo: str) -> int:
    return sum(line.startswith("inotify ") for line in fdinfo.splitlines())
