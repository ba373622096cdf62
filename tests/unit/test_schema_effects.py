"""The classification is total, and says of each kind of statement what it means for others and for the release."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from hitless.schema.actions.action import Action
from hitless.schema.actions.tables import TableAction
from hitless.schema.effects.alter_table import TABLE_EFFECTS
from hitless.schema.effects.classify import EFFECTS
from hitless.schema.effects.effect import Compatibility, Phase
from hitless.schema.effects.locks import CONFLICTS, LockMode
from hitless.schema.effects.types import keeps_rows
from hitless.schema.linting import catalog_of, lint
from hitless.schema.reading.source import Source
from hitless.schema.report import Classified
from hitless.schema.translation.statements import actions_of

ADDITIVE, DATA, DESTRUCTIVE, NEUTRAL = Phase.ADDITIVE, Phase.DATA, Phase.DESTRUCTIVE, Phase.NEUTRAL
FULL, RESTRICTS, BREAKS = Compatibility
SCHEMA = "CREATE TABLE t (id bigint PRIMARY KEY, a integer NOT NULL, b text); CREATE INDEX i ON t (a);"


def kinds(root: type[Action]) -> Iterator[type[Action]]:
    for child in root.__subclasses__():
        if getattr(sys.modules[child.__module__], child.__name__) is child:  # slots make a class anew
            yield child
        yield from kinds(child)


def classified(text: str) -> Classified:
    (found,) = lint([Source("1.sql", text)], catalog=catalog_of(Source("0.sql", SCHEMA))).statements
    return found


def test_every_kind_of_action_is_classified() -> None:
    actions_of("SELECT 1")  # all kinds are defined once the reader is loaded
    assert {kind for kind in kinds(Action) if kind is not TableAction} == {*EFFECTS, *TABLE_EFFECTS}


@pytest.mark.parametrize(
    ("text", "phase", "compatibility"),
    [
        ("CREATE TABLE u (a integer)", ADDITIVE, FULL),
        ("ALTER TABLE t ADD COLUMN c integer", ADDITIVE, FULL),
        ("ALTER TABLE t ADD COLUMN c integer NOT NULL", ADDITIVE, RESTRICTS),
        ("ALTER TABLE t ADD COLUMN c integer NOT NULL DEFAULT 1", ADDITIVE, FULL),
        ("ALTER TABLE t ALTER COLUMN a DROP NOT NULL", ADDITIVE, FULL),
        ("ALTER TABLE t ALTER COLUMN b SET NOT NULL", NEUTRAL, RESTRICTS),
        ("ALTER TABLE t ALTER COLUMN a SET NOT NULL", NEUTRAL, FULL),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID", ADDITIVE, RESTRICTS),
        ("ALTER TABLE t DROP COLUMN a", DESTRUCTIVE, BREAKS),
        ("ALTER TABLE t RENAME COLUMN a TO z", DESTRUCTIVE, BREAKS),
        ("ALTER INDEX i RENAME TO j", NEUTRAL, FULL),
        ("ALTER TABLE t ALTER COLUMN a TYPE bigint", DESTRUCTIVE, BREAKS),
        ("DROP TABLE t", DESTRUCTIVE, BREAKS),
        ("DROP INDEX i", NEUTRAL, FULL),
        ("CREATE INDEX CONCURRENTLY j ON t (b)", ADDITIVE, FULL),
        ("CREATE UNIQUE INDEX CONCURRENTLY j ON t (b)", ADDITIVE, RESTRICTS),
        ("SELECT * INTO u FROM t", ADDITIVE, FULL),
        ("UPDATE t SET a = 1", DATA, FULL),
        ("INSERT INTO t VALUES (1, 2, 'x')", DATA, FULL),
        ("TRUNCATE t", DESTRUCTIVE, BREAKS),
        ("GRANT SELECT ON t TO x", NEUTRAL, FULL),
        ("REVOKE SELECT ON t FROM x", NEUTRAL, BREAKS),
        ("DROP OWNED BY x", DESTRUCTIVE, BREAKS),
        ("ALTER TABLE t ADD COLUMN c integer, DROP COLUMN b", DESTRUCTIVE, BREAKS),
        ("DO $$ BEGIN UPDATE t SET a = 1; END $$", DATA, FULL),
        ("BEGIN", NEUTRAL, FULL),
    ],
)
def test_a_statement_has_its_phase_and_its_compatibility(text: str, phase: Phase, compatibility: Compatibility) -> None:
    effect = classified(text).effect
    assert (effect.phase, effect.compatibility) == (phase, compatibility)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE INDEX CONCURRENTLY j ON t (b)",
        "REINDEX TABLE CONCURRENTLY t",
        "VACUUM t",
        "CREATE DATABASE d",
        "DROP DATABASE d",
        "CREATE TABLESPACE s LOCATION '/s'",
        "DROP TABLESPACE s",
        "ALTER SYSTEM SET work_mem = '1MB'",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p",
        "DROP SUBSCRIPTION s",
        "CLUSTER",
    ],
)
def test_what_must_stand_outside_of_a_transaction_is_known(text: str) -> None:
    assert classified(text).effect.outside_transaction


def test_locks_conflict_both_ways_and_stronger_ones_no_less() -> None:
    for one in LockMode:
        assert all(one in CONFLICTS[other] for other in CONFLICTS[one])
    assert [one for one in LockMode if one.blocks_reads] == [LockMode.ACCESS_EXCLUSIVE]
    assert [one for one in LockMode if one.blocks_writes] == list(LockMode)[4:]


def test_an_array_never_keeps_its_rows_unless_its_type_is_the_same() -> None:
    (added,) = actions_of("ALTER TABLE t ADD a varchar(10)[]")
    (longer,) = actions_of("ALTER TABLE t ADD a varchar(20)[]")
    old, new = added.column.type, longer.column.type  # type: ignore[attr-defined]  # both add a column
    assert (keeps_rows(old, old), keeps_rows(old, new)) == (True, False)
