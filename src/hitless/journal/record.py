"""The journal: an append-only chain of records, each holding the hash of the one before.

Theory: `hash = SHA-256(JCS({seq, at, type, subject, actor, data, previous}))` with JCS as in RFC 8785, so that anyone
can recompute the chain from an export with a few lines in any language. Changing, removing or inserting a record breaks
every hash after it; cutting off the end shows against the head that is kept beside it.

Rules:
* `at` is written in one form only (`timestamp`), so that text and hash agree.
* A record holds its data as JSON gives it back (no tuples, no numbers that doubles cannot hold): what is returned when
  it is written equals what is read later, and nobody can change it behind the chain's back.
* A new record follows the head, not the last row that is found: a cut-off end stays visible for ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NoReturn

import rfc8785

from hitless.errors import UserError

GENESIS = "0" * 64

_SAFE_INTEGER = 2**53 - 1  # RFC 8785, section 3.2.2.3: numbers are IEEE 754 doubles
_SAFE_DIGITS = len(str(_SAFE_INTEGER))
_FIELDS = frozenset({"seq", "at", "type", "subject", "actor", "data", "previous", "hash"})


class NotARecord(UserError):
    """A document is not a journal record."""

    code = "HL2301"


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
class Head:
    """Where the chain ends, kept beside it."""

    seq: int
    hash: str


START = Head(seq=0, hash=GENESIS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """Where the chain does not hold, and how that shows."""

    seq: int
    problem: str


def chain(entry: Entry, *, after: Record | Head | None) -> Record:
    """Give `entry` its place behind `after` (None: at the beginning).

    Raises:
        ValueError: `at` is naive, or `data` is not JSON that RFC 8785 can hold (NaN, an integer beyond 2**53, half a
            surrogate pair).
    """
    behind = after or START
    at = parse_timestamp(timestamp(entry.at))
    owned = replace(entry, at=at, data=read_json(canonical(dict(entry.data))))
    seq = behind.seq + 1
    return Record(seq=seq, entry=owned, previous=behind.hash, hash=_digest(seq, owned, behind.hash))


def verify(records: Iterable[Record], *, head: str | None = None, after: Head = START) -> Break | None:
    """Return the first break of the chain, None when it holds.

    Args:
        records: in order.
        head: the hash that the last record must have, where it is known.
        after: what the first one follows; without it, they are from the beginning.
    """
    last, head_seq = after, 0 if head == GENESIS else None
    for record in records:
        if problem := _problem(record, last):
            return problem
        last = Head(seq=record.seq, hash=record.hash)
        head_seq = record.seq if record.hash == head else head_seq
    if head is None or head == last.hash:
        return None
    if head_seq is not None:
        return Break(seq=head_seq + 1, problem="records were added behind the end that the head names")
    return Break(seq=last.seq + 1, problem="records are missing at the end")


def document(record: Record) -> dict[str, Any]:
    """Render a record as one JSON document, as exported."""
    return {**_content(record.seq, record.entry, record.previous), "hash": record.hash}


def parse(document: Mapping[str, Any]) -> Record:
    """Read back what `document` rendered; whether the chain holds is for `verify` to say.

    Raises:
        NotARecord: a field is missing, unknown, or of another form than it was written in.
    """
    _check_fields(document)
    entry = Entry(
        at=_moment(document["at"]),
        type=_text(document, "type"),
        subject=_text(document, "subject"),
        actor=_text(document, "actor"),
        data=_data(document["data"]),
    )
    return Record(
        seq=_count(document["seq"]),
        entry=entry,
        previous=_text(document, "previous"),
        hash=_text(document, "hash"),
    )


def timestamp(moment: datetime) -> str:
    """Write a moment in the journal's one form: RFC 3339, UTC, microseconds, `Z`; sorts as text.

    Raises:
        ValueError: the moment is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment.isoformat()}: the journal holds aware ones only")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_timestamp(text: str) -> datetime:
    """Read back what `timestamp` wrote.

    Raises:
        ValueError: any other form, even of the same moment.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or timestamp(moment) != text:
        raise ValueError(f"{text!r} is not of the form 2030-01-31T12:00:00.000000Z")
    return moment


def canonical(value: Any) -> str:
    """Write JSON in the form of RFC 8785.

    Raises:
        ValueError: the value cannot be held by it.
    """
    return rfc8785.dumps(value).decode()


def read_json(text: str) -> Any:
    """Read JSON as RFC 8785 understands it: large integers are doubles, no NaN, no key twice.

    Raises:
        ValueError: it is not that.
    """
    return json.loads(text, parse_int=_number, parse_constant=_no_constant, object_pairs_hook=_unique)


def _problem(record: Record, last: Head) -> Break | None:
    if record.seq > last.seq + 1:
        return Break(seq=last.seq + 1, problem=f"record {last.seq + 1} is missing")
    if record.seq <= last.seq:
        return Break(seq=last.seq + 1, problem=f"record {record.seq} stands where record {last.seq + 1} belongs")
    if record.previous != last.hash:
        return Break(seq=record.seq, problem="does not follow the record before it")
    if record.hash != _digest_of_any(record):
        return Break(seq=record.seq, problem="was changed after it was written")
    return None


def _digest_of_any(record: Record) -> str | None:
    try:
        return _digest(record.seq, record.entry, record.previous)
    except (ValueError, TypeError, RecursionError):  # what JCS or the one form of time cannot hold was never hashed
        return None


def _content(seq: int, entry: Entry, previous: str) -> dict[str, Any]:
    return {
        "seq": seq,
        "at": timestamp(entry.at),
        "type": entry.type,
        "subject": entry.subject,
        "actor": entry.actor,
        "data": dict(entry.data),
        "previous": previous,
    }


def _digest(seq: int, entry: Entry, previous: str) -> str:
    return hashlib.sha256(rfc8785.dumps(_content(seq, entry, previous))).hexdigest()


def _check_fields(document: Mapping[str, Any]) -> None:
    if not isinstance(document, Mapping):
        raise NotARecord("a record is a JSON object", evidence=(f"found {type(document).__name__}",))
    if document.keys() != _FIELDS:
        missing, unknown = sorted(_FIELDS - document.keys()), sorted(document.keys() - _FIELDS)
        raise NotARecord("the fields are not those of a record", evidence=(f"missing {missing}", f"unknown {unknown}"))


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str):
        raise NotARecord(f"`{name}` is not a string", evidence=(repr(value)[:200],))
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:  # bool is an int and not a count
        raise NotARecord("`seq` is not a number from 1 upwards", evidence=(repr(value)[:200],))
    return value


def _data(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NotARecord("`data` is not a JSON object", evidence=(repr(value)[:200],))
    return value


def _moment(value: Any) -> datetime:
    try:
        return parse_timestamp(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise NotARecord("`at` is not a UTC timestamp", evidence=(repr(value)[:200], str(error))) from error


def _number(digits: str) -> int | float:
    # Doubles at or above 2**53 are written without a point; read as int they would be refused when hashed again.
    if len(digits.lstrip("-")) <= _SAFE_DIGITS and abs(int(digits)) <= _SAFE_INTEGER:
        return int(digits)
    return float(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers differ in which of two equal keys they take, so a record with both would say two things.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found
