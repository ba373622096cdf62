from __future__ import annotations

from schema_cases import Cases, case, cases
from schema_cases_locks import PARTS

PARTED = "CREATE TABLE p (a integer) PARTITION BY HASH (a);"

TRANSACTIONS: dict[str, Cases] = {
    "not-in-transaction": cases(
        [
            "BEGIN; CREATE INDEX CONCURRENTLY i ON t (a); COMMIT;",
            case("CREATE INDEX CONCURRENTLY i ON t (a)", in_transaction=True),
            "START TRANSACTION; VACUUM t; COMMIT;",
            "BEGIN; DROP INDEX CONCURRENTLY i; COMMIT;",
            "BEGIN; ALTER TABLE p DETACH PARTITION q CONCURRENTLY; COMMIT;",
        ],
        [
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "BEGIN; SELECT 1; COMMIT; CREATE INDEX CONCURRENTLY i ON t (a);",
            "BEGIN; CREATE INDEX i ON t (a); COMMIT;",
            case("-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON t (a)", in_transaction=True),
            case("-- +goose NO TRANSACTION\nCREATE INDEX CONCURRENTLY i ON t (a)", in_transaction=True),
        ],
    ),
    "validated-at-once": cases(
        [
            "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID, VALIDATE CONSTRAINT c",
            (
                "BEGIN; ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;"
                "ALTER TABLE t VALIDATE CONSTRAINT c; COMMIT;"
            ),
            case(
                "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c;",
                in_transaction=True,
            ),
        ],
        [
            "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c;",
            (
                "BEGIN; ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; COMMIT;"
                "BEGIN; ALTER TABLE t VALIDATE CONSTRAINT c; COMMIT;"
            ),
        ],
    ),
    "transaction-nested": cases(
        [
            "BEGIN; BEGIN; COMMIT;",
            "COMMIT;",
            case("BEGIN; SELECT 1; COMMIT;", in_transaction=True),
            "BEGIN; SELECT 1; COMMIT; ROLLBACK;",
        ],
        ["BEGIN; SELECT 1; COMMIT;", "BEGIN; SELECT 1; COMMIT AND CHAIN; SELECT 2; COMMIT;", "SELECT 1"],
    ),
    "transaction-left-open": cases(
        ["BEGIN; SELECT 1;", "BEGIN; SELECT 1; COMMIT; BEGIN; SELECT 2;"],
        ["BEGIN; SELECT 1; END;", case("SELECT 1", in_transaction=True), "BEGIN; ROLLBACK;"],
    ),
    "enum-value-used-at-once": cases(
        ["BEGIN; ALTER TYPE mood ADD VALUE 'fine'; UPDATE t SET mood = 'fine' WHERE id = 1; COMMIT;"],
        [
            "ALTER TYPE mood ADD VALUE 'fine'; UPDATE t SET mood = 'fine' WHERE id = 1;",
            "BEGIN; ALTER TYPE mood ADD VALUE 'fine'; UPDATE t SET mood = 'good' WHERE id = 1; COMMIT;",
            "BEGIN; CREATE TYPE mood AS ENUM (); ALTER TYPE mood ADD VALUE 'fine'; SELECT 'fine'::mood; COMMIT;",
        ],
    ),
    "program-put-together": cases(
        ["DO $$ BEGIN EXECUTE 'DROP TABLE ' || name; END $$", "DO LANGUAGE plpython3u $$ pass $$"],
        ["DO $$ BEGIN ALTER TABLE t ADD COLUMN a integer; END $$", "DO $$ BEGIN EXECUTE 'DROP TABLE t'; END $$"],
    ),
    "session-state": cases(
        [
            case("SET lock_timeout = '1s'", enable="session-state"),
            case("SELECT pg_advisory_lock(1)", enable="session-state"),
            case("LISTEN x", enable="session-state"),
        ],
        [
            "SET lock_timeout = '1s'",
            case("BEGIN; SET LOCAL lock_timeout = '1s'; COMMIT;", enable="session-state"),
            case("SELECT pg_advisory_xact_lock(1)", enable="session-state"),
        ],
    ),
    "several-tables-locked": cases(
        [
            "BEGIN; ALTER TABLE t ADD COLUMN a integer; ALTER TABLE u ADD COLUMN a integer; COMMIT;",
            case("LOCK TABLE t; ALTER TABLE u ADD COLUMN a integer;", in_transaction=True),
        ],
        [
            "ALTER TABLE t ADD COLUMN a integer; ALTER TABLE u ADD COLUMN a integer;",
            "BEGIN; ALTER TABLE t ADD COLUMN a integer; ALTER TABLE t ADD COLUMN b integer; COMMIT;",
            "BEGIN; CREATE TABLE t (a integer); ALTER TABLE t ADD b integer; ALTER TABLE u ADD a integer; COMMIT;",
            "BEGIN; DROP TABLE t, u; COMMIT;",
        ],
    ),
    "lock-held-while-working": cases(
        [
            "BEGIN; ALTER TABLE t ADD COLUMN a integer; UPDATE t SET a = 1; COMMIT;",
            "BEGIN; ALTER TABLE t ADD COLUMN a integer; INSERT INTO u SELECT * FROM t; COMMIT;",
            "BEGIN; ALTER TABLE t ADD COLUMN a integer; CREATE INDEX i ON u (b); COMMIT;",
            "BEGIN; ALTER TABLE t ADD COLUMN a integer; ALTER TABLE t VALIDATE CONSTRAINT c; COMMIT;",
        ],
        [
            "ALTER TABLE t ADD COLUMN a integer; UPDATE t SET a = 1;",
            "BEGIN; ALTER TABLE t ADD COLUMN a integer; COMMIT; BEGIN; UPDATE t SET a = 1; COMMIT;",
            "BEGIN; ALTER TABLE t ADD COLUMN a integer; INSERT INTO u VALUES (1); COMMIT;",
            "BEGIN; ALTER TABLE t ADD a integer; CREATE INDEX i ON t (b); COMMIT;",
            "BEGIN; ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID, VALIDATE CONSTRAINT c; COMMIT;",
            "BEGIN; CREATE TABLE t (a integer); INSERT INTO t SELECT a FROM u; COMMIT;",
            "BEGIN; ALTER TABLE t ADD a integer; UPDATE alembic_version SET version_num = 'b'; COMMIT;",
            "BEGIN; ALTER TABLE t ADD a integer; UPDATE settings SET value = 1 WHERE id = 7; COMMIT;",
        ],
    ),
    "index-may-stay-invalid": cases(
        ["CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)"],
        ["CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE TABLE t (a int); CREATE INDEX IF NOT EXISTS i ON t (a);"],
    ),
    "index-on-parent-concurrently": cases(
        [case("CREATE INDEX CONCURRENTLY i ON logs (line)", schema=PARTS)],
        [
            case("CREATE INDEX CONCURRENTLY i ON logs_1 (line)", schema=PARTS),
            case("CREATE INDEX i ON ONLY logs (line)", schema=PARTS),
        ],
    ),
    "transactions-mixed": cases(
        ["ALTER TABLE t ADD COLUMN a integer; CREATE INDEX CONCURRENTLY i ON t (a);"],
        [
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "SET lock_timeout = '1s'; CREATE INDEX CONCURRENTLY i ON t (a);",
            "DROP INDEX CONCURRENTLY IF EXISTS i; CREATE INDEX CONCURRENTLY i ON t (a);",
        ],
    ),
    "needs-newer-server": cases(
        [
            "ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID",
            "CREATE TABLE t (a integer, b integer GENERATED ALWAYS AS (a + 1))",
            "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT ENFORCED",
            "ALTER TABLE t ALTER CONSTRAINT c NOT ENFORCED",
            case("ALTER TABLE t ALTER COLUMN a SET EXPRESSION AS (b + 1)", postgres=16),
            case("ALTER TABLE p ADD FOREIGN KEY (a) REFERENCES t NOT VALID", schema=PARTED, postgres=17),
        ],
        [
            case("ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID", postgres=18),
            case("ALTER TABLE t ALTER COLUMN a SET EXPRESSION AS (b + 1)", postgres=17),
            case("ALTER TABLE p ADD FOREIGN KEY (a) REFERENCES t NOT VALID", schema=PARTED, postgres=18),
            case("ALTER TABLE p ADD FOREIGN KEY (a) REFERENCES t", schema=PARTED),
            "CREATE TABLE t (a integer NOT NULL, b integer GENERATED ALWAYS AS (a + 1) STORED, CHECK (a > 0))",
        ],
    ),
}
