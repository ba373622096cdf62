"""What the operating system refuses, told to a user: the cause and the next command."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from shlex import quote

from hitless.errors import EnvironmentFault, HitlessError

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


class FileSystemFull(EnvironmentFault):
    """A file could not be written: its file system is full, or a limit on sizes is reached."""

    code = "HL6110"

    def __init__(self, path: Path) -> None:
        directory = quote(str(path if path.is_dir() else path.parent))
        super().__init__(
            f"no space left for {path}; what runs goes on, hitless tries again",
            evidence=(f"path: {path}",),
            hints=(f"see what is left: df -h {directory}", f"see what takes it: du -xsh {directory}/*"),
        )


class DescriptorsSpent(EnvironmentFault):
    """hitless may not open one more file or connection."""

    code = "HL6111"

    def __init__(self) -> None:
        pid, (limit, _) = os.getpid(), resource.getrlimit(resource.RLIMIT_NOFILE)
        super().__init__(
            f"hitless has all its {limit} file descriptors in use; what runs goes on, hitless tries again",
            evidence=(f"process {pid}, limit {limit} (RLIMIT_NOFILE)",),
            hints=(f"give it more: sudo prlimit --pid {pid} --nofile={max(4 * limit, 4096)}",),
        )


def fault_of(error: OSError) -> EnvironmentFault | None:
    """Return what an error of the operating system means for a user; None = nothing special."""
    if error.errno in _NO_DESCRIPTOR:
        return DescriptorsSpent()
    if error.errno in _NO_SPACE and error.filename is not None:
        return FileSystemFull(Path(os.fsdecode(error.filename)))
    return None


def in_words(error: BaseException) -> str:
    """Say in one line what is wrong and what to do."""
    known = fault_of(error) if isinstance(error, OSError) else error
    return known.in_words if isinstance(known, HitlessError) else f"{type(error).__name__}: {error}"
