"""Statements of every kind, and the schema that they are tried on: what real servers do, and what the lint says."""

from __future__ import annotations

from dataclasses import dataclass

CLUSTER = """
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE other LOCATION '';
"""

SCHEMA = """
CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE users (
  id bigint PRIMARY KEY, email text, name varchar(40), age integer, price numeric(8, 2), at timestamp(3),
  code char(4), tags text[], bio text NOT NULL DEFAULT '', full_name text GENERATED ALWAYS AS (email || bio) STORED
);
CREATE INDEX users_email ON users (email);
CREATE UNIQUE INDEX users_name ON users (name);
CREATE UNIQUE INDEX users_bio ON users (bio);
ALTER TABLE users ADD CONSTRAINT adult CHECK (age > 17) NOT VALID;
ALTER TABLE users ADD CONSTRAINT has_price CHECK (price IS NOT NULL);
CREATE TABLE orders (id bigint PRIMARY KEY, user_id bigint, note text, kind text);
ALTER TABLE orders ADD CONSTRAINT of_user FOREIGN KEY (user_id) REFERENCES users (id);
ALTER TABLE orders ADD CONSTRAINT later FOREIGN KEY (id) REFERENCES users (id) NOT VALID;
CREATE TABLE logs (at date NOT NULL, line text) PARTITION BY RANGE (at);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE logs_rest PARTITION OF logs DEFAULT;
CREATE TABLE logs_2 (at date NOT NULL, line text);
CREATE TABLE logs_4 (at date NOT NULL, line text, CHECK (at IS NOT NULL AND at >= '2026-04-01' AND at < '2026-05-01'));
CREATE TABLE colours (name text PRIMARY KEY);
CREATE TABLE animals (a integer);
CREATE TABLE cats () INHERITS (animals);
CREATE TABLE parent (a integer);
CREATE TABLE child (a integer);
CREATE TABLE pets (id bigint, name text, age integer);
CREATE VIEW names AS SELECT id, name FROM pets;
CREATE MATERIALIZED VIEW ages AS SELECT id, age FROM pets;
CREATE UNIQUE INDEX ages_id ON ages (id);
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN positive AS integer;
CREATE DOMAIN percent AS integer CHECK (VALUE < 101);
CREATE TABLE moods (id integer PRIMARY KEY, mood mood, score positive);
CREATE SEQUENCE numbers;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER touched BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();
CREATE POLICY mine ON orders USING (true);
CREATE RULE never AS ON DELETE TO child DO INSTEAD NOTHING;
CREATE STATISTICS pair ON id, kind FROM orders;
INSERT INTO users (id, email, name, age, price, bio)
  SELECT n, n::text, n::text, 30, 1, n::text FROM generate_series(1, 100) n;
INSERT INTO orders SELECT n, n, 'note', 'kind' FROM generate_series(1, 100) n;
INSERT INTO moods VALUES (1, 'good', 1);
INSERT INTO parent SELECT generate_series(1, 10);
"""


@dataclass(frozen=True)
class Tried:
    """A statement; `since` is the first PostgreSQL that knows it."""

    text: str
    since: int = 15
    until: int = 99


def since(version: int, *texts: str) -> list[Tried]:
    return [Tried(text, since=version) for text in texts]


