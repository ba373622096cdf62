"""What is wrong around the control plane, looked at every few seconds: its file, its clock, its disks.

Nothing here stops anything: services go on, and people are told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hitless.errors import HitlessError
from hitless.rollout.spec import ServiceSpec
from hitless.system_faults import FileSystemFull, in_words

LOOK_S = 2.0
FULL_BYTES = 1024 * 1024
"""Less than this is full: SQLite and Envoy write in pages, and the next page may be the one that does not fit."""


@dataclass(slots=True, kw_only=True)
class ProjectFile:
    """The project's file, read anew only when it has changed.

    Attributes:
        path: of `hitless.yaml`.
        read: reads it; raises what is wrong, with the place.
        problem: why it cannot be used, as of the last look.
    """

    path: Path
    read: Callable[[], Mapping[str, ServiceSpec]]
    problem: str | None = None
    _seen: tuple[int, ...] | None = None

    def services(self) -> Mapping[str, ServiceSpec]:
        """Read the services.

        Raises:
            UserError: the file is wrong or missing.
            EnvironmentFault: it cannot be read just now.
        """
        try:
            services = self.read()
        except HitlessError as error:
            place = f"{error.place}: " if error.place else ""
            self.problem = f"{place}{error.in_words}; services go on with the settings that they were deployed with"
            raise
        self.problem = None
        return services

    def look(self) -> None:
        """Read it again if it has changed; a problem may also have been over without a change."""
        seen = self._mark()
        if seen == self._seen and self.problem is None:
            return
        self._seen = seen
        try:
            self.services()
        except HitlessError:
            return  # `problem` says it

    def _mark(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """Looks around.

    Attributes:
        file: the project's.
        directories: where hitless, instances and Envoy write.
        clock_problem: says that the clock was moved.
        keep_clock: writes the clock's offset down.
    """

    file: ProjectFile
    directories: Iterable[Path]
    clock_problem: Callable[[], str | None]
    keep_clock: Callable[[], None]
    problems: tuple[str, ...] = field(default=())

    def look(self) -> None:
        """Look at everything once; blocks."""
        self.file.look()
        found = [self.file.problem, self.clock_problem(), self._kept(), *map(_full, self.directories)]
        self.problems = tuple(dict.fromkeys(one for one in found if one))

    def _kept(self) -> str | None:
        try:
            self.keep_clock()
        except OSError as error:
            return in_words(error)
        return None


def _full(directory: Path) -> str | None:
    try:
        found = os.statvfs(directory)
    except OSError:  # nothing was written there yet
        return None
    free = (found.f_bfree if os.geteuid() == 0 else found.f_bavail) * found.f_frsize
    return FileSystemFull(directory).in_words if free < FULL_BYTES else None
