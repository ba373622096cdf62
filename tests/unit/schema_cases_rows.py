from __future__ import annotations

from schema_cases import Cases, case, cases
from schema_cases_compatibility import NEW, SHOP

OLD = """
CREATE TABLE t (id bigint PRIMARY KEY, a integer, b text, c varchar(40), d numeric(8, 2), at timestamptz, j jsonb,
  day date, email text NOT NULL);
CREATE UNIQUE INDEX t_email ON t (email);
"""
MEMBER = "CREATE TABLE u (t_id bigint REFERENCES t);"

ROWS: dict[str, Cases] = {
    "unique-may-fail": cases(
        [
            "CREATE UNIQUE INDEX i ON t (a)",
            "CREATE UNIQUE INDEX i ON t (lower(b), a) WHERE a > 0",
            "ALTER TABLE t ADD CONSTRAINT k UNIQUE (a, b)",
            "ALTER TABLE t ADD PRIMARY KEY (a)",
        ],
        [
            "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
            "CREATE INDEX i ON t (a)",
            NEW + "CREATE UNIQUE INDEX i ON t (a)",
            case("CREATE UNIQUE INDEX i ON t (email, a)", schema=OLD),
            "ALTER TABLE t ADD CONSTRAINT k UNIQUE USING INDEX k",
        ],
    ),
    "concurrent-unique-may-fail": cases(
        [case("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", enable="concurrent-unique-may-fail")],
        [
            "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
            case("CREATE INDEX CONCURRENTLY i ON t (a)", enable="concurrent-unique-may-fail"),
            case("CREATE UNIQUE INDEX CONCURRENTLY i ON t (id)", schema=OLD, enable="concurrent-unique-may-fail"),
        ],
    ),
    "not-null-may-fail": cases(
        [
            "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
            case("ALTER TABLE t ALTER COLUMN a SET NOT NULL", schema=OLD),
            case("ALTER TABLE t ADD CONSTRAINT n NOT NULL a", postgres=18),
        ],
        [
            case("ALTER TABLE t ALTER COLUMN email SET NOT NULL", schema=OLD),
            (
                "ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c;"
                "ALTER TABLE t ALTER COLUMN a SET NOT NULL;"
            ),
            NEW + "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
        ],
    ),
    "constraint-may-fail": cases(
        [
            "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
            "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a, b) REFERENCES u (x, y)",
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u",
        ],
        [
            "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
            "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u NOT VALID",
            NEW + "ALTER TABLE t ADD CHECK (a > '')",
        ],
    ),
    "validation-may-fail": cases(
        [
            case(
                "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c;",
                enable="validation-may-fail",
            ),
            case("ALTER TABLE t VALIDATE CONSTRAINT unknown", enable="validation-may-fail"),
            case("ALTER DOMAIN d VALIDATE CONSTRAINT unknown", enable="validation-may-fail"),
        ],
        [
            "ALTER TABLE t VALIDATE CONSTRAINT unknown",
            case("ALTER TABLE customers VALIDATE CONSTRAINT nick_short", schema=SHOP, enable="validation-may-fail"),
        ],
    ),
    "type-loses-values": cases(
        [
            case("ALTER TABLE t ALTER COLUMN id TYPE integer", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN c TYPE varchar(20)", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN b TYPE integer USING b::integer", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN b TYPE integer USING b::integer", schema=OLD, postgres=16),
            case("ALTER TABLE t ALTER COLUMN d TYPE numeric(8, 1)", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN at TYPE date", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN d TYPE bigint", schema=OLD),
        ],
        [
            case("ALTER TABLE t ALTER COLUMN a TYPE bigint", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN a TYPE numeric", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN a TYPE double precision", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN c TYPE text", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN c TYPE varchar(80)", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN j TYPE text", schema=OLD),
            case("ALTER TABLE t ALTER COLUMN day TYPE timestamptz", schema=OLD),
            "ALTER TABLE unknown ALTER COLUMN a TYPE integer",
            "CREATE TABLE v (id bigint); ALTER TABLE v ALTER COLUMN id TYPE integer;",
        ],
    ),
    "table-truncated": cases(
        ["TRUNCATE t", "TRUNCATE TABLE a, b RESTART IDENTITY", "DO $$ BEGIN TRUNCATE t; END $$"],
        [NEW + "TRUNCATE t", "CREATE TEMP TABLE t (id int); TRUNCATE t;"],
    ),
    "truncate-cascades": cases(
        ["TRUNCATE t CASCADE", case("TRUNCATE t CASCADE", schema=OLD + MEMBER)],
        ["TRUNCATE t", NEW + "TRUNCATE t CASCADE"],
    ),
    "table-made-unlogged": cases(
        ["ALTER TABLE t SET UNLOGGED"],
        ["ALTER TABLE t SET LOGGED", "CREATE UNLOGGED TABLE t (id int)", NEW + "ALTER TABLE t SET UNLOGGED"],
    ),
}
