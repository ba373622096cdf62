"""What other linters of migrations find, and which of our rules finds it: the page `docs/reference/lint-coverage.md`.

tests/unit/test_schema_corpus.py holds every row with a text on which our rules fire, and with the safe way to write the
same, on which none does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from hitless.schema.rules.registry import RULES
from hitless.schema.rules.rule import Severity


class Row(NamedTuple):
    """A rule of another linter, ours for the same, and what differs."""

    rule: str
    ours: str
    note: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Our rules, by name."""
        return tuple(self.ours.split())


MYSQL = "MySQL"
ABOUT = {
    "squawk": "Version 2.70, by the names of its rules.",
    "strong_migrations": "By the keys of its messages.",
    "Atlas": "By the codes of its analyzers.",
}

ELSEWHERE: Mapping[str, tuple[Row, ...]] = {
    "squawk": (
        Row("adding-field-with-default", "column-default-rewrites column-generated-rewrites"),
        Row("adding-foreign-key-constraint", "foreign-key-scans constraint-may-fail"),
        Row(
            "adding-not-nullable-field", "not-null-scans not-null-may-fail", "a check of another column proves nothing"
        ),
        Row("adding-required-field", "required-column-added"),
        Row("adding-serial-primary-key-field", "column-identity-rewrites column-constraint-scans"),
        Row("ban-add-column", "column-added"),
        Row("ban-add-composite-attribute", "attribute-added"),
        Row("ban-add-enum-value", "enum-value-added"),
        Row("ban-alter-database-options", "database-options-changed"),
        Row("ban-alter-domain-with-add-constraint", "domain-constraint-scans"),
        Row("ban-alter-extension", "extension-altered"),
        Row("ban-alter-function-options", "function-options-changed"),
        Row("ban-alter-generated-expression", "column-generated-rewrites"),
        Row("ban-alter-identity", "identity-changed"),
        Row("ban-alter-policy-condition", "policy-altered"),
        Row("ban-alter-policy-roles", "policy-altered"),
        Row("ban-alter-role-options", "role-options-changed"),
        Row("ban-alter-row-level-security", "row-security-changed"),
        Row("ban-alter-sequence-values", "sequence-altered"),
        Row("ban-alter-system-options", "system-options-changed"),
        Row("ban-alter-view-options", "view-options-changed"),
        Row("ban-char-field", "char-column"),
        Row("ban-concurrent-index-creation-in-transaction", "not-in-transaction"),
        Row("ban-create-domain-with-constraint", "domain-with-constraint"),
        Row("ban-create-policy", "policy-created"),
        Row("ban-detach-inheritance", "inheritance-changed"),
        Row("ban-disable-trigger", "trigger-disabled"),
        Row("ban-drop-column", "column-dropped"),
        Row("ban-drop-constraint", "constraint-dropped", "silent where what is left says the same"),
        Row("ban-drop-database", "database-dropped"),
        Row("ban-drop-default", "default-dropped"),
        Row("ban-drop-domain", "domain-dropped"),
        Row("ban-drop-extension", "extension-dropped"),
        Row("ban-drop-function", "function-dropped"),
        Row("ban-drop-generated-expression", "expression-dropped"),
        Row("ban-drop-index", "index-dropped"),
        Row("ban-drop-not-null", "not-null-dropped"),
        Row("ban-drop-policy", "policy-dropped"),
        Row("ban-drop-schema", "schema-dropped"),
        Row("ban-drop-sequence", "sequence-dropped"),
        Row("ban-drop-table", "table-dropped"),
        Row("ban-drop-trigger", "trigger-dropped"),
        Row("ban-drop-type", "type-dropped"),
        Row("ban-drop-view", "view-dropped"),
        Row("ban-duplicate-column-assignments", "column-assigned-twice"),
        Row("ban-new-write-restriction", "write-restricted"),
        Row("ban-replace-view-function", "view-or-function-replaced"),
        Row("ban-replica-identity", "replica-identity-changed"),
        Row("ban-revoke", "privilege-revoked"),
        Row("ban-set-default", "default-set default-changed"),
        Row("ban-set-schema", "schema-changed"),
        Row("ban-truncate-cascade", "truncate-cascades table-truncated"),
        Row("ban-uncommitted-transaction", "transaction-left-open"),
        Row("changing-column-type", "type-change-rewrites type-loses-values", "silent where the rows stay as they are"),
        Row("constraint-missing-not-valid", "check-scans validated-at-once"),
        Row("disallowed-unique-constraint", "unique-builds-index unique-may-fail"),
        Row("identifier-too-long", "identifier-too-long"),
        Row("prefer-bigint-over-int", "prefer-bigint"),
        Row("prefer-bigint-over-smallint", "prefer-bigint"),
        Row("prefer-identity", "prefer-identity"),
        Row("prefer-repack", "table-copied-whole", "on every version, not only where REPACK is there"),
        Row("prefer-robust-stmts", "statement-not-robust"),
        Row("prefer-text-field", "prefer-text"),
        Row("prefer-timestamp-tz", "prefer-timestamptz"),
        Row("renaming-column", "column-renamed"),
        Row("renaming-object", "object-renamed", "an index is named by no statement, and may be renamed"),
        Row("renaming-table", "table-renamed", "silent where the old name stays, as that of a view"),
        Row("require-concurrent-index-creation", "index-blocks-writes"),
        Row("require-concurrent-index-deletion", "drop-index-blocks"),
        Row("require-concurrent-partition-detach", "detach-blocks"),
        Row("require-concurrent-reindex", "reindex-blocks"),
        Row("require-enum-value-ordering", "enum-value-without-place"),
        Row("require-lock-timeout", "lock-timeout-missing"),
        Row("require-statement-timeout", "statement-timeout-missing"),
        Row("require-table-schema", "schema-not-named"),
        Row("require-timeout-settings", "lock-timeout-missing statement-timeout-missing", "an old name of two"),
        Row("transaction-nesting", "transaction-nested"),
        Row("unused-ignore", "allowed-in-vain"),
    ),
    "strong_migrations": (
        Row("add_column_default", "column-default-rewrites"),
        Row("add_column_default_callable", "column-default-rewrites", "read from the SQL, whatever has made it"),
        Row("add_column_generated_stored", "column-generated-rewrites"),
        Row("add_column_auto_incrementing", "column-identity-rewrites"),
        Row("add_column_json", "json-column-added"),
        Row("change_column", "type-change-rewrites"),
        Row("change_column_with_not_null", "type-change-rewrites not-null-scans"),
        Row("change_column_constraint", "type-change-rewrites"),
        Row("change_column_null", "whole-table-written not-null-scans"),
        Row("change_column_null_postgresql", "not-null-scans"),
        Row("change_column_default", "default-changed"),
        Row("add_index", "index-blocks-writes"),
        Row("remove_index", "drop-index-blocks", "on, where it is off there"),
        Row("add_index_columns", "wide-index", "off"),
        Row("add_index_corruption", "", "PostgreSQL 14.0 to 14.3, which is older than what we work with"),
        Row("add_reference", "index-blocks-writes column-constraint-scans"),
        Row("add_foreign_key", "foreign-key-scans"),
        Row("validate_foreign_key", "validated-at-once"),
        Row("validate_check_constraint", "validated-at-once"),
        Row("add_check_constraint", "check-scans"),
        Row("add_exclusion_constraint", "exclusion-builds-index"),
        Row("add_unique_constraint", "unique-builds-index"),
        Row("remove_column", "column-dropped"),
        Row("rename_column", "column-renamed"),
        Row("rename_table", "table-renamed"),
        Row("rename_schema", "object-renamed"),
        Row("rename_enum_value", "enum-value-renamed"),
        Row("create_table", "table-dropped", "`force` is a DROP TABLE before it"),
        Row("change_table", "", "its SQL is read"),
        Row("execute", "", "its SQL is read"),
        Row("backfilling data (README)", "whole-table-written lock-held-while-working schema-and-rows-mixed"),
        Row("add_foreign_key_mysql", "", MYSQL),
        Row("add_check_constraint_mysql", "", MYSQL),
        Row("change_column_null_mysql", "", MYSQL),
        Row("copy_algorithm", "", MYSQL),
        Row("lock_option", "", MYSQL),
    ),
    "Atlas": (
        Row("DS101", "schema-dropped"),
        Row("DS102", "table-dropped"),
        Row("DS103", "column-dropped"),
        Row("MF101", "unique-may-fail concurrent-unique-may-fail"),
        Row("MF102", "unique-may-fail drop-index-blocks"),
        Row("MF103", "required-column-added"),
        Row("MF104", "not-null-may-fail"),
        Row("BC101", "table-renamed"),
        Row("BC102", "column-renamed"),
        Row("CD101", "constraint-dropped", "a foreign key"),
        Row("CD102", "constraint-dropped", "a check"),
        Row("CD103", "constraint-dropped", "a primary key"),
        Row("PG101", "index-blocks-writes"),
        Row("PG102", "drop-index-blocks"),
        Row("PG103", "not-in-transaction", "with --in-transaction"),
        Row("PG104", "unique-builds-index"),
        Row("PG105", "unique-builds-index"),
        Row("PG108", "index-blocks-writes"),
        Row("PG109", "exclusion-builds-index"),
        Row("PG110", "", "the order of columns costs bytes, and nobody his connection"),
        Row("PG301", "type-change-rewrites"),
        Row("PG302", "column-default-rewrites"),
        Row("PG303", "not-null-scans"),
        Row("PG304", "primary-key-scans"),
        Row("PG305", "check-scans"),
        Row("PG306", "foreign-key-scans"),
        Row("PG307", "table-rewrites table-made-unlogged"),
        Row("PG308", "trigger-blocks-writes"),
        Row("PG309", "column-generated-rewrites"),
        Row("PG310", "column-identity-rewrites"),
        Row("PG311", "table-rewrites"),
        Row("PG312", "constraint-dropped unique-builds-index"),
        Row("PG314", "replica-identity-changed"),
        Row("PG320", "autovacuum-off"),
        Row("TX101", "transactions-mixed"),
        Row("TX201", "transaction-nested", "with --in-transaction"),
        Row("non-linear history", "", "for the release that runs them, not for the files"),
        Row("SA101", "", "what EXECUTE puts together cannot be read; plain text in it is"),
        Row("NM101 to NM106", "", "naming is nobody's downtime"),
        Row("MY101 to MY123", "", MYSQL),
        Row("LT101", "", "SQLite"),
    ),
}

