"""Bodies of functions that PostgreSQL does not look into: PL/pgSQL, other languages, text that is built at run time.

A body is judged by the words in it, strings and comments included: what names the column of the table, or of a view of
it, may use it. What names only the table may take whole rows of it, and what builds statements at run time may send
anything: both are seen as statements where pg_stat_statements tracks nested ones, and are in doubt where not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

_DYNAMIC = re.compile(
    r"\bexecute\b(?!\s+(?:function|procedure)\b)|\bspi_\w+|\bplpy\.(?:cursor|prepare)\b"
    r"|\b(?:query|cursor|table|schema|database)_to_xml|\bts_stat\b",
    re.IGNORECASE,
)
_GIVEN_BACK = re.compile(r"\breturn\s+(?:new|old)\b", re.IGNORECASE)
_WHOLE = re.compile(r"\b(?:new|old)\b(?!\s*\.\s*[\w\"])", re.IGNORECASE)


class Sight(Enum):
    """What a body shows."""

    NAMES_IT = auto()
    NAMES_TABLE = auto()
    DYNAMIC = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What to look for.

    Attributes:
        relations: the table, its parts, and every view that reads them.
        columns: what is removed; empty = the table itself.
    """

    relations: frozenset[str]
    columns: frozenset[str]


def sight(body: str, words: Words, *, is_trigger: bool = False, has_rows: bool = False) -> Sight:
    """Say what a body shows.

    Args:
        body: its text.
        words: what to look for.
        is_trigger: it is a trigger of the table: the table is there as NEW and OLD.
        has_rows: it takes or returns rows of the table.
    """
    near = has_rows or mentions(words.relations, body) or (is_trigger and bool(words.columns))
    if near and (not words.columns or mentions(words.columns, body)):
        return Sight.NAMES_IT
    if _DYNAMIC.search(body):
        return Sight.DYNAMIC
    if has_rows or mentions(words.relations, body) or (is_trigger and _WHOLE.search(_GIVEN_BACK.sub("", body))):
        return Sight.NAMES_TABLE
    return Sight.NOTHING


def mentions(names: frozenset[str], body: str) -> bool:
    """Tell whether a text has one of these names in it, as a word."""
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", body, re.IGNORECASE) for name in names)
