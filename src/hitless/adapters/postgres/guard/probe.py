"""Asks a copy of the schema about statements: their shape with and without what is removed, and what they use.

The order. Every statement is prepared and taken apart on the copy as it is; then the contract is applied to the copy,
and every statement is prepared again, as it was the first time: with the same text and the same types.

Statements are never run. Preparing goes through the protocol, which takes one statement at a time, so a text cannot
smuggle in another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import psycopg
from psycopg.pq import ExecStatus

from hitless.adapters.postgres.guard.doomed import Doomed, needs_of, resolves_here
from hitless.schema.guard.bodies import Sight, Words, mentions, sight
from hitless.schema.guard.evidence import Statement
from hitless.schema.guard.forms import readable
from hitless.schema.guard.kinds import Code, Definition, Harmless, Kind, Query, Touch, Unjudged, kinds_of
from hitless.schema.guard.probing import Parts, Shape, together
from hitless.schema.guard.verdict import CLEAR, Answer, Verdict

INFERRED = 0
_TRIED = ("text", "integer", "numeric", "timestamptz", "interval", "date", "jsonb", "boolean", "bigint", "uuid")
"""Types for parameters that stand where a constant stood, in the order in which they are tried."""

_MANY = 3
"""Up to so many parameters get every mix of types; more get one type for all: 10 ** 3 tries are a second."""

_UNTYPED = frozenset({"42P18", "42P08", "42725", "42883", "42804", "42846", "22P02", "42P38"})
"""States of errors that other types of parameters may mend: ambiguous or unknown function, no type found ..."""

_PARAMETER = "SELECT oid::regtype::text FROM pg_type WHERE oid = %s AND typtype <> 'p'"
_BUILT_IN = """
SELECT oid::int8, proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND (proname = ANY(%s)
    OR proname ~ '^(query|cursor|table|schema|database)_to_xml' OR (proname = 'ts_rewrite' AND pronargs = 2))
