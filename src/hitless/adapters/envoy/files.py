"""Versioned files that Envoy watches, written whole or not at all, and by the newest controller only.

Rules: a file changes by `rename` within its directory (Envoy ignores in-place writes); its data is on disk before its
name is (`fsync`); the fence is compared under a lock that every writer takes, so that a controller which slept through
its own succession writes nothing even in the middle of a change; a file whose resources are the same keeps its version
and is not touched.

Of every file there is a copy of what was written last, written first: what was begun is finished by whoever restores
it (see `damage`). A change starts from the copy, because somebody else may have been at the file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from hitless.errors import EnvironmentFault, Fenced

Resource = Mapping[str, Any]
Resources = Mapping[str, Resource]
"""Resources of one file by name."""

EMPTY_VERSION = ""
LOCKED_WITHIN_S = 10.0  # held for some milliseconds, on a bad disk for seconds
_LOCK_POLL_S = 0.002


class FileDamaged(EnvironmentFault):
    """A file of the proxy's directory does not hold what hitless wrote; nothing is decided on it."""

    code = "HL6311"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is damaged: {reason}",
            evidence=(f"what was written there last: {path.parent}/../kept",),
            hints=("it is restored within a second; try again", f"see who writes there: fuser -v {path}"),
        )


class FilesLocked(EnvironmentFault):
    """A process that has the proxy's directory to itself does not go on: it is frozen, or its disk is."""

    code = "HL6312"

    def __init__(self, path: Path, holder: int | None) -> None:
        super().__init__(
            f"process {holder or 'unknown'} has held {path} for over {LOCKED_WITHIN_S:g} s; nothing can be written",
            hints=(
                f"see what it does: ps -o pid,stat,wchan:20,args -p {holder}"
                if holder
                else f"see who: fuser -v {path}",
                f"if it is stopped (T): kill -CONT {holder or 'PID'}, or end it: kill -KILL {holder or 'PID'}",
            ),
        )


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who writes: the controller's fence (None: not bound to one) and the routing revision."""

    fence: int | None
    revision: int

    def version_of(self, resources: Resources) -> str:
        """Name the version of a content: same stamp and same content, same version."""
        digest = hashlib.sha256(_encode(resources)).hexdigest()[:8]
        return f"{self.fence or 0}.{self.revision}-{digest}"


@dataclass(frozen=True, slots=True)
class FencedFiles:
    """All writing of one region's directory."""

    root: Path

    def update(self, path: Path, change: Callable[[Resources], Resources], stamp: Stamp) -> str:
        """Change a resource file and return its version, the old one when nothing differs.

        Raises:
            Fenced: a newer controller has written here.
        """
        with self._exclusive(stamp.fence):
            copy = kept_copy(self.root, path)
            version, current = read_resources(copy if copy.exists() else path)
            wanted = dict(sorted(change(current).items()))
            is_written = version != EMPTY_VERSION and _is_same(copy, path)
            if is_written and _encode(wanted) == _encode(current):
                return version
            version = stamp.version_of(wanted)
            write_kept(self.root, path, {"version_info": version, "resources": list(wanted.values())})
            return version

    def write(self, path: Path, document: Mapping[str, Any], *, fence: int | None) -> None:
        """Write a document of our own.

        Raises:
            Fenced: a newer controller has written here.
        """
        with self._exclusive(fence):
            write_kept(self.root, path, document)

    def delete(self, path: Path, *, fence: int | None) -> None:
        """Delete a file that nothing reads any more.

        Raises:
            Fenced: a newer controller has written here.
        """
        with self._exclusive(fence):
            kept_copy(self.root, path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)

    def check_fence(self, fence: int) -> None:
        """Make `fence` the oldest that may write from now on.

        Raises:
            Fenced: a newer one was here.
        """
        with self._exclusive(fence):
            pass

    @contextmanager
    def _exclusive(self, fence: int | None) -> Iterator[None]:
        with exclusive(self.root):
            if fence is not None:
                self._compare(fence)
            yield

    def _compare(self, fence: int) -> None:
        newest = read_fence(self.root)
        if fence < newest:
            raise Fenced(
                "another controller writes the routing now; this one writes nothing more",
                evidence=(f"fence of this controller: {fence}", f"newest fence seen: {newest}"),
            )
        if fence > newest:
            write_kept(self.root, _fence_of(self.root), fence)


