"""What a change began with, kept: a change is carried out as it was when it began.

Rules. Where nothing of it is done yet, a later plan replaces an earlier one. After that, what is given under its name
must say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from hitless.adapters.postgres import records
from hitless.errors import Refused
from hitless.schema.change.steps import Plan
from hitless.schema.change.stored import document_of

_KEEP = "INSERT INTO hitless.change (id, spec, plan) VALUES (%s, %s, %s) ON CONFLICT (id) DO NOTHING RETURNING id"
_KEEP_ANEW = """
UPDATE hitless.change SET spec = %s, plan = %s, fence = fence + 1, changed_at = clock_timestamp() WHERE id = %s
"""  # the fence: a worker that waits to do the first step of the earlier plan has been overtaken
_HAS_BEGUN = "SELECT 1 FROM hitless.event WHERE change = %s AND type IN ('step.began', 'step.done') LIMIT 1"

FILE = "file"
"""Stands in the spec of what is no change but a file of statements."""


class DiffersFromBegun(Refused):
    """What was begun under this name has another content."""

    code = "HL4524"


def keep(connection: psycopg.Connection, spec: Mapping[str, Any], plan: Plan, *, actor: str) -> None:
    """Keep a change in the open transaction.

    Raises:
        DiffersFromBegun: a change of this name has begun with another content.
    """
    change, document = plan.change, document_of(plan)
    if connection.execute(_KEEP, (change, Jsonb(dict(spec)), Jsonb(document))).fetchone() is not None:
        records.tell(connection, change, actor, "change.registered")
        return
    row = connection.execute("SELECT spec, plan FROM hitless.change WHERE id = %s FOR UPDATE", (change,)).fetchone()
    if row is None or (row[0] == _plain(spec) and row[1] == _plain(document)):
        return
    if connection.execute(_HAS_BEGUN, (change,)).fetchone() is None:
        connection.execute(_KEEP_ANEW, (Jsonb(dict(spec)), Jsonb(document), change))
        records.tell(connection, change, actor, "change.replanned")
    else:
        require_same(change, row[0], spec)


def require_same(change: str, begun: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Return where the content is the one that a change began with.

    Raises:
        DiffersFromBegun: it is not.
    """
    if begun == _plain(given):
        return
    if FILE in begun:
        raise DiffersFromBegun(
            f"{change} has been changed since it was begun",
            evidence=_differences(begun, _plain(given)),
            hints=(
                "put the content back, and write what is new into a file of its own",
                f"or, to run all of it anew: hitless migrate undo {change} --forget",
            ),
        )
    raise DiffersFromBegun(
        f"{change} has begun with another content",
        evidence=_differences(begun, _plain(given)),
        hints=(
            f"hitless migrate undo {change}   # then begin anew with the new content",
            "or give the new content a name of its own",
        ),
    )


def _plain(value: Any) -> Any:
    """Return what JSON makes of a value."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _differences(there: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, ...]:
    keys = sorted(key for key in {*there, *given} if there.get(key) != given.get(key))
    return tuple(f"{key}: begun with {there.get(key)!r}, now {given.get(key)!r}" for key in keys)
