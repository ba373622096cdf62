"""Certificates, measured with OpenSSL alone: a handshake in memory shows what a client would see.

The standard library reads dates only from a peer's certificate that was verified. So the client trusts the very file
(partial chain, RFC 5280 section 6.1.1 leaves the choice of the anchor open), and no name is compared.
"""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime
from typing import Any

from hitless.doctor.measures import Certificate

_NO_PASSWORD = ""  # else OpenSSL asks at the terminal and waits


def certificate(service: str, *, cert: str, key: str, now: datetime) -> Certificate:
    """Load certificate and key as a server does, and read the dates."""
    try:
        server = _server(cert, key)
        found = _seen_by_client(server, cert)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
        return Certificate(service=service, cert=cert, key=key, problem=f"{cert} with key {key}: {reason}")
    until = _moment(found["notAfter"])
    return Certificate(
        service=service, cert=cert, key=key, valid_from=_moment(found["notBefore"]), valid_until=until, left=until - now
    )


def _server(cert: str, key: str) -> ssl.SSLContext:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key, password="")
    return server


def _seen_by_client(server: ssl.SSLContext, cert: str) -> dict[str, Any]:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(3):  # TLS 1.3: hello, certificate, finished
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return dict(ends[0].getpeercert() or {})


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
