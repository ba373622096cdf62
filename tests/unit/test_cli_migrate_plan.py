"""`hitless migrate plan`: SQL on stdout, mistakes with their places, and what scripts see."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_support import Shell, a_shell

from hitless.schema.reading.script import Unreadable, read_script

CHANGE = "change: mail\ntable: users\nrename: {email: mail}\n"
SCHEMA = "CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL);\nCREATE INDEX by_email ON users (email);\n"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return a_shell(tmp_path, monkeypatch, capsys)


def write(shell: Shell, name: str, text: str) -> None:
    (shell.directory / name).write_text(text)


def test_it_prints_sql_without_a_server(shell: Shell) -> None:
    write(shell, "mail.yaml", CHANGE)
    told = shell("migrate", "plan", "mail.yaml")
    assert (told.code, told.err) == (0, "")
    assert [one for one in read_script(told.out) if isinstance(one, Unreadable)] == []
    assert "-- note: the type of mail is asked of the server when the step runs" in told.out


def test_a_schema_tells_what_must_be_carried_over(shell: Shell) -> None:
    write(shell, "mail.yaml", CHANGE)
    write(shell, "schema.sql", SCHEMA)
    told = shell("migrate", "plan", "mail.yaml", "--schema", "schema.sql")
    assert told.code == 0
    assert "CREATE INDEX CONCURRENTLY by_mail ON public.users USING btree (mail);" in told.out
    assert "ALTER TABLE public.users ALTER COLUMN mail SET NOT NULL;" in told.out
    assert "-- note:" not in told.out


def test_programs_get_steps_with_locks_and_checks(shell: Shell) -> None:
    write(shell, "mail.yaml", CHANGE)
    write(shell, "schema.sql", SCHEMA)
    told = shell("migrate", "plan", "mail.yaml", "--schema", "schema.sql", "--postgres", "18", "--json")
    assert (told.code, told.documents[0]["schema"]) == (0, "hitless.migration-plan/v1")
    assert told.data["postgres"] == 18
    (plan,) = told.data["plans"]
    assert plan["change"] == "mail"
    assert plan["removals"] == [{"table": "public.users", "columns": ["email"]}]
    assert [one["kind"] for one in plan["steps"]][:3] == ["ddl", "fill", "compare"]
    assert plan["steps"][0]["locks"] == [{"relation": "public.users", "mode": "ACCESS EXCLUSIVE", "work": "none"}]


def test_several_changes_are_planned_in_the_order_in_which_they_are_named(shell: Shell) -> None:
    write(shell, "a.yaml", CHANGE)
    write(shell, "b.yaml", "change: gone\ntable: users\ndrop: [bio]\n")
    told = shell("migrate", "plan", "b.yaml", "a.yaml", "--json")
    assert [one["change"] for one in told.data["plans"]] == ["gone", "mail"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("change: mail\ntable: users\nrenam: {email: mail}\n", "mail.yaml:3:1"),
        ("change: mail\ntable: users\nsplit: {from: a, into: {b: now()}, inverse: b}\n", "mail.yaml:3:28"),
    ],
)
def test_a_wrong_file_exits_2_with_its_place(shell: Shell, text: str, place: str) -> None:
    write(shell, "mail.yaml", text)
    told = shell("migrate", "plan", "mail.yaml")
    assert (told.code, told.out) == (2, "")
    assert place in told.err


def test_what_cannot_be_planned_exits_4_with_the_remedy(shell: Shell) -> None:
    write(shell, "mail.yaml", "change: mail\ntable: users\nprimary_key: {id: bigint}\n")
    told = shell("migrate", "plan", "mail.yaml")
    assert (told.code, told.out) == (4, "")
    assert "--schema dump.sql" in told.err
    assert shell("migrate", "plan", "mail.yaml", "--json").code == 4


@pytest.mark.parametrize(
    "arguments",
    [(), ("none.yaml",), ("mail.yaml", "--schema", "none.sql"), ("mail.yaml", "--schema", "a", "--database", "b")],
)
def test_what_is_named_wrongly_exits_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    write(shell, "mail.yaml", CHANGE)
    told = shell("migrate", "plan", *arguments)
    assert (told.code, told.out) == (2, "")
    assert told.err


def test_what_of_a_dump_cannot_be_read_is_said_beside_the_plan(shell: Shell) -> None:
    write(shell, "mail.yaml", CHANGE)
    write(shell, "schema.sql", SCHEMA + "CREATE TABEL x;\n")
    told = shell("migrate", "plan", "mail.yaml", "--schema", "schema.sql")
    assert told.code == 0
    assert "schema.sql:3:8: cannot be read, and is left out" in told.err
