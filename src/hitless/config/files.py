"""The files on disk that a service names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hitless.config.values import Problem
from hitless.rollout.spec import DatabaseSpec, MetricsSpec, ServiceSpec, TlsSpec

_LONGEST_PEM = 1024 * 1024  # bytes; a chain has a few thousand


def tls_problems(tls: TlsSpec, *, directory: Path) -> Iterator[Problem]:
    """Certificate and key exist, can be read and are PEM; paths count from the service.

    Whether they belong together is for the proxy to say, when it loads them.
    """
    yield from _pem_problem(
        "cert", tls.cert, directory=directory, holds=b"-----BEGIN CERTIFICATE-----", what="certificate"
    )
    yield from _pem_problem("key", tls.key, directory=directory, holds=b"PRIVATE KEY-----", what="private key")


def _pem_problem(key: str, name: str, *, directory: Path, holds: bytes, what: str) -> Iterator[Problem]:
    at = ("tls", key)
    try:
        with (directory / name).open("rb") as file:
            content = file.read(_LONGEST_PEM)
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        yield Problem(message=f"`{name}` cannot be read: {cause}", hint=f"paths are relative to {directory}", at=at)
        return
    if holds not in content:
        yield Problem(
            message=f"`{name}` holds no {what} in PEM form",
            hint=f"it should have a line with `{holds.decode()}`",
            at=at,
        )


def with_absolute_files(service: ServiceSpec, *, directory: Path) -> ServiceSpec:
    """Make paths independent of any working directory: the proxy's, that of a token, those of a database's changes."""
    service = replace(
        service,
        metrics=_with_absolute_token(service.metrics, directory=directory),
        database=_with_absolute_changes(service.database, directory=directory),
    )
    tls = service.traffic.tls
    if tls is None:
        return service
    absolute = TlsSpec(cert=str((directory / tls.cert).absolute()), key=str((directory / tls.key).absolute()))
    return replace(service, traffic=replace(service.traffic, tls=absolute))


def _with_absolute_token(metrics: MetricsSpec | None, *, directory: Path) -> MetricsSpec | None:
    asked = metrics.prometheus if metrics is not None else None
    if metrics is None or asked is None or asked.token_file is None:
        return metrics
    absolute = str((directory / asked.token_file).absolute())
    return replace(metrics, prometheus=replace(asked, token_file=absolute))


def _with_absolute_changes(database: DatabaseSpec | None, *, directory: Path) -> DatabaseSpec | None:
    if database is None:
        return None
    changes = tuple(replace(one, file=str((directory / one.file).absolute())) for one in database.changes)
    kind, _, path = database.url.partition(":")
    url = f"file:{(directory / path).absolute()}" if kind == "file" else database.url
    return replace(database, url=url, changes=changes)
