"""For each rule that other linters document: what it is about, and the safe way to the same end, in our own words."""

from __future__ import annotations

from dataclasses import dataclass

from schema_cases import Case, case

SHOP = """
CREATE TYPE grade AS ENUM ('new', 'gold');
CREATE TYPE parcel_size AS (height integer, width integer);
CREATE DOMAIN zip AS text;
CREATE TABLE members (
  id bigint PRIMARY KEY, mail text NOT NULL, name text, city varchar(40), points integer DEFAULT 0, grade grade,
  joined timestamptz, level text DEFAULT 'basic', gone boolean,
  CONSTRAINT name_is_short CHECK (length(name) < 80)
);
CREATE TABLE bookings (
  id bigint PRIMARY KEY, member_id bigint, room_id bigint, fee numeric(8, 2), hours integer, code integer,
  minutes integer GENERATED ALWAYS AS (hours * 60) STORED,
  CONSTRAINT booking_room FOREIGN KEY (room_id) REFERENCES members (id)
);
CREATE INDEX bookings_member ON bookings (member_id);
CREATE TABLE visits (day date NOT NULL, page text) PARTITION BY RANGE (day);
CREATE TABLE visits_may PARTITION OF visits FOR VALUES FROM ('2026-05-01') TO ('2026-06-01');
"""
WAIT = "SET lock_timeout = '100ms'; SET statement_timeout = '5s';\n"
"""As both documentations advise before any change of a table."""

CONTRACT = "-- hitless: contract move-to-rooms\n"
FILL = "UPDATE bookings SET fee = 0 WHERE id > 1000 AND id <= 3000 AND fee IS NULL"


@dataclass(frozen=True)
class Example:
    """Migrations that are dangerous, and those that are safe; each text is a file, after the schema above."""

    dangerous: Case
    safe: Case | None


def bad(text: str, *, postgres: int = 15, in_transaction: bool = False) -> Case:
    return case(text, schema=SHOP, postgres=postgres, in_transaction=in_transaction)


def good(*texts: str, postgres: int = 15, in_transaction: bool = False) -> Case:
    return case(*(WAIT + text for text in texts), schema=SHOP, postgres=postgres, in_transaction=in_transaction)


def example(dangerous: str, *safe: str, postgres: int = 15, in_transaction: bool = False) -> Example:
    return Example(
        bad(dangerous, postgres=postgres, in_transaction=in_transaction),
        good(*safe, postgres=postgres) if safe else None,
    )


CHECKED_NOT_NULL = (
    "ALTER TABLE bookings ADD CONSTRAINT has_fee CHECK (fee IS NOT NULL) NOT VALID",
    "ALTER TABLE bookings VALIDATE CONSTRAINT has_fee",
    "ALTER TABLE bookings ALTER COLUMN fee SET NOT NULL; ALTER TABLE bookings DROP CONSTRAINT has_fee;",
)
LATER_CHECK = (
    "ALTER TABLE bookings ADD CONSTRAINT long_enough CHECK (hours > 0) NOT VALID",
    "ALTER TABLE bookings VALIDATE CONSTRAINT long_enough",
)
LATER_KEY = (
    "ALTER TABLE bookings ADD CONSTRAINT by_member FOREIGN KEY (member_id) REFERENCES members (id) NOT VALID",
    "ALTER TABLE bookings VALIDATE CONSTRAINT by_member",
)
UNIQUE = (
    "CREATE UNIQUE INDEX CONCURRENTLY booking_code ON bookings (code)",
    "ALTER TABLE bookings ADD CONSTRAINT booking_code UNIQUE USING INDEX booking_code",
)
INDEX = "CREATE INDEX CONCURRENTLY bookings_room ON bookings (room_id)"
SHADOW = ("ALTER TABLE bookings ADD COLUMN code_text text", FILL, CONTRACT + "ALTER TABLE bookings DROP COLUMN code")
NEW_TABLE = "CREATE TABLE rooms (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL)"


