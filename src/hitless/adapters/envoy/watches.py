"""The kernel's budget of inotify instances.

Envoy opens one for every file it watches and aborts when there is none left (envoyproxy/envoy#7130), taking all traffic
with it. The limit is per user and shared with every other program of that user.
"""

from __future__ import annotations

import os
from pathlib import Path

from hitless.adapters.envoy.refusals import WatchBudgetSpent

RESERVE = 10  # for what other programs of this user open between our look and Envoy's
PER_TLS_SERVICE = 3

_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")


def check_budget(needed: int) -> None:
    """Refuse when `needed` more inotify instances might not be there.

    Raises:
        WatchBudgetSpent: with the figures and the command that raises the limit.
    """
    if needed <= 0 or not _LIMIT.exists():
        return
    limit, in_use = int(_LIMIT.read_text()), instances_in_use(os.getuid())
    if in_use + needed > limit - RESERVE:
        raise WatchBudgetSpent(needed=needed, in_use=in_use, limit=limit, reserve=RESERVE)


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
