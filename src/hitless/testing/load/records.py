"""Clients that write values, read them back from whichever version answers, and compare.

Rules.
* A field of a record is written by one request at a time, so that the order of its values is known. Other fields of the
  same record are written at the same time, and everything is read at any time.
* A read must show, of each field, the last value that a client was told was written before the read began, or one whose
  write was under way during it.
* A write without a good answer may have been done or not, and may be done later: its field is not written again, and
  both values are right from then on.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11

from hitless.testing.load.context import Context
from hitless.testing.load.fate import OK, WRONG_VALUE, Answer, cause_of
from hitless.testing.load.http1 import Http1Connection
from hitless.testing.load.plan import ID, RECORD, Kind, RecordSpec
from hitless.testing.load.requests import Http1Client

NUMBER = "{number}"
SEED = "seed"
_NUMBER_DIGITS = 9

Value = str | int


@dataclass(slots=True)
class Written:
    """The values of one field of one record, in the order in which they were written; the first is the seed.

    Attributes:
        sure: index of the last value that is known to have been written.
        is_busy: a write is under way.
        is_doubtful: a write had no good answer.
    """

    values: list[Value]
    by: list[str]
    sure: int = 0
    is_busy: bool = False
    is_doubtful: bool = False

    def begin(self, value: Value) -> None:
        """Note that a value may be there from now on."""
        self.values.append(value)
        self.by.append("")
        self.is_busy = True

    def end(self, version: str | None) -> None:
        """Note the fate of the write under way; None = it had no good answer."""
        self.is_busy = False
        self.is_doubtful = version is None
        if version is not None:
            self.by[-1] = version
            self.sure = len(self.values) - 1

    def since(self, moment: int) -> Sequence[Value]:
        """Return the values that a read may show that began when `sure` was `moment`."""
        return self.values[moment:]

    def to_json(self) -> dict[str, Any]:
        """Return what the field may hold now, and how often it was written."""
        return {"may_be": self.since(self.sure), "written": self.sure, "is_doubtful": self.is_doubtful}


@dataclass(slots=True)
class RecordLog:
    """Every value that was written, and what was read.

    Attributes:
        crossings: values that were read, by `version that wrote it -> version that showed it`.
    """

    spec: RecordSpec
    fields: dict[tuple[int, str], Written] = field(default_factory=dict)
    reads: int = 0
    writes: int = 0
    values_read: int = 0
    wrong: int = 0
    crossings: Counter[str] = field(default_factory=Counter)

    def of(self, record: int, name: str) -> Written:
        """Return the log of one field."""
        key = (record, name)
        if key not in self.fields:
            self.fields[key] = Written([_filled(self.spec.seeded[name], record, record)], [SEED])
        return self.fields[key]

    def moment(self, record: int) -> dict[str, int]:
        """Note what is sure of a record's fields, before it is read."""
        return {name: self.of(record, name).sure for name in self.spec.seeded}

    def faults(self, record: int, began: Mapping[str, int], told: Mapping[str, Any], version: str) -> Iterator[str]:
        """Compare what was told of a record with what was written; yield what is wrong."""
        for name, since in began.items():
            written = self.of(record, name)
            self.values_read += 1
            if name not in told or told[name] not in written.since(since):
                self.wrong += 1
                may_be = ", ".join(repr(one) for one in written.since(since))
                yield f"record {record}: {name} is {told.get(name)!r}, not {may_be} (by {written.by[since]})"
            else:
                shown = len(written.values) - 1 - written.values[::-1].index(told[name])
                self.crossings[f"{written.by[shown] or SEED} -> {version}"] += written.by[shown] != ""

    def to_json(self) -> dict[str, Any]:
        """Return everything that an audit needs: what each field may hold, and the counts."""
        records: dict[str, dict[str, Any]] = {}
        for (record, name), written in sorted(self.fields.items()):
            records.setdefault(str(record), {})[name] = written.to_json()
        counts = {name: getattr(self, name) for name in ("reads", "writes", "values_read", "wrong")}
        doubtful = sum(written.is_doubtful for written in self.fields.values())
        return {**counts, "doubtful": doubtful, "crossings": dict(self.crossings), "records": records}


class RecordClient(Http1Client):
    """Writes and reads in turn, each request another record and field, drawn from the load's own seed."""

    def __init__(self, context: Context, kind: Kind, spec: RecordSpec) -> None:
        super().__init__(context, kind, spec)
        self.log = RecordLog(spec)
        self._records = spec
        self._turns = itertools.count(1)
        self._draw = random.Random(context.prefix)  # noqa: S311 - no secret
        self._json_headers = [*self.headers(), ("content-type", "application/json")]

    @property
    def expects_id(self) -> bool:
        """Answers are compared value by value."""
        return False

    async def ask(self, name: str) -> Answer:
        """Write or read; return the fate, which is WRONG_VALUE where an answer shows what nobody wrote."""
        record = self._records.first + self._records.step * self._draw.randrange(self._records.records)
        if next(self._turns) % self._records.write_every == 0:
            free = [one for one in self._records.written if self._is_free(record, one)]
            if free:
                return await self._write(record, self._draw.choice(free), name)
        return await self._read(record)

    def save(self) -> None:
        """Write the log where the spec says."""
        if self._records.log is not None:
            Path(self._records.log).write_text(json.dumps(self.log.to_json()), "utf-8")

    def _is_free(self, record: int, name: str) -> bool:
        written = self.log.of(record, name)
        return not (written.is_busy or written.is_doubtful)

    async def _write(self, record: int, name: str, request: str) -> Answer:
        written = self.log.of(record, name)
        value = _filled(self._records.written[name], record, request)
        began = self.log.moment(record) | {name: len(written.values)}  # its own answer shows the new value
        written.begin(value)
        version: str | None = None
        try:
            sent = json.dumps({name: value}).encode()
            answer = await self._send("PATCH", record, sent)
            if cause_of(answer, expected=None) == OK:
                version = self._context.ledger.version_of(answer)
        finally:
            written.end(version)
        self.log.writes += version is not None
        return answer if version is None else self._judged(answer, record, began, version)

    async def _read(self, record: int) -> Answer:
        began = self.log.moment(record)
        answer = await self._send("GET", record, b"")
        if cause_of(answer, expected=None) != OK:
            return answer
        self.log.reads += 1
        return self._judged(answer, record, began, self._context.ledger.version_of(answer))

    def _judged(self, answer: Answer, record: int, began: Mapping[str, int], version: str) -> Answer:
        faults = list(self.log.faults(record, began, _object(answer.body), version))
        if not faults:
            return answer
        detail = "; ".join(faults)
        return Answer(cause=WRONG_VALUE, status=answer.status, headers=answer.headers, wire=answer.wire, detail=detail)

    async def _send(self, method: str, record: int, body: bytes) -> Answer:
        target = self._spec.path.replace(RECORD, str(record))
        headers = self._json_headers + [("content-length", str(len(body)))] * bool(body)
        request = h11.Request(method=method, target=target, headers=headers)
        connection: Http1Connection = await self._pool.take()
        try:
            return await connection.ask(request, timeout_s=self._spec.timeout_s, body=body)
        finally:
            self._pool.give_back(connection)


def _filled(template: str, record: int, request: str | int) -> Value:
    """Fill a template in; one that is `{number}` alone gives a number, of at most nine digits."""
    number = int(str(request)[-_NUMBER_DIGITS:])
    if template == NUMBER:
        return number
    return template.replace(RECORD, str(record)).replace(ID, str(request)).replace(NUMBER, str(number))


def _object(body: bytes) -> Mapping[str, Any]:
    """Read a JSON object; what is none shows no field."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
