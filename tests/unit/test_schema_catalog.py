"""What statements make of the catalogue, and what it then answers."""

from __future__ import annotations

from hitless.schema.catalog.catalog import Catalog
from hitless.schema.linting import catalog_of, lint
from hitless.schema.names import Name, derived, quoted
from hitless.schema.reading.source import Source
from hitless.schema.rules.rule import Settings


def after(text: str) -> Catalog:
    return catalog_of(Source("1.sql", text))


def columns(text: str, table: str = "t") -> list[str]:
    found = after(text).table(Name(table))
    return list(found.columns) if found else []


def test_columns_come_go_and_are_renamed() -> None:
    text = "CREATE TABLE t (a int, b int); ALTER TABLE t ADD c int, DROP COLUMN a; ALTER TABLE t RENAME b TO d;"
    assert columns(text) == ["d", "c"]


def test_a_check_proves_only_what_it_says_of_its_own_column() -> None:
    table = after(
        "CREATE TABLE t (a int, b int, c int, CHECK (a IS NOT NULL AND b > 0), CONSTRAINT d CHECK (c IS NOT NULL));"
        "ALTER TABLE t DROP CONSTRAINT d;"
    ).table(Name("t"))
    assert table is not None
    assert [table.proves_not_null(one) for one in "abc"] == [True, False, False]


def test_a_constraint_proves_once_it_is_validated() -> None:
    added = "CREATE TABLE t (a int); ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID;"
    for text, proves in ((added, False), (added + "ALTER TABLE t VALIDATE CONSTRAINT c;", True)):
        table = after(text).table(Name("t"))
        assert table is not None
        assert table.proves_not_null("a") is proves


def test_a_primary_key_makes_its_columns_not_null_and_an_index() -> None:
    catalog = after("CREATE TABLE t (a int, b int, PRIMARY KEY (a, b));")
    table = catalog.table(Name("t"))
    assert table is not None
    assert all(one.is_not_null for one in table.columns.values())
    index = catalog.index(Name("t_pkey"))
    assert index is not None
    assert (index.columns, index.is_unique) == (("a", "b"), True)


def test_an_index_that_becomes_a_constraint_takes_its_name() -> None:
    catalog = after(
        "CREATE TABLE t (a int); CREATE UNIQUE INDEX i ON t (a); ALTER TABLE t ADD CONSTRAINT k UNIQUE USING INDEX i;"
    )
    assert catalog.index(Name("i")) is None
    assert catalog.index(Name("k")) is not None


def test_names_are_looked_for_along_the_search_path() -> None:
    catalog = after(
        "CREATE SCHEMA app; SET search_path TO app, public; CREATE TABLE t (a int); SET search_path TO public;"
    )
    assert catalog.table(Name("t", "app")) is not None
    assert catalog.table(Name("t")) is None
    local = after("BEGIN; SET LOCAL search_path TO app; CREATE TABLE t (a int); COMMIT; CREATE TABLE u (a int);")
    assert (local.table(Name("t", "app")) is not None, local.table(Name("u", "public")) is not None) == (True, True)


def test_what_is_dropped_or_moved_takes_its_indexes_along() -> None:
    made = "CREATE TABLE t (a int); CREATE INDEX i ON t (a);"
    assert dict(after(made + "DROP TABLE t;").indexes) == {}
    assert [one.table for one in after(made + "ALTER TABLE t RENAME TO u;").indexes.values()] == [Name("u", "public")]
    assert columns(made + "ALTER TABLE t SET SCHEMA app;") == []


def test_enums_keep_the_order_of_their_values() -> None:
    catalog = after(
        "CREATE TYPE mood AS ENUM ('a', 'c'); ALTER TYPE mood ADD VALUE 'b' BEFORE 'c'; ALTER TYPE mood ADD VALUE 'd';"
        "ALTER TYPE mood RENAME VALUE 'a' TO 'z';"
    )
    assert catalog.enums[Name("mood", "public")] == ("z", "b", "c", "d")


