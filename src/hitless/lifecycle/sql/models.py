"""Columns that an application's models map: every one of them is read and written by its ORM."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def sqlalchemy_models(metadata: Any) -> list[dict[str, Any]]:
    """List the tables of a `MetaData` of SQLAlchemy, with their columns.

    Columns that are deferred count too: a query for them is one attribute away.
    """
    return [
        {"table": table.fullname, "columns": sorted(column.name for column in table.columns), "where": None}
        for table in metadata.sorted_tables
    ]


def django_models(apps: Any) -> list[dict[str, Any]]:
    """List the tables of Django's `apps`, with the columns of their concrete fields."""
    models: Iterable[Any] = apps.get_models(include_auto_created=True)
    return [
        {
            "table": about.db_table.replace('"', ""),
            "columns": sorted(field.column for field in about.concrete_fields),
            "where": f"{one.__module__}.{one.__qualname__}",
        }
        for one in models
        for about in [one._meta]  # noqa: SLF001 - Django's documented name for it
    ]
