"""Every rule of the lint fires on what it is about, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from schema_cases import Case, Cases
from schema_cases_compatibility import COMPATIBILITY, JOINED
from schema_cases_lint import LINT
from schema_cases_locks import LOCKS
from schema_cases_release import RELEASE
from schema_cases_rows import ROWS
from schema_cases_style import OPTIONAL, STYLE
from schema_cases_transactions import TRANSACTIONS

from hitless.schema.linting import catalog_of, lint
from hitless.schema.parser import parse_statement
from hitless.schema.reading.cutting import cut
from hitless.schema.reading.source import Source
from hitless.schema.rules.registry import RULES
from hitless.schema.rules.rule import Settings, Severity

CASES: dict[str, Cases] = {
    **LOCKS,
    **TRANSACTIONS,
    **COMPATIBILITY,
    **ROWS,
    **RELEASE,
    **OPTIONAL,
    **STYLE,
    **LINT,
}


def each(kind: str) -> list[object]:
    return [
        pytest.param(rule, one, id=f"{rule}-{number}")
        for rule, found in CASES.items()
        for number, one in enumerate(getattr(found, kind))
    ]


def test_every_rule_has_texts_on_which_it_fires_and_texts_on_which_it_does_not() -> None:
    assert sorted(CASES) == sorted(RULES)
    assert [rule for rule, found in CASES.items() if not found.fires or not found.silent] == []


@pytest.mark.parametrize(("rule", "one"), each("fires"))
def test_a_rule_fires(rule: str, one: Case) -> None:
    report = one.report
    assert report.unread == ()
    assert rule in {found.rule for found in report.findings if found.file == f"{len(one.files)}.sql"}


@pytest.mark.parametrize(("rule", "one"), each("silent"))
def test_a_rule_is_silent_on_what_is_safe(rule: str, one: Case) -> None:
    report = one.report
    assert report.unread == ()
    assert [found for found in report.findings if found.rule == rule] == []


@pytest.mark.parametrize(("rule", "one"), each("fires"))
def test_a_fix_is_sql(rule: str, one: Case) -> None:
    for found in one.report.findings:
        if found.rule == rule:
            for piece in cut(found.fix):
                parse_statement(piece.text)


@pytest.mark.parametrize(("rule", "one"), each("fires"))
def test_a_fix_is_not_found_wanting_by_the_rule_that_proposes_it(rule: str, one: Case) -> None:
    if RULES[rule].family.value == "lint":
        return
    fixes = [found.fix for found in one.report.findings if found.rule == rule]
    if not one.settings.in_transaction:
        again = replace(one, files=(*one.files[:-1], *fixes)).report
        assert [found for found in again.findings if found.rule == rule] == []


@pytest.mark.parametrize("rule", list(RULES))
def test_a_rule_explains_itself_in_sentences(rule: str) -> None:
    found = RULES[rule]
    for text in (found.summary, found.why, found.safe):
        assert text.endswith(".")
        assert text[0].isupper() or text.split()[0].isalpha()
        assert len(text) < 400
    assert found.on_action or found.on_file or found.family.value == "lint"


def test_a_view_that_may_read_another_table_s_column_is_only_warned_of() -> None:
    files = [Source("1.sql", JOINED), Source("2.sql", "ALTER TABLE stops DROP COLUMN name, DROP COLUMN street")]
    found = [one for one in lint(files).findings if one.rule == "dependents-refuse"]
    assert [(one.severity, one.message) for one in found] == [
        (Severity.WARNING, "PostgreSQL refuses this if view places depends on name of stops"),
        (Severity.ERROR, "PostgreSQL refuses this: view places depends on street of stops"),
    ]


def test_a_write_is_bounded_whatever_its_condition() -> None:
    found = lint([Source("1.sql", "UPDATE t SET a = 'where' WHERE a = 'x' OR b = 'y'")]).findings
    assert [one.fix.splitlines()[-1] for one in found if one.rule == "write-without-key-range"] == [
        "UPDATE t SET a = 'where' WHERE (a = 'x' OR b = 'y') AND id > $1 AND id <= $2;"
    ]


def test_a_contract_is_told_with_what_only_the_guard_can_see() -> None:
    text = "-- hitless: contract split-name\nALTER TABLE t DROP COLUMN name; -- hitless: contracted yesterday\n"
    report = lint([Source("1.sql", text)])
    assert "column-dropped" not in {one.rule for one in report.findings}
    assert [(one.rule, one.reason) for one in report.allowed] == [
        ("column-dropped", "contract of split-name; the guard says whether a version still uses it, when it runs")
    ]


def test_a_table_that_is_known_to_be_small_turns_errors_into_warnings() -> None:
    text = "-- hitless: rows t 900\nCREATE INDEX i ON t (a); CREATE INDEX j ON other (a);"
    findings = lint([Source("1.sql", text)]).findings
    found = [one.severity for one in findings if one.rule == "index-blocks-writes"]
    assert found == [Severity.WARNING, Severity.ERROR]


APP = """
CREATE TABLE app.logs (a int) PARTITION BY RANGE (a);
CREATE TABLE parts.logs_1 PARTITION OF app.logs FOR VALUES FROM (1) TO (2);
CREATE TABLE app.rest PARTITION OF app.logs DEFAULT;
CREATE VIEW v AS SELECT 1 AS a;
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "ALTER TABLE t ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (a) INCLUDE (b) DEFERRABLE",
            [
                "CREATE UNIQUE INDEX CONCURRENTLY u ON t (a) INCLUDE (b) NULLS NOT DISTINCT;",
                "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX u DEFERRABLE;",
            ],
        ),
        (
            "ALTER TABLE t ADD COLUMN a int CONSTRAINT u UNIQUE DEFERRABLE",
            [
                "ALTER TABLE t ADD COLUMN a integer;",
                "CREATE UNIQUE INDEX CONCURRENTLY u ON t (a);",
                "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX u DEFERRABLE;",
            ],
        ),
        (
            "ALTER TABLE app.t ADD COLUMN n serial",
            [
                "ALTER TABLE app.t ADD COLUMN n integer;",
                "CREATE SEQUENCE app.t_n_seq OWNED BY app.t.n;",
                "ALTER TABLE app.t ALTER COLUMN n SET DEFAULT nextval('app.t_n_seq');",
                "-- fill the rows in batches, outside of any migration",
                "ALTER TABLE app.t ADD CONSTRAINT t_n_filled CHECK (n IS NOT NULL) NOT VALID;",
                "-- in a transaction of its own:",
                "ALTER TABLE app.t VALIDATE CONSTRAINT t_n_filled;",
                "-- reads nothing now:",
                "ALTER TABLE app.t ALTER COLUMN n SET NOT NULL;",
                "ALTER TABLE app.t DROP CONSTRAINT t_n_filled;",
            ],
        ),
        (
            "CREATE INDEX i ON app.logs (a)",
            [
                "CREATE INDEX i ON ONLY app.logs (a);",
                "CREATE INDEX CONCURRENTLY logs_1_i ON parts.logs_1 (a);",
                "ALTER INDEX app.i ATTACH PARTITION parts.logs_1_i;",
                "CREATE INDEX CONCURRENTLY rest_i ON app.rest (a);",
                "ALTER INDEX app.i ATTACH PARTITION app.rest_i;",
            ],
        ),
        (
            "ALTER TABLE app.logs DETACH PARTITION parts.logs_1",
            [
                "-- PostgreSQL refuses CONCURRENTLY beside a default part (app.rest); so, until it is had:",
                "SET lock_timeout = '100ms';",
                "ALTER TABLE app.logs DETACH PARTITION parts.logs_1;",
            ],
        ),
        (
            "DELETE FROM orders o USING users WHERE users.id = o.user_id",
            [
                "-- as a job of its own, in ranges of the key that take 50 to 100 ms each:",
                "DELETE FROM orders o USING users WHERE (users.id = o.user_id) AND o.id > $1 AND o.id <= $2;",
            ],
        ),
        (
            "ALTER VIEW v RENAME COLUMN a TO b",
            ["-- leave v as it is, and create another view that has b for new code"],
        ),
    ],
)
def test_a_fix_makes_what_the_statement_would_have_made(text: str, expected: list[str]) -> None:
    schema = catalog_of(Source("schema.sql", APP))
    found = lint([Source("1.sql", text)], catalog=schema).findings
    assert expected in [one.fix.splitlines() for one in found]


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE t ADD COLUMN a int, ADD COLUMN b int",
        "DO $$ BEGIN ALTER TABLE t ADD COLUMN a int; ALTER TABLE t ADD COLUMN b int; END $$",
        "SET lock_timeout = '5s'; ALTER TABLE t ADD COLUMN a int, ADD COLUMN b int;",
    ],
)
def test_a_statement_is_told_once_what_holds_for_several_of_its_parts(text: str) -> None:
    assert len(lint([Source("1.sql", text)]).findings) == 1


def test_rows_without_a_value_are_told_of_once() -> None:
    text = "SET lock_timeout = '1s'; ALTER TABLE t ADD CONSTRAINT c NOT NULL a;"
    rules = [one.rule for one in lint([Source("1.sql", text)], settings=Settings(postgres=18)).findings]
    assert rules == ["not-null-scans", "not-null-may-fail"]


def test_a_condition_may_be_nested_as_deep_as_the_parser_takes_it() -> None:
    deep = "(" * 1_000 + "id = 1" + " AND a) OR b)" * 500
    casts = "id" + "::int" * 2_000 + " = 1"
    joins = " JOIN u ON true".join(["u"] * 2_000)
    for text in (
        f"UPDATE t SET a = 1 WHERE {deep}",
        f"DELETE FROM t WHERE {casts}",
        f"UPDATE t SET a = 1 FROM {joins} WHERE t.id = u.id",
    ):
        lint([Source("1.sql", text)])
