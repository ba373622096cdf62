"""What `hitless migrate lint` is given, read: files, folders, stdin."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hitless.schema.reading.source import Source, decode
from hitless.schema.report import Unread

STDIN = "-"
STDIN_NAME = "<stdin>"
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Files that were read, in their order, and those that could not be."""

    sources: tuple[Source, ...]
    unread: tuple[Unread, ...]


def read_paths(paths: Iterable[str]) -> Given:
    """Read files, folders and stdin."""
    names = dict.fromkeys(name for path in paths for name in _files(path))  # each once, where it comes first
    read = [_read(name) for name in names]
    return Given(
        sources=tuple(one for one in read if isinstance(one, Source)),
        unread=tuple(one for one in read if isinstance(one, Unread)),
    )


def _files(path: str) -> Iterator[str]:
    """Name the migrations of a folder in natural order; what undoes a migration is no part of the history."""
    if path == STDIN or not Path(path).is_dir():
        yield path if path == STDIN else str(Path(path))
        return
    found = sorted(Path(path).rglob("*.sql"), key=lambda one: natural(one.relative_to(path).as_posix()))
    forward = [str(one) for one in found if not one.name.endswith(".down.sql") and not one.is_dir()]
    yield from forward or [path]


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return what sorts names as people do: 2 before 10."""
    parts = (part for part in _DIGITS.split(name) if part)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _read(path: str) -> Source | Unread:
    name = STDIN_NAME if path == STDIN else path
    try:
        content = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except IsADirectoryError:
        return Unread(file=name, line=1, column=1, message="a folder without any *.sql")
    except OSError as error:
        return Unread(file=name, line=1, column=1, message=error.strerror or str(error))
    return decode(name, content)