NOBODY = (
    ("expand-and-contract-mixed", "additive and destructive in one migration"),
    ("schema-and-rows-mixed", "a backfill beside a change of the schema"),
    ("required-column-dropped", "a column that the running version must still write"),
    ("write-without-key-range", "a write that no key bounds, or that pages"),
    ("backfill-not-idempotent", "a batch that may not be tried again"),
    ("drop-cascades", "CASCADE, with what is known to go too"),
    ("dependents-refuse", "views and columns that depend on what changes"),
    ("function-still-names-it", "functions whose text names what goes"),
    ("view-options-lost", "security_invoker, or another option, that a replaced view no longer has"),
    ("validation-may-fail", "the query for rows in the way, made from the constraint"),
)
"""Rules that none of them has."""


def page() -> str:
    """Return the page."""
    return "".join(_lines())


def _lines() -> Iterator[str]:
    yield (
        "# What other linters find, and what hitless finds\n\n"
        "Generated by `make docs`; a test runs a text for every row. *Off* rules are looked for with `--enable RULE`;\n"
        "[rules of the lint](lint-rules.md) says what each means.\n"
    )
    for tool, rows in ELSEWHERE.items():
        yield f"\n## {tool}\n\n{ABOUT[tool]}\n\n| there | hitless | |\n| --- | --- | --- |\n"
        yield from (f"| {row.rule} | {_ours(row)} | {row.note} |\n" for row in rows)
    yield "\n## Only here\n\n| hitless | finds |\n| --- | --- |\n"
    yield from (f"| `{rule}` | {what} |\n" for rule, what in NOBODY)
    yield (
        "\nWhether a version that runs, or that a rollback could bring back, still uses what a migration takes away,\n"
        "no linter can see: `-- hitless: contract CHANGE` before such a statement leaves that to the contract guard.\n"
    )


def _ours(row: Row) -> str:
    if not row.names:
        return "none"
    return ", ".join(f"`{one}`{' (off)' if RULES[one].severity is Severity.OFF else ''}" for one in row.names)