def contract(statement: str) -> Example:
    """What is wrong now is right as the end of a change, whose evidence the guard asks for."""
    return example(statement, CONTRACT + statement)


SQUAWK: dict[str, Example] = {
    "adding-field-with-default": example(
        "ALTER TABLE bookings ADD COLUMN token uuid DEFAULT gen_random_uuid();"
        "ALTER TABLE bookings ADD COLUMN days integer GENERATED ALWAYS AS (hours / 24) STORED;",
        "ALTER TABLE bookings ADD COLUMN state text DEFAULT 'open'",
        "ALTER TABLE bookings ADD COLUMN token uuid",
        "ALTER TABLE bookings ALTER COLUMN token SET DEFAULT gen_random_uuid()",
    ),
    "adding-foreign-key-constraint": example(
        "ALTER TABLE bookings ADD CONSTRAINT by_member FOREIGN KEY (member_id) REFERENCES members (id)", *LATER_KEY
    ),
    "adding-not-nullable-field": example("ALTER TABLE bookings ALTER COLUMN fee SET NOT NULL", *CHECKED_NOT_NULL),
    "adding-required-field": example(
        "ALTER TABLE bookings ADD COLUMN note text NOT NULL",
        "ALTER TABLE bookings ADD COLUMN note text",
        "ALTER TABLE bookings ADD COLUMN remark text NOT NULL DEFAULT ''",
    ),
    "adding-serial-primary-key-field": example(
        "ALTER TABLE visits ADD COLUMN id serial PRIMARY KEY",
        "ALTER TABLE bookings ADD COLUMN number bigint",
        "CREATE UNIQUE INDEX CONCURRENTLY booking_number ON bookings (number)",
    ),
    "ban-add-column": example("ALTER TABLE members ADD COLUMN phone text", NEW_TABLE),
    "ban-add-composite-attribute": example("ALTER TYPE parcel_size ADD ATTRIBUTE depth integer", NEW_TABLE),
    "ban-add-enum-value": example("ALTER TYPE grade ADD VALUE 'silver' BEFORE 'gold'", NEW_TABLE),
    "ban-alter-database-options": example("ALTER DATABASE shop SET work_mem = '1GB'", NEW_TABLE),
    "ban-alter-domain-with-add-constraint": example(
        "ALTER DOMAIN zip ADD CONSTRAINT five_digits CHECK (VALUE ~ '^[0-9]{5}$')",
        "ALTER TABLE members ADD CONSTRAINT city_named CHECK (city <> '') NOT VALID",
    ),
    "ban-alter-extension": example("ALTER EXTENSION hstore UPDATE TO '1.8'", "CREATE EXTENSION hstore"),
    "ban-alter-function-options": example("ALTER FUNCTION price_of(integer) SECURITY DEFINER", NEW_TABLE),
    "ban-alter-generated-expression": example(
        "ALTER TABLE bookings ALTER COLUMN minutes SET EXPRESSION AS (hours * 61)",
        "ALTER TABLE bookings ADD COLUMN exact_minutes integer",
        postgres=17,
    ),
    "ban-alter-identity": example("ALTER TABLE bookings ALTER COLUMN id DROP IDENTITY", NEW_TABLE),
    "ban-alter-policy-condition": example("ALTER POLICY own_rows ON bookings USING (true)", NEW_TABLE),
    "ban-alter-policy-roles": example("ALTER POLICY own_rows ON bookings TO desk", NEW_TABLE),
    "ban-alter-role-options": example("ALTER ROLE desk NOLOGIN", NEW_TABLE),
    "ban-alter-row-level-security": example("ALTER TABLE bookings ENABLE ROW LEVEL SECURITY", NEW_TABLE),
    "ban-alter-sequence-values": example("ALTER SEQUENCE numbers RESTART WITH 1", "CREATE SEQUENCE more_numbers"),
    "ban-alter-system-options": example("ALTER SYSTEM SET max_connections = 50", "SELECT 1"),
    "ban-alter-view-options": example("ALTER VIEW open_bookings SET (security_invoker = true)", NEW_TABLE),
    "ban-char-field": example("ALTER TABLE members ADD COLUMN country char(2)", "ALTER TABLE members ADD country text"),
    "ban-concurrent-index-creation-in-transaction": example(f"BEGIN; {INDEX}; COMMIT;", INDEX),
    "ban-create-domain-with-constraint": example(
        "CREATE DOMAIN rating AS integer CHECK (VALUE BETWEEN 1 AND 5)", "CREATE DOMAIN rating AS integer"
    ),
    "ban-create-policy": example("CREATE POLICY own_rows ON bookings USING (member_id = 1)", NEW_TABLE),
    "ban-detach-inheritance": example("ALTER TABLE bookings_old NO INHERIT bookings", NEW_TABLE),
    "ban-disable-trigger": example("ALTER TABLE bookings DISABLE TRIGGER audit", NEW_TABLE),
    "ban-drop-column": contract("ALTER TABLE members DROP COLUMN city"),
    "ban-drop-constraint": contract("ALTER TABLE members DROP CONSTRAINT name_is_short"),
    "ban-drop-database": contract("DROP DATABASE old_shop"),
    "ban-drop-default": contract("ALTER TABLE members ALTER COLUMN points DROP DEFAULT"),
    "ban-drop-domain": contract("DROP DOMAIN zip"),
    "ban-drop-extension": contract("DROP EXTENSION hstore"),
    "ban-drop-function": contract("DROP FUNCTION price_of(integer)"),
    "ban-drop-generated-expression": contract("ALTER TABLE bookings ALTER COLUMN minutes DROP EXPRESSION"),
    "ban-drop-index": example("DROP INDEX CONCURRENTLY bookings_member", INDEX),
    "ban-drop-not-null": example("ALTER TABLE members ALTER COLUMN mail DROP NOT NULL", NEW_TABLE),
    "ban-drop-policy": example("DROP POLICY own_rows ON bookings", NEW_TABLE),
    "ban-drop-schema": contract("DROP SCHEMA attic"),
    "ban-drop-sequence": contract("DROP SEQUENCE numbers"),
    "ban-drop-table": contract("DROP TABLE members_of_1999"),
    "ban-drop-trigger": example("DROP TRIGGER audit ON bookings", NEW_TABLE),
    "ban-drop-type": contract("DROP TYPE parcel_size"),
    "ban-drop-view": contract("DROP VIEW open_bookings"),
    "ban-duplicate-column-assignments": example(
        "UPDATE members SET points = 1, points = 2 WHERE id = 4", "UPDATE members SET points = 2 WHERE id = 4"
    ),
    "ban-new-write-restriction": example(LATER_CHECK[0], NEW_TABLE),
    "ban-replace-view-function": example(
        "CREATE OR REPLACE VIEW open_bookings AS SELECT id FROM bookings",
        "CREATE VIEW long_bookings AS SELECT id FROM bookings WHERE hours > 8",
    ),
    "ban-replica-identity": example(
        "ALTER TABLE bookings REPLICA IDENTITY NOTHING",
        "ALTER TABLE bookings REPLICA IDENTITY USING INDEX bookings_pkey",
    ),
    "ban-revoke": example("REVOKE INSERT ON bookings FROM desk", "GRANT INSERT ON bookings TO desk"),
    "ban-set-default": example(
        "ALTER TABLE members ALTER COLUMN level SET DEFAULT 'plus'",
        "ALTER TABLE members ADD COLUMN tier text DEFAULT 'plus'",
    ),
    "ban-set-schema": contract("ALTER TABLE members SET SCHEMA people"),
    "ban-truncate-cascade": example("TRUNCATE members CASCADE", FILL),
    "ban-uncommitted-transaction": example(
        "BEGIN; ALTER TABLE members ADD COLUMN phone text;", "BEGIN; ALTER TABLE members ADD COLUMN phone text; COMMIT;"
    ),
    "changing-column-type": example(
        "ALTER TABLE bookings ALTER COLUMN member_id TYPE integer",
        *SHADOW,
        "ALTER TABLE members ALTER COLUMN city TYPE text",
        "ALTER TABLE bookings ALTER COLUMN fee TYPE numeric(12, 2)",
    ),
    "constraint-missing-not-valid": example(
        "ALTER TABLE bookings ADD CONSTRAINT long_enough CHECK (hours > 0);"
        f"BEGIN; {LATER_KEY[0]}; {LATER_KEY[1]}; COMMIT;",
        *LATER_CHECK,
    ),
    "disallowed-unique-constraint": example("ALTER TABLE bookings ADD CONSTRAINT booking_code UNIQUE (code)", *UNIQUE),
    "identifier-too-long": example(
        f"ALTER TABLE bookings ADD COLUMN {'reason_' * 10}text text", "ALTER TABLE bookings ADD COLUMN reason text"
    ),
    "prefer-bigint-over-int": example("CREATE TABLE rooms (id integer)", "CREATE TABLE rooms (id bigint)"),
    "prefer-bigint-over-smallint": example("CREATE TABLE rooms (id smallint)", "CREATE TABLE rooms (id bigint)"),
    "prefer-identity": example("CREATE TABLE rooms (id bigserial)", NEW_TABLE),
    "prefer-repack": example("VACUUM FULL bookings; CLUSTER members USING members_pkey;", "VACUUM bookings"),
    "prefer-robust-stmts": example(
        "ALTER TABLE members ADD COLUMN phone text; CREATE INDEX CONCURRENTLY phones ON members (phone);",
        "ALTER TABLE members ADD COLUMN IF NOT EXISTS phone text",
        "BEGIN; ALTER TABLE members ADD COLUMN fax text; COMMIT;",
    ),
    "prefer-text-field": example("ALTER TABLE members ADD phone varchar(30)", "ALTER TABLE members ADD phone text"),
    "prefer-timestamp-tz": example(
        "ALTER TABLE members ADD seen timestamp", "ALTER TABLE members ADD seen timestamptz"
    ),
    "renaming-column": example("ALTER TABLE members RENAME COLUMN name TO full_name", *SHADOW),
    "renaming-object": example(
        "ALTER TYPE grade RENAME TO rank; ALTER SEQUENCE numbers RENAME TO counts;",
        "ALTER INDEX bookings_member RENAME TO bookings_by_member",
    ),
    "renaming-table": example(
        "ALTER TABLE bookings RENAME TO reservations",
        "CREATE VIEW reservations AS SELECT * FROM bookings",
        f"BEGIN; DROP VIEW reservations;\n{CONTRACT}ALTER TABLE bookings RENAME TO reservations; COMMIT;",
    ),
    "require-concurrent-index-creation": example("CREATE INDEX bookings_room ON bookings (room_id)", INDEX),
    "require-concurrent-index-deletion": example(
        "DROP INDEX bookings_member", "DROP INDEX CONCURRENTLY IF EXISTS bookings_member"
    ),
    "require-concurrent-partition-detach": example(
        "ALTER TABLE visits DETACH PARTITION visits_may", "ALTER TABLE visits DETACH PARTITION visits_may CONCURRENTLY"
    ),
    "require-concurrent-reindex": example("REINDEX TABLE bookings", "REINDEX TABLE CONCURRENTLY bookings"),
    "require-enum-value-ordering": example(
        "ALTER TYPE grade ADD VALUE 'bronze'", "ALTER TYPE grade ADD VALUE 'bronze' AFTER 'new'"
    ),
    "require-lock-timeout": example("ALTER TABLE members ADD phone text", "ALTER TABLE members ADD phone text"),
    "require-statement-timeout": example("ALTER TABLE members ADD phone text", "ALTER TABLE members ADD phone text"),
    "require-table-schema": example("CREATE TABLE rooms (id bigint)", "CREATE TABLE public.rooms (id bigint)"),
    "require-timeout-settings": example("ALTER TABLE members ADD phone text", "ALTER TABLE members ADD phone text"),
    "transaction-nesting": example(
        "BEGIN; BEGIN; ALTER TABLE members ADD phone text; COMMIT; COMMIT;",
        "BEGIN; ALTER TABLE members ADD phone text; COMMIT;",
    ),
    "unused-ignore": example(
        "-- hitless: allow column-dropped: nobody reads it\nSELECT 1",
        "-- hitless: allow column-dropped: nobody reads it\nALTER TABLE members DROP COLUMN city",
    ),
}

