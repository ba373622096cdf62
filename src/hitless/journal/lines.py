"""The journal as JSON Lines: one record a line, in the form that was hashed, so that an export is its own proof."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hitless.errors import Place
from hitless.journal.record import NotARecord, Record, canonical, document, parse, read_json

PAGE_RECORDS = 1_000

ReadPage = Callable[[int, int], tuple[Record, ...]]
"""`(after, limit) -> records`, oldest first."""


def export_lines(records: Iterable[Record]) -> Iterator[str]:
    """Render records as lines, each with its line feed."""
    return (canonical(document(record)) + "\n" for record in records)


def import_lines(lines: Iterable[str], *, source: str) -> Iterator[Record]:
    """Read records from lines; blank ones are skipped.

    Args:
        lines: as `export_lines` wrote them.
        source: name of the file, for errors.

    Raises:
        NotARecord: a line is not one; names it.
    """
    return (_record(line, Place(source, number)) for number, line in enumerate(lines, 1) if line.strip())


def all_pages(read: ReadPage, *, page: int = PAGE_RECORDS) -> Iterator[Record]:
    """Read a whole journal page by page, so that its length does not matter."""
    after = 0
    while records := read(after, page):
        yield from records
        after = records[-1].seq


def _record(line: str, place: Place) -> Record:
    try:
        return parse(read_json(line))
    except NotARecord as error:
        raise NotARecord(error.message, place=place, evidence=error.evidence) from error
    except (ValueError, RecursionError) as error:
        raise NotARecord("the line is not JSON", place=place, evidence=(str(error),)) from error
