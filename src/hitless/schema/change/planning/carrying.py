"""What a new column gets of what the old one has, once its rows are filled.

| of the old column | the new one gets it | when |
| --- | --- | --- |
| comment, privileges, statistics target, storage | the same | when it is added |
| index | built CONCURRENTLY | before the swap |
| comment on an index, a constraint or statistics; CLUSTER ON | the same | in the swap |
| unique constraint | such an index, then USING INDEX | before the swap |
| CHECK, foreign key | NOT VALID, then VALIDATE | before the swap |
| NOT NULL | by a CHECK that is validated, then SET NOT NULL | before the swap |
| default, ownership of a sequence | moved | in the swap, or when the old column is dropped |

None of the constraints could be there earlier: a row that is not filled yet would break them when somebody updates it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from hitless.schema.actions.values import Constraint, ConstraintKind
from hitless.schema.catalog.catalog import Table
from hitless.schema.change.dependents import Definition, Kind
from hitless.schema.change.pairs import Pair
from hitless.schema.change.planning import proofs
from hitless.schema.change.planning.checks import no_duplicates, orphans, rows_where
from hitless.schema.change.planning.defaults import default_moved, default_swapped
from hitless.schema.change.planning.ground import FORMER, SHADOW, Ground, Pieces, Turn, joined
from hitless.schema.change.planning.views import views_remade
from hitless.schema.change.rewriting import (
    comment_like,
    condition_like,
    grant_like,
    index_like,
    option_like,
    statistics_like,
)
from hitless.schema.change.steps import Check, Step
from hitless.schema.names import Name, derived, listed, quoted


def carried(ground: Ground, pair: Pair, names: Mapping[str, str]) -> Pieces:
    """Plan what new columns get of old ones; `names` leads from each old one to the one that takes its place."""
    if ground.known is None:
        return Pieces(notes=(UNKNOWN,))
    objects = tuple(_objects(ground, pair, names))
    own = Pieces(
        columns=tuple(_at_once(ground, names)),
        switches=tuple(step for one in objects for step in one.steps),
        notes=(*_left_out(ground.known, names), *(() if ground.dependents is not None else (UNDEFINED,))),
    )
    if not pair.is_swapped:
        return joined((own, default_moved(ground, pair, names)))
    exchanged = Pieces(swap=tuple(turn for one in objects for turn in one.exchange))
    return joined((own, exchanged, default_swapped(ground, pair, names), views_remade(ground, tuple(names))))


def _left_out(known: Table, names: Mapping[str, str]) -> Iterator[str]:
    for column in names:
        for name, one in known.constraints_on(column):
            if not one.is_enforced:
                yield f"{quoted(name)} is NOT ENFORCED, and not carried over"


UNKNOWN = (
    "NOT NULL, default, indexes, constraints and privileges of the old column are not known and not carried over: show"
    " the schema (--schema dump.sql, --database URL)"
)
UNDEFINED = "of indexes with expressions or conditions, comments and privileges only a dump or the database tells"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """An object made anew for new columns, and how it takes the name of the former in the swap."""

    steps: tuple[Step, ...]
    exchange: tuple[Turn, ...] = ()


def _at_once(ground: Ground, names: Mapping[str, str]) -> Iterator[Turn]:
    """Take over what is a property of the column; it goes with the column when that is dropped."""
    if ground.dependents is None:
        return
    for old, new in names.items():
        for one in ground.dependents.naming(ground.table, old, Kind.COMMENT):
            yield Turn(comment_like(one.text, ground.table, new))
        for one in ground.dependents.naming(ground.table, old, Kind.OPTION):
            yield Turn(option_like(one.text, {old: new}))
        yield from granted(ground, old, new)


def granted(ground: Ground, old: str, new: str) -> Iterator[Turn]:
    """Grant on a new column what is granted on an old one alone; what is granted on the table holds for all."""
    if ground.dependents is None:
        return
    for one in ground.dependents.naming(ground.table, old, Kind.GRANT):
        if statement := grant_like(one.text, {old: new}):
            yield Turn(statement)


def _objects(ground: Ground, pair: Pair, names: Mapping[str, str]) -> Iterator[Carried]:
    known = ground.known
    assert known is not None
    for old, new in names.items():
        if known.columns.get(old) and known.columns[old].is_not_null:
            yield Carried(steps=proofs.not_null(ground, new, is_asked=not is_plain(pair)))
    for index in _indexes(ground, names):
        yield _index(ground, pair, index, names)
    for name, constraint in known.constraints.items():
        read = {*constraint.columns, *(constraint.check.columns if constraint.check else ())}
        if read & names.keys() and constraint.kind in _CARRIERS and constraint.is_enforced:
            yield _constraint(ground, pair, name, constraint, names)
    for one in ground.dependents.on(ground.table, Kind.STATISTICS) if ground.dependents else ():
        if one.columns & names.keys():
            yield _statistics(ground, pair, one, names)


_CARRIERS = {ConstraintKind.UNIQUE, ConstraintKind.CHECK, ConstraintKind.FOREIGN_KEY}


def _indexes(ground: Ground, names: Mapping[str, str]) -> Iterator[Definition]:
    """Return the indexes that serve no constraint: as they are defined, or as far as the catalogue knows them."""
    if ground.dependents is not None:
        for one in ground.dependents.on(ground.table, Kind.INDEX):
            if one.columns & names.keys():
                yield one
        return
    for index in ground.catalog.indexes_on(ground.table):
        if set(index.columns) & names.keys() and index.constraint is None:
            if index.has_expressions or index.is_partial:
                continue
            unique = "UNIQUE " if index.is_unique else ""
            columns = ", ".join(map(quoted, index.columns))
            text = f"CREATE {unique}INDEX {quoted(index.name.name)} ON {ground.table} USING {index.method} ({columns})"
            yield Definition(
                kind=Kind.INDEX,
                name=index.name,
                relations=(ground.table,),
                columns=frozenset(index.columns),
                text=text,
            )


def successor(ground: Ground, pair: Pair, name: str, names: Mapping[str, str]) -> str:
    """Name the object that takes the place of another: after the new columns, or, until the swap, as a shadow."""
    if pair.is_swapped:
        return derived(SHADOW, name)
    wanted = name
    for old, new in names.items():
        if old in wanted.split("_") or f"_{old}_" in f"_{wanted}_":
            wanted = f"_{wanted}_".replace(f"_{old}_", f"_{new}_").strip("_")
    if wanted == name or len(wanted.encode()) > 63 or _is_taken(ground, wanted):  # noqa: PLR2004 - NAMEDATALEN - 1
        return derived(name, *names.values())
    return wanted


def _is_taken(ground: Ground, name: str) -> bool:
    assert ground.known is not None
    return name in ground.known.constraints or ground.table.sibling(name) in ground.catalog.indexes


def _index(ground: Ground, pair: Pair, index: Definition, names: Mapping[str, str]) -> Carried:
    name = successor(ground, pair, index.name.name, names)
    definition = index_like(index.text, name, names, table=ground.table)
    title = f"Build {quoted(name)}, as {quoted(index.name.name)} is"
    steps = proofs.built(ground, name, definition, title, checks=_doubled(ground, pair, index, names))
    if definition.startswith("CREATE UNIQUE"):
        steps = _said(steps)
    exchange = _exchange_index(ground, index.name.name, name)
    return Carried(steps=steps, exchange=(*_clustered(ground, index), *exchange, *commented(ground, index.name)))


def _clustered(ground: Ground, index: Definition) -> Iterator[Turn]:
    """Let the table be clustered by the successor, and on the way back by the former: before the names change."""
    for one in ground.dependents.on(ground.table, Kind.CLUSTER) if ground.dependents else ():
        if one.columns == {index.name.name}:
            shadow = derived(SHADOW, index.name.name)
            alter = f"ALTER TABLE {ground.table} CLUSTER ON"
            yield Turn(f"{alter} {quoted(shadow)}", f"{alter} {quoted(index.name.name)}")


def commented(ground: Ground, name: Name) -> tuple[Turn, ...]:
    """Say of what has taken a name what was said of the former."""
    every = ground.dependents.definitions if ground.dependents else ()
    return tuple(Turn(one.text) for one in every if one.kind is Kind.COMMENT and one.name == name)


def is_plain(pair: Pair) -> bool:
    """Tell whether new columns hold the values of old ones: then they meet what those meet."""
    return all(_PLAIN.fullmatch(one.text) for one in pair.forward.values())


_PLAIN = re.compile(r"""\(?(?:\w+|"(?:[^"]|"")+")\)?(?:::[\w. ,()"]+(?:\[\])?)?""")
_OTHERS = "the values of {} are others than those of the old ones, and {} would fail in these rows"
_DROPPED = "drop {} of the old ones first, or correct the rows"


def _doubled(ground: Ground, pair: Pair, index: Definition, names: Mapping[str, str]) -> tuple[Check, ...]:
    """Ask whether values that were all different still are, before anybody is held to it."""
    known = next((one for one in ground.catalog.indexes_on(ground.table) if one.name.name == index.name.name), None)
    if is_plain(pair) or known is None or not known.is_unique or known.has_expressions or known.is_partial:
        return ()
    return (_no_doubles(ground, known.columns, index.name.name, names),)


def _no_doubles(
    ground: Ground, columns: Iterable[str], name: str, names: Mapping[str, str], *, nulls_not_distinct: bool = False
) -> Check:
    return no_duplicates(
        ground.table,
        tuple(quoted(names.get(one, one)) for one in columns),
        nulls_not_distinct=nulls_not_distinct,
        trouble=_OTHERS.format(listed(tuple(names.values())), quoted(name)),
        remedy=_DROPPED.format(quoted(name)),
    )


UPSERTS = (
    "of two sessions that INSERT ... ON CONFLICT the same new key at the same moment one may get a unique violation"
    " (23505) in the place of its update, until the contract: ON CONFLICT looks at one of two indexes; tried again, it"
    " passes"
)


def _said(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return (replace(steps[0], caveats=(*steps[0].caveats, UPSERTS)), *steps[1:])


def _exchange_index(ground: Ground, old: str, new: str) -> tuple[Turn, ...]:
    former = derived(FORMER, old)
    return (_renamed_index(ground, old, former), _renamed_index(ground, new, old))


def _renamed_index(ground: Ground, old: str, new: str) -> Turn:
    def rename(one: str, other: str) -> str:
        return f"ALTER INDEX {ground.table.sibling(one)} RENAME TO {quoted(other)}"

    return Turn(rename(old, new), rename(new, old))


def _renamed_constraint(ground: Ground, old: str, new: str) -> Turn:
    def rename(one: str, other: str) -> str:
        return f"ALTER TABLE {ground.table} RENAME CONSTRAINT {quoted(one)} TO {quoted(other)}"

    return Turn(rename(old, new), rename(new, old))


def _constraint(ground: Ground, pair: Pair, name: str, one: Constraint, names: Mapping[str, str]) -> Carried:
    new = successor(ground, pair, name, names)
    columns = tuple(names.get(column, column) for column in one.columns)
    if one.kind is ConstraintKind.UNIQUE:
        doubled = _no_doubles(ground, one.columns, name, names, nulls_not_distinct=one.nulls_not_distinct)
        steps = proofs.unique(ground, new, columns, one, checks=() if is_plain(pair) else (doubled,))
        steps = _said(steps)
    elif one.kind is ConstraintKind.CHECK:
        assert one.check is not None
        condition = condition_like(one.check, names)
        broken = rows_where(
            ground.table,
            tuple(sorted(condition.columns)),
            f"NOT ({condition.text})",
            trouble=_OTHERS.format(listed(tuple(names.values())), quoted(name)),
            remedy=_DROPPED.format(quoted(name)),
        )
        steps = proofs.check(ground, new, condition.text, one, checks=() if is_plain(pair) else (broken,))
    else:
        is_asked = one.references is not None and one.referenced and not is_plain(pair)
        asked = (orphans(ground.table, columns, one.references, one.referenced),) if one.references and is_asked else ()
        steps = proofs.foreign_key(ground, new, columns, one, checks=asked)
    former = derived(FORMER, name)
    return Carried(
        steps=steps,
        exchange=(
            _renamed_constraint(ground, name, former),
            _renamed_constraint(ground, new, name),
            *commented(ground, ground.table.sibling(name)),
        ),
    )


def _statistics(ground: Ground, pair: Pair, one: Definition, names: Mapping[str, str]) -> Carried:
    new = one.name.sibling(successor(ground, pair, one.name.name, names))
    step = proofs.at_once(
        f"Make statistics {quoted(new.name)}, as {quoted(one.name.name)} are",
        statistics_like(one.text, new, names),
        f"DROP STATISTICS {new}",
    )
    former = derived(FORMER, one.name.name)
    return Carried(
        steps=(step,),
        exchange=(
            _renamed_statistics(one.name, former),
            _renamed_statistics(new, one.name.name),
            *commented(ground, one.name),
        ),
    )


def _renamed_statistics(old: Name, new: str) -> Turn:
    return Turn(
        f"ALTER STATISTICS {old} RENAME TO {quoted(new)}",
        f"ALTER STATISTICS {old.sibling(new)} RENAME TO {quoted(old.name)}",
    )
