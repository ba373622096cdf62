"""Addresses of databases without their secrets, remembered in the state directory.

Why. An instance that dies is replaced by whichever control plane runs, and its URL is made of the one that
`database.url` points to. A control plane that was started without that variable must not leave services without
instances: where a database is does not change because of that, and a version's password is derived.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Lock

from psycopg.conninfo import conninfo_to_dict, make_conninfo

FILE = "databases.json"
_SECRET = frozenset({"user", "password", "passfile", "sslpassword"})


class RememberedAddresses:
    """By service; written whole or not at all, readable by its owner alone."""

    def __init__(self, directory: Path) -> None:
        """Prepare; nothing is read or written yet.

        Args:
            directory: the state directory.
        """
        self._path = directory / FILE
        self._writing = Lock()

    def keep(self, service: str, conninfo: str) -> None:
        """Remember where a service's database is."""
        parts = {key: value for key, value in conninfo_to_dict(conninfo).items() if key not in _SECRET}
        address = make_conninfo("", **parts)
        with self._writing:  # services are asked for in threads of their own
            known = self._read()
            if known.get(service) != address:
                self._write({**known, service: address})

    def _write(self, known: dict[str, str]) -> None:
        written = self._path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(known, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._path)

    def of(self, service: str) -> str | None:
        """Return where a service's database was when that was known last; None = it never was."""
        return self._read().get(service)

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads(self._path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):  # one that is cut off is written anew with the next role
            return {}
        return {str(name): str(one) for name, one in found.items()} if isinstance(found, dict) else {}