"""
_OF_SEQUENCES = ("nextval", "currval", "setval", "pg_get_serial_sequence")
_CALLED = re.compile(r":funcid (\d+)")
"""PostgreSQL records no need of what it brings itself: it stands in the tree alone."""

_VARIABLES = 50
_MARK = re.compile(r"\$(\d+)")


@dataclass(slots=True, kw_only=True)
class _Prepared:
    text: str
    types: tuple[int, ...]
    path: str
    before: Shape
    parts: Parts


@dataclass(slots=True, kw_only=True)
class _Failure(Exception):
    state: str
    message: str
    position: int | None


@dataclass(slots=True)
class Prober:
    """Asks one copy about the statements of all versions; the same text is asked about once.

    Args:
        connection: to the copy, as it is before the contract.
        doomed: what is removed, each with what it has tainted.
        path: the search_path of the database that was copied.
    """

    connection: psycopg.Connection
    doomed: Sequence[Doomed]
    path: str
    _types: dict[str, int] = field(default_factory=dict)
    _parameters: dict[int, str | None] = field(default_factory=dict)
    _built_in: dict[int, str] = field(default_factory=dict)
    _first: dict[Statement, list[_Prepared | Answer]] = field(default_factory=dict)

    def take(self, statements: Sequence[Statement]) -> None:
        """Look at statements on the copy as it is."""
        known = {(one.text, one.types, one.marks, one.nested, one.search_path): one for one in self._first}
        for one in statements:
            key = (one.text, one.types, one.marks, one.nested, one.search_path)
            if key in known:
                self._first[one] = self._first[known[key]]
            else:
                self._first[one] = list(self._look(one))
                known[key] = one

    def answers(self) -> Mapping[Statement, Answer]:
        """Prepare everything again, now that the contract has been applied to the copy; answer."""
        cache: dict[int, Answer] = {}
        given: dict[Statement, Answer] = {}
        for one, found in self._first.items():
            if id(found) not in cache:
                cache[id(found)] = _worst([self._answer(part) for part in found])
            given[one] = cache[id(found)]
        return given

    def _answer(self, found: _Prepared | Answer) -> Answer:
        if isinstance(found, Answer):
            return found
        self._take_path(found.path)
        return together(found.before, self._shape(found.text, found.types), found.parts)

    def _look(self, one: Statement) -> Iterator[_Prepared | Answer]:
        for path in self._paths(one):
            self._take_path(path)
            for kind in kinds_of(one.text, marks=one.marks, nested=one.nested):
                yield self._first_look(kind, one, path)

    def _paths(self, one: Statement) -> Iterator[str]:
        """The session's path, and one where the bare name of each doomed table means it, if it does not here."""
        path = one.search_path or self.path
        yield path
        self._take_path(path)
        for doomed in self.doomed:
            schema = doomed.removal.table.schema or "public"
            if not resolves_here(self.connection, doomed.removal.table, doomed) and _may_name(one.text, doomed):
                yield f'"{schema}", {path}' if path else f'"{schema}"'
                self._take_path(path)

    def _first_look(self, kind: Kind, one: Statement, path: str) -> _Prepared | Answer:
        match kind:
            case Query():
                return self._query(kind.text, one, path)
            case Touch():
                return self._touch(kind)
            case Code():
                return self._code(kind)
            case Definition():
                return self._definition(kind)
            case Harmless():
                return CLEAR
            case Unjudged():
                return Answer(verdict=Verdict.UNKNOWN, doubt=kind.reason)

    def _query(self, text: str, one: Statement, path: str) -> _Prepared | Answer:
        wanted = tuple(self._oid(name) for name in one.types)
        try:
            text, types = self._prepare(text, wanted, nested=one.nested)
        except _Failure as failure:
            return Answer(verdict=Verdict.UNKNOWN, doubt=f"it cannot be prepared: {failure.message}")
        return _Prepared(
            text=text, types=types, path=path, before=self._shape(text, types), parts=self._parts(text, types)
        )

    def _prepare(self, text: str, types: tuple[int, ...], *, nested: bool) -> tuple[str, tuple[int, ...]]:
        """Find a text and types that the server takes; return the types that it settled for.

        Raises:
            _Failure: none.
        """
        failure: _Failure | None = None
        for given in (text, readable(text)):
            try:
                return given, self._types_of(given, types)
            except _Failure as error:
                failure = failure or error
                if error.state in _UNTYPED and (found := self._other_types(given)) is not None:
                    return given, found
                if nested and (mended := self._without_variables(given)) is not None:
                    return mended
        assert failure is not None
        raise failure

    def _other_types(self, text: str) -> tuple[int, ...] | None:
        count = max((int(one) for one in _MARK.findall(text)), default=0)
        if not count:
            return None
        if (found := self._one_by_one(text, count)) is not None:
            return found
        tried = [INFERRED, *(self._oid(name) for name in _TRIED)]
        mixes = product(tried, repeat=count) if count <= _MANY else ((one,) * count for one in tried)
        for types in mixes:
            try:
                return self._types_of(text, types)
            except _Failure:
                continue
        return None

    def _one_by_one(self, text: str, count: int) -> tuple[int, ...] | None:
        """Take a parameter for text that the server finds no type for: it is compared with nothing."""
        types = [INFERRED] * count
        for _ in range(count + 1):
            try:
                return self._types_of(text, tuple(types))
            except _Failure as failure:
                named = _MARK.search(failure.message) if failure.state == "42P18" else None
                if named is None or int(named[1]) > count or types[int(named[1]) - 1] != INFERRED:
                    return None
                types[int(named[1]) - 1] = self._oid("text")
        return None

    def _without_variables(self, text: str) -> tuple[str, tuple[int, ...]] | None:
        """Put parameters where a function's text names its variables: what is no column must be one."""
        count = max((int(one) for one in _MARK.findall(text)), default=0)
        for _ in range(_VARIABLES):
            try:
                return text, self._types_of(text, ())
            except _Failure as failure:
                found = _variable_at(text, failure)
                if found is None:
                    types = self._other_types(text) if failure.state in _UNTYPED else None
                    return (text, types) if types is not None else None
                count += 1
                text = f"{text[: found[0]]}${count}{text[found[1] :]}"
        return None

    def _types_of(self, text: str, types: tuple[int, ...]) -> tuple[int, ...]:
        """Prepare it, and return the types of its parameters.

        Raises:
            _Failure: the server does not take it.
        """
        described = self._describe(text, types)
        return tuple(described.param_type(number) for number in range(described.nparams))

    def _describe(self, text: str, types: Sequence[int]) -> psycopg.pq.abc.PGresult:
        server = self.connection.pgconn
        for result in (server.prepare(b"", text.encode(), list(types)), None):
            done = result if result is not None else server.describe_prepared(b"")
            if done.status != ExecStatus.COMMAND_OK:
                raise _failure(done, text)
        return done

    def _shape(self, text: str, types: tuple[int, ...]) -> Shape:
        try:
            told = self._describe(text, types)
        except _Failure as failure:
            return Shape(error=failure.message)
        columns = range(told.nfields)
        return Shape(
            columns=tuple(
                ((told.fname(one) or b"").decode(errors="replace"), f"{told.ftype(one)}/{told.fmod(one)}")
                for one in columns
            )
        )

    def _parts(self, text: str, types: tuple[int, ...]) -> Parts:
        """Make it the body of a function, and read what PostgreSQL records of that."""
        named = ", ".join(self._parameter(one) or "text" for one in types)
        text = _MARK.sub(lambda one: one[0] if self._parameter(types[int(one[1]) - 1]) else "NULL", text)
        body = f"CREATE FUNCTION pg_temp.hitless_probe({named}) RETURNS integer LANGUAGE sql BEGIN ATOMIC\n{text}\n;"
        with self.connection.transaction(force_rollback=True):
            try:
                self.connection.execute(f"{body}\nSELECT 1; END".encode())
            except psycopg.Error as error:
                return Parts(error=_words(error))
            row = self.connection.execute(
                "SELECT oid::int8, prosqlbody::text FROM pg_proc WHERE proname = 'hitless_probe' "
                "AND pronamespace = pg_my_temp_schema()"
            ).fetchone()
            assert row is not None, "it was made in this transaction"
            needs = needs_of(self.connection, "pg_proc", row[0])
        ways = tuple(way for one in self.doomed for way in one.ways(needs, row[1]))
        called = {oid for kind, oid, _ in needs if kind == "pg_proc"}
        opaque = tuple(why for one in self.doomed for oid, why in one.opaque.items() if oid in called)
        return Parts(ways=ways, opaque=(*opaque, *self._of_built_in(str(row[1]), has_values=bool(types))))

    def _of_built_in(self, tree: str, *, has_values: bool) -> Iterator[str]:
        """What PostgreSQL brings and is told at run time: a statement as text, a sequence by its name."""
        if not self._built_in:
            names = ["ts_stat", *_OF_SEQUENCES]
            self._built_in = dict(self.connection.execute(_BUILT_IN, (names,)).fetchall())
        for name in sorted({self._built_in[one] for one in map(int, _CALLED.findall(tree)) if one in self._built_in}):
            if name not in _OF_SEQUENCES:
                yield f"{name}() reads what it is told at run time"
            elif has_values and any(one.sequences for one in self.doomed):
                yield f"{name}() of a sequence whose name is not known, and one goes with what is removed"

    def _touch(self, kind: Touch) -> Answer:
        ways = [way for one in self.doomed for table in kind.tables for way in self._touched(kind, str(table), one)]
        return Answer(verdict=Verdict.REFERENCES, ways=tuple(ways)) if ways else CLEAR

    def _touched(self, kind: Touch, table: str, doomed: Doomed) -> Iterator[str]:
        row = self.connection.execute("SELECT to_regclass(%s)::oid", (table,)).fetchone()
        oid = int(row[0]) if row is not None and row[0] is not None else 0
        if ("pg_class", oid) in doomed.tainted:
            yield f"{kind.way} through {doomed.tainted['pg_class', oid]}"
        if oid not in doomed.tables:
            return
        if doomed.is_table:
            yield f"{kind.way} of {doomed.shown}"
        elif kind.way == "LOCK":  # which wants a privilege on the whole table, and a brownout takes it
            yield f"LOCK of the table of {doomed.shown}: columns' privileges do not suffice for it"
        elif kind.takes_columns and (not kind.columns or set(kind.columns) & set(doomed.removal.columns)):
            yield f"{kind.way} of {'all columns of ' if not kind.columns else ''}{doomed.shown}"

    def _code(self, kind: Code) -> Answer:
        """Judge a block of code by its words, and a call by the procedures of that name."""
        for one in self.doomed:
            for (catalogue, oid), what in one.tainted.items():
                if catalogue == "pg_proc" and _is_called(self.connection, oid, kind.calls):
                    return Answer(verdict=Verdict.REFERENCES, ways=(f"through {what}",))
            for oid, why in one.opaque.items():
                if _is_called(self.connection, oid, kind.calls):
                    return Answer(verdict=Verdict.UNKNOWN, doubt=why)
            words = Words(relations=frozenset(one.names), columns=frozenset(one.removal.columns))
            seen = sight(kind.body, words)
            if seen is Sight.NAMES_IT:
                return Answer(verdict=Verdict.REFERENCES, ways=(f"its text names {one.shown}",))
            if seen is not Sight.NOTHING:
                return Answer(verdict=Verdict.UNKNOWN, doubt="a block of code, which nobody can look into")
        return CLEAR

    def _definition(self, kind: Definition) -> Answer:
        for one in self.doomed:
            columns = frozenset(one.removal.columns)
            if mentions(frozenset(one.names), kind.text) and (not columns or mentions(columns, kind.text)):
                return Answer(verdict=Verdict.UNKNOWN, doubt=f"it changes the schema, and names {one.shown}")
        return CLEAR

    def _take_path(self, path: str) -> None:
        self.connection.execute("SELECT set_config('search_path', %s, false)", (path,))

    def _oid(self, name: str) -> int:
        """Return the number of a type; 0, to be inferred, where the copy has none of that name."""
        if name not in self._types:
            row = self.connection.execute("SELECT COALESCE(to_regtype(%s)::oid, 0)", (name,)).fetchone()
            self._types[name] = row[0] if row is not None else INFERRED
        return self._types[name]

    def _parameter(self, oid: int) -> str | None:
        """Name a type; None where no function takes one as it is: any array, any row. NULL stands for its values."""
        if oid not in self._parameters:
            row = self.connection.execute(_PARAMETER, (oid,)).fetchone()
            self._parameters[oid] = str(row[0]) if row is not None else None
        return self._parameters[oid]


