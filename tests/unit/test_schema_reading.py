"""Files are cut and read as psql and the server would, whatever wrote them."""

from __future__ import annotations

import pytest

from hitless.schema.actions.data import Block
from hitless.schema.parser import DEEPEST, SyntaxProblemError, parse_statement
from hitless.schema.reading.cutting import cut
from hitless.schema.reading.script import LONGEST, Read, Unreadable, read_script
from hitless.schema.reading.source import decode
from hitless.schema.translation.statements import actions_of


def texts(script: str) -> list[str]:
    return [one.text for one in cut(script)]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", []),
        (";;  ;", []),
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';', \";\", $$;$$, $a$ $$;$$ $a$, E'\\';', 'it''s;'; X", None),
        ("SELECT (1; 2); SELECT 3", ["SELECT (1; 2)", "SELECT 3"]),
        ("SELECT 1 -- one;\n;/* two; /* three; */ */ SELECT 2;", ["SELECT 1 -- one;", "SELECT 2"]),
        ("\\connect shop\nSELECT 1;\n\\restrict abc", ["SELECT 1"]),
        ("SELECT 1 \\gexec\nSELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT 1\n\\echo hi\n, 2;", ["SELECT 1\n        \n, 2"]),
        ("COPY t FROM stdin;\n1\t;'\"\n\\.\nSELECT 2;", ["COPY t FROM stdin", "SELECT 2"]),
        ("COPY t FROM stdin;\r\n1\r\n\\.\r\nSELECT 2;\r\n", ["COPY t FROM stdin", "SELECT 2"]),
        ("COPY t FROM stdin;\n1\n", ["COPY t FROM stdin"]),
        (
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC "
                "SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3;"
            ),
            None,
        ),
        ("BEGIN; SELECT 1; END; SELECT 2;", ["BEGIN", "SELECT 1", "END", "SELECT 2"]),
        ("SELECT 'open; SELECT 2;", ["SELECT 'open; SELECT 2;"]),
        ("SELECT a$b; SELECT $1; SELECT $2;", ["SELECT a$b", "SELECT $1", "SELECT $2"]),
    ],
)
def test_a_script_is_cut_at_the_semicolons_that_end_statements(script: str, expected: list[str] | None) -> None:
    found = texts(script)
    assert found == expected if expected is not None else len(found) == 2


def test_comments_stay_with_the_statement_behind_them() -> None:
    first, second, rest = cut("-- a\n/* b */ SELECT 1; -- c\nSELECT /* d */ 2;\n-- e")
    assert [one.text for one in first.comments] == ["a", "b"]
    assert [one.text for one in second.comments] == ["c", "d"]
    assert (rest.text, [one.text for one in rest.comments]) == ("", ["e"])


@pytest.mark.parametrize(
    ("content", "text", "foreign"),
    [
        (b"SELECT 1", "SELECT 1", None),
        (b"\xef\xbb\xbfSELECT 1", "SELECT 1", None),
        ("\ufeffSELECT 'é'".encode("utf-16-le"), "SELECT 'é'", None),
        ("SELECT 'é'".encode(), "SELECT 'é'", None),
        ("SELECT 'é'".encode("latin-1"), "SELECT 'é'", "latin-1"),
        ("SET client_encoding = 'WIN1251'; -- ж".encode("cp1251"), "SET client_encoding = 'WIN1251'; -- ж", None),
        (b"", "", None),
    ],
)
def test_bytes_are_read_in_the_encoding_that_they_are_in(content: bytes, text: str, foreign: str | None) -> None:
    found = decode("a.sql", content)
    assert (found.text, found.foreign) == (text, foreign)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("SELECT 1;\n\nSELEC 2;", (3, 1), 'at or near "SELEC"'),
        ("SELECT 'é',\n  'ü' FROMM x y;", (2, 13), 'at or near "x"'),
        ("CREATE TABLE t (\n  a int,\n);", (3, 1), 'at or near ")"'),
        ("SELECT 'open", (1, 8), "unterminated"),
        ("SELECT \0 1", (1, 8), "NUL"),
        ("<html>", (1, 1), "syntax error"),
        ("SELECT " + "1 + " * (DEEPEST + 10) + "1", (1, 1), "too deep"),
        ("SELECT '" + "x" * LONGEST + "'", (1, 1), "at most"),
    ],
)
def test_what_is_no_sql_is_told_with_its_place(text: str, place: tuple[int, int], words: str) -> None:
    *_, found = [one for one in read_script(text) if isinstance(one, Unreadable)]
    assert (found.line, found.column) == place
    assert words in found.message


