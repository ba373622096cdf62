"""The page `docs/reference/errors.md`, as `python -m hitless.explain` prints it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import hitless
from hitless.errors import HitlessError

_HEAD = """\
# Errors

Every error that hitless tells a user. This page is generated from the code: `python -m hitless.explain >
docs/reference/errors.md`. `hitless explain CODE` says what to do about one, without a network.

A code never changes its meaning. *Exit* is what a script sees, *HTTP* what a client of the API sees.

| code | class | exit | HTTP | meaning |
| --- | --- | --- | --- | --- |
"""


def error_classes() -> list[type[HitlessError]]:
    """Import all of hitless and return every class of error in it, by code."""
    for module in pkgutil.walk_packages(hitless.__path__, f"{hitless.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {found for found in _with_subclasses(HitlessError) if found.__module__.startswith(f"{hitless.__name__}.")}
    return sorted(ours, key=lambda found: (found.code, found.__name__))


def _with_subclasses(root: type[HitlessError]) -> Iterator[type[HitlessError]]:
    yield root
    for child in root.__subclasses__():
        yield from _with_subclasses(child)


def reference() -> str:
    """Return the page."""
    return _HEAD + "".join(f"{_row(found)}\n" for found in error_classes())


def _row(found: type[HitlessError]) -> str:
    meaning = inspect.getdoc(found) or ""
    first = meaning.partition("\n")[0].replace("|", "\\|")
    return f"| {found.code} | `{found.__name__}` | {found.exit_code} | {found.http_status} | {first} |"
