"""Which project a command is about."""

from __future__ import annotations

from pathlib import Path

from hitless.api.unix_socket import LOCK_NAME, SOCKET_NAME
from hitless.cli.faults import PROJECT_FILE, ProjectNotFound

STATE_DIRECTORY = ".hitless"


def project_directory(given: Path | None, *, start: Path) -> Path:
    """Return the directory of `hitless.yaml`: `given` (it, or the file itself), or `start` or the nearest one above.

    A directory whose file was deleted is known by its state, so that what runs can still be looked at and ended.

    Raises:
        ProjectNotFound: there is none.
    """
    if given is not None:
        return _given(given.expanduser().absolute())
    for directory in (start, *start.parents):
        if _is_project(directory):
            return directory
    raise ProjectNotFound(start)


def socket_path(directory: Path) -> Path:
    """Return where the project's control plane listens."""
    return directory / STATE_DIRECTORY / SOCKET_NAME


def _given(path: Path) -> Path:
    directory = path.parent if path.is_file() else path
    if not _is_project(directory):
        raise ProjectNotFound(directory)
    return directory


def _is_project(directory: Path) -> bool:
    return (directory / PROJECT_FILE).is_file() or (directory / STATE_DIRECTORY / LOCK_NAME).is_file()
