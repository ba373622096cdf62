"""Login roles by version: their names, and what is remembered of each.

Why. `pg_stat_statements` counts by role and knows no application name, so only a role of its own tells the statements
of a version apart; and a role has a connection limit, which is the version's budget of pools.

Rules. What is remembered of a role stands in its comment: roles belong to the server, not to one database, and a
comment is made, changed and dropped with its role in one transaction. A role without such a comment is somebody else's.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from hitless.schema.names import LONGEST_BYTES

_MARK = "hitless"
_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRole:
    """What is remembered of a version's login role.

    Attributes:
        key: fingerprint of what its password was derived from.
        connections: its usual limit; None = none.
        raised_to: its limit while a migration goes on; None = it is not raised.
    """

    service: str
    version: str
    key: str
    connections: int | None = None
    raised_to: int | None = None


def role_name(prefix: str, version: str) -> str:
    """Name a version's role: as it is called where that fits into 63 bytes, else cut, with a hash of all of it."""
    name = f"{prefix}_v{version}"
    if len(name.encode()) <= LONGEST_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return name.encode()[: LONGEST_BYTES - _DIGITS - 1].decode(errors="ignore") + "_" + digest


def comment_of(role: VersionRole) -> str:
    """Write what is remembered as a role's comment."""
    said = {
        _MARK: "login role of one version",
        "service": role.service,
        "version": role.version,
        "key": role.key,
        "connections": role.connections,
        "raised_to": role.raised_to,
    }
    return json.dumps({key: value for key, value in said.items() if value is not None})


def role_of(comment: str | None) -> VersionRole | None:
    """Read a role's comment back; None = it is somebody else's."""
    try:
        said = json.loads(comment or "")
    except ValueError:
        return None
    if not isinstance(said, dict) or _MARK not in said:
        return None
    texts = [said.get(name) for name in ("service", "version", "key")]
    if not all(isinstance(one, str) for one in texts):
        return None
    return VersionRole(
        service=str(texts[0]),
        version=str(texts[1]),
        key=str(texts[2]),
        connections=_count(said.get("connections")),
        raised_to=_count(said.get("raised_to")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
