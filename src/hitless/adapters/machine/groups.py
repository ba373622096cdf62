"""Limits of control groups, version 1 and 2, from this process's own group up to the root: cgroups(7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Resource = Literal["pids", "memory"]

_FILES: dict[tuple[Resource, bool], tuple[str, str]] = {
    ("pids", True): ("pids.max", "pids.current"),
    ("pids", False): ("pids.max", "pids.current"),
    ("memory", True): ("memory.max", "memory.current"),
    ("memory", False): ("memory.limit_in_bytes", "memory.usage_in_bytes"),
}
_NO_LIMIT = 2**60  # version 1 writes a number near 2**63 for "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimit:
    """One group that has a limit, and the file that holds it."""

    file: Path
    limit: int
    in_use: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """Where one is mounted, and this process's group as seen from there."""

    mount: Path
    group: str
    is_v2: bool


def group_limits(resource: Resource) -> tuple[GroupLimit, ...]:
    """Read every limit that this process is under."""
    groups = Path("/proc/self/cgroup").read_text()
    mounted = Path("/proc/self/mountinfo").read_text()
    return limits_in(hierarchies(resource, groups=groups, mounted=mounted), resource)


def limits_in(found: Iterable[Hierarchy], resource: Resource) -> tuple[GroupLimit, ...]:
    """Read the limits of groups, each from its own up to where its hierarchy is mounted."""
    return tuple(
        limit
        for one in found
        for folder in _upwards(one.mount, one.group)
        if (limit := _read(folder, *_FILES[resource, one.is_v2])) is not None
    )


def hierarchies(resource: Resource, *, groups: str, mounted: str) -> Iterator[Hierarchy]:
    """Find where a resource's hierarchies are mounted, and a process's group there.

    Args:
        resource: what is limited.
        groups: `/proc/<pid>/cgroup`.
        mounted: `/proc/<pid>/mountinfo`.
    """
    own = [line.split(":", 2) for line in groups.splitlines()]
    for line in mounted.splitlines():
        fields, _, rest = line.partition(" - ")
        root, target = fields.split(" ")[3:5]
        kind, _, options = rest.split(" ", 2)
        limited = resource in options.rpartition(" ")[2].split(",")
        for _, controllers, path in own:
            is_v2 = kind == "cgroup2" and not controllers
            if is_v2 or (kind == "cgroup" and limited and resource in controllers.split(",")):
                yield Hierarchy(mount=Path(target), group=_below(root, path), is_v2=is_v2)


def _below(root: str, path: str) -> str:
    """Take off what the mount begins with: in a container only a part of the tree is mounted."""
    return path.removeprefix(root) if root != "/" and path.startswith(root) else path


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    folder = mount / group.strip("/")
    if not folder.is_dir():  # outside of what is mounted here
        folder = mount
    while folder.is_relative_to(mount):
        yield folder
        folder = folder.parent


def _read(folder: Path, limit: str, current: str) -> GroupLimit | None:
    try:
        most, in_use = (folder / limit).read_text().strip(), int((folder / current).read_text())
    except FileNotFoundError:  # the root group has neither
        return None
    if most == "max" or int(most) >= _NO_LIMIT:
        return None
    return GroupLimit(file=folder / limit, limit=int(most), in_use=in_use)
