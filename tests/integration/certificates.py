"""Certificates to serve, and a look at those that are served."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hitless.rollout.spec import Address, TlsSpec
from hitless.testing.certificate import self_signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Certificate and key, as PEM text."""

    cert: str
    key: str

    @property
    def der(self) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.cert)


def pair(folder: Path, *, days: int = 90) -> Pair:
    """Make a certificate and its key."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        cert, key = self_signed(Path(made), days=days)
        return Pair(cert=cert.read_text(), key=key.read_text())


def put(found: Pair, folder: Path) -> TlsSpec:
    """Put a pair in place by renames, the key first."""
    for name, text in (("key.pem", found.key), ("cert.pem", found.cert)):
        replace_file(folder / name, text)
    return TlsSpec(cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))


def replace_file(path: Path, text: str) -> None:
    """Replace a file by rename."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.rename(path)


def trusting(*protocols: str) -> ssl.SSLContext:
    """Trust anybody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    return context


async def served_certificate(address: Address) -> bytes:
    """Return the certificate that a new connection gets."""
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=trusting("http/1.1"))
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()
    del reader
    return found
