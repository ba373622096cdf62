from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hitless.cli.faults import JournalBroken, UnknownRecord, Unreachable
from hitless.cli.outcome import DETACHED, DONE
from hitless.cli.session import DEFAULTS, Common, Session
from hitless.cli.tables import journal_line
from hitless.cli.watch import LONG_POLL_S, Pace, patiently
from hitless.journal.record import canonical
from hitless.view.models import JournalRecordView

PAGE_RECORDS = 1_000


def tail(
    *,
    lines: Annotated[int, Parameter(alias="-n")] = 20,
    follow: Annotated[bool, Parameter(alias="-f")] = False,
    service: str | None = None,
    subject: str | None = None,
    common: Common = DEFAULTS,
) -> int:
    """Show the newest records.

    Args:
        lines: How many.
        follow: Go on with new ones; Ctrl-C ends it.
        service: Only records about this service.
        subject: Only records about this, e.g. service/checkout.
        common: Options of every command.
    """
    session = Session(common)
    subject = f"service/{service}" if service else subject
    last = 0
    for record in session.client.newest_records(min(lines, PAGE_RECORDS), subject=subject):
        last = record["seq"]
        _show(session, record)
    return _follow(session, last, subject) if follow else DONE


def show(seq: int, /, *, common: Common = DEFAULTS) -> int:
    """Show one record with all its data.

    Args:
        seq: Its number.
        common: Options of every command.
    """
    session = Session(common)
    found = session.client.journal(after=seq - 1, limit=1) if seq > 0 else []
    if not found or found[0]["seq"] != seq:
        raise UnknownRecord(seq)
    if common.json:
        session.output.document("journal", found)
    else:
        session.output.raw(json.dumps(found[0], indent=2, ensure_ascii=False))
    return DONE


def verify(*, common: Common = DEFAULTS) -> int:
    """Recompute the whole chain of hashes; exits 6 when it is broken.

    Args:
        common: Options of every command.
    """
    session = Session(common)
    check = session.client.verify_journal()
    if check["problem"]:
        raise JournalBroken(check)
    if common.json:
        session.output.document("journal-check", check)
    else:
        session.output.raw(f"{check['records']} records, the chain holds")
    return DONE


def export(*, output: Annotated[Path | None, Parameter(alias="-o")] = None, common: Common = DEFAULTS) -> int:
    """Write all records as JSON Lines, each in the form that was hashed, so that the export proves itself.

    Args:
        output: File to write; without it, stdout.
        common: Options of every command.
    """
    session = Session(common)
    if output is None:
        for line in _all_lines(session):
            session.output.raw(line)
        return DONE
    with output.open("w", encoding="utf-8") as file:
        written = sum(file.write(f"{line}\n") > 0 for line in _all_lines(session))
    session.output.narrate(f"{written} records written to {output}")
    return DONE


def _follow(session: Session, after: int, subject: str | None) -> int:
    pace = Pace(poll_s=LONG_POLL_S, clock=session.clock)
    try:
        while True:
            ask = functools.partial(_records, session, after, subject)
            for record in patiently(ask, pace, functools.partial(_say_away, session)) or ():
                after = record["seq"]
                _show(session, record)
    except KeyboardInterrupt:
        return DETACHED


def _records(session: Session, after: int, subject: str | None, wait_s: float) -> list[JournalRecordView]:
    return session.client.journal(after=after, subject=subject, wait_s=wait_s)


def _say_away(session: Session, error: Unreachable, seconds: float) -> None:
    if seconds == 0:
        session.output.narrate(f"{error.message}; trying again")


def _show(session: Session, record: JournalRecordView) -> None:
    if session.output.json:
        session.output.document("journal", [record])
    else:
        session.output.raw(journal_line(record))


def _all_lines(session: Session) -> Iterator[str]:
    after = 0
    while records := session.client.journal(after=after, limit=PAGE_RECORDS):
        yield from (canonical(record) for record in records)
        after = records[-1]["seq"]
