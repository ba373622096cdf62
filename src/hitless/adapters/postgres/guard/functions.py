"""Functions and procedures of a copy that use what is removed, or may use it."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from hitless.adapters.postgres.guard.doomed import Doomed, needs_of, taint_views_again
from hitless.schema.guard.bodies import Sight, Words, mentions, sight

_FUNCTIONS = """
SELECT p.oid, p.oid::regprocedure::text, p.proname, l.lanname, p.prosrc, p.prosqlbody::text, pg_get_functiondef(p.oid)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE n.nspname NOT IN ('information_schema', 'hitless') AND n.nspname !~ '^pg_' AND p.prokind IN ('f', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY p.oid
"""
_TRIGGERS = "SELECT DISTINCT tgfoid::oid FROM pg_trigger WHERE tgrelid = ANY(%s) AND NOT tgisinternal"
_TEXT = "\nAS $function$"
_PRECOMPILED = ("c", "internal")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    oid: int
    shown: str
    name: str
    language: str
    source: str
    tree: str | None
    definition: str


_WHY = {
    Sight.NAMES_TABLE: "it names the table, and nobody can tell which columns of it it takes",
    Sight.DYNAMIC: "it builds statements at run time",
}


def taint_functions(connection: psycopg.Connection, doomed: Doomed) -> None:
    """Taint functions, and then views that use them, until nothing more is found."""
    functions = [
        _Function(oid=oid, shown=shown, name=name, language=language, source=source, tree=tree, definition=definition)
        for oid, shown, name, language, source, tree, definition in connection.execute(_FUNCTIONS).fetchall()
    ]
    triggers = {oid for (oid,) in connection.execute(_TRIGGERS, (list(doomed.tables),)).fetchall()}
    before = -1
    while before != len(doomed.tainted):
        before = len(doomed.tainted)
        for one in functions:
            if ("pg_proc", one.oid) not in doomed.tainted:
                _judge(connection, doomed, one, is_trigger=one.oid in triggers)
            if ("pg_proc", one.oid) in doomed.tainted:
                doomed.called.add(one.name)
        taint_views_again(connection, doomed)


def _judge(connection: psycopg.Connection, doomed: Doomed, one: _Function, *, is_trigger: bool) -> None:
    needs = needs_of(connection, "pg_proc", one.oid)
    if doomed.ways(needs, one.tree):
        doomed.tainted["pg_proc", one.oid] = f"the function {one.shown}"
        return
    if one.tree is not None or one.language in _PRECOMPILED:
        return
    words = Words(relations=frozenset(doomed.names), columns=frozenset(doomed.removal.columns))
    seen = sight(one.source, words, is_trigger=is_trigger)
    if one.language == "sql" and (ways := _as_statements(connection, doomed, one)) is not None:
        if ways:
            doomed.tainted["pg_proc", one.oid] = f"the function {one.shown}"
        return
    if calls := next((name for name in doomed.called if mentions(frozenset({name}), one.source)), None):
        doomed.tainted["pg_proc", one.oid] = f"the function {one.shown}, whose text names {calls}"
    elif seen is Sight.NAMES_IT:
        doomed.tainted["pg_proc", one.oid] = f"the function {one.shown}, whose text names it"
    elif seen is not Sight.NOTHING:
        doomed.opaque[one.oid] = f"the function {one.shown} is opaque: {_WHY[seen]}"


def _as_statements(connection: psycopg.Connection, doomed: Doomed, one: _Function) -> tuple[str, ...] | None:
    """Write a function's text as a body of statements, which PostgreSQL looks into; None where it cannot be."""
    head, found, _ = one.definition.partition(_TEXT)
    if not found:
        return None
    body = one.source.strip().rstrip(";")
    with connection.transaction(force_rollback=True):
        try:
            # A view may need the function: it is replaced, not dropped, and everything is rolled back.
            connection.execute(f"{head}\nBEGIN ATOMIC\n{body}\n;END".encode())
        except psycopg.Error:
            return None
        tree = connection.execute("SELECT prosqlbody::text FROM pg_proc WHERE oid = %s", (one.oid,)).fetchone()
        return doomed.ways(needs_of(connection, "pg_proc", one.oid), tree[0] if tree is not None else None)
