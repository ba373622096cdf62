"""From the text of a change file to a change. What is wrong is found with its place, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hitless.config.change_models import (
    ALL,
    ENTRIES,
    AddSection,
    ChangeSection,
    EnumSection,
    Part,
    SplitSection,
    keys_of,
    read_name,
)
from hitless.config.complaints import problems_of
from hitless.config.document import Document, read_document
from hitless.config.findings import Finding, shown_path
from hitless.config.section import Section
from hitless.config.spelling import did_you_mean
from hitless.config.values import Loc, Problem
from hitless.errors import Place, UserError
from hitless.schema.change.intent import (
    Add,
    Change,
    Demand,
    DropColumns,
    DropTable,
    ExtendEnum,
    Intent,
    MakeIndex,
    MakeUnique,
    Move,
    Reference,
    Rename,
    ReplaceEnum,
    Require,
    Retype,
    Split,
    WidenKey,
)

INTENTS = tuple(one for one in ChangeSection.model_fields if one not in {"change", "table", "verify"})
"""Keys that say what is wanted."""


class ChangeUnreadable(UserError):
    """The change file cannot be read."""

    code = "HL2110"


class InvalidChange(UserError):
    """The change file breaks the rules; every finding is listed with its place."""

    code = "HL2111"

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        self.findings = findings
        first, more = findings[0], len(findings) - 1
        super().__init__(
            f"{first.message}, and {more} more problem{'s' * (more > 1)}" if more else first.message,
            place=first.place,
            evidence=tuple(str(one) for one in findings) if more else (),
            hints=(first.hint,) if first.hint else ("hitless explain HL2111   # what a change file says",),
        )


def read_change(path: Path) -> Change:
    """Read a change from its file.

    Raises:
        ChangeUnreadable: there is no such file, or it cannot be read.
        InvalidChange: it breaks the rules; holds every finding.
    """
    name = shown_path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ChangeUnreadable(f"{name} is not UTF-8", place=Place(name), hints=("save it as UTF-8",)) from None
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        raise ChangeUnreadable(f"{name} cannot be read: {cause}", place=Place(name), hints=(f"ls -l {name}",)) from None
    return parse_change(text, name=name)


def parse_change(text: str, *, name: str) -> Change:
    """Read a change from text; `name` is what places are given in.

    Raises:
        InvalidChange: it breaks the rules; holds every finding.
    """
    document = read_document(text, name=name)
    change = _change(document) if not document.findings else None
    if change is None or document.findings:
        found = sorted(document.findings, key=lambda one: (one.place.line or 0, one.place.column or 0))
        raise InvalidChange(tuple(found))
    return change


def _change(document: Document) -> Change | None:
    raw = document.value
    if not isinstance(raw, dict):
        document.add(Problem(message="the file must hold keys and values", hint="begin with `change: NAME`"))
        return None
    try:
        read = ChangeSection.model_validate(raw)
    except ValidationError as error:
        for problem in _problems(error.errors(include_url=False), raw):
            document.add(problem)
        return None
    intents = tuple(one for key in INTENTS for one in _INTENTS[key](getattr(read, key)))
    if not intents:
        hint = "say what is wanted, one or several of: " + ", ".join(INTENTS)
        document.add(Problem(message="the change wants nothing", hint=hint, at=("change",), is_about_key=True))
    for problem in _twice(raw):
        document.add(problem)
    return Change(
        name=read.change,
        table=read_name(read.table),
        intents=intents,
        sample=read.verify.sample,
        lossy=read.verify.lossy,
    )


def _problems(errors: list[ErrorDetails], raw: Mapping[str, Any]) -> Iterator[Problem]:
    unknown = [one for one in errors if one["type"] in {"extra_forbidden", "missing"}]
    others = [one for one in errors if one not in unknown and one["type"] != "literal_error"]
    literals = [one for one in errors if one["type"] == "literal_error"]
    found = [*map(_of_key, unknown), *problems_of(others), *map(_of_word, literals)]
    misspelt = {(problem.at[:-1], problem.meant) for problem in found if problem.meant}
    for problem in found:
        if (problem.at, problem.missing) not in misspelt:
            yield replace(problem, at=_written(problem.at, raw))


def _written(at: Loc, raw: Mapping[str, Any]) -> Loc:
    """Leave out what pydantic puts into a path that is not in the file: kinds of unions, the place in a list of one."""
    steps = tuple(one for one in at if not (isinstance(one, str) and ("[" in one or one == "str")))
    if steps[:1] == ("split",) and isinstance(raw.get("split"), dict) and steps[1:2] == (0,):
        return (steps[0], *steps[2:])
    return steps


def _of_key(details: ErrorDetails) -> Problem:
    at = tuple(details["loc"])
    known = list(keys_of(_section_at(at[:-1])))
    word = str(at[-1])
    if details["type"] == "missing":
        return Problem(
            message=f"`{word}` is missing", hint=f"add `{word}: ...`", at=at[:-1], is_about_key=True, missing=word
        )
    meant = did_you_mean(word, known)
    hint = f"did you mean `{meant}`?" if meant else "known here: " + ", ".join(f"`{one}`" for one in known)
    return Problem(message=f"unknown key `{word}`", hint=hint, at=at, is_about_key=True, meant=meant)


def _section_at(at: Loc) -> type[Section]:
    if not at:
        return ChangeSection
    return Part if "into" in at else ENTRIES.get(str(at[0]), ChangeSection)


def _of_word(details: ErrorDetails) -> Problem:
    at = tuple(details["loc"])
    expected = str(details.get("ctx", {}).get("expected", "")).replace("'", "`")
    return Problem(message=f"`{at[-1]}` must be {expected}", at=at)


def _twice(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Find columns that two intents are about: which comes first would be a matter of luck."""
    seen: dict[str, str] = {}
    for key in ("rename", "type", "not_null", "drop", "add", "primary_key"):
        columns = raw.get(key)
        for column in columns if isinstance(columns, dict | list) else ():
            if isinstance(column, str) and column in seen and key != seen[column]:
                hint = "one change after the other; a new name and a new type go together: type: {c: {to: T, as: NAME}}"
                message = f"`{column}` stands under `{seen[column]}` and under `{key}`"
                yield Problem(message=message, hint=hint, at=(key, column), is_about_key=True)
            seen.setdefault(str(column), key)


