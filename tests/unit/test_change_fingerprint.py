"""What hung on a table and what does are held against each other; what an exchange means to change is left out."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from hitless.schema.change.fingerprint import Hanging, differences, document_of, fingerprint_of, proven

ON = "public.users"


def hanging(kind: str, name: str, *, on: str = ON, **facets: str | None) -> Hanging:
    return Hanging(kind=kind, on=on, name=name, facets=facets)


def sentences(before: Hanging, after: Hanging, *exchanged: str) -> list[str]:
    return [one.sentence for one in differences((before,), (after,), exchanged=exchanged)]


def test_what_is_gone_new_or_otherwise_is_named_with_both_values() -> None:
    before = (hanging("index", "a"), hanging("column", "c", comment="x", default=None))
    after = (hanging("index", "b"), hanging("column", "c", comment=None, default="1"))
    assert [one.sentence for one in differences(before, after)] == [
        "index a on public.users is gone",
        "column c on public.users: comment was x, is none",
        "column c on public.users: default was none, is 1",
        "index b on public.users is new",
    ]


@pytest.mark.parametrize(
    "ours",
    [
        hanging("column", "hitless_visits"),
        hanging("column", "hitless_old_visits"),
        hanging("trigger", "zzz_hitless_x_ins"),
        hanging("index", "by_visits", definition="CREATE INDEX ON public.users USING btree (hitless_old_visits)"),
        hanging("constraint", "c", definition='CHECK (("hitless_old_V" > 0))'),
        hanging("sequence", "s", owned_by="hitless_old_id"),
        hanging("constraint", "c", on="hitless.log"),
    ],
)
def test_what_is_made_of_what_is_called_after_us_hangs_on_nothing(ours: Hanging) -> None:
    assert differences((ours,), ()) == differences((), (ours,)) == ()
    assert document_of((ours,)) == []


@pytest.mark.parametrize("kind", ["relation", "function", "rule"])
def test_a_view_that_would_read_the_former_column_is_no_business_of_ours_and_is_named(kind: str) -> None:
    before, after = (
        hanging(kind, "v", definition=f"SELECT {one}") for one in ("visits", "hitless_old_visits AS visits")
    )
    assert len(sentences(before, after, "visits")) == 1


MEANT: Mapping[str, tuple[Hanging, Hanging]] = {
    "type": (hanging("column", "v", type="integer"), hanging("column", "v", type="bigint")),
    "text of the default": (hanging("column", "v", default="0"), hanging("column", "v", default="'v0'::text")),
    "a default collation": (
        hanging("column", "v", collation=None),
        hanging("column", "v", collation='pg_catalog."default"'),
    ),
    "casts": (
        hanging("index", "i", definition="CREATE INDEX ON u (v) WHERE ((v)::text = 'a'::character varying(3)::text)"),
        hanging("index", "i", definition="CREATE INDEX ON u (v) WHERE (v = 'a'::text)"),
    ),
    "bounds of its sequence": (
        hanging("sequence", "s", owned_by="v", greatest="2147483647", type="integer"),
        hanging("sequence", "s", owned_by="v", greatest="9223372036854775807", type="bigint"),
    ),
    "validity": (hanging("constraint", "c", is_valid="true"), hanging("constraint", "c", is_valid="false")),
    "types of views": (hanging("view column", "t", type="integer"), hanging("view column", "t", type="bigint")),
}


@pytest.mark.parametrize("what", MEANT)
def test_what_an_exchange_means_to_change_is_no_difference_then_and_is_one_at_any_other_time(what: str) -> None:
    before, after = MEANT[what]
    assert sentences(before, after, "v") == []
    assert sentences(before, after) != []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (hanging("column", "other", type="integer"), hanging("column", "other", type="bigint")),
        (hanging("column", "v", default="0"), hanging("column", "v", default=None)),
        (hanging("column", "v", default="nextval('a')"), hanging("column", "v", default="nextval('b')")),
        (hanging("column", "v", collation='pg_catalog."C"'), hanging("column", "v", collation='pg_catalog."default"')),
        (hanging("column", "v", privileges="reader=SELECT"), hanging("column", "v", privileges=None)),
        (hanging("sequence", "s", owned_by="v"), hanging("sequence", "s", owned_by=None)),
        (hanging("sequence", "s", owned_by="other", type="integer"), hanging("sequence", "s", type="bigint")),
        (hanging("index", "i", definition="x WHERE (v > 1)"), hanging("index", "i", definition="x WHERE (v > 2)")),
        (hanging("trigger", "t", is_enabled="A"), hanging("trigger", "t", is_enabled="O")),
    ],
)
def test_nothing_else_passes_an_exchange(before: Hanging, after: Hanging) -> None:
    assert sentences(before, after, "v") != []


@pytest.mark.parametrize(
    ("was", "now", "is_same"),
    [("5", "9", True), ("9", "5", False), ("9", None, False), (None, "1", True), ("-5", "-9", True)],
)
def test_a_sequence_may_go_on_and_never_back(was: str | None, now: str | None, *, is_same: bool) -> None:
    before, after = (hanging("sequence", "s", last_value=one) for one in (was, now))
    assert (sentences(before, after) == []) is is_same


def test_what_is_validated_next_is_kept_as_it_was_before() -> None:
    before = (hanging("constraint", "c", is_valid="true"), hanging("constraint", "never", is_valid="false"))
    after = (hanging("constraint", "c", is_valid="false"), hanging("constraint", "never", is_valid="false"))
    assert differences(before, proven(after, before)) == ()


def test_a_fingerprint_is_the_same_after_it_was_kept_as_json() -> None:
    made = (hanging("column", "c", comment=None, type="text"), hanging("index", "i", definition="x"))
    assert fingerprint_of(json.loads(json.dumps(document_of(made)))) == made
