from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

KEPT_PER_SERVICE = 20
"""Ended instances of a service whose record and log are kept."""


def file_name(name: str) -> str:
    """Turn a name into one path segment, reversibly."""
    quoted = quote(name, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def name_of(segment: str) -> str:
    """Turn a path segment back into the name."""
    return unquote(segment)


def newest_first(paths: Iterator[Path]) -> list[Path]:
    """Sort files by their last change; one that is removed meanwhile is left out."""
    changed: dict[Path, int] = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            changed[path] = path.stat().st_mtime_ns
    return sorted(changed, key=changed.__getitem__, reverse=True)
