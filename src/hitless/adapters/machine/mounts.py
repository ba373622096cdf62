"""What is mounted where: proc(5), /proc/self/mounts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line."""

    target: str
    kind: str
    options: str


def mounts() -> tuple[Mount, ...]:
    """Read all mounts, those that hide others last."""
    return parse(Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape"))


def parse(text: str) -> tuple[Mount, ...]:
    """Read lines of the form `device target kind options 0 0`; blanks in names are octal."""
    found = (line.split(" ") for line in text.splitlines())
    return tuple(Mount(target=_plain(part[1]), kind=part[2], options=part[3]) for part in found)


def mount_of(path: Path, found: tuple[Mount, ...]) -> Mount | None:
    """Return the mount that `path` is on: the deepest, and of those on one place the last."""
    holding = [one for one in found if path.is_relative_to(one.target)]
    return max(enumerate(holding), key=lambda one: (len(one[1].target), one[0]))[1] if holding else None


def _plain(name: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), name)
