from __future__ import annotations

from schema_cases import Case, Cases, case, cases
from schema_cases_compatibility import NEW

LONG = "the_name_of_a_column_that_nobody_could_ever_want_to_write_out_twice_in_a_day"


def on(rule: str, *texts: str, **more: int) -> list[str | Case]:
    return [case(text, enable=rule, **more) for text in texts]


STYLE: dict[str, Cases] = {
    "identifier-too-long": cases(
        [f"ALTER TABLE t ADD COLUMN {LONG} text", f'CREATE INDEX CONCURRENTLY "{LONG}" ON t (a)'],
        [
            f"SELECT '{LONG}'",
            f"SELECT 1 -- {LONG}\n",
            f"SELECT $x$ {LONG} $x$",
            f"ALTER TABLE t ADD COLUMN {LONG[:63]} text",
        ],
    ),
    "column-assigned-twice": cases(
        ["UPDATE t SET a = 1, a = 2 WHERE id = 1", "INSERT INTO t (a, b, a) VALUES (1, 2, 3)"],
        [
            "UPDATE t SET a = 1, b = 2 WHERE id = 1",
            "UPDATE t SET place.street = 'a', place.city = 'b' WHERE id = 1",
            "UPDATE t SET (a, b) = (1, 2) WHERE id = 1",
        ],
    ),
    "prefer-bigint": cases(
        on("prefer-bigint", "CREATE TABLE t (id int)", "ALTER TABLE t ADD a smallint", "CREATE TABLE t (id serial)"),
        [*on("prefer-bigint", "CREATE TABLE t (id bigint, a text, b bigserial)"), "CREATE TABLE t (id int)"],
    ),
    "prefer-identity": cases(
        on("prefer-identity", "CREATE TABLE t (id bigserial)", "ALTER TABLE t ADD a serial"),
        [
            *on("prefer-identity", "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY)"),
            "CREATE TABLE t (id bigserial)",
        ],
    ),
    "prefer-timestamptz": cases(
        on("prefer-timestamptz", "CREATE TABLE t (at timestamp)", "ALTER TABLE t ADD at timestamp without time zone"),
        [*on("prefer-timestamptz", "CREATE TABLE t (at timestamptz, d date)"), "CREATE TABLE t (at timestamp)"],
    ),
    "prefer-text": cases(
        on("prefer-text", "CREATE TABLE t (a varchar(20))", "ALTER TABLE t ALTER a TYPE varchar(30)"),
        [*on("prefer-text", "CREATE TABLE t (a text, b varchar)"), "CREATE TABLE t (a varchar(20))"],
    ),
    "char-column": cases(
        on("char-column", "CREATE TABLE t (a char(2))", "ALTER TABLE t ADD a character(3)[]"),
        [*on("char-column", "CREATE TABLE t (a text, b varchar(2))"), "CREATE TABLE t (a char(2))"],
    ),
    "enum-value-without-place": cases(
        on(
            "enum-value-without-place",
            "ALTER TYPE size ADD VALUE 'huge'",
            "CREATE TYPE e AS ENUM ('a'); ALTER TYPE e ADD VALUE IF NOT EXISTS 'b';",
        ),
        [
            *on("enum-value-without-place", "ALTER TYPE size ADD VALUE 'huge' AFTER 'large'"),
            "ALTER TYPE size ADD VALUE 'huge'",
        ],
    ),
    "wide-index": cases(
        on("wide-index", "CREATE INDEX CONCURRENTLY i ON t (a, b, c, d)"),
        [
            *on(
                "wide-index",
                "CREATE INDEX CONCURRENTLY i ON t (a, b, c)",
                "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a, b, c, d)",
            ),
            "CREATE INDEX CONCURRENTLY i ON t (a, b, c, d)",
        ],
    ),
    "statement-not-robust": cases(
        on(
            "statement-not-robust",
            "CREATE TABLE t (id int)",
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "ALTER TABLE t ADD COLUMN a int",
            "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
            "DROP TABLE t",
            "CREATE VIEW v AS SELECT 1",
        ),
        [
            *on(
                "statement-not-robust",
                "CREATE TABLE IF NOT EXISTS t (id int)",
                "BEGIN; ALTER TABLE t ADD COLUMN a int; COMMIT;",
                "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int",
                "CREATE OR REPLACE VIEW v AS SELECT 1",
                "UPDATE t SET a = 1 WHERE id = 1",
            ),
            "CREATE TABLE t (id int)",
        ],
    ),
    "schema-not-named": cases(
        on("schema-not-named", "CREATE TABLE t (id int)", "ALTER TABLE t ADD COLUMN a int"),
        [
            *on("schema-not-named", "CREATE TABLE public.t (id int)", "CREATE TEMP TABLE t (id int)"),
            "CREATE TABLE t (id int)",
        ],
    ),
}


