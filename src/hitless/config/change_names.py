"""The names of the changes that a release needs: they stand in the change files, which `hitless.yaml` names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hitless.config.document import LARGEST_FILE, read_document
from hitless.config.values import Problem, shown
from hitless.rollout.spec import ChangeSpec, ServiceSpec


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
        with (directory / change.file).open("rb") as file:
            text = file.read(LARGEST_FILE + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        cause = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not UTF-8"
        return Problem(
            message=f"`{change.file}` cannot be read: {cause}", hint=f"paths are relative to {directory}", at=at
        )
    document = read_document(text, name=change.file)
    if document.findings:
        first = document.findings[0]
        return Problem(message=f"{first.place}: {first.message}", hint=first.hint, at=at)
    name = document.value.get("change") if isinstance(document.value, dict) else None
    if not isinstance(name, str) or not name:
        return Problem(
            message=f"`{change.file}` names no change: {shown(name)}", hint="it begins with `change: NAME`", at=at
        )
    return replace(change, name=name)


def _twice(changes: tuple[ChangeSpec, ...]) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, one in enumerate(changes):
        if one.name in seen:
            yield Problem(
                message=f"the change `{one.name}` is named twice", hint="keep one", at=("database", "changes", number)
            )
        seen.add(one.name)
