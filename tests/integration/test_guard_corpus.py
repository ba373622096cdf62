"""Every statement of the corpus, judged by real servers: none that uses the column is ever clear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import psycopg
import pytest
from guard_corpus import ALARMS, FREE, OPAQUE, SCHEMA, USES, listed
from postgres_support import connect, running

from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.guard.inquiry import Inquiry, inquire
from hitless.schema.change.steps import Removal
from hitless.schema.guard.evidence import Statement
from hitless.schema.guard.verdict import Verdict
from hitless.schema.names import Name

USERS = Name("users", "public")
COLUMN = Removal(table=USERS, columns=("full_name",), statements=("ALTER TABLE public.users DROP COLUMN full_name",))


@pytest.fixture(scope="module", params=[15, 16, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Path]:
    with running(request.param) as directory:
        yield directory


@pytest.fixture(scope="module")
def judged(server: Path) -> Mapping[str, Verdict]:
    """Every statement of the corpus, judged at once."""
    database = made(server, "corpus", SCHEMA)
    texts = [line for text in (USES, FREE, ALARMS, OPAQUE) for line in listed(text)]
    found = inquire(database, [COLUMN], [Statement(text=one) for one in texts])
    return {one.text: answer.verdict for one, answer in found.answers.items()}


def made(server: Path, name: str, schema: str) -> Database:
    with connect(server) as connection:
        connection.autocommit = True
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name}".encode())
    with connect(server, name) as connection:
        connection.execute(schema.encode())
    return Database(f"host={server} user=postgres dbname={name}")


def ask(server: Path, schema: str, *statements: Statement, removal: Removal = COLUMN) -> Inquiry:
    return inquire(made(server, "asked", schema), [removal], statements)


@cache
def count(text: str) -> int:
    return len(listed(text))


def test_the_corpus_is_large() -> None:
    assert count(USES) + count(FREE) + count(ALARMS) + count(OPAQUE) >= 300


def test_all_that_use_it_are_shown_to(judged: Mapping[str, Verdict]) -> None:
    assert [one for one in listed(USES) if judged[one] is not Verdict.REFERENCES] == []


def test_no_statement_that_does_not_use_it_is_flagged(judged: Mapping[str, Verdict]) -> None:
    assert [one for one in listed(FREE) if judged[one] is not Verdict.CLEAR] == []


def test_the_false_alarms_are_known(judged: Mapping[str, Verdict]) -> None:
    assert {judged[one] for one in listed(ALARMS)} == {Verdict.REFERENCES}


def test_what_nobody_can_tell_is_unknown(judged: Mapping[str, Verdict]) -> None:
    assert {one: judged[one] for one in listed(OPAQUE)} == dict.fromkeys(listed(OPAQUE), Verdict.UNKNOWN)


TABLES = SCHEMA.partition("CREATE VIEW")[0]


def verdicts(found: Inquiry) -> list[Verdict]:
    return [one.verdict for one in found.answers.values()]


def test_a_statement_means_the_table_that_its_search_path_finds(server: Path) -> None:
    schema = TABLES + "CREATE SCHEMA app; CREATE TABLE app.users (id bigint, name text);"
    texts = [Statement(text="SELECT id FROM users", search_path="app"), Statement(text="SELECT * FROM app.users")]
    assert verdicts(ask(server, schema, *texts)) == [Verdict.CLEAR, Verdict.CLEAR]


def test_where_another_table_of_the_name_is_found_first_the_doomed_one_is_tried_too(server: Path) -> None:
    schema = TABLES + "CREATE SCHEMA app; CREATE TABLE app.users (id bigint, full_name text);"
    found = ask(server, schema, Statement(text="SELECT full_name FROM users", search_path="app"))
    assert verdicts(found) == [Verdict.REFERENCES]


def test_statements_within_functions_have_variables_where_values_will_be(server: Path) -> None:
    texts = {
        "x := (SELECT full_name FROM users WHERE id = who)": Verdict.REFERENCES,
        "x := (SELECT email FROM users WHERE id = who)": Verdict.CLEAR,
        "SELECT email FROM users WHERE id = who AND email = r.mail": Verdict.CLEAR,
        "SELECT * FROM users WHERE id = NEW.user_id": Verdict.REFERENCES,
        "SELECT email FROM nowhere WHERE id = who": Verdict.UNKNOWN,
    }
    found = ask(server, TABLES, *(Statement(text=one, nested=True) for one in texts))
    assert {one.text: answer.verdict for one, answer in found.answers.items()} == texts


def test_marks_of_drivers_are_read_as_the_driver_replaces_them(server: Path) -> None:
    texts = {
        "SELECT id FROM users WHERE email LIKE '%%full_name' AND id = %s": Verdict.CLEAR,
        "SELECT id FROM users WHERE full_name = %(name)s OR email = %(name)s": Verdict.REFERENCES,
        "UPDATE users SET email = %s WHERE id = %s": Verdict.CLEAR,
    }
    found = ask(server, TABLES, *(Statement(text=one, marks="%") for one in texts))
    assert {one.text: answer.verdict for one, answer in found.answers.items()} == texts


PARTITIONS = """
CREATE TABLE events (id bigint, name text, at date) PARTITION BY RANGE (at);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
"""


def test_a_part_of_the_table_is_the_table(server: Path) -> None:
    removal = Removal(
        table=Name("events", "public"), columns=("name",), statements=("ALTER TABLE events DROP COLUMN name",)
    )
    texts = [Statement(text=f"SELECT {one} FROM events_2026") for one in ("name", "id")]
    assert verdicts(ask(server, PARTITIONS, *texts, removal=removal)) == [Verdict.REFERENCES, Verdict.CLEAR]


def test_a_table_that_goes_is_used_by_whatever_names_it(server: Path) -> None:
    removal = Removal(table=Name("archive", "public"), columns=(), statements=("DROP TABLE archive",))
    texts = {
        "SELECT id FROM archive": Verdict.REFERENCES,
        "SELECT count(*) FROM archive": Verdict.REFERENCES,
        "INSERT INTO archive DEFAULT VALUES": Verdict.REFERENCES,
        "LOCK TABLE archive": Verdict.REFERENCES,
        "TRUNCATE archive": Verdict.REFERENCES,
        "SELECT id FROM users": Verdict.CLEAR,
        "SELECT 'archive'": Verdict.CLEAR,
    }
    found = ask(server, TABLES, *(Statement(text=one) for one in texts), removal=removal)
    assert {one.text: answer.verdict for one, answer in found.answers.items()} == texts


DEPENDENTS = {
    "view": "CREATE VIEW v AS SELECT full_name FROM users",
    "whole row in a view": "CREATE VIEW v AS SELECT u.id, to_jsonb(u) AS j FROM users u",
    "function": "CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT full_name FROM users; END",
    "text of a function": "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT full_name FROM users'",
    "plpgsql": "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS "
    "'BEGIN RETURN (SELECT full_name FROM users LIMIT 1); END'",
    "policy": "CREATE POLICY p ON users USING (full_name <> '')",
    "generated column": "ALTER TABLE users ADD COLUMN shout text GENERATED ALWAYS AS (upper(full_name)) STORED",
    "index on an expression": "CREATE INDEX i ON users (lower(full_name))",
    "index on more than it": "CREATE UNIQUE INDEX i ON users (email) INCLUDE (full_name)",
    "partial index": "CREATE INDEX i ON users (email) WHERE full_name IS NOT NULL",
    "statistics": "CREATE STATISTICS s ON full_name, email FROM users",
    "check": "ALTER TABLE users ADD CONSTRAINT k CHECK (full_name <> email)",
    "foreign key": "ALTER TABLE users ADD CONSTRAINT n UNIQUE (full_name); "
    "CREATE TABLE nicks (name text REFERENCES users (full_name))",
    "publication": "CREATE PUBLICATION p FOR TABLE users (id, full_name)",
    "column of its row's type": "CREATE TABLE copies (who users)",
    "trigger": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
    "CREATE TRIGGER t BEFORE UPDATE OF full_name ON users FOR EACH ROW EXECUTE FUNCTION f()",
    "trigger's function": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN NEW.full_name := trim(NEW.full_name); RETURN NEW; END'; "
    "CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f()",
    "whole row in a trigger's function": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN INSERT INTO log (what) VALUES (to_jsonb(NEW)); RETURN NEW; END'; "
    "CREATE TRIGGER t AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION f()",
}


@pytest.mark.parametrize("what", DEPENDENTS)
def test_what_depends_on_it_is_named(server: Path, what: str) -> None:
    assert ask(server, TABLES + DEPENDENTS[what]).dependents != ()


def test_what_does_not_depend_on_it_is_not_named(server: Path) -> None:
    harmless = """
    CREATE VIEW v AS SELECT id, email FROM users;
    CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM users';
    CREATE FUNCTION g() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT full_name FROM teams LIMIT 1); END';
    CREATE FUNCTION h() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.visits := 0; RETURN NEW; END';
    CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION h();
    CREATE POLICY p ON users USING (active);
    CREATE INDEX i ON users (full_name);
    CREATE PUBLICATION p FOR TABLE users (id, email);
    """
    found = ask(server, TABLES + harmless)
    assert found.dependents == ()
    assert found.notes == ("index i goes with users.full_name",)
    assert found.troubles == ()


def test_a_contract_that_cannot_be_carried_out_is_said(server: Path) -> None:
    found = ask(server, TABLES + DEPENDENTS["view"], Statement(text="SELECT full_name FROM v"))
    assert "cannot drop column full_name" in found.troubles[0]
    assert verdicts(found) == [Verdict.REFERENCES]


def test_a_column_that_is_not_there_is_no_reason_to_be_clear(server: Path) -> None:
    removal = Removal(table=USERS, columns=("fullname",), statements=("ALTER TABLE users DROP COLUMN fullname",))
    assert ask(server, TABLES, removal=removal).troubles == ("there is no users.fullname to look for",)


def test_a_contract_that_leaves_the_column_where_it_is_is_said(server: Path) -> None:
    removal = Removal(table=USERS, columns=("full_name",), statements=("SELECT 1",))
    assert "leave users.full_name where it is" in ask(server, TABLES, removal=removal).troubles[0]


def test_no_text_of_a_statement_is_ever_run(server: Path) -> None:
    texts = ["SELECT 1; DROP TABLE users", "SELECT pg_sleep(30)", "INSERT INTO log DEFAULT VALUES", "DROP TABLE log"]
    database = made(server, "asked", TABLES)
    inquire(database, [COLUMN], [Statement(text=one) for one in texts])
    with psycopg.connect(database.conninfo) as connection:
        assert connection.execute("SELECT count(*) FROM log").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_a_sequence_that_goes_with_the_column_may_be_any_whose_name_is_not_known(server: Path) -> None:
    schema = "CREATE TABLE users (id int, number serial)"
    column = Removal(table=USERS, columns=("number",), statements=("ALTER TABLE public.users DROP COLUMN number",))
    unknown = Statement(text="SELECT nextval($1)")
    named = Statement(text="SELECT nextval('users_number_seq')")
    found = ask(server, schema, unknown, named, removal=column).answers
    assert found[unknown].verdict is Verdict.UNKNOWN
    assert found[named].verdict is Verdict.REFERENCES
    assert ask(server, SCHEMA, unknown).answers[unknown].verdict is Verdict.CLEAR  # none goes with it
