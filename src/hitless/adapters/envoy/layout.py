"""Where everything of one region's Envoy lies, and what its resources are called.

A cluster's name is also the stem of its endpoint file and the word in Envoy's counters: `<service>@<version>`, the
version percent-quoted so that no version can leave the directory or collide with another.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from hitless.adapters.envoy.refusals import SocketLinkTaken
from hitless.rollout.spec import Region, Version

KEPT = "kept"
FOLDERS = ("rds", "eds", "sds", "sources", "tables")
"""Of files that this adapter writes and relies on, one per service or version."""
FILES = ("lds.json", "cds.json", "envoy.json", "base-id", "fence")
"""Such files that are there once; all of them are JSON."""
LONGEST_SOCKET = "admin-99999.sock"
SOCKET_PATH_MAX = 107  # bytes; sun_path of unix(7) is 108 with the closing zero


def cluster_name(service: str, version: Version) -> str:
    """Name the cluster of one version of a service."""
    return f"{service}@{quote(version, safe='')}"


def version_of(cluster: str) -> Version:
    """Read the version out of a cluster's name."""
    return Version(unquote(cluster.partition("@")[2]))


def belongs_to(cluster: str, service: str) -> bool:
    """Tell whether a cluster is one of the service's."""
    return cluster.partition("@")[0] == service


def preview_name(service: str) -> str:
    """Name listener and routes of the preview address; `@` keeps it apart from every service name."""
    return f"{service}@preview"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths under one region's directory."""

    root: Path

    @classmethod
    def of(cls, directory: Path, region: Region) -> Layout:
        """Lay out `directory` for `region`, creating what is missing, for the owner alone: it holds override tokens."""
        layout = cls(directory.resolve() / region)
        layout.make_folders()
        return layout

    def make_folders(self) -> None:
        """Make what is missing; Envoy neither starts nor takes a change without."""
        for folder in ("", *FOLDERS, "logs"):
            (self.root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)

    def bootstrap_of(self, epoch: int) -> Path:
        """Envoy's static configuration, one per generation."""
        return self.root / f"bootstrap-{epoch}.json"

    def is_bootstrap(self, path: Path) -> bool:
        """Tell whether a path is that of a generation's bootstrap, those of earlier releases included."""
        return path.parent == self.root and path.name.startswith("bootstrap") and path.suffix == ".json"

    @property
    def listeners(self) -> Path:
        """LDS: addresses of all services."""
        return self.root / "lds.json"

    @property
    def clusters(self) -> Path:
        """CDS: versions of all services."""
        return self.root / "cds.json"

    def routes(self, name: str) -> Path:
        """RDS of one listener."""
        return self.root / "rds" / f"{name}.json"

    def endpoints(self, cluster: str) -> Path:
        """EDS of one version."""
        return self.root / "eds" / f"{cluster}.json"

    def endpoint_files(self) -> Iterator[Path]:
        """List EDS files."""
        return (self.root / "eds").glob("*.json")

    def secret(self, service: str) -> Path:
        """SDS of one service."""
        return self.root / "sds" / f"{service}.json"

    def secret_files(self) -> Iterator[Path]:
        """List SDS files."""
        return (self.root / "sds").glob("*.json")

    def source(self, service: str) -> Path:
        """Which of the user's files the SDS of one service was made of."""
        return self.root / "sources" / f"{service}.json"

    def record(self, service: str) -> Path:
        """Tables written and acknowledged, for the next controller."""
        return self.root / "tables" / f"{service}.json"

    def records(self) -> Iterator[Path]:
        """List the records of all services."""
        return (self.root / "tables").glob("*.json")

    def access_log(self, service: str) -> Path:
        """One JSON line per request."""
        return self.root / "logs" / f"{service}.jsonl"

    @property
    def log(self) -> Path:
        """Envoy's own log."""
        return self.root / "envoy.log"

    @property
    def process(self) -> Path:
        """Which process it is."""
        return self.root / "envoy.json"

    @property
    def base_id(self) -> Path:
        """The number that keeps this Envoy's shared memory apart from others'."""
        return self.root / "base-id"

    @property
    def admin_socket(self) -> Path:
        """The way to the admin socket of the Envoy that serves, short enough for the kernel: a link to it."""
        path = self.root / "admin.sock"
        longest = len(os.fsencode(path.with_name(LONGEST_SOCKET)))
        return path if longest <= SOCKET_PATH_MAX else self._link() / path.name

    def admin_socket_of(self, epoch: int) -> Path:
        """The admin socket of one generation."""
        return self.admin_socket.with_name(f"admin-{epoch}.sock")

    def admin_sockets(self) -> Iterator[Path]:
        """List admin sockets that may be in use: the one that is led to first, then every other."""
        yield self.admin_socket
        yield from self.admin_socket.parent.glob("admin-*.sock")

    def lead_to_admin(self, socket: Path) -> None:
        """Let `admin_socket` lead to this one."""
        link = self.admin_socket.with_name(".admin.sock.tmp")
        link.unlink(missing_ok=True)
        link.symlink_to(socket.name)
        link.rename(self.admin_socket)

    def ensure_short_way(self) -> None:
        """Make the admin socket's short path lead here, where one is needed.

        Raises:
            SocketLinkTaken: the name exists and is not ours.
        """
        link = self._link()
        if self.admin_socket.parent != link:
            return
        if not link.is_symlink():
            if link.exists():
                raise SocketLinkTaken(link)
            link.symlink_to(self.root, target_is_directory=True)
        # The temporary directory is everyone's: a link planted by another user would hand them Envoy's admin interface.
        if link.readlink() != self.root or link.lstat().st_uid != os.getuid():
            raise SocketLinkTaken(link)

    def remove_short_way(self) -> None:
        """Take the short path away."""
        link = self._link()
        if link.is_symlink() and link.readlink() == self.root:
            link.unlink()

    def _link(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"hitless-{digest}"