def optional(rule: str, fires: list[str], silent: list[str]) -> Cases:
    """What is told when it is asked for, and not otherwise."""
    return cases(on(rule, *fires), [*on(rule, *silent), *fires])


OPTIONAL: dict[str, Cases] = {
    rule: optional(rule, fires, silent)
    for rule, fires, silent in (
        ("column-added", ["ALTER TABLE t ADD COLUMN a text"], [NEW + "ALTER TABLE t ADD COLUMN b text"]),
        ("attribute-added", ["ALTER TYPE address ADD ATTRIBUTE zip text"], ["ALTER TABLE t ADD COLUMN a text"]),
        ("default-set", ["ALTER TABLE t ALTER a SET DEFAULT 1"], ["ALTER TABLE t ALTER a DROP DEFAULT"]),
        (
            "write-restricted",
            [
                "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
                "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
                "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
            ],
            ["CREATE INDEX CONCURRENTLY i ON t (a)", NEW + "ALTER TABLE t ADD CHECK (a > '')"],
        ),
        ("enum-value-added", ["ALTER TYPE size ADD VALUE 'huge'"], ["CREATE TYPE size AS ENUM ('a')"]),
        ("index-dropped", ["DROP INDEX CONCURRENTLY i"], ["DROP TABLE t"]),
        ("trigger-dropped", ["DROP TRIGGER x ON t"], [NEW + "DROP TRIGGER IF EXISTS x ON t"]),
        ("trigger-disabled", ["ALTER TABLE t DISABLE TRIGGER x"], ["ALTER TABLE t ENABLE TRIGGER x"]),
        ("policy-created", ["CREATE POLICY p ON t USING (a > 0)"], [NEW + "CREATE POLICY p ON t USING (true)"]),
        ("policy-altered", ["ALTER POLICY p ON t TO app", "ALTER POLICY p ON t USING (true)"], ["SELECT 1"]),
        ("policy-dropped", ["DROP POLICY p ON t"], [NEW + "DROP POLICY IF EXISTS p ON t"]),
        (
            "row-security-changed",
            ["ALTER TABLE t ENABLE ROW LEVEL SECURITY", "ALTER TABLE t NO FORCE ROW LEVEL SECURITY"],
            [NEW + "ALTER TABLE t ENABLE ROW LEVEL SECURITY"],
        ),
        ("privilege-revoked", ["REVOKE SELECT ON t FROM app"], ["GRANT SELECT ON t TO app"]),
        (
            "view-or-function-replaced",
            [
                "CREATE OR REPLACE VIEW v AS SELECT 1",
                "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            ],
            ["CREATE VIEW v AS SELECT 1"],
        ),
        ("function-options-changed", ["ALTER FUNCTION f() IMMUTABLE"], ["SELECT f()"]),
        (
            "view-options-changed",
            ["ALTER VIEW v SET (security_barrier = true)"],
            ["ALTER TABLE t SET (fillfactor = 9)"],
        ),
        ("inheritance-changed", ["ALTER TABLE t NO INHERIT p"], [NEW + "ALTER TABLE t INHERIT p"]),
        (
            "sequence-altered",
            ["ALTER SEQUENCE s RESTART WITH 1", "ALTER SEQUENCE s INCREMENT 2"],
            ["CREATE SEQUENCE s", "ALTER SEQUENCE s OWNED BY t.a"],
        ),
        ("role-options-changed", ["ALTER ROLE app NOLOGIN", "ALTER ROLE app SET search_path = x"], ["CREATE ROLE b"]),
        ("database-options-changed", ["ALTER DATABASE shop SET timezone = 'UTC'"], ["CREATE DATABASE shop"]),
        ("system-options-changed", ["ALTER SYSTEM SET work_mem = '1GB'"], ["SET work_mem = '1GB'"]),
        ("extension-altered", ["ALTER EXTENSION citext UPDATE"], ["CREATE EXTENSION citext"]),
    )
}
