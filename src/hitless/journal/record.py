"""The journal: an append-only chain of records, each holding the hash of the one before.

Theory: `hash = SHA-256(JCS({seq, at, type, subject, actor, data, previous}))` with JCS as in RFC 8785, so that anyone can
recompute the chain from an export with a few lines in any language. Changing, removing or inserting a record breaks every
hash after it; cutting off the end shows against the head that is kept beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import rfc8785

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that was decided or happened, before it has its place in the chain.

    Attributes:
        at: when, aware.
        type: what, e.g. `rollout.started`; the vocabulary is in `docs/reference/events.md`.
        subject: whom it concerns, e.g. `service/checkout`.
        actor: who, e.g. `user:ana` or `hitless`.
        data: evidence and reason; JSON values only.
    """

    at: datetime
    type: str
    subject: str
    actor: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An entry in its place; `seq` counts from 1 without gaps."""

    seq: int
    entry: Entry
    previous: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Where the chain does not hold, and how that shows."""

    seq: int
    problem: str


def chain(entry: Entry, *, after: Record | None) -> Record:
    """Give `entry` its place behind `after` (None: at the beginning)."""
    seq = after.seq + 1 if after else 1
    previous = after.hash if after else GENESIS
    return Record(seq=seq, entry=entry, previous=previous, hash=_digest(seq, entry, previous))


def verify(records: Iterable[Record], *, head: str | None = None) -> Break | None:
    """Return the first break of the chain, None when it holds.

    Args:
        records: from the beginning, in order.
        head: the hash that the last record must have, where it is known.
    """
    seq, previous = 0, GENESIS
    for record in records:
        if record.seq != seq + 1:
            return Break(seq=seq + 1, problem=f"record {seq + 1} is missing")
        if record.previous != previous:
            return Break(seq=record.seq, problem="does not follow the record before it")
        if record.hash != _digest(record.seq, record.entry, record.previous):
            return Break(seq=record.seq, problem="was changed after it was written")
        seq, previous = record.seq, record.hash
    if head is not None and head != previous:
        return Break(seq=seq + 1, problem="records are missing at the end")
    return None


def document(record: Record) -> dict[str, Any]:
    """Render a record as one JSON document, as exported."""
    return {**_content(record.seq, record.entry, record.previous), "hash": record.hash}


def _content(seq: int, entry: Entry, previous: str) -> dict[str, Any]:
    return {
        "seq": seq,
        "at": entry.at.isoformat(),
        "type": entry.type,
        "subject": entry.subject,
        "actor": entry.actor,
        "data": dict(entry.data),
        "previous": previous,
    }


def _digest(seq: int, entry: Entry, previous: str) -> str:
    return hashlib.sha256(rfc8785.dumps(_content(seq, entry, previous))).hexdigest()