def test_a_transaction_that_is_rolled_back_changes_nothing() -> None:
    files = [
        "BEGIN; ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL); ROLLBACK;",
        "ALTER TABLE t ALTER COLUMN a SET NOT NULL;",
    ]
    found = lint([Source(f"{number}.sql", text) for number, text in enumerate(files)]).findings
    assert "not-null-scans" in {one.rule for one in found}


def test_a_temporary_table_is_gone_with_its_file() -> None:
    files = ["CREATE TEMP TABLE t (a int);", "CREATE INDEX i ON t (a);"]
    found = lint([Source(f"{number}.sql", text) for number, text in enumerate(files)]).findings
    assert "index-blocks-writes" in {one.rule for one in found}


def test_how_large_a_table_is_said_in_a_comment() -> None:
    catalog = after('-- hitless: rows app.t 12_000_000\nSELECT 1;\n/* hitless: rows "My Table" 5 */')
    assert (catalog.rows_of(Name("t", "app")), catalog.rows_of(Name("My Table"))) == (12_000_000, 5)


def test_the_way_back_in_a_file_is_no_part_of_the_history() -> None:
    for mark in ("-- migrate:down", "-- +goose Down", "-- +migrate Down", "-- rambler down", "--//@UNDO"):
        text = f"SET lock_timeout = 1; CREATE TABLE t (a int);\n{mark}\nDROP INDEX i;\n"
        assert lint([Source("1.sql", text)]).findings == ()


ALEMBIC = """
BEGIN;
-- Running upgrade  -> a1
CREATE TABLE t (id bigint PRIMARY KEY, a text);
-- Running upgrade a1 -> b1
DROP TABLE t;
COMMIT;
"""


def test_each_migration_in_a_text_of_alembic_is_a_file_of_its_own() -> None:
    rules = {one.rule for one in lint([Source("a.sql", ALEMBIC)]).findings}
    assert rules == {"table-dropped", "lock-timeout-missing"}


def test_migrations_of_one_release_in_a_text_of_alembic_are_one() -> None:
    assert lint([Source("a.sql", ALEMBIC)], settings=Settings(one_release=True)).findings == ()


def test_identifiers_are_quoted_where_they_must_be() -> None:
    assert [quoted(one) for one in ("users", "User", "order", "a b", 'a"b', "1a")] == [
        "users",
        '"User"',
        '"order"',
        '"a b"',
        '"a""b"',
        '"1a"',
    ]


def test_names_that_are_made_up_fit_into_63_bytes() -> None:
    assert derived("users", "bio", "not_null") == "users_bio_not_null"
    made = derived("é" * 40, "bio", "not_null")
    assert len(made.encode()) <= 63
    assert made.endswith("_not_null")


def test_parts_and_those_that_inherit_are_known_down_to_the_last() -> None:
    catalog = after(
        "CREATE TABLE a (x int) PARTITION BY RANGE (x);"
        "CREATE TABLE b PARTITION OF a FOR VALUES FROM (1) TO (9) PARTITION BY RANGE (x);"
        "CREATE TABLE c PARTITION OF b FOR VALUES FROM (1) TO (5);"
        "CREATE TABLE d (x int); ALTER TABLE b ATTACH PARTITION d FOR VALUES FROM (5) TO (9);"
        "CREATE TABLE e (x int); CREATE TABLE f () INHERITS (e); CREATE TABLE g (x int); ALTER TABLE g INHERIT e;"
    )
    for root, expected in (("a", "bcd"), ("b", "cd"), ("e", "fg")):
        table = catalog.table(Name(root))
        assert table is not None
        assert "".join(one.name.name for one in catalog.heirs_of(table)) == expected


def test_tables_that_are_said_to_inherit_from_each_other_end() -> None:
    text = "CREATE TABLE a (x int); CREATE TABLE b () INHERITS (a); ALTER TABLE a INHERIT b; ALTER TABLE a ADD y int;"
    assert lint([Source("1.sql", text)]).unread == ()
    table = after(text).table(Name("a"))
    assert table is not None
    assert [one.name.name for one in after(text).heirs_of(table)] == ["b"]
