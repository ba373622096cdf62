"""Texts on which rules of the lint must fire, and texts on which they must not: one table per family."""

from __future__ import annotations

from dataclasses import dataclass, field

from hitless.schema.linting import catalog_of, lint
from hitless.schema.reading.source import Source
from hitless.schema.report import Report
from hitless.schema.rules.rule import Settings


@dataclass(frozen=True)
class Case:
    """Migrations as one history.

    Attributes:
        files: their texts, in order; what the rule must, or must not, find is in the last.
        schema: what is there before.
    """

    files: tuple[str, ...]
    schema: str = ""
    settings: Settings = field(default_factory=Settings)

    @property
    def report(self) -> Report:
        sources = [Source(f"{number}.sql", text) for number, text in enumerate(self.files, start=1)]
        return lint(sources, catalog=catalog_of(Source("schema.sql", self.schema)), settings=self.settings)


def case(
    *files: str,
    schema: str = "",
    postgres: int = 15,
    in_transaction: bool = False,
    enable: str = "",
    one_release: bool = False,
) -> Case:
    chosen = frozenset(enable.split())
    return Case(
        files,
        schema,
        Settings(postgres=postgres, in_transaction=in_transaction, chosen=chosen, one_release=one_release),
    )


@dataclass(frozen=True)
class Cases:
    """What a rule fires on, and what not."""

    fires: tuple[Case, ...]
    silent: tuple[Case, ...]


def cases(fires: list[str | Case], silent: list[str | Case]) -> Cases:
    return Cases(tuple(map(_case, fires)), tuple(map(_case, silent)))


def _case(one: str | Case) -> Case:
    return case(one) if isinstance(one, str) else one


def small(table: str) -> str:
    return f"-- hitless: rows {table} 900\n"
