"""Types and expressions of the parser's tree."""

from __future__ import annotations

from hitless.schema.actions.values import Expression, SqlType
from hitless.schema.names import Name
from hitless.schema.parser import expression_text, pg
from hitless.schema.translation.names import called, constant_text, whole

SQL_NAMES = {
    "int2": "smallint",
    "int4": "integer",
    "int": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "bpchar": "character",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
    "varbit": "bit varying",
    "serial4": "serial",
    "serial8": "bigserial",
    "serial2": "smallserial",
}
"""PostgreSQL's own names of types, and SQL's; `varchar` stays, being what people write."""

_STAMPS = {
    pg.SVFOP_CURRENT_DATE: "current_date",
    pg.SVFOP_CURRENT_USER: "current_user",
    pg.SVFOP_SESSION_USER: "session_user",
}


def sql_type(node: pg.TypeName) -> SqlType:
    """Read a type."""
    name = called(node.names)
    arguments = tuple(
        one.a_const.ival.ival
        for one in node.typmods
        if one.WhichOneof("node") == "a_const" and one.a_const.WhichOneof("val") == "ival"
    )
    plain = SQL_NAMES.get(name.name, name.name) if name.schema is None else name.name
    if plain == "interval" or (plain == "character" and arguments == (1,)):
        arguments = () if plain == "interval" else arguments  # an interval's are fields, written in words
    return SqlType(name=plain, schema=name.schema, arguments=arguments, is_array=bool(node.array_bounds))


def expression(node: pg.Node) -> Expression:
    """Read an expression."""
    columns: set[str] = set()
    functions: set[Name] = set()
    types: set[Name] = set()
    for one in whole(node):
        match one:
            case pg.ColumnRef():
                columns.add(_last_field(one))
            case pg.FuncCall():
                found = called(one.funcname)
                functions.add(Name(found.name.lower(), found.schema))
            case pg.SQLValueFunction():
                functions.add(Name(_STAMPS.get(one.op, "now")))  # CURRENT_TIMESTAMP and its kin are now()
            case pg.TypeName():
                types.add(called(one.names))
    return Expression(
        text=expression_text(node),
        columns=frozenset(columns),
        functions=frozenset(functions),
        types=frozenset(types),
        not_null=frozenset(_not_null(node)),
        is_constant=not columns and not functions and not _reads_tables(node),
        is_null=_is_null(node),
    )


def _reads_tables(node: pg.Node) -> bool:
    return any(isinstance(one, pg.SubLink) for one in whole(node))


def _last_field(node: pg.ColumnRef) -> str:
    last = node.fields[-1]
    return last.string.sval if last.WhichOneof("node") == "string" else "*"


def _is_null(node: pg.Node) -> bool:
    while node.WhichOneof("node") == "type_cast":
        node = node.type_cast.arg
    return bool(node.WhichOneof("node") == "a_const" and node.a_const.isnull)


def _not_null(node: pg.Node) -> set[str]:
    """Find the columns that a CHECK proves to be not NULL: `c IS NOT NULL`, alone or joined by AND.

    That is what SET NOT NULL looks for (NotNullImpliedByRelConstraints of tablecmds.c). A comparison proves nothing: a
    CHECK lets NULL pass.
    """
    found: set[str] = set()
    conjuncts = [node]
    while conjuncts:
        one = conjuncts.pop()
        match one.WhichOneof("node"):
            case "bool_expr" if one.bool_expr.boolop == pg.AND_EXPR:
                conjuncts.extend(one.bool_expr.args)
            case "null_test" if one.null_test.nulltesttype == pg.IS_NOT_NULL:
                if one.null_test.arg.WhichOneof("node") == "column_ref":
                    found.add(_last_field(one.null_test.arg.column_ref))
    return found


def constant(node: pg.Node) -> str:
    """Read a constant as text; the empty text where it is none."""
    return constant_text(node.a_const) if node.WhichOneof("node") == "a_const" else ""
