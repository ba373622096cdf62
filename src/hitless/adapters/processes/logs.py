"""Log files of instances: `logs/<service>/<id>.log`, standard output and error as they came.

Readers need no control plane. Following polls the size: it costs no inotify instance, of which Envoy needs one per
cluster.

The file is the instance's own standard output, opened for appending: nobody stands between them who could die, block
or fall behind. So it is capped from outside, by setting its end aside as `<id>.log.1` and emptying it under the
instance, which goes on writing. What it writes in the very moment between is lost; a rename it would never notice.

On a full disk a write to a file fails at once (ENOSPC) and does not block: the instance serves on, its words are lost.
A pipe would block it as soon as its reader is away or has nowhere to write to.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from hitless.adapters.processes.file_names import KEPT_PER_SERVICE, file_name, name_of, newest_first
from hitless.rollout.spec import InstanceId

_POLL_S = 0.2
_CHUNK_BYTES = 64 * 1024
_LINE_LIMIT_BYTES = 64 * 1024
_TAIL_LIMIT_BYTES = 1 << 20
_QUIET_S = 60.0
_SUFFIX = ".log"

LOG_LIMIT_BYTES = 16 << 20
"""Size at which a log is set aside; at most twice as much is kept of an instance."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of one instance's log, without its line end."""

    instance: InstanceId
    text: str


def log_path(directory: Path, *, service: str, instance: InstanceId) -> Path:
    """Return where an instance's log is."""
    return directory / "logs" / file_name(service) / f"{file_name(instance)}.log"


def log_files(directory: Path, *, service: str | None = None, instance: InstanceId | None = None) -> list[Path]:
    """List log files, the one that was written to last at the end.

    Args:
        directory: the state directory.
        service: only this service's.
        instance: only this instance's.
    """
    folder = file_name(service) if service is not None else "*"
    name = file_name(instance) if instance is not None else "*"
    found = (directory / "logs").glob(f"{folder}/{name}.log")
    return newest_first(path for path in found if path.is_file())[::-1]  # a device may have no end


async def read_logs(
    directory: Path,
    *,
    service: str | None = None,
    instance: InstanceId | None = None,
    tail: int | None = None,
    follow: bool = False,
) -> AsyncIterator[LogLine]:
    """Read the logs of an instance or of all instances of a service.

    Args:
        directory: the state directory.
        service: only this service's.
        instance: only this instance's.
        tail: only so many of each instance's last lines, of the last MiB at most.
        follow: go on with what is written from now on, by instances that start later too; never ends.
    """
    readers: dict[Path, _Reader] = {}
    for path in log_files(directory, service=service, instance=instance):
        readers[path] = _Reader(path)
        for line in _from_the_beginning(path, readers[path]) if tail is None else _tail(path, readers[path], tail):
            yield line
        for line in () if follow else readers[path].unfinished():
            yield line
    while follow:
        await asyncio.sleep(_POLL_S)
        for path in log_files(directory, service=service, instance=instance):
            for line in readers.setdefault(path, _Reader(path)).new_lines():
                yield line


def last_line(path: Path, *, limit: int = 200) -> str | None:
    """Return the last line that says anything, at most `limit` characters of it; None: there is none."""
    lines = _last_words(path) or _last_words(set_aside(path))
    if not lines:
        return None
    return lines[-1] if len(lines[-1]) <= limit else f"{lines[-1][: limit - 1]}…"


def set_aside(path: Path) -> Path:
    """Return where the older part of a log is."""
    return path.with_name(f"{path.name}.1")


def cap_log(path: Path, *, limit: int = LOG_LIMIT_BYTES) -> None:
    """Empty a log that has outgrown its size, its end set aside; where there is no room for that, it is lost."""
    if not path.exists() or path.stat().st_size <= limit:
        return
    draft = path.with_name(f"{path.name}.draft")
    try:
        with path.open("rb") as log, draft.open("wb") as kept:
            log.seek(-limit, os.SEEK_END)
            log.readline(_LINE_LIMIT_BYTES)  # the rest of a line
            kept.write(log.read(limit))  # not to its end: who writes as fast as this would have none
        draft.replace(set_aside(path))
    except OSError:  # a full disk: all the more reason to empty it
        logger.exception("the end of %s was not kept", path)
        draft.unlink(missing_ok=True)
    os.truncate(path, 0)


