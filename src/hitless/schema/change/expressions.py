"""Expressions over the columns of one row, as users write them: read, checked, and written over other columns.

Rules. They stand in the WHEN clause of triggers and are computed again and again, so they may read the row and nothing
else, and must give the same whenever they are asked: no subquery, no aggregate, no parameter, nothing volatile, no
clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from hitless.schema.actions.values import Expression, SqlType
from hitless.schema.effects.volatility import VOLATILE
from hitless.schema.parser import SyntaxProblemError, expression_text, parse_statement, pg
from hitless.schema.translation.expressions import expression, sql_type
from hitless.schema.translation.names import whole

_PREFIX = "SELECT (\n"
CLOCKS = frozenset(
    """
    now current_date current_time current_timestamp localtime localtimestamp transaction_timestamp statement_timestamp
    current_user session_user current_role current_setting
    """.split()
)
_AGGREGATES = frozenset("count sum avg min max array_agg string_agg json_agg jsonb_agg bool_and bool_or every".split())
_COMPOUND = frozenset(("bool_expr", "null_test", "boolean_test", "a_expr"))
_NEVER = {pg.SubLink: "a subquery", pg.ParamRef: "a parameter", pg.SetToDefault: "DEFAULT", pg.GroupingFunc: "GROUPING"}


class BadExpressionError(ValueError):
    """An expression that cannot be used; `offset` counts characters from its begin, None = all of it."""

    def __init__(self, message: str, hint: str | None = None, *, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.offset = offset


@dataclass(frozen=True, slots=True, kw_only=True)
class RowExpression:
    """An expression over columns of a row.

    Attributes:
        text: written as PostgreSQL's parser writes it.
        columns: that it reads.
        is_compound: its last operator may bind weaker than what stands beside it.
        read: the same as the lint has it, with functions and types.
    """

    text: str
    columns: frozenset[str]
    is_compound: bool = False
    read: Expression = field(compare=False)

    def operand(self, row: str = "") -> str:
        """Write it as one side of a comparison, over a trigger's row or columns as they are."""
        text = self.of(row) if row else self.text
        return f"({text})" if self.is_compound else text

    def of(self, row: str) -> str:
        """Write it over the row that a trigger calls OLD or NEW."""
        return _rewritten(self.text, lambda column: _column(row.lower(), column))

    def renamed(self, names: Mapping[str, str]) -> RowExpression:
        """Return it over columns of other names."""
        return _unchecked(_rewritten(self.text, lambda column: _column(names.get(column, column))))

    def over(self, others: Mapping[str, RowExpression]) -> RowExpression:
        """Return it over expressions in the place of columns."""
        nodes = {name: _parsed(one.text) for name, one in others.items()}
        return _unchecked(_rewritten(self.text, lambda column: nodes.get(column) or _column(column)))

    def cast(self, to: str) -> RowExpression:
        """Return it as a type."""
        return _unchecked(f"({self.text})::{to}")


def column_of(name: str) -> RowExpression:
    """Return the expression that is a column."""
    node = _column(name)
    return RowExpression(text=expression_text(node), columns=frozenset({name}), read=expression(node))


def read_expression(text: str, *, may_vary: bool = False) -> RowExpression:
    """Read an expression.

    Args:
        text: as the user wrote it.
        may_vary: it is computed once a row, so it may be volatile.

    Raises:
        BadExpressionError: it is none, or reads more than its row.
    """
    node = _parsed(text)
    _check(node, may_vary=may_vary)
    return _unchecked(_rewritten_node(node, _column))


def read_trusted(text: str) -> RowExpression:
    """Read an expression that is in the schema already: PostgreSQL has taken it."""
    return _unchecked(text)


def read_type(text: str) -> SqlType:
    """Read a type.

    Raises:
        BadExpressionError: it is none.
    """
    try:
        statement = parse_statement(f"SELECT NULL::{text}")
    except SyntaxProblemError as problem:
        raise BadExpressionError(f"{text!r} is no type: {problem.message}") from None
    nodes = statement[0].select_stmt.target_list if len(statement) == 1 else []
    value = nodes[0].res_target.val if len(nodes) == 1 else pg.Node()
    if value.WhichOneof("node") != "type_cast" or value.type_cast.arg.WhichOneof("node") != "a_const":
        raise BadExpressionError(f"{text!r} is no type")
    return sql_type(value.type_cast.type_name)


def casts_in(one: RowExpression) -> Iterator[tuple[str, SqlType]]:
    """Return each column that an expression casts as it is, and the type."""
    for node in whole(_parsed(one.text)):
        if isinstance(node, pg.TypeCast) and node.arg.WhichOneof("node") == "column_ref":
            yield node.arg.column_ref.fields[-1].string.sval, sql_type(node.type_name)


def _unchecked(text: str) -> RowExpression:
    node = _parsed(text)
    read = expression(node)
    compound = node.WhichOneof("node") in _COMPOUND
    return RowExpression(text=expression_text(node), columns=read.columns, is_compound=compound, read=read)


def _parsed(text: str) -> pg.Node:
    """Parse; the line break keeps a comment at the end from hiding the parenthesis."""
    try:
        statements = parse_statement(f"{_PREFIX}{text}\n)")
    except SyntaxProblemError as problem:
        at = min(max(problem.offset - len(_PREFIX), 0), len(text))
        raise BadExpressionError(f"this is no SQL expression: {problem.message}", offset=at) from None
    select = statements[0].select_stmt if len(statements) == 1 else pg.SelectStmt()
    is_plain = len(select.target_list) == 1 and not (select.from_clause or select.HasField("where_clause"))
    if not is_plain or select.op != pg.SETOP_NONE:
        raise BadExpressionError("this is more than one expression")
    value = select.target_list[0].res_target.val
    if value.WhichOneof("node") == "row_expr":
        raise BadExpressionError("this is several expressions", "one column, one expression")
    return value


def _check(node: pg.Node, *, may_vary: bool) -> None:
    for one in whole(node):
        never = _NEVER.get(type(one))
        if never:
            raise BadExpressionError(f"{never} cannot stand here: it reads more than the row")
        if isinstance(one, pg.ColumnRef) and one.fields[-1].WhichOneof("node") != "string":
            raise BadExpressionError("`*` cannot stand here", "name the columns")
        if isinstance(one, pg.FuncCall) and (one.HasField("over") or one.agg_star or one.agg_order):
            raise BadExpressionError("an aggregate cannot stand here: it reads more than the row")
    names = {one.name for one in expression(node).functions}
    if found := sorted(names & _AGGREGATES):
        raise BadExpressionError(f"{found[0]}() cannot stand here: it reads more than the row")
    if not may_vary and (found := sorted(names & (VOLATILE | CLOCKS))):
        hint = "it is computed again whenever the row is written, and must give the same"
        raise BadExpressionError(f"{found[0]} gives another value each time", hint)


def _column(*parts: str) -> pg.Node:
    return pg.Node(column_ref=pg.ColumnRef(fields=[pg.Node(string=pg.String(sval=one)) for one in parts]))


def _rewritten(text: str, replace: Callable[[str], pg.Node]) -> str:
    return _rewritten_node(_parsed(text), replace)


def _rewritten_node(node: pg.Node, replace: Callable[[str], pg.Node]) -> str:
    """Write with another node in the place of each column; what stands before a column's name is left out."""
    places = [one for one in whole(node) if isinstance(one, pg.Node) and one.WhichOneof("node") == "column_ref"]
    for one in places:  # all were found before the first is replaced: what is put in is not looked at
        one.CopyFrom(replace(one.column_ref.fields[-1].string.sval))
    return expression_text(node)
