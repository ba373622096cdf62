from __future__ import annotations

from schema_cases import Case, Cases, case, cases

SHOP = """
CREATE TYPE size AS ENUM ('small', 'large');
CREATE TYPE address AS (street text, city text);
CREATE DOMAIN code AS text;
CREATE TABLE customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email text NOT NULL,
  nick text,
  tier text NOT NULL DEFAULT 'free',
  score integer DEFAULT 0,
  CONSTRAINT customers_email_key UNIQUE (email),
  CONSTRAINT nick_short CHECK (length(nick) < 20)
);
CREATE TABLE parcels (
  id bigint PRIMARY KEY,
  customer_id bigint REFERENCES customers,
  weight integer,
  grams integer GENERATED ALWAYS AS (weight * 1000) STORED,
  filled text,
  CONSTRAINT filled_is_there CHECK (filled IS NOT NULL)
);
CREATE VIEW heavy AS SELECT id, weight FROM parcels WHERE weight > 30;
CREATE SEQUENCE numbers;
"""


def shop(*files: str) -> Case:
    return case(*files, schema=SHOP)


FUNCTION = """
CREATE FUNCTION count_of_a() RETURNS bigint LANGUAGE sql AS $$ SELECT count(a) FROM t $$;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.line := lower(NEW.line); RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON logged FOR EACH ROW EXECUTE FUNCTION stamp();
"""
JOINED = """
CREATE TABLE stops (id bigint, name text, street text, note text);
CREATE TABLE lines (id bigint, name text);
CREATE VIEW places AS SELECT s.street, l.name FROM stops s JOIN lines l USING (id);
"""
NEW = "CREATE TABLE t (id bigint PRIMARY KEY, a text);\n"
CONTRACT = "-- hitless: contract c-1\n"