def test_one_broken_statement_hides_none_behind_it() -> None:
    kinds = [type(one) for one in read_script("SELEC 1; SELECT 2; DROP; SELECT 3;")]
    assert kinds == [Unreadable, Read, Unreadable, Read]


def test_a_chain_of_a_hundred_operators_is_no_trouble() -> None:
    text = "SELECT " + " || ".join(f"a{number}" for number in range(100))
    assert len(parse_statement(text)) == 1


def test_a_chain_that_would_end_the_process_is_refused() -> None:
    for link in (" + 1", "::int", " UNION SELECT 1", " AND 1 = 1 IS NULL", " COLLATE c"):
        with pytest.raises(SyntaxProblemError, match="too deep"):
            parse_statement("SELECT 1" + link * 40_000)


def test_a_long_insert_is_read_without_its_rows() -> None:
    rows = ", ".join(f"({number}, 'row')" for number in range(80_000))
    (found,) = read_script(f"INSERT INTO t (a, b) VALUES {rows};")
    assert isinstance(found, Read)
    assert found.statement.text.startswith("INSERT INTO t")


@pytest.mark.parametrize("text", ["SELECT :'name'", 'DROP TABLE :"name"', "CREATE TABLE :schema.t (a int)"])
def test_variables_of_psql_stand_for_anything(text: str) -> None:
    (found,) = read_script(text)
    assert isinstance(found, Read)


def test_every_kind_of_statement_has_actions() -> None:
    for text in (
        "LISTEN x",
        "CREATE CAST (a AS b) WITHOUT FUNCTION",
        "CHECKPOINT",
        "SHOW all",
        "ALTER SYSTEM SET a = 1",
    ):
        assert len(actions_of(text)) == 1


@pytest.mark.parametrize(
    ("body", "kinds", "is_dynamic"),
    [
        ("BEGIN ALTER TABLE t ADD a integer; DROP TABLE u; END", ["AddColumn", "Drop"], False),
        ("BEGIN IF x THEN -- now\n DROP TABLE u; ELSE DROP TABLE v; END IF; END", ["Drop", "Drop"], False),
        ("BEGIN FOR r IN SELECT 1 LOOP UPDATE t SET a = 1; END LOOP; END", ["Write"], False),
        ("BEGIN EXECUTE 'DROP TABLE u'; END", ["Drop"], False),
        ("BEGIN EXECUTE $q$DROP TABLE u$q$; END", ["Drop"], False),
        ("BEGIN EXECUTE $$DROP TABLE $$ || name; END", [], True),
        ("BEGIN WITH d AS (DELETE FROM t RETURNING 1) SELECT count(*) INTO n FROM d; END", ["Write"], False),
        ("BEGIN DELETE FROM t RETURNING a, b INTO STRICT x, r.y; END", ["Write"], False),
        ("BEGIN WITH d AS (DELETE FROM t RETURNING a) INSERT INTO u SELECT a FROM d; END", ["Write", "Write"], False),
        ("BEGIN EXECUTE 'DROP TABLE ' || name; END", [], True),
        ("BEGIN EXECUTE format('DROP TABLE %I', name); END", [], True),
        ("BEGIN PERFORM 1; x := 2; RAISE NOTICE 'drop table u'; END", [], False),
        ("DECLARE a int; BEGIN UPDATE t SET a = b WHERE c > %; END", [], False),
        ("", [], False),
    ],
)
def test_statements_in_a_do_block_are_read(body: str, kinds: list[str], *, is_dynamic: bool) -> None:
    (found,) = actions_of(f"DO $do$ {body} $do$")
    assert isinstance(found, Block)
    assert [type(one).__name__ for one in found.actions] == kinds
    assert found.is_dynamic == is_dynamic
