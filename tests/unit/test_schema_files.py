"""A file of SQL becomes a plan: which statement is which kind of step, and what is refused."""

from __future__ import annotations

import pytest

from hitless.schema.catalog.catalog import Catalog
from hitless.schema.change.files import CannotRun, plan_of_file
from hitless.schema.change.steps import Build, Ddl, Step, Validate
from hitless.schema.linting import catalog_of
from hitless.schema.names import Name
from hitless.schema.reading.source import Source

CATALOG = catalog_of(Source("dump.sql", "CREATE TABLE users (id int PRIMARY KEY, email text, name text);"))


def steps(text: str, catalog: Catalog = CATALOG) -> tuple[Step, ...]:
    return plan_of_file(Source("migrations/1.sql", text), catalog=catalog, postgres=16).steps


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ALTER TABLE users ADD COLUMN tier text", Ddl),
        ("ALTER TABLE users ADD CONSTRAINT c CHECK (id > 0) NOT VALID", Ddl),
        ("ALTER TABLE users VALIDATE CONSTRAINT c", Validate),
        ("ALTER TABLE users ALTER COLUMN email TYPE int USING 1", Validate),  # allowed by the file, or it was refused
        ("UPDATE users SET name = 'x' WHERE id = 1", Validate),
        ("CREATE TABLE t (a int)", Validate),
        ("CREATE INDEX CONCURRENTLY i ON users (email)", Build),
        ("DROP INDEX CONCURRENTLY i", Build),
    ],
)
def test_a_statement_becomes_the_kind_of_step_that_it_needs(text: str, kind: type[Step]) -> None:
    (step,) = steps(text)
    assert isinstance(step, kind)
    assert step.do in {text, (text,)}


def test_a_transaction_of_the_file_is_one_step() -> None:
    first, second = steps(
        "BEGIN; ALTER TABLE users ADD COLUMN a int; SAVEPOINT s; ALTER TABLE users ADD COLUMN b int; COMMIT;"
        "ALTER TABLE users ADD COLUMN c int;"
    )
    assert first.do == ("ALTER TABLE users ADD COLUMN a int", "SAVEPOINT s", "ALTER TABLE users ADD COLUMN b int")
    assert second.do == ("ALTER TABLE users ADD COLUMN c int",)


def test_an_empty_transaction_is_no_step() -> None:
    assert steps("BEGIN; COMMIT;") == ()


def test_what_a_file_sets_holds_for_what_follows_but_for_timeouts() -> None:
    (step,) = steps("SET lock_timeout = '5s'; SET SESSION search_path = shop; ALTER TABLE users ADD COLUMN a int;")
    assert step.do == ("SET LOCAL search_path = shop", "ALTER TABLE users ADD COLUMN a int")


def test_an_index_is_known_by_its_name_and_the_schema_of_its_table() -> None:
    built, dropped = steps("CREATE INDEX CONCURRENTLY i ON shop.users (email); DROP INDEX CONCURRENTLY shop.i")
    assert isinstance(built, Build)
    assert isinstance(dropped, Build)
    assert (built.index, built.is_drop) == (Name("i", "shop"), False)
    assert (dropped.index, dropped.is_drop) == (Name("i", "shop"), True)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SELECT 1;\nVACUUM users;", 2),
        ("SELECT 1;\n\nCOMMIT;", 3),
        ("BEGIN;\nSELECT 1;\nROLLBACK;", 3),
        ("BEGIN;\nSELECT 1;", 2),
        ("SET search_path = shop;\nCREATE INDEX CONCURRENTLY i ON users (email);", 2),
        ("REINDEX INDEX CONCURRENTLY i;", 1),
        ("CREATE INDEX CONCURRENTLY ON users (email);", 1),  # nobody could say which one it was
    ],
)
def test_what_cannot_be_gone_on_with_is_refused_with_its_place(text: str, line: int) -> None:
    with pytest.raises(CannotRun) as refused:
        steps(text)
    assert refused.value.place is not None
    assert (refused.value.place.file, refused.value.place.line) == ("migrations/1.sql", line)


def test_a_plan_is_called_as_its_file() -> None:
    assert plan_of_file(Source("a/b/0042_x.sql", "SELECT 1"), catalog=CATALOG, postgres=16).change == "0042_x.sql"
