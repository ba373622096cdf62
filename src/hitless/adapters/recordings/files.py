"""Recordings as files of one folder, one for each rollout. Calls block.

Rules. A recording begins whole or not at all (its header is written aside and renamed). After that it only grows, by
one write for each batch. A write may be cut anywhere, by `kill -9` or a full disk: what was cut is left where it is and
the next batch begins on a line of its own, so at most the seconds of one batch are lost, and none is misread. Nothing
waits for the disk (`fsync`): a power cut may take the last seconds, and a judge that misses them only takes longer.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from urllib.parse import quote, unquote

from hitless.adapters.recordings.form import header_line, read_header, read_second, read_version, second_line
from hitless.analysis.settings import JudgeSettings
from hitless.ports import Recorded

FOLDER, SUFFIX = "recordings", ".jsonl"
KEPT_PER_SERVICE = 50
KEPT_BYTES_PER_SERVICE = 512 * 1024 * 1024
"""Fifty of the largest would be 3 GiB of each service: a disk that recordings fill takes store and Envoy with it."""

LARGEST_BYTES = 64 * 1024 * 1024
"""A day of one second in 600 bytes is 52 MB."""

_MODE = 0o600
_ROLLOUT = re.compile(r"(?P<service>.+)-r[0-9]+")


class RecordingFull(Exception):
    """A recording has reached its largest size; nothing more is added to it."""


class RecordingFiles:
    """The recordings of one state directory."""

    def __init__(
        self,
        directory: Path,
        *,
        largest_bytes: int = LARGEST_BYTES,
        kept: int = KEPT_PER_SERVICE,
        kept_bytes: int = KEPT_BYTES_PER_SERVICE,
    ) -> None:
        self.folder = directory / FOLDER
        self._largest_bytes = largest_bytes
        self._kept = kept
        self._kept_bytes = kept_bytes

    def path(self, rollout: str) -> Path:
        """Return where a rollout's recording is."""
        name = quote(rollout, safe="")
        return self.folder / f"{'%2E' + name[1:] if name.startswith('.') else name}{SUFFIX}"

    def begin(self, rollout: str, settings: JudgeSettings) -> None:
        """Write the header; a recording that is there already and can be read is left as it is.

        One that cannot be read is moved aside, to `<name>.unreadable`. The oldest ones of the service beyond those
        that are kept are removed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(rollout)
        if path.exists():
            if self._settings(path) is not None:
                return
            path.replace(path.with_suffix(".unreadable"))
        aside = path.with_suffix(".new")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
        with open(descriptor, "wb", closefd=True) as file:  # noqa: PTH123 - a descriptor, for the mode
            file.write(f"{header_line(rollout, settings)}\n".encode())
        aside.replace(path)
        self._remove_oldest(rollout)

    def add(self, rollout: str, seconds: Sequence[Recorded]) -> None:
        """Append in one write.

        Raises:
            RecordingFull: it would grow beyond its largest size.
            FileNotFoundError: it is not there.
            OSError: the disk is full, or fails.
        """
        batch = "".join(f"{second_line(one)}\n" for one in seconds).encode()
        descriptor = os.open(self.path(rollout), os.O_RDWR | os.O_APPEND)
        try:
            size = os.fstat(descriptor).st_size
            if size + len(batch) > self._largest_bytes:
                raise RecordingFull
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            batch = b"\n" + batch if is_torn else batch
            written = os.write(descriptor, batch)
            if written < len(batch):
                os.write(descriptor, batch[written:])  # says why: no space, a limit on sizes
        finally:
            os.close(descriptor)

    def read(self, rollout: str) -> tuple[JudgeSettings, list[bytes]] | None:
        """Read a recording's settings and its lines, as they are; None = there is none that can be read."""
        try:
            with self.path(rollout).open("rb") as file:
                settings = read_header(file.readline(), as_written=True)
                return None if settings is None else (settings, file.readlines())
        except FileNotFoundError:
            return None

    def begun_by(self, rollout: str) -> str | None:
        """Return which version of hitless has begun a recording; None = it does not say.

        Raises:
            OSError: it cannot be read.
        """
        with self.path(rollout).open("rb") as file:
            return read_version(file.readline())

    def _settings(self, path: Path) -> JudgeSettings | None:
        with path.open("rb") as file:
            return read_header(file.readline(), as_written=True)

    def _remove_oldest(self, rollout: str) -> None:
        service = service_of(rollout)
        own = [path for path in self.folder.glob(f"*{SUFFIX}") if service_of(unquote(path.stem)) == service]
        found: dict[Path, os.stat_result] = {}
        for path in own:
            with contextlib.suppress(FileNotFoundError):
                found[path] = path.stat()
        by_age = sorted(found, key=lambda path: (path != self.path(rollout), -found[path].st_mtime_ns))
        together = accumulate(found[path].st_size for path in by_age)
        for number, (path, size) in enumerate(zip(by_age, together, strict=True)):
            if number >= self._kept or (number and size > self._kept_bytes):
                path.unlink(missing_ok=True)


def seconds_of(lines: Sequence[bytes]) -> tuple[Recorded, ...]:
    """Read lines of a recording; those that were cut are left out."""
    return tuple(recorded for line in lines if (recorded := read_second(line)) is not None)


def in_order(seconds: Iterable[Recorded]) -> tuple[Recorded, ...]:
    """Put seconds in order, each once: of one that was written twice the first counts, it is what a judge took."""
    found: dict[int, Recorded] = {}
    for recorded in seconds:
        found.setdefault(recorded.second.at, recorded)
    return tuple(found[at] for at in sorted(found))


def service_of(rollout: str) -> str:
    """Return the service of a rollout: `checkout` of `checkout-r7`."""
    match = _ROLLOUT.fullmatch(rollout)
    return match["service"] if match else rollout
