"""Versioned files that Envoy watches, written whole or not at all, and by the newest controller only.

Rules: a file changes by `rename` within its directory (Envoy ignores in-place writes); its data is on disk before its
name is (`fsync`); the fence is compared under a lock that every writer takes, so that a controller which slept through
its own succession writes nothing even in the middle of a change; a file whose resources are the same keeps its version
and is not touched.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hitless.errors import Fenced

Resource = Mapping[str, Any]
Resources = Mapping[str, Resource]
"""Resources of one file by name."""

EMPTY_VERSION = ""


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
            version, current = read_resources(path)
            wanted = dict(sorted(change(current).items()))
            if version != EMPTY_VERSION and _encode(wanted) == _encode(current):
                return version
            version = stamp.version_of(wanted)
            write_whole(path, json.dumps({"version_info": version, "resources": list(wanted.values())}).encode())
            return version

    def write(self, path: Path, document: Mapping[str, Any], *, fence: int | None) -> None:
        """Write a document of our own.

        Raises:
            Fenced: a newer controller has written here.
        """
        with self._exclusive(fence):
            write_whole(path, json.dumps(document, indent=1).encode())

    def delete(self, path: Path, *, fence: int | None) -> None:
        """Delete a file that nothing reads any more.

        Raises:
            Fenced: a newer controller has written here.
        """
        with self._exclusive(fence):
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
            write_whole(_fence_of(self.root), str(fence).encode())


def read_fence(root: Path) -> int:
    """Read the newest fence that has written in a region's directory, -1 when none has."""
    path = _fence_of(root)
    return int(path.read_text()) if path.exists() else -1


def _fence_of(root: Path) -> Path:
    return root / "fence"


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Keep every other controller, and every other thread of this one, out of a region's directory."""
    with (root / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_resources(path: Path) -> tuple[str, dict[str, Resource]]:
    """Read version and resources by name; a file that does not exist is empty and has no version."""
    if not path.exists():
        return EMPTY_VERSION, {}
    document = json.loads(path.read_bytes())
    return document["version_info"], {_name(resource): resource for resource in document["resources"]}


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


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file by rename, its data durable first.

    The new name need not be: after a loss of power every file is whole, old or new; Envoy's versions tell which.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)


def _name(resource: Resource) -> str:
    return str(resource.get("name") or resource["cluster_name"])


def _encode(resources: Resources) -> bytes:
    return json.dumps(list(resources.values())).encode()
