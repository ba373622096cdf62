"""Columns and constraints of the parser's tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hitless.schema.actions.values import Bound, Column, Constraint, ConstraintKind, Generated, Identity
from hitless.schema.parser import expression_text, pg
from hitless.schema.translation.expressions import expression, sql_type
from hitless.schema.translation.names import name_of, relation, words

_KINDS: Mapping[int, ConstraintKind] = {
    pg.CONSTR_CHECK: ConstraintKind.CHECK,
    pg.CONSTR_FOREIGN: ConstraintKind.FOREIGN_KEY,
    pg.CONSTR_UNIQUE: ConstraintKind.UNIQUE,
    pg.CONSTR_PRIMARY: ConstraintKind.PRIMARY_KEY,
    pg.CONSTR_EXCLUSION: ConstraintKind.EXCLUSION,
    pg.CONSTR_NOTNULL: ConstraintKind.NOT_NULL,
}
_IDENTITIES: Mapping[str, Identity] = {"a": "always", "d": "by default"}
_DELETIONS = {"r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def column(node: pg.ColumnDef) -> Column:
    """Read a column."""
    found = Column(
        name=node.colname,
        type=sql_type(node.type_name),
        is_not_null=node.is_not_null,
        collation=str(name_of(node.coll_clause.collname)) if node.HasField("coll_clause") else None,
    )
    for one in _constraint_nodes(node.constraints):
        found = _with(found, one)
    return found


def _with(found: Column, node: pg.Constraint) -> Column:
    match node.contype:
        case pg.CONSTR_NOTNULL:
            return replace(found, is_not_null=True)
        case pg.CONSTR_DEFAULT:
            return replace(found, default=expression(node.raw_expr))
        case pg.CONSTR_IDENTITY:
            return replace(found, identity=_IDENTITIES.get(node.generated_when, "always"), is_not_null=True)
        case pg.CONSTR_GENERATED:
            kind: Generated = "virtual" if node.generated_kind == "v" else "stored"
            return replace(found, generated=kind, generation=expression(node.raw_expr))
        case kind if kind in _KINDS:
            written = constraint(node)
            columns = written.columns or ((found.name,) if written.kind is not ConstraintKind.CHECK else ())
            own = replace(written, columns=columns)
            return replace(
                found,
                constraints=(*found.constraints, own),
                is_not_null=found.is_not_null or own.kind is ConstraintKind.PRIMARY_KEY,
            )
    return _deferred(found, node)


def _deferred(found: Column, node: pg.Constraint) -> Column:
    """DEFERRABLE and NOT ENFORCED stand beside the constraint that they are about."""
    if not found.constraints:
        return found
    *before, last = found.constraints
    match node.contype:
        case pg.CONSTR_ATTR_DEFERRABLE:
            last = replace(last, is_deferrable=True, tail=f"{last.tail} DEFERRABLE")
        case pg.CONSTR_ATTR_DEFERRED:
            last = replace(last, tail=f"{last.tail} INITIALLY DEFERRED")
        case pg.CONSTR_ATTR_NOT_ENFORCED:
            last = replace(last, is_enforced=False, is_valid=False)
    return replace(found, constraints=(*before, last))


def constraint(node: pg.Constraint) -> Constraint:
    """Read a constraint."""
    kind = _KINDS.get(node.contype, ConstraintKind.CHECK)
    is_foreign = kind is ConstraintKind.FOREIGN_KEY
    is_checked = kind in {ConstraintKind.CHECK, ConstraintKind.FOREIGN_KEY}
    return Constraint(
        kind=kind,
        name=node.conname or None,
        columns=words(node.fk_attrs if is_foreign else node.keys) or _excluded(node),
        check=expression(node.raw_expr) if node.HasField("raw_expr") else None,
        references=relation(node.pktable) if is_foreign else None,
        referenced=words(node.pk_attrs),
        is_valid=not node.skip_validation,
        is_enforced=node.is_enforced if is_checked else True,
        using_index=node.indexname or None,
        is_deferrable=node.deferrable,
        including=words(node.including),
        nulls_not_distinct=node.nulls_not_distinct,
        tail="".join(_tail(node)),
    )


def _excluded(node: pg.Constraint) -> tuple[str, ...]:
    elements = (one.list.items[0].index_elem for one in node.exclusions if one.WhichOneof("node") == "list")
    return tuple(element.name for element in elements if element.name)


def _tail(node: pg.Constraint) -> Iterable[str]:
    if node.fk_matchtype == "f":
        yield " MATCH FULL"
    if node.fk_del_action in _DELETIONS:
        yield f" ON DELETE {_DELETIONS[node.fk_del_action]}"
    if node.fk_upd_action in _DELETIONS:
        yield f" ON UPDATE {_DELETIONS[node.fk_upd_action]}"
    if node.is_no_inherit:
        yield " NO INHERIT"
    if node.deferrable:
        yield " DEFERRABLE"
    if node.initdeferred:
        yield " INITIALLY DEFERRED"


def _constraint_nodes(nodes: Iterable[pg.Node]) -> Iterable[pg.Constraint]:
    return (one.constraint for one in nodes if one.WhichOneof("node") == "constraint")


def bound(node: pg.PartitionBoundSpec) -> Bound:
    """Read the rows that a part takes."""
    if node.is_default:
        return Bound(is_default=True)
    if node.strategy == "h":
        return Bound(hashed=(node.modulus, node.remainder))
    return Bound(
        lower=tuple(expression_text(one) for one in node.lowerdatums),
        upper=tuple(expression_text(one) for one in node.upperdatums),
        values=tuple(expression_text(one) for one in node.listdatums),
    )


def table_elements(nodes: Iterable[pg.Node]) -> tuple[tuple[Column, ...], tuple[Constraint, ...]]:
    """Read what stands in the parentheses of CREATE TABLE."""
    columns = tuple(column(one.column_def) for one in nodes if one.WhichOneof("node") == "column_def")
    return columns, tuple(constraint(one) for one in _constraint_nodes(nodes))
