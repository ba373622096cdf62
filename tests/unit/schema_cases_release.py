from __future__ import annotations

from schema_cases import Cases, case, cases, small
from schema_cases_compatibility import CONTRACT, NEW, SHOP

EXPAND = "ALTER TABLE t ADD COLUMN full_name text;\n"

RELEASE: dict[str, Cases] = {
    "expand-and-contract-mixed": cases(
        [
            EXPAND + "ALTER TABLE t DROP COLUMN name;",
            EXPAND + CONTRACT + "ALTER TABLE t DROP COLUMN name;",
            "ALTER TABLE t ADD COLUMN b text, DROP COLUMN a",
            "CREATE TABLE u (id int); DROP TABLE t;",
            EXPAND + "ALTER TABLE t RENAME COLUMN name TO old_name;",
            "DROP VIEW v; CREATE TABLE u (id int);",
            "CREATE TYPE colour AS ENUM ('red'); ALTER TABLE t DROP COLUMN a;",
            "DO $$ BEGIN ALTER TABLE t ADD COLUMN b text; ALTER TABLE t DROP COLUMN a; END $$",
            case(EXPAND, CONTRACT + "ALTER TABLE t DROP COLUMN name;", one_release=True),
            case(CONTRACT + "ALTER TABLE t DROP COLUMN name;", EXPAND, one_release=True),
            # as a tool prints it that splits a column in one go
            EXPAND + "UPDATE t SET full_name = name; ALTER TABLE t DROP COLUMN name;",
        ],
        [
            case(EXPAND, CONTRACT + "ALTER TABLE t DROP COLUMN name;"),
            case(EXPAND, "CREATE TABLE u (id int)", one_release=True),
            case("CREATE VIEW v AS SELECT 1", "DROP VIEW v; CREATE VIEW v AS SELECT 2;", one_release=True),
            "ALTER TABLE t ADD COLUMN a text; ALTER TABLE t DROP COLUMN a;",
            "DROP VIEW v; CREATE VIEW v AS SELECT 1;",
            "DROP FUNCTION f(); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
            "BEGIN; ALTER TABLE t RENAME TO u; CREATE VIEW t AS SELECT * FROM u; COMMIT;",
            "DROP INDEX CONCURRENTLY i; ALTER TABLE t ADD COLUMN a text;",
            "CREATE TEMP TABLE x (id int); DROP TABLE t;",
            NEW + "ALTER TABLE t DROP COLUMN a;",
            "CREATE TABLE x (id int); ALTER TABLE t DROP CONSTRAINT c;",
        ],
    ),
    "schema-and-rows-mixed": cases(
        [
            EXPAND + "UPDATE t SET full_name = name WHERE full_name IS NULL;",
            case(EXPAND + "UPDATE t SET full_name = name;", in_transaction=True),
            "BEGIN; ALTER TABLE t ADD COLUMN a text; DELETE FROM u WHERE old; COMMIT;",
            "ALTER TABLE t ADD COLUMN a text; INSERT INTO t (a) SELECT a FROM u;",
            "CREATE INDEX CONCURRENTLY i ON t (a); UPDATE t SET a = 1;",
        ],
        [
            EXPAND,
            "UPDATE t SET full_name = name WHERE full_name IS NULL",
            EXPAND + "UPDATE alembic_version SET version_num = 'b' WHERE alembic_version.version_num = 'a';",
            EXPAND + "INSERT INTO django_migrations (app, name) VALUES ('a', 'b');",
            EXPAND + "INSERT INTO countries (code) VALUES ('CH'), ('AT');",
            EXPAND + "UPDATE t SET full_name = 'x' WHERE id = 7;",
            EXPAND + "UPDATE t SET full_name = name WHERE id > 0 AND id <= 5000;",
            "CREATE TABLE a (id int); INSERT INTO a SELECT 1; UPDATE a SET id = 2;",
            case(small("t") + EXPAND + "UPDATE t SET full_name = name;"),
        ],
    ),
    "whole-table-written": cases(
        [
            "UPDATE t SET a = 1",
            "DELETE FROM t",
            "WITH x AS (UPDATE t SET a = 1 RETURNING id) SELECT * FROM x",
            "WITH x AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM x",
            "WITH x AS (DELETE FROM t RETURNING id) UPDATE u SET a = 1 WHERE id = 7",
        ],
        [
            "UPDATE t SET a = 1 WHERE id BETWEEN 1 AND 1000",
            NEW + "UPDATE t SET a = ''",
            "INSERT INTO t (a) VALUES (1)",
            "CREATE TEMP TABLE x (id int); DELETE FROM x;",
            "UPDATE alembic_version SET version_num = 'a'",
        ],
    ),
    "write-without-key-range": cases(
        [
            "UPDATE t SET a = 1 WHERE a IS NULL",
            "UPDATE t SET a = 1 WHERE a IS NULL OR b = ' where '",
            "WITH x AS (SELECT 1) UPDATE t SET a = 1 WHERE a IN (SELECT * FROM x)",
            "DELETE FROM t WHERE created_at < now() - interval '1 year'",
            "UPDATE t SET a = 1 WHERE id IN (SELECT id FROM t WHERE a IS NULL LIMIT 1000)",
            "UPDATE t SET a = 1 WHERE ctid IN (SELECT ctid FROM t WHERE a IS NULL LIMIT 1000)",
            case("UPDATE customers SET nick = '' WHERE nick IS NULL", schema=SHOP),
        ],
        [
            "UPDATE t SET a = 1 WHERE id > 1000 AND id <= 2000 AND a IS NULL",
            "UPDATE t SET a = 1 WHERE id = 7",
            "DO $$ BEGIN UPDATE t SET a = 1 WHERE CURRENT OF c; END $$",
            "UPDATE t SET a = ' LIMIT ' WHERE id > 1 AND b <> ' LIMIT 1'",
            case("UPDATE customers SET nick = '' WHERE email = 'a@b.c'", schema=SHOP),
            case(small("t") + "UPDATE t SET a = 1 WHERE a IS NULL"),
            NEW + "UPDATE t SET a = '' WHERE a IS NULL",
        ],
    ),
    "backfill-not-idempotent": cases(
        [
            "UPDATE t SET n = n + 1 WHERE id > 0 AND id <= 100",
            "UPDATE t SET price = price * 100 WHERE id <= 100",
            "UPDATE t SET name = name || '!' WHERE id = 1",
            "UPDATE t SET name = my_function(name) WHERE id = 1",
        ],
        [
            "UPDATE t SET cents = price * 100 WHERE id > 0 AND id <= 100",
            "UPDATE t SET n = n + 1 WHERE id = 1 AND n = 4",
            "UPDATE t SET email = lower(email) WHERE id <= 100",
            "UPDATE t SET a = 1 WHERE id <= 100",
            NEW + "UPDATE t SET a = a || '!'",
        ],
    ),
}
