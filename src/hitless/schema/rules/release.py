"""Rules about a migration as a whole: what must not share one, and what is no migration but a job.

A file is what one release migrates. Expand, migrate and contract are three releases: only then does every version that
runs, and the one that a rollback returns to, meet a schema that it knows. What a file cannot show, the contract guard
asks when it runs: whether a version still uses what goes, and whether the backfill before it came to its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hitless.schema.actions.data import Write
from hitless.schema.actions.objects import CreateIndex
from hitless.schema.actions.tables import TableAction
from hitless.schema.actions.values import Expression
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.effects.locks import LockMode
from hitless.schema.names import Name, quoted
from hitless.schema.rules.rule import SMALL_ROWS, Family, FileEnd, Rule, Severity, Step, Trouble
from hitless.schema.rules.use import full, provides
from hitless.schema.rules.writing import script, size_of
from hitless.schema.session import Done, Side
from hitless.schema.sides import gone

LEDGERS = frozenset(
    """
    alembic_version django_migrations schema_migrations ar_internal_metadata flyway_schema_history databasechangelog
    databasechangeloglock goose_db_version knex_migrations knex_migrations_lock migrations _prisma_migrations
    atlas_schema_revisions yoyo_migration _yoyo_migration pgmigrations sequelizemeta
    """.split()
)
"""Tables in which tools note what they have run."""

_STRINGS = re.compile(r"'(?:[^']|'')*'")
_PAGES = re.compile(r"\b(?:LIMIT|OFFSET|FETCH\s+FIRST)\b", re.IGNORECASE)
_ROW_ADDRESSES = {"id", "ctid"}
"""Columns that are taken for the key of a table whose definition is not known."""


def mixes_expand_and_contract(end: FileEnd) -> Iterator[Trouble]:
    """Additive and destructive statements in one file, or in one release."""
    here = [("", one) for one in end.session.done if one.side is not None]
    sides = {one.side for _, one in (*end.earlier, *here)}
    if not here or len(sides) < len(Side):
        return
    given = {full(name, end.catalog) for _, one in (*end.earlier, *here) if (name := provides(one.action)) is not None}
    taken = {full(name, end.catalog) for _, one in (*end.earlier, *here) for name in gone(one.action)}

    def of(side: Side, among: Iterable[tuple[str, Done]]) -> Iterator[tuple[str, Done]]:
        replaced = _is_replaced if side is Side.CONTRACTS else _replaces
        names = given if side is Side.CONTRACTS else taken
        return (one for one in among if one[1].side is side and not replaced(one[1], names, end.catalog))

    for side, other, message in _MIXED:
        last, first = next(of(side, here), None), next(of(other, (*end.earlier, *here)), None)
        if last is not None and first is not None:
            yield Trouble(
                message=message.format(f"{first[0]}:{first[1].line}" if first[0] else f"line {first[1].line}"),
                fix="-- move what takes something away to a later release, when no version uses it any more",
                at=last[1],
            )
            return


_NEVER = "there is no moment in between at which both can run"
_MIXED = (
    (
        Side.CONTRACTS,
        Side.EXPANDS,
        f"{{}} adds what new code needs, and this takes away what old code needs: {_NEVER}",
    ),
    (
        Side.EXPANDS,
        Side.CONTRACTS,
        f"{{}} takes away what old code needs, and this adds what new code needs: {_NEVER}",
    ),
)


def _is_replaced(done: Done, given: set[Name], catalog: Catalog) -> bool:
    names = [full(one, catalog) for one in gone(done.action)]
    return bool(names) and all(one in given for one in names)


def _replaces(done: Done, taken: set[Name], catalog: Catalog) -> bool:
    name = provides(done.action)
    return name is not None and full(name, catalog) in taken


def is_unbounded(action: Write, catalog: Catalog) -> bool:
    """Tell whether a statement writes as many rows as there are: no key says which."""
    if action.table.name.lower() in LEDGERS or catalog.is_new(action.table):
        return False
    rows = catalog.rows_of(action.table)
    if action.verb in {"update", "delete"}:
        if rows is not None and rows <= SMALL_ROWS:
            return False
        return action.takes_all or not _is_keyed(action, catalog)
    if action.verb == "merge":
        return _reads_many(action, catalog)
    reads_tables = any(not catalog.is_new(one) for one in action.reads)
    return action.verb == "insert" and action.source == "query" and reads_tables


def _reads_many(action: Write, catalog: Catalog) -> bool:
    """Tell whether it reads a table that others have filled and that is not known to be small."""
    others = (one for one in action.reads if not catalog.is_new(one))
    return any((rows := catalog.rows_of(one)) is None or rows > SMALL_ROWS for one in others)


def _is_keyed(action: Write, catalog: Catalog) -> bool:
    """Tell whether the condition names a key, and not a page of whatever comes first."""
    assert action.where is not None
    if _PAGES.search(_STRINGS.sub("", action.where.text)):
        return False
    keys = keys_of(action.table, catalog)
    return bool(action.pinned & keys) or (bool(action.joined & keys) and not _reads_many(action, catalog))


def keys_of(table: Name, catalog: Catalog) -> set[str]:
    """Return columns by which rows are found: those that begin a unique index, or what usually is the key."""
    found = {one.columns[0] for one in catalog.indexes_on(table) if one.is_unique and one.columns}
    return found | {"ctid"} if found else set(_ROW_ADDRESSES)


def mixes_schema_and_rows(end: FileEnd) -> Iterator[Trouble]:
    """A backfill in the file that changes the schema; in one transaction it holds the lock too, which others tell."""
    changes = [one for one in end.session.done if _locks_others(one, end.catalog)]
    writes = [
        one for one in end.session.done if isinstance(one.action, Write) and is_unbounded(one.action, end.catalog)
    ]
    if changes and writes:
        yield Trouble(
            message=f"line {changes[0].line} changes the schema in the same migration: the release waits until the "
            "rows are written, and fails with them",
            fix="-- the schema in this file; the rows in batches, as a job of its own that can be stopped and resumed",
            at=writes[0],
        )


def _locks_others(done: Done, catalog: Catalog) -> bool:
    if not isinstance(done.action, (TableAction, CreateIndex)):
        return False
    return any(
        lock.mode >= LockMode.SHARE_UPDATE_EXCLUSIVE and not catalog.is_new(lock.relation) for lock in done.effect.locks
    )


def whole_table_written(step: Step) -> Iterator[Trouble]:
    """UPDATE and DELETE without a condition."""
    action = step.action
    if not isinstance(action, Write) or action.verb not in {"update", "delete"} or not action.takes_all:
        return
    if not step.is_in_use(action.table) or action.table.name.lower() in LEDGERS:
        return
    lost = "every row is lost" if action.verb == "delete" else "every row is written"
    yield Trouble(
        message=f"{lost} in one statement: writers of {action.table}{size_of(action.table, step.before)} wait until it "
        "ends, and what it leaves behind keeps vacuum and replicas busy",
        fix=_in_batches(step, action),
        severity=step.gravity(action.table),
    )


def _in_batches(step: Step, action: Write) -> str:
    table = step.before.table(action.table)
    primary = table.primary_key if table else None
    key = quoted(primary.columns[0] if primary and primary.columns else "id")
    if action.reads:
        key = f"{quoted(action.called or action.table.name)}.{key}"
    bounded = _with_condition(step, f"{key} > $1 AND {key} <= $2")
    has_condition = action.where is not None or action.verb == "merge"
    return script(
        "-- as a job of its own, in ranges of the key that take 50 to 100 ms each:",
        bounded or f"-- {'AND' if has_condition else 'WHERE'} {key} > $1 AND {key} <= $2",
    )


_WHERE = re.compile(r"\bwhere\b", re.IGNORECASE)


def _with_condition(step: Step, condition: str) -> str | None:
    """Write the statement with one more condition; None where it is more than a plain UPDATE or DELETE."""
    text = step.statement.text.rstrip()
    blank = _STRINGS.sub(lambda found: "'" * len(found[0]), text)
    wheres = list(_WHERE.finditer(blank))
    is_plain = blank[:6].lower() in {"update", "delete"} and not re.search(r"--|/\*|\$|\breturning\b", blank.lower())
    if not is_plain or step.action is not step.siblings[0] or len(wheres) > 1:
        return None
    if not wheres:
        return f"{text} WHERE {condition}"
    start = wheres[0].end()
    return f"{text[:start]} ({text[start:].strip()}) AND {condition}"


_NO_BOUND = "the condition holds no key to values"


def no_key_range(step: Step) -> Iterator[Trouble]:
    """UPDATE, DELETE and MERGE whose condition bounds no key, or takes a page of what comes first."""
    action = step.action
    if not isinstance(action, Write) or action.verb not in {"update", "delete", "merge"}:
        return
    if (action.takes_all and action.verb != "merge") or not is_unbounded(action, step.before):
        return
    pages = action.where is not None and _PAGES.search(_STRINGS.sub("", action.where.text))
    bounds = "it takes as many as the other table has" if action.joined or action.where is None else _NO_BOUND
    yield Trouble(
        message="every batch reads again what the batches before it have done, and takes longer than they did"
        if pages
        else f"nothing bounds how many rows of {action.table}{size_of(action.table, step.before)} are locked until it "
        f"ends: {bounds}",
        fix="-- in ranges of the key: WHERE id > $1 AND id <= $2" if pages else _in_batches(step, action),
    )


def not_idempotent(step: Step) -> Iterator[Trouble]:
    """UPDATE that computes a column from itself, and does not tell done rows from others."""
    action = step.action
    if not isinstance(action, Write) or action.verb != "update" or not step.is_in_use(action.table):
        return
    if action.table.name.lower() in LEDGERS:
        return
    for column, value in action.assigned:
        told_apart = action.where is not None and column in action.where.columns
        if column in value.columns and not told_apart and _changes_again(value):
            yield Trouble(
                message=f"{column} is computed from itself: a batch that is tried again computes it twice",
                fix=f"-- compute it from another column, or leave out rows that are done: AND {quoted(column)} ...",
            )
            return


_IDEMPOTENT = {"lower", "upper", "btrim", "ltrim", "rtrim", "initcap", "abs", "floor", "ceil", "nullif"}


def _changes_again(value: Expression) -> bool:
    """Tell whether computing it twice differs from once, as far as is known.

    A column alone, COALESCE and what takes a column to a normal form do not; operators and other functions may.
    """
    text = _STRINGS.sub("", value.text)
    return any(one in text for one in "+-|*/%") or any(one.name not in _IDEMPOTENT for one in value.functions)


RULES = (
    Rule(
        id="expand-and-contract-mixed",
        family=Family.RELEASE,
        severity=Severity.ERROR,
        summary="One migration adds something and takes something away.",
        why="New code needs the one and old code the other, and in a rollout both run. Nor can such a migration be "
        "taken back with the release.",
        safe="Two files in two releases: add now, take away when no version uses it any more.",
        on_file=mixes_expand_and_contract,
    ),
    Rule(
        id="schema-and-rows-mixed",
        family=Family.RELEASE,
        severity=Severity.WARNING,
        summary="One migration changes the schema and writes many rows.",
        why="In one transaction the lock of the change is held until the last row is written; in one migration the "
        "release waits for the rows, and a failure leaves it half done.",
        safe="The schema as a migration; the rows in batches, as a job that can be stopped and resumed.",
        on_file=mixes_schema_and_rows,
    ),
    Rule(
        id="whole-table-written",
        family=Family.RELEASE,
        severity=Severity.ERROR,
        summary="UPDATE or DELETE without WHERE, or with one that every row meets.",
        why="It locks every row until it ends: in measurements, 97 % of the writers of two million rows waited longer "
        "than a second.",
        safe="Ranges of the primary key, each in a transaction of its own of 50 to 100 ms.",
        on_action=whole_table_written,
    ),
    Rule(
        id="write-without-key-range",
        family=Family.RELEASE,
        severity=Severity.WARNING,
        summary="UPDATE, DELETE or MERGE whose condition bounds no key.",
        why="Nobody knows how many rows it locks. Pages of what is still NULL, or with OFFSET, read again what is "
        "done: the time grows with the square of the table.",
        safe="Ranges of the primary key, with the upper bound fixed at the start.",
        on_action=no_key_range,
    ),
    Rule(
        id="backfill-not-idempotent",
        family=Family.RELEASE,
        severity=Severity.WARNING,
        summary="UPDATE computes a column from itself.",
        why="A batch that is tried again after a lost connection computes it twice, and nobody can tell.",
        safe="Compute it from another column, or let the condition leave out rows that are done.",
        on_action=not_idempotent,
    ),
)