def read_fence(root: Path) -> int:
    """Read the newest fence that has written in a region's directory, -1 when none has.

    Raises:
        FileDamaged: nothing may be written until it is restored.
    """
    path = _fence_of(root)
    if not path.exists():
        return -1
    found = read_document(path)
    if not isinstance(found, int):
        raise FileDamaged(path, "it is no number")
    return found


def _fence_of(root: Path) -> Path:
    return root / "fence"


def write_kept(root: Path, path: Path, document: object) -> None:
    """Write a document, its copy first."""
    data = json.dumps(document).encode()
    keep(root, path, data)
    write_whole(path, data)


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Keep every other controller, and every other thread of this one, out of a region's directory. Blocks.

    Raises:
        FilesLocked: whoever is in it does not come out.
    """
    path = root / "lock"
    with path.open("a") as lock:
        _lock(lock, path)
        yield


def _lock(lock: TextIO, path: Path) -> None:
    give_up_at = time.monotonic() + LOCKED_WITHIN_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise FilesLocked(path, _holder(path)) from None
            time.sleep(_LOCK_POLL_S)
        else:
            return


def _holder(path: Path) -> int | None:
    """Ask the kernel who holds a lock (proc_locks(5)); None: it does not tell, or nobody does any more."""
    inode = path.stat().st_ino
    for fields in map(str.split, Path("/proc/locks").read_text().splitlines()):
        if fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
            return int(fields[4])
    return None


def kept_copy(root: Path, path: Path) -> Path:
    """Name the copy of what was written last."""
    return root / "kept" / path.relative_to(root)


def keep(root: Path, path: Path, data: bytes) -> None:
    """Write that copy; after a loss of power it may be torn, and the file itself is whole then."""
    copy = kept_copy(root, path)
    copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(copy, data, is_durable=False)


def _is_same(copy: Path, path: Path) -> bool:
    """Tell whether what was written last has reached the file: between the two, a write may have failed."""
    if not copy.exists():
        return True
    return path.exists() and path.read_bytes() == copy.read_bytes()


def read_resources(path: Path) -> tuple[str, dict[str, Resource]]:
    """Read version and resources by name; a file that does not exist is empty and has no version.

    Raises:
        FileDamaged: it holds something else.
    """
    if not path.exists():
        return EMPTY_VERSION, {}
    document = read_document(path)
    try:
        return document["version_info"], {_name(resource): resource for resource in document["resources"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise FileDamaged(path, f"it is no list of resources ({error})") from error


def read_version(path: Path) -> str:
    """Read the version alone; a file is parsed once, since a rename gives every new content an inode of its own."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return EMPTY_VERSION
    return _version_of(path, found.st_ino, found.st_mtime_ns)


@lru_cache(maxsize=16)
def _version_of(path: Path, _inode: int, _changed_ns: int) -> str:
    return read_resources(path)[0]


def read_document(path: Path) -> Any:
    """Read a JSON document of ours.

    Raises:
        FileDamaged: it is none.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FileDamaged(path, str(error)) from error


def write_whole(path: Path, data: bytes, *, is_durable: bool = True) -> None:
    """Replace a file by rename, its data durable first.

    The new name need not be: after a loss of power every file is whole, old or new; Envoy's versions tell which.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        if is_durable:
            os.fsync(stream.fileno())
    temporary.rename(path)


def _name(resource: Resource) -> str:
    return str(resource.get("name") or resource["cluster_name"])


def _encode(resources: Resources) -> bytes:
    return json.dumps(list(resources.values())).encode()