STRONG_MIGRATIONS: dict[str, Example] = {
    "add_column_default": example(
        "ALTER TABLE bookings ADD COLUMN token uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE bookings ADD COLUMN token uuid; ALTER TABLE bookings ALTER COLUMN token SET DEFAULT"
        " gen_random_uuid();",
        "ALTER TABLE bookings ADD COLUMN state text DEFAULT 'open'",
        "ALTER TABLE bookings ADD COLUMN made timestamptz DEFAULT now()",
    ),
    "add_column_default_callable": example(
        "ALTER TABLE bookings ADD COLUMN draw double precision DEFAULT random()",
        "ALTER TABLE bookings ADD COLUMN draw double precision",
    ),
    "add_column_generated_stored": example(
        "ALTER TABLE bookings ADD COLUMN days integer GENERATED ALWAYS AS (hours / 24) STORED",
        "ALTER TABLE bookings ADD COLUMN days integer",
    ),
    "add_column_auto_incrementing": example(
        "ALTER TABLE bookings ADD COLUMN number bigserial",
        "CREATE TABLE numbered (number bigserial)",
    ),
    "add_column_json": example(
        "ALTER TABLE members ADD COLUMN settings json", "ALTER TABLE members ADD COLUMN settings jsonb"
    ),
    "change_column": example(
        "ALTER TABLE bookings ALTER COLUMN hours TYPE bigint",
        "ALTER TABLE members ALTER COLUMN city TYPE varchar(80)",
        "ALTER TABLE members ALTER COLUMN city TYPE varchar",
        "ALTER TABLE members ALTER COLUMN city TYPE text",
        "ALTER TABLE bookings ALTER COLUMN fee TYPE numeric(10, 2)",
        "ALTER TABLE bookings ALTER COLUMN fee TYPE numeric",
        *SHADOW,
    ),
    "change_column_with_not_null": example(
        "ALTER TABLE bookings ALTER COLUMN hours TYPE bigint; ALTER TABLE bookings ALTER COLUMN hours SET NOT NULL;",
        *CHECKED_NOT_NULL,
    ),
    "change_column_constraint": example(
        "ALTER TABLE members ALTER COLUMN name TYPE varchar(90)", "ALTER TABLE members ALTER COLUMN city TYPE text"
    ),
    "change_column_null": example(
        "UPDATE bookings SET fee = 0; ALTER TABLE bookings ALTER COLUMN fee SET NOT NULL;", FILL, *CHECKED_NOT_NULL
    ),
    "change_column_null_postgresql": example("ALTER TABLE bookings ALTER COLUMN fee SET NOT NULL", *CHECKED_NOT_NULL),
    "change_column_default": example(
        "ALTER TABLE members ALTER COLUMN level SET DEFAULT 'plus'",
        "ALTER TABLE members ADD COLUMN tier text; ALTER TABLE members ALTER COLUMN tier SET DEFAULT 'plus';",
    ),
    "add_index": example(
        "CREATE INDEX bookings_room ON bookings (room_id)", INDEX, f"{NEW_TABLE}; CREATE INDEX r ON rooms (name);"
    ),
    "remove_index": example("DROP INDEX bookings_member", "DROP INDEX CONCURRENTLY bookings_member"),
    "add_index_columns": example(
        "CREATE INDEX CONCURRENTLY wide ON bookings (id, member_id, room_id, fee)",
        "CREATE INDEX CONCURRENTLY narrow ON bookings (member_id, fee)",
    ),
    "add_reference": example(
        "ALTER TABLE bookings ADD COLUMN desk_id bigint DEFAULT 1 REFERENCES members;"
        "CREATE INDEX bookings_desk ON bookings (desk_id);",
        "ALTER TABLE bookings ADD COLUMN desk_id bigint",
        "CREATE INDEX CONCURRENTLY bookings_desk ON bookings (desk_id)",
    ),
    "add_foreign_key": example(
        "ALTER TABLE bookings ADD CONSTRAINT by_member FOREIGN KEY (member_id) REFERENCES members (id)", *LATER_KEY
    ),
    "validate_foreign_key": example(f"BEGIN; {LATER_KEY[0]}; {LATER_KEY[1]}; COMMIT;", *LATER_KEY),
    "validate_check_constraint": example(f"BEGIN; {LATER_CHECK[0]}; {LATER_CHECK[1]}; COMMIT;", *LATER_CHECK),
    "add_check_constraint": example("ALTER TABLE bookings ADD CONSTRAINT long_enough CHECK (hours > 0)", *LATER_CHECK),
    "add_exclusion_constraint": example(
        "ALTER TABLE bookings ADD CONSTRAINT one_at_a_time EXCLUDE USING gist (room_id WITH =)",
        "CREATE TABLE slots (room_id bigint, EXCLUDE USING gist (room_id WITH =))",
    ),
    "add_unique_constraint": example("ALTER TABLE bookings ADD CONSTRAINT booking_code UNIQUE (code)", *UNIQUE),
    "remove_column": contract("ALTER TABLE members DROP COLUMN city"),
    "rename_column": example("ALTER TABLE members RENAME COLUMN name TO full_name", *SHADOW),
    "rename_table": example(
        "ALTER TABLE guests RENAME TO visitors",
        "CREATE TABLE visitors (id bigint PRIMARY KEY)",
        CONTRACT + "DROP TABLE guests",
    ),
    "rename_schema": example("ALTER SCHEMA people RENAME TO persons", "CREATE SCHEMA persons"),
    "rename_enum_value": example(
        "ALTER TYPE grade RENAME VALUE 'gold' TO 'golden'", "ALTER TYPE grade ADD VALUE 'golden' AFTER 'gold'"
    ),
    "create_table": example(
        "DROP TABLE IF EXISTS bookings; CREATE TABLE bookings (id bigint PRIMARY KEY);",
        "CREATE TABLE rooms (id bigint PRIMARY KEY)",
    ),
    "backfilling data (README)": example(
        "ALTER TABLE bookings ADD COLUMN state text; UPDATE bookings SET state = 'open';",
        "ALTER TABLE bookings ADD COLUMN state text",
        "UPDATE bookings SET state = 'open' WHERE id > 0 AND id <= 1000;"
        "UPDATE bookings SET state = 'open' WHERE id > 1000 AND id <= 2000;",
        in_transaction=True,
    ),
}

