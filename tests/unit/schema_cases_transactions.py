from __future__ import annotations

from schema_cases import Cases, case, cases

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
        ],
    ),
    "validated-at-once": cases(
        [
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
}
