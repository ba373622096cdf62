"""The names of the changes that a release needs: they stand in the change files, which `hitless.yaml` names."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hitless.config.values import Problem
from hitless.errors import UserError
from hitless.rollout.spec import ChangeSpec, ServiceSpec

if TYPE_CHECKING:
    from hitless.schema.change.intent import Change

READER = "hitless.config.change_file"
"""Loaded where a service names changes: the parser of SQL would cost every command 0.1 s."""


def with_change_names(spec: ServiceSpec, *, directory: Path) -> tuple[ServiceSpec, tuple[Problem, ...]]:
    """Read the name of each change from its file; what cannot be read is a problem of its place in `hitless.yaml`."""
    if spec.database is None or not spec.database.changes:
        return spec, ()
    found = [_named(one, number, directory) for number, one in enumerate(spec.database.changes)]
    changes = tuple(one for one in found if isinstance(one, ChangeSpec))
    problems = (*(one for one in found if isinstance(one, Problem)), *_twice(changes))
    return replace(spec, database=replace(spec.database, changes=changes)), problems


def _named(change: ChangeSpec, number: int, directory: Path) -> ChangeSpec | Problem:
    at = ("database", "changes", number, "file")
    try:
        read: Change = importlib.import_module(READER).read_change(directory / change.file)
    except UserError as error:
        is_inside = error.place is not None and error.place.line is not None
        message = f"{error.place}: {error.message}" if is_inside else error.message
        return Problem(message=message, hint=next(iter(error.hints), None), at=at)
    return replace(change, name=read.name)


def _twice(changes: tuple[ChangeSpec, ...]) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, one in enumerate(changes):
        if one.name in seen:
            yield Problem(
                message=f"the change `{one.name}` is named twice", hint="keep one", at=("database", "changes", number)
            )
        seen.add(one.name)
