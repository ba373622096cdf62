"""The kernel's budget of inotify instances.

Envoy opens one for every file it watches and aborts when there is none left (envoyproxy/envoy#7130), taking all traffic
with it. The limit is per user and shared with every other program of that user.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from hitless.adapters.envoy.refusals import WatchBudgetSpent
from hitless.adapters.envoy.resources import addresses
from hitless.rollout.spec import ServiceSpec

RESERVE = 10  # for what other programs of this user open between our look and Envoy's
PER_TLS_SERVICE = 1
OWN_FILES = 2  # listeners and clusters
VERSIONS_AT_ONCE = 2

_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")


def check_budget(needed: int) -> None:
    """Refuse when `needed` more inotify instances might not be there.

    Raises:
        WatchBudgetSpent: with the figures and the command that raises the limit.
    """
    most = limit()
    if needed <= 0 or most is None:
        return
    in_use = instances_in_use(os.getuid())
    if in_use + needed > most - RESERVE:
        raise WatchBudgetSpent(needed=needed, in_use=in_use, limit=most, reserve=RESERVE)


def widest_need(specs: Iterable[ServiceSpec]) -> int:
    """Count what Envoy has open when a rollout of every service is going on."""
    return OWN_FILES + sum(
        len(addresses(spec)) * (1 + (PER_TLS_SERVICE if spec.traffic.tls else 0)) + VERSIONS_AT_ONCE for spec in specs
    )


def instances_of(pid: int) -> int:
    """Count one process's inotify instances."""
    return _instances_of(Path("/proc") / str(pid))


def limit() -> int | None:
    """Read the limit; None: this kernel does not say."""
    return int(_LIMIT.read_text()) if _LIMIT.exists() else None


def instances_in_use(uid: int) -> int:
    """Count the user's inotify instances, as far as /proc shows its processes."""
    return sum(_instances_of(process) for process in Path("/proc").iterdir() if _belongs_to(process, uid))


def _belongs_to(process: Path, uid: int) -> bool:
    try:
        return process.name.isdigit() and process.stat().st_uid == uid
    except FileNotFoundError:  # ended meanwhile
        return False


def _instances_of(process: Path) -> int:
    try:
        return sum(_is_inotify(descriptor) for descriptor in (process / "fd").iterdir())
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended meanwhile, or hides its descriptors
        return 0


def _is_inotify(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()) == "anon_inode:inotify"
    except FileNotFoundError:  # closed meanwhile
        return False