IN_TRANSACTION: list[Tried] = [
    *since(
        15,
        # columns
        "ALTER TABLE users ADD COLUMN a integer",
        "ALTER TABLE users ADD COLUMN a integer NOT NULL DEFAULT 3",
        "ALTER TABLE users ADD COLUMN a timestamptz DEFAULT now()",
        "ALTER TABLE users ADD COLUMN a timestamptz DEFAULT clock_timestamp()",
        "ALTER TABLE users ADD COLUMN a uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE users ADD COLUMN a serial",
        "ALTER TABLE users ADD COLUMN a integer GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE users ADD COLUMN a integer GENERATED ALWAYS AS (age + 1) STORED",
        "ALTER TABLE users ADD COLUMN a integer CHECK (a > 0)",
        "ALTER TABLE users ADD COLUMN a integer UNIQUE",
        "ALTER TABLE orders ADD COLUMN a bigint REFERENCES users (id)",
        "ALTER TABLE users ADD COLUMN a positive",
        "ALTER TABLE users ADD COLUMN a percent",
        "ALTER TABLE users ADD COLUMN a percent DEFAULT 4",
        "ALTER TABLE users DROP COLUMN age",
        "ALTER TABLE users DROP COLUMN IF EXISTS nothing",
        "ALTER TABLE orders DROP COLUMN user_id",
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(80)",
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(20)",
        "ALTER TABLE users ALTER COLUMN name TYPE text",
        'ALTER TABLE users ALTER COLUMN name TYPE text COLLATE "C"',
        "ALTER TABLE orders ALTER COLUMN note TYPE varchar",
        "ALTER TABLE orders ALTER COLUMN note TYPE varchar(50)",
        "ALTER TABLE orders ALTER COLUMN note TYPE text USING upper(note)",
        "ALTER TABLE orders ALTER COLUMN note TYPE text USING note::text",
        "ALTER TABLE orders ALTER COLUMN user_id TYPE integer",
        "ALTER TABLE users ALTER COLUMN age TYPE bigint",
        "ALTER TABLE users ALTER COLUMN id TYPE integer",
        "ALTER TABLE users ALTER COLUMN price TYPE numeric(12, 2)",
        "ALTER TABLE users ALTER COLUMN price TYPE numeric(12, 3)",
        "ALTER TABLE users ALTER COLUMN price TYPE numeric",
        "ALTER TABLE users ALTER COLUMN at TYPE timestamp(6)",
        "ALTER TABLE users ALTER COLUMN at TYPE timestamp",
        "ALTER TABLE users ALTER COLUMN at TYPE timestamp(1)",
        "ALTER TABLE users ALTER COLUMN code TYPE char(8)",
        "ALTER TABLE users ALTER COLUMN code TYPE text",
        "ALTER TABLE users ALTER COLUMN code TYPE varchar(8)",
        "ALTER TABLE users ALTER COLUMN tags TYPE varchar[]",
        "ALTER TABLE users ALTER COLUMN age SET DEFAULT 3",
        "ALTER TABLE users ALTER COLUMN bio DROP DEFAULT",
        "ALTER TABLE users ALTER COLUMN age SET NOT NULL",
        "ALTER TABLE users ALTER COLUMN price SET NOT NULL",
        "ALTER TABLE users ALTER COLUMN bio SET NOT NULL",
        "ALTER TABLE users ALTER COLUMN bio DROP NOT NULL",
        "ALTER TABLE users ALTER COLUMN full_name DROP EXPRESSION",
        "ALTER TABLE users ALTER COLUMN bio SET STATISTICS 100",
        "ALTER TABLE users ALTER COLUMN bio SET STORAGE EXTERNAL",
        "ALTER TABLE users ALTER COLUMN bio SET COMPRESSION pglz",
        "ALTER TABLE users ALTER COLUMN age SET (n_distinct = 5)",
        "ALTER TABLE users ALTER COLUMN age RESET (n_distinct)",
        "ALTER TABLE users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE users ADD COLUMN a integer, DROP COLUMN code, ALTER COLUMN age SET STATISTICS 1",
        # constraints
        "ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0)",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0) NOT VALID",
        "ALTER TABLE users VALIDATE CONSTRAINT adult",
        "ALTER TABLE users DROP CONSTRAINT adult",
        "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES users (id)",
        "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES users (id) NOT VALID",
        "ALTER TABLE orders VALIDATE CONSTRAINT later",
        "ALTER TABLE orders ALTER CONSTRAINT of_user DEFERRABLE",
        "ALTER TABLE orders DROP CONSTRAINT of_user",
        "ALTER TABLE users ADD CONSTRAINT u UNIQUE (email)",
        "ALTER TABLE users ADD CONSTRAINT u UNIQUE USING INDEX users_name",
        "ALTER TABLE moods DROP CONSTRAINT moods_pkey, ADD PRIMARY KEY (id)",
        "ALTER TABLE orders ADD CONSTRAINT e EXCLUDE USING btree (id WITH =)",
        # tables as a whole
        "ALTER TABLE parent SET UNLOGGED",
        "ALTER TABLE parent SET LOGGED",
        "ALTER TABLE users SET TABLESPACE other",
        "ALTER TABLE users SET ACCESS METHOD other",
        "ALTER TABLE users SET (fillfactor = 90)",
        "ALTER TABLE users SET (autovacuum_enabled = false, toast_tuple_target = 1024)",
        "ALTER TABLE users SET (parallel_workers = 2)",
        "ALTER TABLE users SET (user_catalog_table = true)",
        "ALTER TABLE users RESET (fillfactor)",
        "ALTER TABLE users CLUSTER ON users_email",
        "ALTER TABLE users SET WITHOUT CLUSTER",
        "ALTER TABLE orders DISABLE TRIGGER touched",
        "ALTER TABLE orders ENABLE TRIGGER ALL",
        "ALTER TABLE child DISABLE RULE never",
        "ALTER TABLE child INHERIT parent",
        "ALTER TABLE users REPLICA IDENTITY FULL",
        "ALTER TABLE users REPLICA IDENTITY USING INDEX users_bio",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE users FORCE ROW LEVEL SECURITY",
        "ALTER TABLE users OWNER TO CURRENT_USER",
        "ALTER TABLE logs ATTACH PARTITION logs_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        "ALTER TABLE logs ATTACH PARTITION logs_4 FOR VALUES FROM ('2026-04-01') TO ('2026-05-01')",
        "ALTER TABLE logs DETACH PARTITION logs_1",
        "CREATE TABLE logs_3 PARTITION OF logs FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        # parts, and those that inherit
        "ALTER TABLE logs ADD COLUMN x integer",
        "ALTER TABLE logs ADD COLUMN x uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE ONLY logs ALTER COLUMN line SET DEFAULT 'x'",
        "ALTER TABLE logs ALTER COLUMN line SET DEFAULT 'x'",
        "ALTER TABLE logs DROP COLUMN line",
        "ALTER TABLE logs ALTER COLUMN line TYPE varchar",
        "ALTER TABLE logs ALTER COLUMN line TYPE varchar(3)",
        "ALTER TABLE logs ALTER COLUMN line SET NOT NULL",
        "ALTER TABLE logs ALTER COLUMN line SET STATISTICS 5",
        "ALTER TABLE logs ADD CONSTRAINT c CHECK (line > '')",
        "ALTER TABLE logs ADD CONSTRAINT c CHECK (line > '') NOT VALID",
        "ALTER TABLE logs ADD CONSTRAINT f FOREIGN KEY (line) REFERENCES colours (name)",
        "ALTER TABLE logs ADD UNIQUE (at)",
        "ALTER TABLE logs ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE logs REPLICA IDENTITY FULL",
        "ALTER TABLE logs OWNER TO CURRENT_USER",
        "ALTER TABLE logs RENAME TO lines",
        "ALTER TABLE logs RENAME COLUMN line TO words",
        "CREATE TRIGGER x AFTER INSERT ON logs FOR EACH ROW EXECUTE FUNCTION touch()",
        "CREATE POLICY p ON logs USING (true)",
        "DROP TABLE logs",
        "TRUNCATE logs",
        "LOCK TABLE logs",
        "ANALYZE logs",
        "ALTER TABLE animals ADD COLUMN x integer",
        "ALTER TABLE animals ADD CONSTRAINT c CHECK (a > 0)",
        "ALTER TABLE animals RENAME COLUMN a TO b",
        "CREATE INDEX i ON animals (a)",
        "ALTER TABLE animals ADD UNIQUE (a)",
        "DROP TABLE animals CASCADE",
        "DROP TABLE pets CASCADE",
        "DROP TABLE users CASCADE",
        "TRUNCATE animals",
        "LOCK TABLE animals",
        # names
        "ALTER TABLE users RENAME TO people",
        "ALTER TABLE users RENAME COLUMN bio TO biography",
        "ALTER TABLE users RENAME CONSTRAINT adult TO grown",
        "ALTER INDEX users_email RENAME TO users_mail",
        "ALTER VIEW names RENAME TO called",
        "ALTER TRIGGER touched ON orders RENAME TO felt",
        "ALTER POLICY mine ON orders RENAME TO yours",
        "ALTER SEQUENCE numbers RENAME TO digits",
        # other objects
        "CREATE TABLE t (id bigint PRIMARY KEY, user_id bigint REFERENCES users (id))",
        "CREATE TABLE t (LIKE users)",
        "CREATE TABLE t AS SELECT * FROM users",
        "CREATE TABLE t () INHERITS (parent)",
        "CREATE INDEX i ON users (age)",
        "CREATE UNIQUE INDEX i ON users (email)",
        "CREATE INDEX i ON logs (line)",
        "CREATE INDEX i ON ONLY logs (line)",
        "DROP INDEX users_email",
        "REINDEX INDEX users_email",
        "REINDEX TABLE users",
        "ALTER INDEX users_email SET (fillfactor = 70)",
        "CREATE VIEW v AS SELECT id FROM users",
        "CREATE OR REPLACE VIEW names AS SELECT id, name FROM pets",
        "CREATE MATERIALIZED VIEW v AS SELECT id FROM users",
        "REFRESH MATERIALIZED VIEW ages",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY ages",
        "DROP VIEW names",
        "DROP MATERIALIZED VIEW ages",
        "DROP TABLE parent",
        "DROP TABLE orders",
        "DROP TABLE child, parent",
        "CREATE TRIGGER x AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()",
        "DROP TRIGGER touched ON orders",
        "CREATE POLICY p ON users USING (true)",
        "ALTER POLICY mine ON orders USING (false)",
        "DROP POLICY mine ON orders",
        "CREATE RULE r AS ON DELETE TO users DO INSTEAD NOTHING",
        "DROP RULE never ON child",
        "ALTER TYPE mood RENAME VALUE 'bad' TO 'worse'",
        "ALTER TYPE mood ADD VALUE 'fine'",
        "ALTER DOMAIN positive ADD CONSTRAINT p CHECK (VALUE > 0)",
        "ALTER DOMAIN positive ADD CONSTRAINT p CHECK (VALUE > 0) NOT VALID",
        "ALTER DOMAIN positive SET NOT NULL",
        "CREATE SEQUENCE s",
        "ALTER SEQUENCE numbers RESTART 5",
        "ALTER SEQUENCE numbers OWNED BY users.id",
        "DROP SEQUENCE numbers",
        "COMMENT ON TABLE users IS 'people'",
        "COMMENT ON COLUMN users.bio IS 'life'",
        "GRANT SELECT ON users TO pg_monitor",
        "REVOKE ALL ON users FROM PUBLIC",
        "GRANT SELECT (id) ON users TO pg_monitor",
        "CREATE STATISTICS st ON id, age FROM users",
        "DROP STATISTICS pair",
        "CREATE PUBLICATION p FOR TABLE users",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA s",
        "CREATE TYPE colour AS ENUM ('red')",
        # rows
        "SELECT * FROM users",
        "SELECT * FROM users FOR UPDATE",
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO parent SELECT id FROM users",
        "UPDATE users SET age = 31 WHERE id = 1",
        "DELETE FROM parent WHERE a = 1",
        "TRUNCATE parent",
        "LOCK TABLE users",
        "LOCK TABLE users IN SHARE MODE",
        "ANALYZE users",
        "CLUSTER users USING users_email",
        "DO $$ BEGIN ALTER TABLE users ADD COLUMN a integer; DROP TABLE parent; END $$",
    ),
    *since(17, "ALTER TABLE users ALTER COLUMN full_name SET EXPRESSION AS (email || 'x')"),
    *since(
        18,
        "ALTER TABLE users ADD CONSTRAINT n NOT NULL age",
        "ALTER TABLE users ADD CONSTRAINT n NOT NULL age NOT VALID",
        "ALTER TABLE users ADD CONSTRAINT n NOT NULL price",
        "ALTER TABLE users ADD COLUMN a integer GENERATED ALWAYS AS (age + 1) VIRTUAL",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0) NOT ENFORCED",
        "ALTER TABLE orders ALTER CONSTRAINT of_user NOT ENFORCED",
        "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (user_id) REFERENCES users (id) NOT ENFORCED",
    ),
]

ON_THEIR_OWN: list[Tried] = since(
    15,
    "CREATE INDEX CONCURRENTLY i ON users (age)",
    "DROP INDEX CONCURRENTLY users_email",
    "REINDEX TABLE CONCURRENTLY users",
    "REINDEX INDEX CONCURRENTLY users_email",
    "VACUUM users",
    "VACUUM FULL users",
    "ALTER TABLE logs DETACH PARTITION logs_1 CONCURRENTLY",
)
