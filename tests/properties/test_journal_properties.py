"""Whatever is written, the chain holds; whatever is changed in it, the chain says where."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.journal.lines import export_lines, import_lines
from hitless.journal.record import Entry, Record, chain, document, parse, verify

# Making up rich journals takes longer than judging them; thousands of simple ones would find no more.
few = settings(max_examples=min(settings.default.max_examples if settings.default else 100, 100))
many = settings(max_examples=min(settings.default.max_examples if settings.default else 100, 500))

SAFE = 2**53 - 1

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
moments = st.datetimes(
    min_value=datetime(1000, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone itself
    max_value=datetime(9000, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
entries = st.builds(
    Entry, at=moments, type=texts, subject=texts, actor=texts, data=st.dictionaries(texts, values, max_size=4)
)


def chained(some: list[Entry]) -> list[Record]:
    records: list[Record] = []
    for entry in some:
        records.append(chain(entry, after=records[-1] if records else None))
    return records


journals = st.lists(entries, min_size=1, max_size=4).map(chained)

# Where only the order matters, simple entries leave the time for more orders.
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
simple_entries = st.integers(0, 3).map(lambda n: Entry(at=NOON, type="t", subject="s", actor="a", data={"n": n}))
simple_journals = st.lists(simple_entries, min_size=1, max_size=8).map(chained)


def forged(record: Record, **changes: Any) -> Record:
    """Change a record and give it the right hash for what it says now, as a careful forger would."""
    changed = replace(record, **changes)
    content = {**document(changed)}
    del content["hash"]
    return replace(changed, hash=hashlib.sha256(rfc8785.dumps(content)).hexdigest())


@few
@given(journals)
def test_whatever_is_written_verifies(records: list[Record]) -> None:
    assert verify(records, head=records[-1].hash) is None


@few
@given(journals)
def test_export_parse_and_verify_give_back_the_same_journal(records: list[Record]) -> None:
    read = list(import_lines(export_lines(records), source="journal.jsonl"))
    assert read == records
    assert [parse(document(record)) for record in records] == records
    assert verify(read, head=records[-1].hash) is None


@few
@given(journals, entries, st.data())
def test_a_changed_record_is_named(records: list[Record], other: Entry, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(records) - 1))
    record = records[place]
    field = data.draw(st.sampled_from(["at", "type", "subject", "actor", "data", "previous", "hash"]))
    changed = (
        replace(record, **{field: hashlib.sha256(getattr(record, field).encode()).hexdigest()})
        if field in ("previous", "hash")
        else replace(record, entry=replace(record.entry, **{field: getattr(other, field)}))
    )
    if document(changed) == document(record):
        return
    found = verify([*records[:place], changed, *records[place + 1 :]])
    assert found is not None
    assert found.seq == record.seq


@few
@given(journals, entries, st.data())
def test_a_record_that_was_changed_and_hashed_again_shows_in_the_next_one_or_at_the_head(
    records: list[Record], other: Entry, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(records) - 1))
    changed = forged(records[place], entry=other)
    if changed.hash == records[place].hash:
        return
    found = verify([*records[:place], changed, *records[place + 1 :]], head=records[-1].hash)
    assert found is not None
    assert found.seq == records[place].seq + 1


@many
@given(simple_journals, st.data())
def test_a_removed_record_is_named(records: list[Record], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(records) - 1))
    found = verify([*records[:place], *records[place + 1 :]], head=records[-1].hash)
    assert found is not None
    assert found.seq == records[place].seq


@many
@given(simple_journals, simple_entries, st.data())
def test_an_inserted_record_is_named(records: list[Record], extra: Entry, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(records)))
    inserted = chain(extra, after=records[place - 1] if place else None)
    if place < len(records) and inserted == records[place]:
        return  # the very record that follows anyway: it shows as one that stands twice, below
    found = verify([*records[:place], inserted, *records[place:]], head=records[-1].hash)
    assert found is not None
    assert found.seq in (inserted.seq, inserted.seq + 1)


@many
@given(simple_journals, st.data())
def test_a_record_that_stands_twice_is_named(records: list[Record], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(records) - 1))
    found = verify([*records[: place + 1], *records[place:]], head=records[-1].hash)
    assert found is not None
    assert found.seq == records[place].seq + 1


@many
@given(simple_journals, st.data())
def test_records_in_another_order_are_named(records: list[Record], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(records))
    moved = [seq for seq, record in enumerate(shuffled, 1) if record.seq != seq]
    found = verify(shuffled, head=records[-1].hash)
    assert (found.seq if found else None) == (moved[0] if moved else None)


@many
@given(simple_journals, st.data())
def test_a_truncated_journal_is_named_by_its_first_missing_record(records: list[Record], data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(records) - 1))
    assert verify(records[:kept]) is None
    found = verify(records[:kept], head=records[-1].hash)
    assert found is not None
    assert found.seq == kept + 1


@few
@given(entries)
def test_a_record_is_the_same_whatever_zone_its_moment_was_given_in(entry: Entry) -> None:
    assert chain(replace(entry, at=entry.at.astimezone(UTC)), after=None) == chain(entry, after=None)