ATLAS: dict[str, Example] = {
    "DS101": contract("DROP SCHEMA attic"),
    "DS102": contract("DROP TABLE members_of_1999"),
    "DS103": contract("ALTER TABLE members DROP COLUMN city"),
    "MF101": example(
        "CREATE UNIQUE INDEX booking_code ON bookings (code);"
        "CREATE UNIQUE INDEX CONCURRENTLY booking_hours ON bookings (hours);",
        "CREATE UNIQUE INDEX CONCURRENTLY booking_key ON bookings (id, code)",
    ),
    "MF102": example(
        "DROP INDEX bookings_member; CREATE UNIQUE INDEX bookings_member ON bookings (member_id);", UNIQUE[0]
    ),
    "MF103": example(
        "ALTER TABLE bookings ADD COLUMN note text NOT NULL",
        "ALTER TABLE bookings ADD COLUMN note text NOT NULL DEFAULT ''",
    ),
    "MF104": example("ALTER TABLE bookings ALTER COLUMN fee SET NOT NULL", *CHECKED_NOT_NULL),
    "BC101": example(
        "ALTER TABLE bookings RENAME TO reservations",
        "BEGIN; ALTER TABLE bookings RENAME TO reservations;"
        "CREATE VIEW bookings AS SELECT * FROM reservations; COMMIT;",
    ),
    "BC102": example("ALTER TABLE members RENAME COLUMN name TO full_name", *SHADOW),
    "CD101": example("ALTER TABLE bookings DROP CONSTRAINT booking_room", NEW_TABLE),
    "CD102": contract("ALTER TABLE members DROP CONSTRAINT name_is_short"),
    "CD103": contract("ALTER TABLE members DROP CONSTRAINT members_pkey"),
    "PG101": example("CREATE INDEX bookings_room ON bookings (room_id)", INDEX),
    "PG102": example("DROP INDEX bookings_member", "DROP INDEX CONCURRENTLY bookings_member"),
    "PG103": example(INDEX, INDEX, in_transaction=True),
    "PG104": example(
        "ALTER TABLE visits_may ADD PRIMARY KEY (day)",
        "CREATE UNIQUE INDEX CONCURRENTLY may_day ON visits_may (day)",
        "ALTER TABLE visits_may ADD PRIMARY KEY USING INDEX may_day",
    ),
    "PG105": example("ALTER TABLE bookings ADD CONSTRAINT booking_code UNIQUE (code)", *UNIQUE),
    "PG108": example(
        "CREATE INDEX visits_day ON visits (day)",
        "CREATE INDEX visits_day ON ONLY visits (day)",
        "CREATE INDEX CONCURRENTLY may_day ON visits_may (day)",
        "ALTER INDEX visits_day ATTACH PARTITION may_day",
    ),
    "PG109": example(
        "ALTER TABLE bookings ADD CONSTRAINT one_at_a_time EXCLUDE USING gist (room_id WITH =)",
        "CREATE TABLE slots (room_id bigint, EXCLUDE USING gist (room_id WITH =))",
    ),
    "PG301": example("ALTER TABLE bookings ALTER COLUMN hours TYPE bigint", *SHADOW),
    "PG302": example(
        "ALTER TABLE bookings ADD COLUMN seen timestamptz DEFAULT clock_timestamp()",
        "ALTER TABLE bookings ADD COLUMN seen timestamptz DEFAULT now()",
    ),
    "PG303": example("ALTER TABLE bookings ALTER COLUMN fee SET NOT NULL", *CHECKED_NOT_NULL),
    "PG304": example(
        "ALTER TABLE visits_may ADD CONSTRAINT may_key PRIMARY KEY USING INDEX may_page",
        "CREATE UNIQUE INDEX CONCURRENTLY may_day ON visits_may (day)",
        "ALTER TABLE visits_may ADD PRIMARY KEY USING INDEX may_day",
    ),
    "PG305": example("ALTER TABLE bookings ADD CONSTRAINT long_enough CHECK (hours > 0)", *LATER_CHECK),
    "PG306": example("ALTER TABLE bookings ADD FOREIGN KEY (member_id) REFERENCES members", *LATER_KEY),
    "PG307": example("ALTER TABLE bookings SET UNLOGGED", "CREATE UNLOGGED TABLE scratch (id bigint)"),
    "PG308": example(
        "CREATE TRIGGER audit BEFORE UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION audit()",
        f"{NEW_TABLE}; CREATE TRIGGER audit BEFORE UPDATE ON rooms FOR EACH ROW EXECUTE FUNCTION audit();",
    ),
    "PG309": example(
        "ALTER TABLE bookings ADD COLUMN days integer GENERATED ALWAYS AS (hours / 24) STORED",
        "ALTER TABLE bookings ADD COLUMN days integer GENERATED ALWAYS AS (hours / 24) VIRTUAL",
        postgres=18,
    ),
    "PG310": example(
        "ALTER TABLE visits_may ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE visits_may ADD COLUMN id bigint",
    ),
    "PG311": example("ALTER TABLE bookings SET ACCESS METHOD columnar", "CREATE TABLE cold (id bigint) USING columnar"),
    "PG312": example(
        "ALTER TABLE bookings DROP CONSTRAINT bookings_pkey, ADD PRIMARY KEY (id, code)",
        "CREATE UNIQUE INDEX CONCURRENTLY booking_pair ON bookings (id, code)",
    ),
    "PG314": example(
        "ALTER TABLE bookings REPLICA IDENTITY FULL", "ALTER TABLE bookings REPLICA IDENTITY USING INDEX bookings_pkey"
    ),
    "PG320": example(
        "ALTER TABLE bookings SET (autovacuum_enabled = false)",
        "ALTER TABLE bookings SET (autovacuum_vacuum_scale_factor = 0.02)",
    ),
    "TX101": example(
        f"ALTER TABLE bookings ADD COLUMN note text; {INDEX};", "ALTER TABLE bookings ADD note text", INDEX
    ),
    "TX201": example(
        "BEGIN; ALTER TABLE bookings ADD note text; COMMIT;", "ALTER TABLE bookings ADD note text", in_transaction=True
    ),
}

