"""What every section of `hitless.yaml` is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from hitless.config.values import BadValueError, Problem

_MISSING: Any = object()


def setting(description: str, *, default: Any = _MISSING, example: Any = None, **limits: Any) -> Any:
    """Declare a setting; its default is written as in the file and read by the same rules, None = not set."""
    examples = None if example is None else [example]
    if default is _MISSING:
        return Field(description=description, examples=examples, **limits)
    return Field(default, description=description, examples=examples, validate_default=default is not None, **limits)


def section(description: str, of: type[BaseModel]) -> Any:
    """Declare a section that may be left out: all of its settings have defaults."""
    return Field(default_factory=of, description=description)


def raise_if_any(problems: Iterable[Problem]) -> None:
    """Hand the problems that a rule has found to pydantic, all in one."""
    found = tuple(problems)
    if found:
        raise BadValueError(*found)


class Section(BaseModel):
    """A mapping with known keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
