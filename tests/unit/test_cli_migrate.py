"""`hitless migrate lint` and `rules`: what is printed, where, and what scripts see."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from cli_support import Shell, a_shell

from hitless.cli.migrations import natural

UNSAFE = "SET lock_timeout = '100ms';\nCREATE INDEX i ON orders (tier);\n"
WARNED = "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();\n"
SAFE = "CREATE INDEX CONCURRENTLY i ON orders (tier);\n"
FINDING = {
    "file": "1.sql",
    "line": 2,
    "column": 1,
    "rule": "index-blocks-writes",
    "phase": "additive",
    "lock": "SHARE",
    "severity": "error",
    "message": "building the index keeps all writers of orders waiting",
    "fix": "CREATE INDEX CONCURRENTLY i ON orders (tier);",
}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return a_shell(tmp_path, monkeypatch, capsys)


def write(shell: Shell, **files: str) -> None:
    for name, text in files.items():
        (shell.directory / f"{name}.sql").write_text(text)


def test_what_is_safe_exits_with_0(shell: Shell) -> None:
    write(shell, a=SAFE)
    told = shell("migrate", "lint", "a.sql")
    assert (told.code, told.out, told.err) == (0, "1 file, 1 statement: 0 errors, 0 warnings\n", "")


def test_a_finding_names_place_rule_sentence_fix_and_the_next_command(shell: Shell) -> None:
    write(shell, a=UNSAFE)
    told = shell("migrate", "lint", "a.sql")
    assert told.code == 4
    assert told.out.splitlines() == [
        "a.sql:2:1: error index-blocks-writes: building the index keeps all writers of orders waiting",
        "    CREATE INDEX CONCURRENTLY i ON orders (tier);",
        "1 file, 2 statements: 1 error, 0 warnings",
    ]
    assert "hint: hitless explain index-blocks-writes" in told.err


def test_json_has_findings_and_the_classification_of_every_statement(shell: Shell) -> None:
    (shell.directory / "1.sql").write_text(UNSAFE + "SELECT 1;")
    told = shell("migrate", "lint", "1.sql", "--json")
    assert told.code == 4
    assert json.loads(told.out)["schema"] == "hitless.lint/v1"
    assert told.data["findings"] == [FINDING]
    assert [one["locks"] for one in told.data["statements"]] == [
        [],
        [
            {
                "relation": "public.orders",
                "mode": "SHARE",
                "blocks_reads": False,
                "blocks_writes": True,
                "work": "scan",
            }
        ],
        [],
    ]
    assert shell("migrate", "lint", "1.sql", "--format", "json").out == told.out


def test_warnings_refuse_only_strictly(shell: Shell) -> None:
    write(shell, a=WARNED)
    assert shell("migrate", "lint", "a.sql").code == 0
    assert shell("migrate", "lint", "a.sql", "--strict").code == 4


def test_what_cannot_be_read_exits_with_2_and_hides_nothing(shell: Shell) -> None:
    write(shell, a="SELEC 1;", b=UNSAFE)
    told = shell("migrate", "lint", "a.sql", "b.sql", "missing.sql")
    assert told.code == 2
    assert told.out.splitlines()[:3] == [
        "missing.sql:1:1: unreadable: No such file or directory",
        'a.sql:1:1: unreadable: syntax error at or near "SELEC"',
        "b.sql:2:1: error index-blocks-writes: building the index keeps all writers of orders waiting",
    ]


def test_a_folder_is_one_history_in_natural_order(shell: Shell) -> None:
    folder = shell.directory / "migrations"
    folder.mkdir()
    (folder / "10_index.sql").write_text("ALTER TABLE t ALTER COLUMN a SET NOT NULL;")
    (folder / "9_check.sql").write_text("ALTER TABLE t VALIDATE CONSTRAINT c;")
    (folder / "2_check.sql").write_text("ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID;")
    (folder / "2_check.down.sql").write_text("ALTER TABLE t DROP CONSTRAINT c;")
    told = shell("migrate", "lint", "migrations", "--json")
    assert told.code == 0
    assert [Path(name).name for name in told.data["files"]] == ["2_check.sql", "9_check.sql", "10_index.sql"]


def test_a_folder_without_migrations_is_no_clean_one(shell: Shell) -> None:
    (shell.directory / "migrations").mkdir()
    told = shell("migrate", "lint", "migrations")
    assert (told.code, told.out.splitlines()[0]) == (2, "migrations:1:1: unreadable: a folder without any *.sql")


def test_names_sort_as_people_do() -> None:
    assert sorted(["V10", "V2", "V2_1", "a", "1a", "01"], key=natural) == ["01", "1a", "V2", "V2_1", "V10", "a"]


def test_stdin_is_read(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + UNSAFE.encode())))
    told = shell("migrate", "lint", "-", "--json")
    assert (told.code, told.data["findings"][0]["file"]) == (4, "<stdin>")


def test_a_dump_says_what_is_there(shell: Shell) -> None:
    write(shell, schema="CREATE TABLE t (a varchar(10));", a="ALTER TABLE t ALTER COLUMN a TYPE varchar(20);")
    assert shell("migrate", "lint", "a.sql").code == 4
    assert shell("migrate", "lint", "a.sql", "--schema", "schema.sql").code == 0
    assert shell("migrate", "lint", "a.sql", "--schema", "missing.sql").code == 2
    write(shell, schema="CREATE TABEL t ();")
    told = shell("migrate", "lint", "a.sql", "--schema", "schema.sql", "--json")
    assert (told.code, [one["file"] for one in told.data["unread"]]) == (2, ["schema.sql"])


def test_a_comment_allows_with_its_reason(shell: Shell) -> None:
    write(shell, a=f"{UNSAFE.strip()} -- hitless: allow index-blocks-writes: nobody writes at night\n")
    told = shell("migrate", "lint", "a.sql", "--json")
    assert told.code == 0
    assert [one["reason"] for one in told.data["allowed"]] == ["nobody writes at night"]


def test_a_contract_passes_in_a_release_of_its_own(shell: Shell) -> None:
    wait = "SET lock_timeout = '100ms';\n"
    write(
        shell,
        a1=f"{wait}ALTER TABLE users ADD COLUMN first_name text;\n",
        a2=f"{wait}-- hitless: contract split-name\nALTER TABLE users DROP COLUMN name;\n",
    )
    assert shell("migrate", "lint", "a1.sql", "a2.sql").code == 0
    told = shell("migrate", "lint", "a1.sql", "a2.sql", "--one-release", "--json")
    document = json.loads(told.out)["data"]
    assert told.code == 4
    assert [(one["file"], one["line"], one["rule"]) for one in document["findings"]] == [
        ("a2.sql", 3, "expand-and-contract-mixed")
    ]
    assert document["findings"][0]["message"].startswith("a1.sql:2 adds what new code needs")
    assert [one["reason"].split(";")[0] for one in document["allowed"]] == ["contract of split-name"]


def test_sarif_has_what_its_schema_requires(shell: Shell) -> None:
    write(shell, a=UNSAFE, b="SELEC")
    told = shell("migrate", "lint", "a.sql", "b.sql", "--format", "sarif")
    document = json.loads(told.out)
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    known = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(known) == len(set(known))
    assert [(one["ruleId"], one["level"]) for one in run["results"]] == [
        ("unreadable", "error"),
        ("index-blocks-writes", "error"),
    ]
    for result in run["results"]:
        assert result["ruleId"] in known
        assert result["message"]["text"]
        assert result["locations"][0]["physicalLocation"]["region"]["startLine"] >= 1


def test_github_annotations_are_one_line_each(shell: Shell) -> None:
    write(shell, a="SET lock_timeout = 1; ALTER TABLE t ALTER a SET NOT NULL;")
    told = shell("migrate", "lint", "a.sql", "--format", "github")
    first, *others = told.out.splitlines()
    assert first.startswith("::error file=a.sql,line=1,col=23,title=not-null-scans::NOT NULL on a reads every row of t")
    assert "%0A" in first
    assert all(line.startswith(("::error file=", "::warning file=")) for line in others)


@pytest.mark.parametrize(
    "arguments", [[], ["--oops"], ["a.sql", "--enable", "nonsense"], ["a.sql", "--postgres", "9"]], ids=str
)
def test_a_wrong_command_line_exits_with_2(shell: Shell, arguments: list[str]) -> None:
    write(shell, a=SAFE)
    assert shell("migrate", "lint", *arguments).code == 2


def test_rules_are_listed_and_explained(shell: Shell) -> None:
    assert "index-blocks-writes" in shell("migrate", "rules").out
    assert "## The safe way" in shell("migrate", "rules", "index-blocks-writes").out
    assert shell("migrate", "rules", "index-blocks-writes", "--json").data[0]["severity"] == "error"
    assert "## The safe way" in shell("explain", "index-blocks-writes").out
    assert shell("migrate", "rules", "nonsense").code == 2


def test_a_file_that_is_named_twice_is_judged_once(shell: Shell) -> None:
    write(shell, a=UNSAFE)
    told = shell("migrate", "lint", ".", "a.sql", "./a.sql")
    assert told.out.splitlines()[-1] == "1 file, 2 statements: 1 error, 0 warnings"


def test_a_folder_that_is_called_like_a_file_is_no_file(shell: Shell) -> None:
    (shell.directory / "old.sql").mkdir()
    write(shell, a=SAFE)
    assert shell("migrate", "lint", ".").code == 0


def test_the_hint_names_a_rule_that_a_comment_may_allow(shell: Shell) -> None:
    write(shell, a="-- hitless: allow index-blocks-writes\n" + UNSAFE)
    assert "hint: -- hitless: allow index-blocks-writes: REASON" in shell("migrate", "lint", "a.sql").err