CORPUS: dict[tuple[str, str], Example] = {
    (tool, rule): found
    for tool, examples in (("squawk", SQUAWK), ("strong_migrations", STRONG_MIGRATIONS), ("Atlas", ATLAS))
    for rule, found in examples.items()
}

GAPS: dict[str, tuple[str, Case]] = {
    # what squawk 2.70 says nothing about, or is wrong about
    "a validated foreign key says nothing about NULL": (
        "not-null-scans",
        bad(f"{LATER_KEY[0]}; {LATER_KEY[1]}; ALTER TABLE bookings ALTER COLUMN fee SET NOT NULL;"),
    ),
    "a whole table is written": ("whole-table-written", bad("UPDATE bookings SET fee = 0")),
    "a whole table is emptied": ("whole-table-written", bad("DELETE FROM bookings")),
    "a trigger on a table in use": (
        "trigger-blocks-writes",
        bad("CREATE TRIGGER audit AFTER INSERT ON bookings EXECUTE FUNCTION audit()"),
    ),
    "a table that a crash empties": ("table-made-unlogged", bad("ALTER TABLE bookings SET UNLOGGED")),
    "a column without equality": ("json-column-added", bad("ALTER TABLE bookings ADD extra json")),
    "a table that nobody vacuums": ("autovacuum-off", bad("ALTER TABLE bookings SET (autovacuum_enabled = off)")),
    "a lock for its own sake": ("explicit-lock", bad("BEGIN; LOCK TABLE bookings; COMMIT;")),
    "an exclusion constraint has no NOT VALID": (
        "exclusion-builds-index",
        bad("ALTER TABLE bookings ADD EXCLUDE USING gist (room_id WITH =)"),
    ),
    "a split in one go": (
        "expand-and-contract-mixed",
        bad(
            "ALTER TABLE members ADD COLUMN first_name text; UPDATE members SET first_name = split_part(name, ' ', 1);"
            "ALTER TABLE members DROP COLUMN name;"
        ),
    ),
}
