"""Where a service's database is: the URL that its settings point to, and the one that an instance gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from hitless.errors import UserError

_LONGEST = 16 * 1024  # bytes


class UrlMissing(UserError):
    """The place that `database.url` names holds no URL."""

    code = "HL2120"


class UrlWrong(UserError):
    """What the place of `database.url` holds is no URL of a PostgreSQL."""

    code = "HL2121"


def resolve(url: str, environment: Mapping[str, str]) -> str:
    """Return the URL, or the `key=value` pairs, that `database.url` of a service points to.

    Args:
        url: `env:NAME`, `file:PATH`, or the URL itself.
        environment: of this process.

    Raises:
        UrlMissing: nothing is there.
        UrlWrong: it is none.
    """
    kind, _, place = url.partition(":")
    found = {"env": lambda: _variable(place, environment), "file": lambda: _file(place)}.get(kind, lambda: url)()
    try:
        conninfo_to_dict(found)
    except psycopg.Error as error:
        cause = " ".join(str(error).split()).replace(found, "...")  # it may hold a password
        raise UrlWrong(
            f"{url if kind in {'env', 'file'} else 'database.url'} holds no URL of a PostgreSQL: {cause}",
            hints=("postgresql://USER:PASSWORD@HOST:5432/DATABASE",),
        ) from None
    return found


def beside(url: str, directory: Path) -> str:
    """Return `database.url` with a `file:PATH` that is relative to hitless.yaml, wherever this process was started."""
    kind, _, path = url.partition(":")
    return f"file:{directory / path}" if kind == "file" else url


def _variable(name: str, environment: Mapping[str, str]) -> str:
    if not environment.get(name):
        raise UrlMissing(
            f"`database.url` is env:{name}, and this process has no such variable",
            hints=(f"export {name}=postgresql://USER:PASSWORD@HOST:5432/DATABASE, then start again: hitless up",),
        )
    return environment[name]


def _file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            text = file.read(_LONGEST).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        cause = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not UTF-8"
        raise UrlMissing(f"`database.url` is file:{path}, which cannot be read: {cause}") from None
    if not text:
        raise UrlMissing(f"`database.url` is file:{path}, which is empty")
    return text


def url_for(conninfo: str, *, role: str, password: str) -> str:
    """Return the URL of the same database for another role, in the form that every driver reads.

    Args:
        conninfo: a URL or `key=value` pairs.
        role: whom it is for.
        password: what it logs in with.
    """
    parts = {key: str(value) for key, value in conninfo_to_dict(conninfo).items() if value is not None}
    for other in ("user", "password", "passfile"):
        parts.pop(other, None)
    database, host, port = parts.pop("dbname", ""), parts.pop("host", ""), parts.pop("port", "")
    if host.startswith(("/", "@")):  # a socket's folder is no host of a URL
        parts = {"host": host, **({"port": port} if port else {}), **parts}
        host = port = ""
    query = f"?{urlencode(parts, quote_via=quote)}" if parts else ""
    who = f"{quote(role, safe='')}:{quote(password, safe='')}"
    return f"postgresql://{who}@{_hosts(host, port)}/{quote(database, safe='')}{query}"


def _hosts(host: str, port: str) -> str:
    hosts, ports = host.split(","), port.split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return ",".join(
        (f"[{name}]" if ":" in name else name) + (f":{number}" if number else "")
        for name, number in zip(hosts, ports, strict=True)
    )
