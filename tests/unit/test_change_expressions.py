"""Expressions of users: read as PostgreSQL reads them, and written over other columns."""

from __future__ import annotations

import pytest

from hitless.schema.change.expressions import BadExpressionError, column_of, read_expression, read_type

OVER_NEW = {
    "split_part(full_name, ' ', 1)": "split_part(new.full_name, ' ', 1)",
    'lower("Weird Col") || users.b': 'lower(new."Weird Col") || new.b',
    "a::varchar(20)": "new.a::varchar(20)",
    "CASE WHEN a IS NULL THEN 1 ELSE n + 2 END": "CASE WHEN new.a IS NULL THEN 1 ELSE new.n + 2 END",
    "(a).street": "(new.a).street",
    "x AT TIME ZONE 'UTC'": "new.x AT TIME ZONE 'UTC'",
    "a[1] || 'new.a'": "new.a[1] || 'new.a'",
    "coalesce(nullif(a, ''), b) -- a comment": "COALESCE(NULLIF(new.a, ''), new.b)",
    "extract(year FROM a) + -b": "extract ('year' FROM new.a) + (- new.b)",
}


@pytest.mark.parametrize("text", OVER_NEW)
def test_columns_become_those_of_a_triggers_row(text: str) -> None:
    assert read_expression(text).of("NEW") == OVER_NEW[text]


def test_columns_are_renamed_all_at_once() -> None:
    assert read_expression("a || b").renamed({"a": "b", "b": "a"}).text == "b || a"


def test_expressions_stand_in_the_place_of_columns_with_parentheses_where_they_are_needed() -> None:
    inner = {"a": read_expression("x + y"), "b": column_of("Z")}
    assert read_expression("a * 2 - b").over(inner).text == '((x + y) * 2) - "Z"'


def test_what_binds_weaker_than_a_comparison_stands_in_parentheses() -> None:
    assert read_expression("a OR b").operand("NEW") == "(new.a OR new.b)"
    assert read_expression("a IS NULL").operand() == "(a IS NULL)"
    assert read_expression("f(a)").operand() == "f(a)"


def test_what_is_computed_once_may_vary() -> None:
    assert read_expression("gen_random_uuid()", may_vary=True).text == "gen_random_uuid()"
    with pytest.raises(BadExpressionError, match="gives another value"):
        read_expression("gen_random_uuid()")


@pytest.mark.parametrize(
    "text",
    ["a, b", "(SELECT 1)", "a FROM b", "1; DROP TABLE x", "count(*)", "sum(a) OVER ()", "$1", "*", "", "a +", ") + ("],
)
def test_what_is_more_or_less_than_an_expression_of_a_row_is_refused(text: str) -> None:
    with pytest.raises(BadExpressionError):
        read_expression(text)


def test_the_place_of_a_mistake_counts_from_the_begin_of_the_expression() -> None:
    with pytest.raises(BadExpressionError) as found:
        read_expression("a FROM b")
    assert found.value.offset == 2


@pytest.mark.parametrize("text", ["1", "int; x", "int, x", "", "a b c"])
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(BadExpressionError):
        read_type(text)


def test_types_are_read_as_sql_names_them() -> None:
    assert str(read_type("int8")) == "bigint"
    assert str(read_type("numeric(10,2)")) == "numeric(10, 2)"
    assert str(read_type('app."Mood"[]')) == "app.Mood[]"
