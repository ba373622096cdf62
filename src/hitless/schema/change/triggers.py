"""The triggers that keep both sides of a row the same while two releases write it.

Why like this.
* The side is decided by which columns a statement changed: no session variable, so it works through poolers.
* `WHEN` holds the whole question whether there is anything to do. PostgreSQL evaluates it without PL/pgSQL, so a write
  that changes neither side, one that a newer release makes on both, and each row of the backfill call no function.
* BEFORE triggers fire in the order of their names, and `zzz_` is late: what users' own triggers make of the row is
  what is seen here.
* A write that only the older release makes moves a sequence. `nextval` is not undone by a rollback and locks nothing;
  while it moves, somebody still needs the old columns.
* Names in expressions are looked up by a `search_path` of the function's own, whatever the session's is; the conditions
  of triggers and what fills a gap are read by it too, so what is not found there fails now, and not in users' writes.
* They fire ALWAYS: rows that a subscription applies, or a session as `replica`, are kept the same too.

| write | what is done |
| --- | --- |
| INSERT, new columns all NULL | new := f(old), counted where an old one is not its default |
| INSERT, else, old columns all NULL, or the two do not agree | old := g(new) |
| UPDATE of the old columns alone, that do not agree | new := f(old), counted |
| UPDATE of the new columns, alone or with the old ones, that do not agree | old := g(new) |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from hitless.schema.change.expressions import RowExpression
from hitless.schema.change.pairs import Gap, Pair, all_null, at
from hitless.schema.names import PUBLIC, Name, derived, literal, quoted

HOUSE = "hitless"
"""The schema of functions and counters; it is made before the first step."""

PREFIX = "zzz_hitless"
"""What names of triggers begin with."""

_TAG = "$hitless$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """Everything that is kept the same in the rows of one table."""

    change: str
    table: Name
    pairs: tuple[Pair, ...] = ()
    gaps: tuple[Gap, ...] = ()

    @property
    def counts(self) -> bool:
        """Tell whether a write can be recognised that only the older release makes."""
        return bool(self.gaps) or any(not one.is_swapped for one in self.pairs)

    @property
    def is_idle(self) -> bool:
        """Tell whether there is nothing to keep."""
        return not (self.pairs or self.gaps)

    @property
    def counter(self) -> Name:
        """The sequence that counts writes of the older release."""
        return Name(f"{self.change}_old_writes", HOUSE)

    @property
    def function(self) -> Name:
        """The function that the triggers call."""
        return Name(f"{self.change}_sync", HOUSE)

    def renamed(self, names: Mapping[str, str]) -> Sync:
        """Return it once columns have other names."""
        gaps = tuple(replace(one, fill=one.fill.renamed(names)) for one in self.gaps)
        return replace(self, pairs=tuple(one.renamed(names) for one in self.pairs), gaps=gaps)

    def trigger(self, event: str) -> str:
        """Return the name of the trigger of an event."""
        return derived(PREFIX, self.change, event)

    def created(self) -> tuple[str, ...]:
        """Write what begins to keep both sides the same."""
        if self.is_idle:
            return ()
        always = (f"ENABLE ALWAYS TRIGGER {quoted(self.trigger(one))}" for one in ("ins", "upd"))
        return (
            self._function(),
            f"SET LOCAL search_path = {self._path}",
            *(f"SELECT {one.fill.text} FROM {self.table} WHERE false" for one in self.gaps),
            self._trigger("ins", "INSERT", self._when_inserted()),
            self._trigger("upd", "UPDATE", self._when_updated()),
            f"ALTER TABLE {self.table} {', '.join(always)}",
        )

    def dropped(self) -> tuple[str, ...]:
        """Write what ends it."""
        if self.is_idle:
            return ()
        triggers = (f"DROP TRIGGER {quoted(self.trigger(one))} ON {self.table}" for one in ("ins", "upd"))
        return (*triggers, f"DROP FUNCTION {self.function}()")

    def counter_created(self) -> tuple[str, ...]:
        """Write what makes the counter, which every role that writes rows moves."""
        if not self.counts:
            return ()
        return (
            f"CREATE SEQUENCE {self.counter}",
            f"GRANT USAGE ON SCHEMA {HOUSE} TO PUBLIC",
            f"GRANT USAGE ON SEQUENCE {self.counter} TO PUBLIC",
        )

    def counter_dropped(self) -> tuple[str, ...]:
        """Write what takes the counter away."""
        return () if not self.counts else (f"DROP SEQUENCE {self.counter}",)

    def _trigger(self, event: str, verb: str, when: str) -> str:
        return (
            f"CREATE TRIGGER {quoted(self.trigger(event))} BEFORE {verb} ON {self.table} FOR EACH ROW\n"
            f"    WHEN ({when})\n"
            f"    EXECUTE FUNCTION {self.function}()"
        )

    def _when_inserted(self) -> str:
        pairs = (self._alone(one.needs_filling("NEW")) for one in self.pairs)
        gaps = (one.is_open("NEW") for one in self.gaps)
        return "\n        OR ".join((*pairs, *gaps))

    def _when_updated(self) -> str:
        pairs = (self._alone(one.is_torn()) for one in self.pairs)
        gaps = (one.is_open("NEW") for one in self.gaps)
        return "\n        OR ".join((*pairs, *gaps))

    def _alone(self, condition: str) -> str:
        return condition if self._is_single else f"({condition})"

    @property
    def _is_single(self) -> bool:
        return len(self.pairs) + len(self.gaps) == 1

    @property
    def _path(self) -> str:
        schemas = dict.fromkeys(("pg_catalog", self.table.schema or PUBLIC, PUBLIC))
        return f"{', '.join(map(quoted, schemas))}, pg_temp"

    def _function(self) -> str:
        return (
            f"CREATE FUNCTION {self.function}() RETURNS trigger LANGUAGE plpgsql SET search_path = {self._path}"
            f" AS {_TAG}\n" + "\n".join(self._body()) + f"\n{_TAG}"
        )

    def _body(self) -> Iterator[str]:
        alone = self._is_single  # then WHEN has asked everything already
        yield "BEGIN"
        if self.pairs:
            yield "    IF TG_OP = 'INSERT' THEN"
            for one in self.pairs:
                yield from _indented(_guarded(one.needs_filling("NEW"), self._insert(one), alone=alone), 2)
            yield "    ELSE"
            for one in self.pairs:
                yield from _indented(_guarded(one.is_torn(), self._update(one), alone=alone), 2)
            yield "    END IF;"
        for gap in self.gaps:
            filled = (f"NEW.{quoted(gap.column)} := {gap.fill.of('NEW')};", self._count())
            yield from _indented(_guarded(gap.is_open("NEW"), filled, alone=alone), 1)
        yield "    RETURN NEW;"
        yield "END"

    def _insert(self, pair: Pair) -> Iterator[str]:
        yield f"IF {all_null(pair.new, 'NEW')} THEN"
        yield from _indented((*_assigned(pair.forward), *self._inserted(pair)), 1)
        yield "ELSE"
        yield from _indented(_assigned(pair.backward), 1)
        yield "END IF;"

    def _update(self, pair: Pair) -> Iterator[str]:
        yield f"IF {pair.changed(pair.new)} THEN"
        yield from _indented(_assigned(pair.backward), 1)
        yield "ELSE"
        yield from _indented((*_assigned(pair.forward), *self._updated(pair)), 1)
        yield "END IF;"

    def _inserted(self, pair: Pair) -> tuple[str, ...]:
        """Count a new row; both releases write a column that is swapped, and both leave one out that has a default."""
        if pair.is_swapped:
            return ()
        if not pair.defaults:
            return (self._count(),)
        written = pair.is_written("NEW")
        return (self._count(written),) if written else ()

    def _updated(self, pair: Pair) -> tuple[str, ...]:
        """Count a write, but for one of a foreign key: it writes the old column first, whoever changed its partner."""
        if pair.is_swapped:
            return ()
        return (self._count("pg_trigger_depth() = 1" if pair.is_cascaded else None),)

    def _count(self, condition: str | None = None) -> str:
        where = f" WHERE {condition}" if condition else ""
        return f"PERFORM nextval({literal(str(self.counter))}){where};"


def _assigned(side: Mapping[str, RowExpression]) -> tuple[str, ...]:
    return tuple(f"{at('NEW', name)} := {one.of('NEW')};" for name, one in side.items())


def _guarded(question: str, lines: Iterator[str] | tuple[str, ...], *, alone: bool) -> Iterator[str]:
    if alone:
        yield from lines
        return
    yield f"IF {question} THEN"
    yield from _indented(lines, 1)
    yield "END IF;"


def _indented(lines: Iterator[str] | tuple[str, ...], levels: int) -> Iterator[str]:
    return ("    " * levels + one for one in lines)