def _worst(answers: Sequence[Answer]) -> Answer:
    """One use is a use; one doubt is a doubt."""
    for verdict in (Verdict.REFERENCES, Verdict.UNKNOWN):
        found = [one for one in answers if one.verdict is verdict]
        if found:
            ways = tuple(dict.fromkeys(way for one in found for way in one.ways))
            return Answer(verdict=verdict, ways=ways, doubt=found[0].doubt)
    return CLEAR


def _failure(result: psycopg.pq.abc.PGresult, text: str) -> _Failure:
    def told(field: psycopg.pq.DiagnosticField) -> str:
        return (result.error_field(field) or b"").decode(errors="replace")

    where = told(psycopg.pq.DiagnosticField.STATEMENT_POSITION)
    message = told(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY)
    state = told(psycopg.pq.DiagnosticField.SQLSTATE)
    position = int(where) - 1 if where and int(where) <= len(text) else None
    return _Failure(state=state, message=f"{message} ({state})", position=position)


_NAME = r'(?:"[^"]+"|[^\W\d][\w$]*)'
_REFERENCE = re.compile(rf"{_NAME}(?:\s*\.\s*{_NAME})*")
_NO_SUCH_NAME = ("42703", "42P01")


def _variable_at(text: str, failure: _Failure) -> tuple[int, int] | None:
    """Return where the name stands that is no column; a table that is not there is no variable."""
    if failure.state not in _NO_SUCH_NAME or failure.position is None or "relation" in failure.message[:9]:
        return None
    found = _REFERENCE.match(text, failure.position)
    return found.span() if found is not None else None


def _may_name(text: str, doomed: Doomed) -> bool:
    return any(name.lower() in text.lower() for name in doomed.names)


def _is_called(connection: psycopg.Connection, oid: int, calls: tuple[str, ...]) -> bool:
    if not calls:
        return False
    row = connection.execute("SELECT proname FROM pg_proc WHERE oid = %s", (oid,)).fetchone()
    return row is not None and row[0] in calls


def _words(error: psycopg.Error) -> str:
    return f"{error.diag.message_primary or error} ({error.sqlstate})"
