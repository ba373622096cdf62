"""Certificates that nobody trusts, for tests and benchmarks of TLS; needs the `openssl` command."""

from __future__ import annotations

import subprocess
from pathlib import Path


def self_signed(folder: Path, *, days: int = 90) -> tuple[Path, Path]:
    """Put a fresh certificate and its key in place, each by a rename, the key first.

    Returns:
        `cert.pem` and `key.pem` in `folder`.

    Raises:
        FileNotFoundError: there is no `openssl`.
    """
    cert, key = folder / "cert.pem", folder / "key.pem"
    fresh_cert, fresh_key = folder / ".cert.tmp", folder / ".key.tmp"
    subprocess.run(  # noqa: S603 - openssl with our own words
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", str(days), "-subj", "/CN=localhost", "-keyout", str(fresh_key), "-out", str(fresh_cert)),
        ],
        check=True,
        capture_output=True,
    )
    fresh_key.rename(key)
    fresh_cert.rename(cert)
    return cert, key
