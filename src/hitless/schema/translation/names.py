"""Names, lists and options of the parser's tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from hitless.schema.names import Name
from hitless.schema.parser import Message, pg

CATALOG = "pg_catalog"


def relation(node: pg.RangeVar) -> Name:
    """Read a relation's name."""
    return Name(node.relname, node.schemaname or None)


def words(nodes: Iterable[pg.Node]) -> tuple[str, ...]:
    """Read a list of strings."""
    return tuple(one.string.sval for one in nodes if one.WhichOneof("node") == "string")


def name_of(nodes: Iterable[pg.Node]) -> Name:
    """Read a name that is written as a list: `schema.name`, with the database before it at most."""
    parts = words(nodes)
    return Name(parts[-1], parts[-2] if len(parts) > 1 else None) if parts else Name("")


def called(nodes: Iterable[pg.Node]) -> Name:
    """Read a function's or a type's name; PostgreSQL's own schema is left out."""
    found = name_of(nodes)
    return Name(found.name) if found.schema == CATALOG else found


def object_name(node: pg.Node) -> Name:
    """Read what DROP, RENAME and COMMENT name: a list, a string, a type, or a function with its arguments."""
    match node.WhichOneof("node"):
        case "list":
            return name_of(node.list.items)
        case "string":
            return Name(node.string.sval)
        case "type_name":
            return called(node.type_name.names)
        case "object_with_args":
            return name_of(node.object_with_args.objname)
        case "range_var":
            return relation(node.range_var)
    return Name("")


def options(nodes: Iterable[pg.Node]) -> Iterator[pg.DefElem]:
    """Read a list of options."""
    return (one.def_elem for one in nodes if one.WhichOneof("node") == "def_elem")


def flag(nodes: Iterable[pg.Node], name: str) -> bool:
    """Tell whether an option is on: written without a value, or with one that means yes."""
    for option in options(nodes):
        if option.defname.lower() == name:
            return value_text(option.arg).lower() not in {"false", "off", "0", "no"}
    return False


def value_text(node: pg.Node) -> str:
    """Read an option's value as text; the empty text where there is none."""
    read = _VALUES.get(node.WhichOneof("node"))
    return str(read(node)) if read else ""


def constant_text(node: pg.A_Const) -> str:
    """Read a constant as text."""
    read = _CONSTANTS.get(node.WhichOneof("val"))
    return str(read(node)) if read else ""


_VALUES: Mapping[str, Callable[[pg.Node], Any]] = {
    "string": lambda node: node.string.sval,
    "integer": lambda node: node.integer.ival,
    "float": lambda node: node.float.fval,
    "boolean": lambda node: str(node.boolean.boolval).lower(),
    "type_name": lambda node: called(node.type_name.names).name,
    "a_const": lambda node: constant_text(node.a_const),
}
_CONSTANTS: Mapping[str, Callable[[pg.A_Const], Any]] = {
    "sval": lambda node: node.sval.sval,
    "ival": lambda node: node.ival.ival,
    "fval": lambda node: node.fval.fval,
    "boolval": lambda node: str(node.boolval.boolval).lower(),
}


def whole(message: Message) -> Iterator[Message]:
    """Return a node and all nodes below it, without recursion: trees of users go deep."""
    stack = [message]
    while stack:
        one = stack.pop()
        yield one
        for descriptor, value in one.ListFields():
            if descriptor.message_type is None:
                continue
            stack.extend((value,) if isinstance(value, Message) else value)


def relations_in(message: Message) -> tuple[Name, ...]:
    """Return the tables that a query names, each once, without its own WITH queries."""
    names: dict[Name, None] = {}
    own: set[Name] = set()
    for one in whole(message):
        match one:
            case pg.RangeVar():
                names[relation(one)] = None
            case pg.CommonTableExpr():
                own.add(Name(one.ctename))
    return tuple(sorted((name for name in names if name not in own), key=str))
