"""Certificates: taken from the user's files as a pair that fits, and exchanged when the files change.

Theory. Envoy could watch the files itself. But it sees only renames in one directory (certbot replaces symbolic links,
which is none), it reads certificate and key at different moments, and when it starts it has nothing but what lies
there: a renewal that went half way would then be an outage. So we look at the files, whichever way they change, check
that key and certificate belong together, and hand both over in one resource by one rename. What was handed over last
stays in force until the next pair that fits, over every restart of Envoy and of hitless. The key is kept in a file for
the owner alone, beside Envoy's other files.

A pair that Envoy does not take is taken back. When a certificate ends is asked of Envoy: it says what it serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hitless.adapters.envoy.acknowledge import REJECTED, Acknowledgements, Expected
from hitless.adapters.envoy.admin import Admin
from hitless.adapters.envoy.files import FencedFiles, Resource, Stamp, read_document, read_resources
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.refusals import CertificateUnusable, EnvoySilent
from hitless.adapters.envoy.resources import secret
from hitless.rollout.spec import ServiceSpec, TlsSpec
from hitless.rollout.world import Certificate

_LOOK_EVERY_S = 1.0
_ASK_EVERY_S = 60.0
_UNBOUND = Stamp(None, 0)

Signature = tuple[tuple[int, ...] | None, ...]
"""What changes with every way to replace a file, the links that lead to it followed."""


@dataclass(slots=True, kw_only=True)
class _Followed:
    """One service's files as they were when they were last dealt with."""

    tls: TlsSpec
    signature: Signature
    problem: str | None


class Certificates:
    """Follows the certificates of all services."""

    def __init__(self, layout: Layout, files: FencedFiles, acknowledgements: Acknowledgements, admin: Admin) -> None:
        self._layout = layout
        self._files = files
        self._acknowledgements = acknowledgements
        self._admin = admin
        self._followed: dict[str, _Followed] = {}
        self._ends: Mapping[str, datetime] = {}
        self._look_at = float("-inf")
        self._ask_at = float("-inf")

    def take(self, spec: ServiceSpec) -> None:
        """Hand a service's certificate over; where its files are unusable, one handed over before stays.

        Raises:
            CertificateUnusable: and there is none from before.
        """
        tls = spec.traffic.tls
        if tls is None:
            return
        is_held = self._layout.secret(spec.name).exists() and self._source(spec.name) == tls
        followed = _Followed(tls=tls, signature=_signature(tls), problem=None)
        try:
            resource = _resource(spec.name, tls)
        except CertificateUnusable as error:
            if not is_held:
                raise
            followed.problem = error.reason
        else:
            if is_held:
                followed.signature = ()  # looked at next, with Envoy's answer waited for
            else:
                self._write(spec.name, resource)
                self._write_source(spec.name, tls)
        self._followed[spec.name] = followed

    def forget(self, service: str) -> None:
        """Follow a service's certificate no more."""
        self._followed.pop(service, None)

    async def look(self, *, timeout_s: float) -> None:
        """Hand over what has changed since; at most once a second."""
        if time.monotonic() < self._look_at + _LOOK_EVERY_S:
            return
        self._look_at = time.monotonic()
        for service, followed in list(self._followed.items()):
            signature = await asyncio.to_thread(_signature, followed.tls)
            if signature != followed.signature and await self._exchange(service, followed, timeout_s=timeout_s):
                followed.signature = signature
                self._ask_at = float("-inf")
        if self._followed and time.monotonic() > self._ask_at + _ASK_EVERY_S:
            with contextlib.suppress(EnvoySilent):  # told elsewhere, and asked again
                self._ends = await self._admin.certificate_ends()
                self._ask_at = time.monotonic()

    def seen(self, service: str) -> Certificate | None:
        """Describe the certificate that a service's users get."""
        followed = self._followed.get(service)
        if followed is None:
            return None
        return Certificate(path=followed.tls.cert, ends_at=self._ends.get(service), problem=followed.problem)

    async def _exchange(self, service: str, followed: _Followed, *, timeout_s: float) -> bool:
        """Hand over a pair if it fits; tell whether it was dealt with, or Envoy must be asked again."""
        _, before = await asyncio.to_thread(read_resources, self._layout.secret(service))
        try:
            resource = await asyncio.to_thread(_resource, service, followed.tls)
        except CertificateUnusable as error:
            followed.problem = error.reason
            return True
        log_from = self._acknowledgements.log_end()
        version = await asyncio.to_thread(self._write, service, resource)
        expected = Expected(versions={f"sds.{service}.version_text": version})
        deadline = time.monotonic() + timeout_s
        followed.problem = await self._acknowledgements.wait(expected, deadline=deadline, log_from=log_from)
        if followed.problem is not None:
            await asyncio.to_thread(self._write, service, *before.values())
        return followed.problem is None or followed.problem.startswith(REJECTED)

    def _source(self, service: str) -> TlsSpec | None:
        """Read which files the pair that was handed over came from; only of these it may go on without them."""
        path = self._layout.source(service)
        return TlsSpec(**read_document(path)) if path.exists() else None

    def _write_source(self, service: str, tls: TlsSpec) -> None:
        document = {"cert": tls.cert, "key": tls.key}
        self._files.write(self._layout.source(service), document, fence=_UNBOUND.fence)

    def _write(self, service: str, resource: Resource) -> str:
        return self._files.update(self._layout.secret(service), lambda _: {service: resource}, _UNBOUND)


def _resource(service: str, tls: TlsSpec) -> Resource:
    """Read a pair that fits.

    Raises:
        CertificateUnusable: it does not, or cannot be read.
    """
    before = _read(tls)
    try:
        # An empty password: without one OpenSSL would ask at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.cert, tls.key, password="")
    except (OSError, ssl.SSLError) as error:
        raise CertificateUnusable(tls.cert, tls.key, _reason(error, *before)) from error
    if _read(tls) != before:
        raise CertificateUnusable(tls.cert, tls.key, "the files are being written")
    return secret(service, *before)


def _reason(error: OSError, cert: str, key: str) -> str:
    """Say it in words where OpenSSL does not."""
    if "-----BEGIN CERTIFICATE-----" not in cert:
        return "there is no certificate in PEM form"
    if "PRIVATE KEY-----" not in key:
        return "there is no private key in PEM form"
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "certificate and key do not belong together"
    return error.strerror or str(error)


def _read(tls: TlsSpec) -> tuple[str, str]:
    try:
        return Path(tls.cert).read_text(encoding="utf-8"), Path(tls.key).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "one of them is no text"
        raise CertificateUnusable(tls.cert, tls.key, reason or str(error)) from error


def _signature(tls: TlsSpec) -> Signature:
    return tuple(_signature_of(path) for path in (tls.cert, tls.key))


def _signature_of(path: str) -> tuple[int, ...] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