@dataclass(slots=True)
class LogWarden:
    """Caps every log, whoever writes it, and removes those of ended instances but for each service's newest ones.

    It looks every second, so a log of nobody that lives, and that has not grown since, is asked only once a minute.
    """

    directory: Path
    _sizes: dict[str, int] = field(default_factory=dict)
    _quiet: set[str] = field(default_factory=set)
    _forget_at: float = 0.0

    def look(self, live: Collection[InstanceId]) -> None:
        """Look once; `live` instances' logs are never removed."""
        if time.monotonic() >= self._forget_at:
            self._forget_at = time.monotonic() + _QUIET_S
            self._quiet.clear()
            self._sizes.clear()
        written = {f"{file_name(one)}{_SUFFIX}" for one in live}
        for folder in _entries(self.directory / "logs"):
            ended = [one for one in _entries(folder.path) if self._is_log(one) and not self._is_written(one, written)]
            if len(ended) > KEPT_PER_SERVICE:
                for path in newest_first(Path(one.path) for one in ended)[KEPT_PER_SERVICE:]:
                    _told_only(_remove, path)

    def _is_log(self, entry: os.DirEntry[str]) -> bool:
        return entry.path in self._quiet or (entry.name.endswith(_SUFFIX) and entry.is_file())

    def _is_written(self, entry: os.DirEntry[str], written: Collection[str]) -> bool:
        """Cap the log where it may still grow; tell whether a live instance writes it."""
        if entry.path not in self._quiet:
            with suppress(FileNotFoundError):  # somebody removed it
                size = entry.stat().st_size
                if size > LOG_LIMIT_BYTES:
                    _told_only(cap_log, Path(entry.path))
                if entry.name not in written and self._sizes.get(entry.path) == size <= LOG_LIMIT_BYTES:
                    self._quiet.add(entry.path)
                self._sizes[entry.path] = size
        return entry.name in written


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    set_aside(path).unlink(missing_ok=True)


def _told_only(work: Callable[[Path], None], path: Path) -> None:
    try:
        work(path)
    except OSError:  # the next round tries again, and other logs are not held up
        logger.exception("%s was not kept small", path)


def _instance_of(path: Path) -> InstanceId:
    return InstanceId(name_of(path.name.removesuffix(".1").removesuffix(".log")))


def _last_words(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _CHUNK_BYTES))
            text = file.read(_CHUNK_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return []
    # a program that does not append leaves zeros where its log was emptied
    return [line for line in (line.strip("\0 \t\r") for line in text.splitlines()) if line]


def _from_the_beginning(path: Path, newer: _Reader) -> Iterator[LogLine]:
    return chain(_Reader(set_aside(path)).new_lines(), newer.new_lines())


def _tail(path: Path, newer: _Reader, count: int) -> Iterator[LogLine]:
    last = list(newer.last(count))
    older = _Reader(set_aside(path)).last(count - len(last)) if len(last) < count else ()
    return chain(older, last)


@dataclass(slots=True)
class _Reader:
    path: Path
    offset: int = 0
    partial: bytearray = field(default_factory=bytearray)

    def last(self, count: int) -> Iterator[LogLine]:
        with suppress(FileNotFoundError):
            self.offset = max(0, self.path.stat().st_size - _TAIL_LIMIT_BYTES)
        return iter(deque(self.new_lines(), maxlen=count))

    def unfinished(self) -> Iterator[LogLine]:
        return iter([self._line(bytes(self.partial))] if self.partial else [])

    def new_lines(self) -> Iterator[LogLine]:
        for chunk in self._new_chunks():
            *whole, rest = (bytes(self.partial) + chunk).split(b"\n")
            yield from map(self._line, whole)
            self.partial[:] = rest
            if len(self.partial) > _LINE_LIMIT_BYTES:
                yield self._line(bytes(self.partial))
                self.partial.clear()

    def _new_chunks(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                if self.path.stat().st_size < self.offset:  # truncated: begin again
                    self.offset = 0
                    self.partial.clear()
                file.seek(self.offset)
                while chunk := file.read(_CHUNK_BYTES):
                    self.offset += len(chunk)
                    yield chunk
        except FileNotFoundError:  # pruned between the listing and now
            return

    def _line(self, raw: bytes) -> LogLine:
        return LogLine(instance=_instance_of(self.path), text=raw.rstrip(b"\r").decode(errors="replace"))
