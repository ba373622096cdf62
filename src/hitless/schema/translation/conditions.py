"""What the condition of an UPDATE or DELETE says of how many rows it takes.

Theory. `id = 7`, `id IN (...)`, `id BETWEEN a AND b` and `id <= 1000` hold a key to values; `id > 0` alone, `id = id`
and `id % 10 = 0` do not; `users.id = orders.user_id` takes as many rows as the other table has. What stands in an
EXISTS or under NOT holds nothing. Of AND one side is enough, of OR every side must hold the column.

A column that belongs to no table of the statement is a variable of a program, and a table that is a WITH query or a
list of VALUES is a batch that somebody has made: both are values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hitless.schema.parser import pg
from hitless.schema.translation.expressions import constant
from hitless.schema.translation.names import whole, words

_HOLDING = {"=", "<", "<="}
_TURNED = {"=", ">", ">="}
_RANGES = {pg.AEXPR_BETWEEN, pg.AEXPR_BETWEEN_SYM, pg.AEXPR_IN, pg.AEXPR_OP_ANY, pg.AEXPR_OP, pg.AEXPR_NOT_DISTINCT}
_NEGATED = {"<>", "!="}


@dataclass(frozen=True, slots=True)
class Held:
    """Columns that a condition holds: to values, and to columns of other tables."""

    pinned: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()

    def __or__(self, other: Held) -> Held:
        """Both conditions are met."""
        return Held(self.pinned | other.pinned, self.joined | other.joined)

    def __and__(self, other: Held) -> Held:
        """One of the two is met; what the one pins and the other joins is joined."""
        both = (self.pinned | self.joined) & (other.pinned | other.joined)
        return Held(self.pinned & other.pinned, both - (self.pinned & other.pinned))


@dataclass(frozen=True, slots=True)
class Tables:
    """The table of a statement, and those of its FROM or USING, as its condition calls them."""

    own: str
    others: frozenset[str]

    @classmethod
    def of(cls, node: pg.UpdateStmt | pg.DeleteStmt) -> Tables:
        """Read the names; WITH queries and lists of VALUES are left out."""
        queries = {one.common_table_expr.ctename for one in node.with_clause.ctes}
        items = node.from_clause if isinstance(node, pg.UpdateStmt) else node.using_clause
        others = (name for item in items for name in _called(item, queries))
        return cls(node.relation.alias.aliasname or node.relation.relname, frozenset(others))


def _called(item: pg.Node, queries: set[str]) -> Iterator[str]:
    items = [item]
    while items:
        one = items.pop()
        match one.WhichOneof("node"):
            case "range_var":
                table = one.range_var
                if table.schemaname or table.relname not in queries:
                    yield table.alias.aliasname or table.relname
            case "range_subselect" if not one.range_subselect.subquery.select_stmt.values_lists:
                yield one.range_subselect.alias.aliasname
            case "join_expr":
                items += [one.join_expr.larg, one.join_expr.rarg]


DEEPEST = 100
"""Levels of AND in OR in AND: what stands deeper is taken to hold nothing, so that no text ends the process."""


def held_columns(node: pg.Node, tables: Tables, depth: int = 0) -> Held:
    """Return the columns that a condition holds."""
    if depth > DEEPEST:
        return Held()
    match node.WhichOneof("node"):
        case "current_of_expr":
            return Held(frozenset({"ctid"}))
        case "bool_expr" if node.bool_expr.boolop != pg.NOT_EXPR:
            arms = [held_columns(one, tables, depth + 1) for one in node.bool_expr.args]
            found = arms[0]
            for arm in arms[1:]:
                found = found | arm if node.bool_expr.boolop == pg.AND_EXPR else found & arm
            return found
        case "sub_link" if node.sub_link.sub_link_type == pg.ANY_SUBLINK:
            return Held(_columns(node.sub_link.testexpr, tables))
        case "a_expr":
            return _compared(node.a_expr, tables)
    return Held()


def _compared(node: pg.A_Expr, tables: Tables) -> Held:
    operator = (words(node.name) or ("=",))[-1]
    if node.kind not in _RANGES or operator in _NEGATED:
        return Held()
    is_plain = node.kind in {pg.AEXPR_OP, pg.AEXPR_OP_ANY}
    left = _columns(node.lexpr, tables) if not is_plain or operator in _HOLDING else frozenset()
    right = _columns(node.rexpr, tables) if is_plain and operator in _TURNED else frozenset()
    both = left & right
    held = (left | right) - both
    is_joined = _reads_others(node.lexpr, tables) or _reads_others(node.rexpr, tables)
    return Held(joined=held) if is_joined else Held(pinned=held)


def _columns(node: pg.Node, tables: Tables) -> frozenset[str]:
    """Return a column, or those of a row of columns, that are the table's own."""
    match node.WhichOneof("node"):
        case "row_expr":
            return frozenset(name for one in node.row_expr.args for name in _column(one, tables))
    return _column(node, tables)


def _column(node: pg.Node, tables: Tables) -> frozenset[str]:
    """Return a column of the table's own, cast or not."""
    while node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    match node.WhichOneof("node"):
        case "column_ref":
            fields = words(node.column_ref.fields)
            is_own = len(fields) == 1 or fields[-2:-1] == (tables.own,)
            return frozenset(fields[-1:]) if is_own else frozenset()
    return frozenset()


def _reads_others(node: pg.Node, tables: Tables) -> bool:
    references = (words(one.fields) for one in whole(node) if isinstance(one, pg.ColumnRef))
    return any(len(fields) > 1 and fields[-2] in tables.others for fields in references)


def is_always(node: pg.Node) -> bool:
    """Tell whether every row meets a condition: `true`, `1 = 1`."""
    match node.WhichOneof("node"):
        case "a_const":
            return bool(node.a_const.boolval.boolval)
        case "type_cast":
            return node.type_cast.arg.a_const.sval.sval.lower() in {"t", "true"}
        case "a_expr" if words(node.a_expr.name) == ("=",):
            sides = (node.a_expr.lexpr, node.a_expr.rexpr)
            are_constant = all(one.WhichOneof("node") == "a_const" and not one.a_const.isnull for one in sides)
            return are_constant and constant(sides[0]) == constant(sides[1])
    return False
