"""What hangs on a table, as anybody sees it who knows names alone; and how two such fingerprints differ.

A swap gives a column's name to another column. Everything that hung on the name before must hang on it afterwards:
indexes, constraints, foreign keys of other tables, defaults, sequences, views, privileges, triggers, publications ...
The plan says how each of them is carried over; whether it was is not believed, but compared.

Rules.
* What is called after us (`hitless_...`), or stands in the schema `hitless`, hangs on nothing: shadows, former columns,
  and whatever is made of them.
* What an exchange means to change is left out, and nothing else: the type of the columns and of views' columns, the
  text of their defaults, casts in definitions, the bounds of their sequences, and whether a foreign key is validated,
  which is done right after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hitless.schema.names import quoted

_OURS = re.compile(r"\bhitless_|\bzzz_hitless_|\bhitless\.")
_CAST = re.compile(
    r"""::(?:"[^"]+"|\w+)(?:\.(?:"[^"]+"|\w+))?(?:\ varying|\ precision)?(?:\([\d,\ ]+\))?"""
    r"""(?:\ with(?:out)?\ time\ zone)?(?:\[\])*"""
)
_TEXTS = frozenset({"definition", "default", "using", "with_check", "partition_bound"})
_MADE_OF_COLUMNS = frozenset({"index", "constraint", "statistics"})
"""What is made anew for the new columns, and stays with the former; what else names a former column was left behind."""

DEFAULT_COLLATION = 'pg_catalog."default"'
LAST_VALUE = "last_value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hanging:
    """Something that hangs on a table, or the table itself.

    Attributes:
        kind: relation, column, index, constraint, sequence, trigger ...
        on: the relation, with its schema, as SQL writes it.
        name: its own.
        facets: what is known of it, by what it is; None = there is none.
    """

    kind: str
    on: str
    name: str
    facets: Mapping[str, str | None]

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by."""
        return (self.kind, self.on, self.name)

    @property
    def shown(self) -> str:
        """Write it as people say it."""
        return f"{self.kind} {self.name}" if self.name == self.on else f"{self.kind} {self.name} on {self.on}"

    @property
    def is_ours(self) -> bool:
        """Tell whether it is made of, or for, what is called after us."""
        names = [self.name, self.on, self.facets.get("owned_by") or ""]
        if self.kind in _MADE_OF_COLUMNS:
            names.append(self.facets.get("definition") or "")
        return any(_OURS.search(one) for one in names)


Fingerprint = tuple[Hanging, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that hung on the table and does not, does now, or hangs on it otherwise.

    Attributes:
        facet: in what it differs; empty where it is lost or new.
    """

    kind: Literal["lost", "new", "changed"]
    what: str
    facet: str = ""
    before: str | None = None
    after: str | None = None

    @property
    def sentence(self) -> str:
        """Say it in words."""
        if self.kind != "changed":
            return f"{self.what} is {'gone' if self.kind == 'lost' else 'new'}"
        return f"{self.what}: {self.facet.replace('_', ' ')} was {_said(self.before)}, is {_said(self.after)}"


def differences(before: Fingerprint, after: Fingerprint, *, exchanged: Collection[str] = ()) -> tuple[Difference, ...]:
    """Compare what hung on a table with what does.

    Args:
        before: what hung on it.
        after: what does.
        exchanged: columns whose names went to other columns in between: what that means to change is left out.
    """
    there = {one.key: one for one in before if not one.is_ours}
    now = {one.key: one for one in after if not one.is_ours}
    lost = (Difference(kind="lost", what=one.shown) for key, one in there.items() if key not in now)
    new = (Difference(kind="new", what=one.shown) for key, one in now.items() if key not in there)
    both = ((one, now[key]) for key, one in there.items() if key in now)
    changed = (found for one, other in both for found in _changed(one, other, exchanged))
    return (*lost, *changed, *new)


def _changed(before: Hanging, after: Hanging, exchanged: Collection[str]) -> Iterator[Difference]:
    for facet in sorted({*before.facets, *after.facets}):
        was, now = before.facets.get(facet), after.facets.get(facet)
        if was == now or _is_later(facet, was, now) or _is_meant(before, facet, was, now, exchanged):
            continue
        yield Difference(kind="changed", what=before.shown, facet=facet, before=was, after=now)


def _is_later(facet: str, was: str | None, now: str | None) -> bool:
    """Tell whether a sequence has only gone on; one that has given nothing yet has no last value."""
    if facet != LAST_VALUE:
        return False
    if was is None:
        return True
    return now is not None and abs(int(now)) >= abs(int(was))


def _is_meant(one: Hanging, facet: str, was: str | None, now: str | None, exchanged: Collection[str]) -> bool:
    """Tell whether the exchange means to change it."""
    if not exchanged:
        return False
    if facet in _TEXTS and was is not None and now is not None and _without_casts(was) == _without_casts(now):
        return True
    names = {quoted(column) for column in exchanged}
    is_exchanged = names & {one.name, one.facets.get("owned_by")}
    judge = _MEANT.get((one.kind, facet))
    return judge is not None and (bool(is_exchanged) or one.kind in _BESIDE) and judge(was, now)


def _always(_was: str | None, _now: str | None) -> bool:
    return True


def _is_usual(was: str | None, now: str | None) -> bool:
    """Tell whether a collation goes because the new type has none, or comes because the new type has one."""
    return now is None or (was is None and now == DEFAULT_COLLATION)


def _is_handed_over(was: str | None, now: str | None) -> bool:
    """Tell whether there is a default before and afterwards; what is drawn from a sequence is compared as a text."""
    return was is not None and now is not None and "nextval(" not in was


_MEANT: Mapping[tuple[str, str], Callable[[str | None, str | None], bool]] = {
    ("column", "type"): _always,
    ("column", "collation"): _is_usual,
    ("column", "default"): _is_handed_over,
    ("view column", "type"): _always,
    ("view column", "collation"): _is_usual,
    ("sequence", "type"): _always,
    ("sequence", "least"): _always,
    ("sequence", "greatest"): _always,
    ("constraint", "is_valid"): _always,
}
_BESIDE = frozenset({"view column", "constraint"})
"""What an exchange touches under any name."""


def _without_casts(text: str) -> str:
    return re.sub(r"[()\s]", "", _CAST.sub("", text))


def _said(value: str | None) -> str:
    return "none" if value is None else " ".join(value.split())


def proven(after: Fingerprint, before: Fingerprint) -> Fingerprint:
    """Return a fingerprint in which constraints are as valid as they were before: they are validated next."""
    valid = {one.key: one.facets.get("is_valid") for one in before if one.kind == "constraint"}
    return tuple(
        Hanging(kind=one.kind, on=one.on, name=one.name, facets={**one.facets, "is_valid": valid[one.key]})
        if one.key in valid
        else one
        for one in after
    )


def document_of(fingerprint: Fingerprint) -> list[list[Any]]:
    """Return a fingerprint as JSON values; what is called after us is left out."""
    return [[one.kind, one.on, one.name, dict(one.facets)] for one in fingerprint if not one.is_ours]


def fingerprint_of(document: Iterable[Any]) -> Fingerprint:
    """Read one."""
    return tuple(Hanging(kind=kind, on=on, name=name, facets=facets) for kind, on, name, facets in document)
