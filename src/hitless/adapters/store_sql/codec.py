"""Rows to values and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from hitless.journal.record import NotARecord, Record, canonical, document, parse, parse_timestamp, read_json, timestamp
from hitless.ports import Lease, Run


class UnreadableRow(Exception):
    """A row is not as hitless writes it; `seq` is that of a journal record."""

    def __init__(self, name: str, problem: str, *, seq: int = 0) -> None:
        super().__init__(f"{name}: {problem}")
        self.problem = problem
        self.seq = seq


def run_row(run: Run) -> dict[str, Any]:
    """Write a run as its row."""
    return {
        "id": run.id,
        "kind": run.kind,
        "state": run.state,
        "fence": run.fence,
        "updated_at": timestamp(run.updated_at),
    }


def run_of(row: RowMapping) -> Run:
    """Read a run from its row.

    Raises:
        UnreadableRow: someone else wrote it.
    """
    updated_at = _moment(row["updated_at"], f"run {row['id']}")
    return Run(id=row["id"], kind=row["kind"], state=row["state"], fence=row["fence"], updated_at=updated_at)


def record_row(record: Record) -> dict[str, Any]:
    """Write a record as its row."""
    row = document(record)
    return {**row, "data": canonical(row["data"])}


def record_of(row: RowMapping) -> Record:
    """Read a record from its row.

    Raises:
        UnreadableRow: someone else wrote it.
    """
    seq: int = row["seq"]
    try:
        return parse({**row, "data": read_json(row["data"])})
    except NotARecord as error:
        raise UnreadableRow(f"record {seq}", f"is not a record any more: {error.message}", seq=seq) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise UnreadableRow(f"record {seq}", "is not a record any more: `data` is not JSON", seq=seq) from error


def lease_of(row: RowMapping) -> Lease | None:
    """Read the lease from its row; None when nobody holds it.

    Raises:
        UnreadableRow: someone else wrote it.
    """
    if row["owner"] is None:
        return None
    return Lease(owner=row["owner"], fence=row["fence"], until=_moment(row["until"], "the lease"))


def _moment(text: str, name: str) -> datetime:
    try:
        return parse_timestamp(text)
    except (TypeError, ValueError) as error:
        raise UnreadableRow(name, str(error)) from error
