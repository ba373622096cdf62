"""The store's tables.

Times are text in the journal's one form, state and data are JSON text: what is exported is what was hashed. A change
here needs a step in `schema.py`.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

META = Table(
    "meta",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("schema_version", Integer, nullable=False),
    Column("journal_seq", Integer, nullable=False),
    Column("journal_hash", String(64), nullable=False),
)

LEASE = Table(
    "lease",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("owner", Text),  # null: given back
    Column("fence", Integer, nullable=False),
    Column("until", String(27), nullable=False),
)

RUN = Table(
    "run",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),  # order of the first write
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False, index=True),
    Column("state", Text, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("updated_at", String(27), nullable=False),
)

JOURNAL = Table(
    "journal",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(27), nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("journal_by_subject", "subject", "seq"),
)