def _splits(sections: list[SplitSection]) -> Iterator[Intent]:
    for one in sections:
        inverse = {one.from_[0]: one.inverse} if isinstance(one.inverse, str) else one.inverse
        yield Split(
            sources=tuple(one.from_),
            into={name: part.as_ for name, part in one.into.items()},
            inverse={name: inverse[name] for name in one.from_},
            types={name: part.type for name, part in one.into.items() if "type" in part.model_fields_set},
        )


def _drops(said: Any) -> Iterator[Intent]:
    if ALL in said:
        yield DropTable()
    elif said:
        defaults = {name: one.default for name, one in said.items() if one.default is not None}
        yield DropColumns(columns=tuple(said), defaults=defaults)


def _moves(said: Any) -> Iterator[Intent]:
    if said is not None:
        columns = said.columns if isinstance(said.columns, dict) else {one: one for one in said.columns}
        yield Move(columns=columns, to=read_name(said.to), key=said.key)


def _enums(said: Mapping[str, EnumSection]) -> Iterator[Intent]:
    for name, one in said.items():
        if one.column is not None:
            yield ReplaceEnum(column=one.column, type=read_name(name), values=tuple(one.values), mapping=one.map)
        else:
            yield ExtendEnum(type=read_name(name), values=tuple(one.add), before=one.before, after=one.after)


def _added(name: str, one: AddSection) -> Intent:
    return Add(column=name, type=one.type, default=one.default, fill=one.fill, not_null=one.not_null)


def _each(make: Callable[[str, Any], Intent]) -> Callable[[Mapping[str, Any]], Iterator[Intent]]:
    return lambda said: (make(name, one) for name, one in said.items())


_INTENTS: Mapping[str, Callable[[Any], Iterator[Intent]]] = {
    "split": _splits,
    "rename": _each(lambda name, one: Rename(column=name, to=one)),
    "type": _each(
        lambda name, one: Retype(
            column=name, to=one.to, using=one.using, inverse=one.inverse, new_name=one.as_, old_type=one.from_
        )
    ),
    "not_null": _each(lambda name, one: Require(column=name, fill=one.fill)),
    "drop": _drops,
    "add": _each(_added),
    "move": _moves,
    "index": _each(
        lambda name, one: MakeIndex(
            name=name,
            keys=tuple(one.columns),
            is_unique=one.unique,
            method=one.method,
            including=tuple(one.include),
            where=one.where,
        )
    ),
    "unique": _each(
        lambda name, one: MakeUnique(name=name, columns=tuple(one.columns), nulls_not_distinct=one.nulls_not_distinct)
    ),
    "foreign_key": _each(
        lambda name, one: Reference(
            name=name,
            columns=tuple(one.columns),
            table=read_name(one.table),
            referenced=tuple(one.references),
            on_delete=one.on_delete.upper(),
            on_update=one.on_update.upper(),
        )
    ),
    "check": _each(lambda name, one: Demand(name=name, condition=one)),
    "enum": _enums,
    "primary_key": _each(lambda name, one: WidenKey(column=name, to=one)),
}
"""How each key becomes intents; the table is total."""