COMPATIBILITY: dict[str, Cases] = {
    "column-renamed": cases(
        [
            "ALTER TABLE t RENAME COLUMN a TO b",
            shop("ALTER TABLE customers RENAME nick TO alias"),
            shop("ALTER VIEW heavy RENAME COLUMN weight TO kilos"),
            "ALTER TYPE address RENAME ATTRIBUTE street TO road",
        ],
        [
            NEW + "ALTER TABLE t RENAME a TO b",
            "ALTER TABLE t ADD COLUMN a text; ALTER TABLE t RENAME a TO b;",
            CONTRACT + "ALTER TABLE t RENAME COLUMN a TO b",
            "ALTER TABLE t RENAME CONSTRAINT a TO b",
        ],
    ),
    "table-renamed": cases(
        [
            "ALTER TABLE t RENAME TO u",
            "ALTER VIEW v RENAME TO w",
            "BEGIN; ALTER TABLE t RENAME TO u; COMMIT; CREATE VIEW t AS SELECT * FROM u;",
            "ALTER TABLE t RENAME TO u; CREATE VIEW t AS SELECT * FROM u;",
        ],
        [
            NEW + "ALTER TABLE t RENAME TO u",
            "BEGIN; ALTER TABLE t RENAME TO u; CREATE VIEW t AS SELECT * FROM u; COMMIT;",
            "BEGIN; ALTER TABLE t RENAME TO t_old; ALTER TABLE t_new RENAME TO t; COMMIT;",
            CONTRACT + "ALTER TABLE t RENAME TO u",
            "ALTER INDEX i RENAME TO j",
        ],
    ),
    "object-renamed": cases(
        [
            "ALTER TYPE a RENAME TO b",
            "ALTER SCHEMA a RENAME TO b",
            "ALTER SEQUENCE a RENAME TO b",
            "ALTER FUNCTION f(int) RENAME TO g",
            "ALTER DOMAIN a RENAME TO b",
            shop("ALTER TABLE customers RENAME CONSTRAINT customers_email_key TO email_once"),
        ],
        [
            "ALTER INDEX a RENAME TO b",
            "ALTER TRIGGER a ON t RENAME TO b",
            "CREATE TYPE a AS ENUM ('x'); ALTER TYPE a RENAME TO b;",
            "CREATE SEQUENCE a; ALTER SEQUENCE a RENAME TO b;",
            shop("ALTER TABLE customers RENAME CONSTRAINT nick_short TO nick_length"),
            CONTRACT + "ALTER TYPE a RENAME TO b",
        ],
    ),
    "enum-value-renamed": cases(
        ["ALTER TYPE size RENAME VALUE 'small' TO 's'"],
        [
            "ALTER TYPE size ADD VALUE 's' AFTER 'small'",
            "CREATE TYPE size AS ENUM ('small'); ALTER TYPE size RENAME VALUE 'small' TO 's';",
        ],
    ),
    "schema-changed": cases(
        ["ALTER TABLE t SET SCHEMA attic", "ALTER FUNCTION f() SET SCHEMA attic", "ALTER TYPE e SET SCHEMA attic"],
        [NEW + "ALTER TABLE t SET SCHEMA attic", CONTRACT + "ALTER TABLE t SET SCHEMA attic"],
    ),
    "column-dropped": cases(
        [
            "ALTER TABLE t DROP COLUMN a",
            "ALTER TABLE IF EXISTS t DROP COLUMN IF EXISTS a",
            "ALTER TYPE address DROP ATTRIBUTE street",
            "DO $$ BEGIN ALTER TABLE t DROP COLUMN a; END $$",
            CONTRACT + "SELECT 1;\nALTER TABLE t DROP COLUMN a;",
        ],
        [
            NEW + "ALTER TABLE t DROP COLUMN a",
            "ALTER TABLE t ADD COLUMN a text; ALTER TABLE t DROP COLUMN a;",
            CONTRACT + "ALTER TABLE t DROP COLUMN a",
            "CREATE TEMP TABLE t (a int, b int); ALTER TABLE t DROP COLUMN a;",
        ],
    ),
    "required-column-dropped": cases(
        [
            shop("ALTER TABLE customers DROP COLUMN email"),
            shop(CONTRACT + "ALTER TABLE customers DROP COLUMN email"),
            shop(CONTRACT + "ALTER TABLE parcels DROP COLUMN filled"),
        ],
        [
            shop(CONTRACT + "ALTER TABLE customers DROP COLUMN nick"),
            shop(CONTRACT + "ALTER TABLE customers DROP COLUMN tier"),
            shop(
                "ALTER TABLE customers ALTER COLUMN email DROP NOT NULL",
                CONTRACT + "ALTER TABLE customers DROP COLUMN email",
            ),
            shop(
                "CREATE TRIGGER fill BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION fill()",
                CONTRACT + "ALTER TABLE customers DROP COLUMN email",
            ),
            "ALTER TABLE unknown DROP COLUMN a",
        ],
    ),
    "table-dropped": cases(
        ["DROP TABLE t", "DROP TABLE IF EXISTS a, b", "DROP TABLE IF EXISTS t; CREATE TABLE t (id int);"],
        [
            NEW + "DROP TABLE t",
            CONTRACT + "DROP TABLE t",
            "CREATE TEMP TABLE t (id int); DROP TABLE t;",
        ],
    ),
    "view-dropped": cases(
        ["DROP VIEW v", "DROP MATERIALIZED VIEW IF EXISTS v", "DROP VIEW v; CREATE VIEW v AS SELECT 1;"],
        ["CREATE VIEW v AS SELECT 1; DROP VIEW v;", CONTRACT + "DROP VIEW v", "CREATE OR REPLACE VIEW v AS SELECT 1"],
    ),
    "function-dropped": cases(
        ["DROP FUNCTION f(int)", "DROP PROCEDURE IF EXISTS p", "DROP AGGREGATE a(int)"],
        [
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; DROP FUNCTION f();",
            CONTRACT + "DROP FUNCTION f",
        ],
    ),
    "type-dropped": cases(
        ["DROP TYPE size"], ["CREATE TYPE size AS ENUM ('s'); DROP TYPE size;", CONTRACT + "DROP TYPE a"]
    ),
    "domain-dropped": cases(
        ["DROP DOMAIN code"], ["CREATE DOMAIN code AS text; DROP DOMAIN code;", CONTRACT + "DROP DOMAIN a"]
    ),
    "sequence-dropped": cases(
        ["DROP SEQUENCE numbers"], ["CREATE SEQUENCE s; DROP SEQUENCE s;", CONTRACT + "DROP SEQUENCE s"]
    ),
    "extension-dropped": cases(
        ["DROP EXTENSION citext"], ["CREATE EXTENSION citext; DROP EXTENSION citext;", "CREATE EXTENSION citext"]
    ),
    "schema-dropped": cases(
        ["DROP SCHEMA billing", "DROP SCHEMA IF EXISTS billing CASCADE"],
        ["CREATE SCHEMA billing; DROP SCHEMA billing;", CONTRACT + "DROP SCHEMA billing"],
    ),
    "database-dropped": cases(["DROP DATABASE shop"], ["CREATE DATABASE shop"]),
    "constraint-dropped": cases(
        [
            "ALTER TABLE t DROP CONSTRAINT c",
            shop("ALTER TABLE customers DROP CONSTRAINT customers_email_key"),
            shop("ALTER TABLE customers DROP CONSTRAINT nick_short"),
        ],
        [
            NEW + "ALTER TABLE t ADD CONSTRAINT c CHECK (a > ''); ALTER TABLE t DROP CONSTRAINT c;",
            "ALTER TABLE t ADD CONSTRAINT c CHECK (a > '') NOT VALID; ALTER TABLE public.t DROP CONSTRAINT c;",
            shop(
                "ALTER TABLE customers ADD CONSTRAINT there CHECK (nick IS NOT NULL) NOT VALID",
                "ALTER TABLE customers VALIDATE CONSTRAINT there",
                "ALTER TABLE customers ALTER COLUMN nick SET NOT NULL, DROP CONSTRAINT there",
            ),
            case(
                "ALTER TABLE t ADD CONSTRAINT there CHECK (a IS NOT NULL) NOT VALID",
                "ALTER TABLE t VALIDATE CONSTRAINT there",
                "ALTER TABLE t ALTER COLUMN a SET NOT NULL; ALTER TABLE t DROP CONSTRAINT there;",
            ),
            CONTRACT + "ALTER TABLE t DROP CONSTRAINT c",
        ],
    ),
    "expression-dropped": cases(
        [shop("ALTER TABLE parcels ALTER COLUMN grams DROP EXPRESSION")],
        [
            shop(CONTRACT + "ALTER TABLE parcels ALTER COLUMN grams DROP EXPRESSION"),
            "ALTER TABLE t ALTER COLUMN a DROP DEFAULT",
        ],
    ),
    "drop-cascades": cases(
        [
            "DROP TABLE t CASCADE",
            shop("ALTER TABLE parcels DROP COLUMN weight CASCADE"),
            "ALTER TABLE t DROP CONSTRAINT c CASCADE",
            shop("DROP VIEW heavy CASCADE"),
            "DROP TYPE size CASCADE",
            "DROP TRIGGER x ON t CASCADE",
            "DROP OWNED BY app",
        ],
        ["DROP TABLE t", NEW + "DROP TABLE t CASCADE", "ALTER TABLE t DROP COLUMN a RESTRICT"],
    ),
    "required-column-added": cases(
        [
            "ALTER TABLE t ADD COLUMN a text NOT NULL",
            "ALTER TABLE t ADD a integer NOT NULL DEFAULT NULL",
            case("ALTER TABLE t ADD COLUMN a text NOT NULL", postgres=18),
        ],
        [
            "ALTER TABLE t ADD COLUMN a text",
            "ALTER TABLE t ADD COLUMN a text NOT NULL DEFAULT ''",
            "ALTER TABLE t ADD COLUMN a bigint NOT NULL GENERATED ALWAYS AS IDENTITY",
            NEW + "ALTER TABLE t ADD COLUMN b text NOT NULL",
        ],
    ),
    "default-dropped": cases(
        [
            "ALTER TABLE t ALTER COLUMN a DROP DEFAULT",
            shop("ALTER TABLE customers ALTER COLUMN tier DROP DEFAULT"),
            shop("ALTER TABLE customers ALTER COLUMN score DROP DEFAULT"),
            "ALTER TABLE t ADD COLUMN a text NOT NULL DEFAULT ''; ALTER TABLE t ALTER COLUMN a DROP DEFAULT;",
        ],
        [
            shop("ALTER TABLE customers ALTER COLUMN nick DROP DEFAULT"),
            "ALTER TABLE t ADD COLUMN a text DEFAULT ''; ALTER TABLE t ALTER COLUMN a DROP DEFAULT;",
            NEW + "ALTER TABLE t ALTER COLUMN a DROP DEFAULT",
            shop(CONTRACT + "ALTER TABLE customers ALTER COLUMN tier DROP DEFAULT"),
        ],
    ),
    "default-changed": cases(
        [shop("ALTER TABLE customers ALTER COLUMN tier SET DEFAULT 'basic'")],
        [
            shop("ALTER TABLE customers ALTER COLUMN nick SET DEFAULT ''"),
            shop("ALTER TABLE customers ALTER COLUMN tier SET DEFAULT 'free'"),
            "ALTER TABLE t ADD COLUMN a text; ALTER TABLE t ALTER COLUMN a SET DEFAULT 'x';",
            "ALTER TABLE t ADD a text DEFAULT 'x'; ALTER TABLE t ALTER COLUMN a SET DEFAULT 'y';",
        ],
    ),
    "not-null-dropped": cases(
        ["ALTER TABLE t ALTER COLUMN a DROP NOT NULL"],
        [
            NEW + "ALTER TABLE t ALTER COLUMN a DROP NOT NULL",
            "ALTER TABLE t ADD a text NOT NULL DEFAULT ''; ALTER TABLE t ALTER a DROP NOT NULL;",
        ],
    ),
    "identity-changed": cases(
        [
            "ALTER TABLE t ALTER COLUMN id DROP IDENTITY",
            "ALTER TABLE t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY",
            "ALTER TABLE t ALTER COLUMN id SET GENERATED ALWAYS",
        ],
        [NEW + "ALTER TABLE t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY", "ALTER TABLE t ADD COLUMN a bigint"],
    ),
    "json-column-added": cases(
        ["ALTER TABLE t ADD COLUMN settings json", "ALTER TABLE t ADD settings json DEFAULT '{}'"],
        [
            "ALTER TABLE t ADD COLUMN settings jsonb",
            NEW + "ALTER TABLE t ADD COLUMN settings json",
            "CREATE TABLE u (settings json)",
        ],
    ),
    "function-still-names-it": cases(
        [
            case("ALTER TABLE t DROP COLUMN a", schema=FUNCTION),
            case(CONTRACT + "ALTER TABLE t DROP COLUMN a", schema=FUNCTION),
            case("ALTER TABLE t RENAME COLUMN a TO b", schema=FUNCTION),
            case("DROP TABLE t", schema=FUNCTION),
            case("ALTER TABLE logged DROP COLUMN line", schema=FUNCTION),
        ],
        [
            case("ALTER TABLE t DROP COLUMN b", schema=FUNCTION),
            case("BEGIN; ALTER TABLE t RENAME TO u; CREATE VIEW t AS SELECT * FROM u; COMMIT;", schema=FUNCTION),
            case("ALTER TABLE other DROP COLUMN a", schema=FUNCTION),
            case(
                "CREATE OR REPLACE FUNCTION count_of_a() RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
                "ALTER TABLE t DROP COLUMN a",
                schema=FUNCTION,
            ),
            case("DROP FUNCTION count_of_a()", "ALTER TABLE t DROP COLUMN a", schema=FUNCTION),
            case("ALTER TABLE logged DROP COLUMN note", schema=FUNCTION),
        ],
    ),
    "dependents-refuse": cases(
        [
            shop("ALTER TABLE parcels DROP COLUMN weight"),
            shop("ALTER TABLE parcels ALTER COLUMN weight TYPE bigint"),
            shop("DROP TABLE customers"),
            shop("DROP TABLE parcels"),
            case(JOINED, "ALTER TABLE stops DROP COLUMN street"),
            case(JOINED, "ALTER TABLE stops DROP COLUMN name"),  # which may be that of the other table
        ],
        [
            case(JOINED, "ALTER TABLE stops DROP COLUMN note"),
            shop("ALTER TABLE parcels DROP COLUMN customer_id"),
            shop("DROP VIEW heavy; ALTER TABLE parcels DROP COLUMN grams;"),
            shop("DROP VIEW heavy; DROP TABLE parcels, customers;"),
            shop("DROP TABLE customers CASCADE"),
        ],
    ),
    "domain-with-constraint": cases(
        ["CREATE DOMAIN positive AS integer CHECK (VALUE > 0)", "CREATE DOMAIN a AS text NOT NULL"],
        ["CREATE DOMAIN code AS text", "CREATE DOMAIN code AS text DEFAULT ''"],
    ),
    "replica-identity-changed": cases(
        ["ALTER TABLE t REPLICA IDENTITY FULL", "ALTER TABLE t REPLICA IDENTITY NOTHING"],
        [
            "ALTER TABLE t REPLICA IDENTITY DEFAULT",
            "ALTER TABLE t REPLICA IDENTITY USING INDEX i",
            NEW + "ALTER TABLE t REPLICA IDENTITY FULL",
        ],
    ),
    "view-options-lost": cases(
        [
            case(
                "CREATE OR REPLACE VIEW w AS SELECT 1", schema="CREATE VIEW w WITH (security_invoker = on) AS SELECT 1;"
            ),
            case(
                "ALTER VIEW w SET (security_barrier = true)",
                "CREATE OR REPLACE VIEW w AS SELECT 1",
                schema="CREATE VIEW w AS SELECT 1;",
            ),
            case("CREATE OR REPLACE VIEW w AS SELECT 1", schema="CREATE VIEW w AS SELECT 1 WITH LOCAL CHECK OPTION;"),
        ],
        [
            case(
                "CREATE OR REPLACE VIEW w WITH (security_invoker) AS SELECT 1",
                schema="CREATE VIEW w WITH (security_invoker = on) AS SELECT 1;",
            ),
            case(
                "ALTER VIEW w RESET (security_barrier)",
                "CREATE OR REPLACE VIEW w AS SELECT 1",
                schema="CREATE VIEW w WITH (security_barrier) AS SELECT 1;",
            ),
            "CREATE OR REPLACE VIEW w AS SELECT 1",
            "CREATE VIEW w WITH (security_barrier) AS SELECT 1; CREATE OR REPLACE VIEW w AS SELECT 2;",
        ],
    ),
    "autovacuum-off": cases(
        ["ALTER TABLE t SET (autovacuum_enabled = false)", "ALTER TABLE t SET (toast.autovacuum_enabled = off)"],
        ["ALTER TABLE t SET (autovacuum_enabled = true)", "ALTER TABLE t RESET (autovacuum_enabled)"],
    ),
}
