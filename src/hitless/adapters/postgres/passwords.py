"""Passwords of login roles: derived from one key of the state directory, so that there is nothing to lose by role."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from threading import Lock

KEY_FILE = "database.key"
_KEY_BYTES = 32


class RoleKey:
    """The key; made when it is needed first, readable by its owner alone."""

    def __init__(self, directory: Path) -> None:
        """Prepare; nothing is read or written yet.

        Args:
            directory: the state directory.
        """
        self._path = directory / KEY_FILE
        self._key: bytes | None = None
        self._reading = Lock()

    def password(self, *, service: str, role: str) -> str:
        """Return a role's password: 256 bits, always the same, in letters, digits, `-` and `_`."""
        digest = hmac.digest(self._read(), f"{service}\0{role}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    @property
    def fingerprint(self) -> str:
        """By which it is known which key a role's password came from; tells nothing of the key."""
        return hashlib.sha256(b"hitless database key\0" + self._read()).hexdigest()[:16]

    @property
    def is_there(self) -> bool:
        """Tell whether it is there already."""
        return self._key is not None or self._path.exists()

    def _read(self) -> bytes:
        with self._reading:  # services are asked for in threads of their own
            if self._key is None:
                self._make()
                key = self._path.read_bytes()
                if len(key) != _KEY_BYTES:
                    raise OSError(f"{self._path} holds {len(key)} bytes, no key; roles have passwords of another one")
                self._key = key
            return self._key

    def _make(self) -> None:
        """Write a new key, whole or not at all; one that is there stays."""
        if self._path.exists():
            return
        written = self._path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(written, self._path)  # fails where another process was faster: then its key counts
        except FileExistsError:
            pass
        finally:
            written.unlink()
