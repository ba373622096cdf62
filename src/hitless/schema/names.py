"""Names of relations, columns and other objects, as statements write them, and as they are written back."""

from __future__ import annotations

import re
from dataclasses import dataclass

PUBLIC = "public"
LONGEST_BYTES = 63
"""Longer identifiers are cut off without an error (PostgreSQL, "Identifiers and Key Words": NAMEDATALEN - 1)."""

_BARE = re.compile(r"[a-z_][a-z0-9_$]*\Z")

RESERVED = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast
    char character check coalesce collate collation column concurrently constraint create cross current_catalog
    current_date current_role current_schema current_time current_timestamp current_user dec decimal default deferrable
    desc distinct do else end except exists extract false fetch float for foreign freeze from full grant greatest group
    grouping having ilike in initially inner inout int integer intersect interval into is isnull join json json_array
    json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize json_table json_value
    lateral leading least left like limit localtime localtimestamp merge_action national natural nchar none normalize
    not notnull null nullif numeric offset on only or order out outer overlaps overlay placing position precision
    primary real references returning right row select session_user setof similar smallint some substring symmetric
    system_user table tablesample then time timestamp to trailing treat trim true union unique user using values
    varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest
    xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
    """.split()
)
"""What PostgreSQL quotes too (quote_ident): every key word that is not free to be a column's name."""


def quoted(identifier: str) -> str:
    """Write an identifier, in quotes where it needs them."""
    if _BARE.match(identifier) and identifier not in RESERVED:
        return identifier
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Write a string constant."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Name:
    """Name of a relation, type or function; `schema` is None where the statement writes none."""

    name: str
    schema: str | None = None

    def __str__(self) -> str:
        """Write it as SQL does."""
        return quoted(self.name) if self.schema is None else f"{quoted(self.schema)}.{quoted(self.name)}"

    def within(self, schema: str) -> Name:
        """Return it with a schema: its own, or else this one."""
        return self if self.schema is not None else Name(self.name, schema)

    @property
    def shown(self) -> str:
        """Write it as people say it: without the schema that everything is in."""
        return quoted(self.name) if self.schema == PUBLIC else str(self)

    def sibling(self, name: str) -> Name:
        """Return another name in the same schema."""
        return Name(name, self.schema)


def listed(identifiers: tuple[str, ...]) -> str:
    """Write identifiers with commas between them."""
    return ", ".join(quoted(one) for one in identifiers)


def derived(*parts: str) -> str:
    """Join parts to the name of a new object that is not cut off: what is too long loses its middle part's end."""
    name = "_".join(parts)
    excess = len(name.encode()) - LONGEST_BYTES
    if excess <= 0:
        return name
    head, tail = "_".join(parts[:-1]), parts[-1]
    return head.encode()[: LONGEST_BYTES - len(tail.encode()) - 1].decode(errors="ignore") + "_" + tail
