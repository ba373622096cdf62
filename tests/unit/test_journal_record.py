"""The journal's chain: what is written, what is read back, and what shows when someone changed it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from hitless.errors import UserError
from hitless.journal.lines import all_pages, export_lines, import_lines
from hitless.journal.record import (
    GENESIS,
    Break,
    Entry,
    Head,
    NotARecord,
    Record,
    chain,
    document,
    parse,
    parse_timestamp,
    read_json,
    timestamp,
    verify,
)

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


def entry(number: int = 1, **data: object) -> Entry:
    at = NOON + timedelta(seconds=number)
    return Entry(
        at=at, type="rollout.started", subject="service/checkout", actor="user:ana", data={"n": number, **data}
    )


def journal(count: int) -> list[Record]:
    records: list[Record] = []
    for number in range(1, count + 1):
        records.append(chain(entry(number), after=records[-1] if records else None))
    return records


def test_the_first_record_follows_the_genesis_hash_and_counts_from_one() -> None:
    first = chain(entry(), after=None)
    assert (first.seq, first.previous) == (1, GENESIS)


def test_a_record_follows_a_head_as_it_follows_the_record_that_the_head_names() -> None:
    first, second = journal(2)
    assert chain(entry(2), after=Head(seq=first.seq, hash=first.hash)) == second


def test_anyone_can_recompute_a_hash_from_the_exported_document_alone() -> None:
    exported = document(chain(entry(weights={"v1": 100}), after=None))
    claimed = exported.pop("hash")
    # For plain ASCII and small integers JCS is what json writes with sorted keys and no spaces.
    text = json.dumps(exported, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == claimed


def test_the_hash_of_a_known_record_never_changes_between_releases() -> None:
    record = chain(entry(), after=None)
    assert document(record) == {
        "seq": 1,
        "at": "2030-01-31T12:00:01.000000Z",
        "type": "rollout.started",
        "subject": "service/checkout",
        "actor": "user:ana",
        "data": {"n": 1},
        "previous": GENESIS,
        "hash": "0146bc4c2c22070c6ea74b17e2caf1f777125d0e79c81ca6b66b7eae9a447fa5",
    }


def test_the_same_moment_in_another_zone_gives_the_same_record() -> None:
    berlin = replace(entry(), at=entry().at.astimezone(timezone(timedelta(hours=1))))
    assert chain(berlin, after=None) == chain(entry(), after=None)


def test_a_record_owns_its_data() -> None:
    data = {"versions": ["v1"]}
    record = chain(replace(entry(), data=data), after=None)
    data["versions"].append("v2")
    assert record.entry.data == {"versions": ["v1"]}
    assert verify([record]) is None


def test_tuples_become_lists_when_they_are_written_and_not_only_when_they_are_read() -> None:
    assert chain(entry(versions=("v1", "v2")), after=None).entry.data["versions"] == ["v1", "v2"]


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        chain(replace(entry(), at=NOON.replace(tzinfo=None)), after=None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {1: 2}, object(), "\ud800", b"bytes"])
def test_data_that_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        chain(entry(value=value), after=None)


def test_an_unbroken_chain_holds_with_and_without_its_head() -> None:
    records = journal(3)
    assert verify(records) is None
    assert verify(records, head=records[-1].hash) is None
    assert verify([], head=GENESIS) is None


def test_a_changed_record_is_named() -> None:
    records = journal(3)
    records[1] = replace(records[1], entry=replace(records[1].entry, actor="user:eve"))
    assert verify(records) == Break(seq=2, problem="was changed after it was written")


def test_a_record_that_was_changed_and_hashed_again_is_betrayed_by_the_next_one() -> None:
    records = journal(3)
    records[1] = chain(replace(records[1].entry, actor="user:eve"), after=records[0])
    assert verify(records) == Break(seq=3, problem="does not follow the record before it")


def test_a_removed_record_is_named() -> None:
    first, _, third = journal(3)
    assert verify([first, third]) == Break(seq=2, problem="record 2 is missing")


def test_a_record_that_stands_twice_is_named() -> None:
    first, second = journal(2)
    assert verify([first, first, second]) == Break(seq=2, problem="record 1 stands where record 2 belongs")


def test_a_cut_off_end_shows_against_the_head() -> None:
    records = journal(3)
    assert verify(records[:-1]) is None
    assert verify(records[:-1], head=records[-1].hash) == Break(seq=3, problem="records are missing at the end")
    assert verify([], head=records[-1].hash) == Break(seq=1, problem="records are missing at the end")


def test_records_behind_the_head_show() -> None:
    records = journal(3)
    problem = "records were added behind the end that the head names"
    assert verify(records, head=records[1].hash) == Break(seq=3, problem=problem)
    assert verify(records, head=GENESIS) == Break(seq=1, problem=problem)


def test_data_that_was_never_hashable_counts_as_changed() -> None:
    record = chain(entry(), after=None)
    spoiled = replace(record, entry=replace(record.entry, data={"n": float("inf")}))
    assert verify([spoiled]) == Break(seq=1, problem="was changed after it was written")


def test_a_document_reads_back_as_the_record_it_came_from() -> None:
    record = chain(entry(), after=None)
    assert parse(document(record)) == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seq": 0}, "`seq`"),
        ({"seq": True}, "`seq`"),
        ({"seq": 1.0}, "`seq`"),
        ({"at": "2030-01-31T12:00:01Z"}, "`at`"),
        ({"at": "2030-01-31T13:00:01.000000+01:00"}, "`at`"),
        ({"at": "yesterday"}, "`at`"),
        ({"at": 5}, "`at`"),
        ({"type": 7}, "`type`"),
        ({"actor": None}, "`actor`"),
        ({"data": []}, "`data`"),
        ({"colour": "red"}, "fields"),
    ],
)
def test_a_document_of_another_form_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(NotARecord, match=message):
        parse({**document(chain(entry(), after=None)), **change})


def test_a_document_with_a_missing_field_is_refused() -> None:
    incomplete = document(chain(entry(), after=None))
    del incomplete["actor"]
    with pytest.raises(NotARecord) as caught:
        parse(incomplete)
    assert caught.value.evidence[0] == "missing ['actor']"


def test_something_that_is_no_document_is_refused() -> None:
    with pytest.raises(NotARecord, match="JSON object"):
        parse(["not", "one"])  # type: ignore[arg-type]  # what an import may find


def test_an_export_reads_back_line_by_line_and_verifies() -> None:
    records = journal(3)
    lines = list(export_lines(records))
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    assert list(import_lines([*lines, "\n"], source="journal.jsonl")) == records


@pytest.mark.parametrize("line", ["{", "[]", '{"seq": 1}', '{"seq": NaN}', '{"a": 1, "a": 2}', "[" * 100_000])
def test_a_line_that_is_no_record_is_named_with_its_place(line: str) -> None:
    lines = [*export_lines(journal(1)), "", line]
    with pytest.raises(NotARecord) as caught:
        list(import_lines(lines, source="journal.jsonl"))
    assert isinstance(caught.value, UserError)
    assert str(caught.value.place) == "journal.jsonl:3"


def test_large_numbers_read_back_as_they_were_hashed() -> None:
    records = [chain(entry(large=1e16, larger=1e300, negative=-1e17, safe=2**53 - 1, small=1e-7), after=None)]
    assert list(import_lines(export_lines(records), source="x")) == records
    assert verify(import_lines(export_lines(records), source="x")) is None


def test_an_absurdly_long_number_is_no_trap() -> None:
    assert read_json("9" * 10_000) == float("inf")


def test_a_whole_journal_is_read_page_by_page() -> None:
    records = journal(7)
    asked: list[tuple[int, int]] = []

    def read(after: int, limit: int) -> tuple[Record, ...]:
        asked.append((after, limit))
        return tuple(records[after : after + limit])

    assert list(all_pages(read, page=3)) == records
    assert asked == [(0, 3), (3, 3), (6, 3), (7, 3)]


def test_timestamps_have_one_form_that_sorts_as_text() -> None:
    moments = [NOON, NOON + timedelta(microseconds=1), NOON + timedelta(seconds=1)]
    texts = [timestamp(moment) for moment in moments]
    assert texts == sorted(texts)
    assert [parse_timestamp(text) for text in texts] == moments
