"""Looks at a few rows again and again while both releases write: cheap enough for every status.

How. TABLESAMPLE SYSTEM reads pages that are drawn at random, whatever the key; what it reads is counted by one
statement. Rows of a page were often written together, so the pages count as the sample, not the rows: without a wrong
row among n pages, a share of pages with wrong rows above 1 - 0.05^(1/n) is ruled out with 95 % confidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from hitless.adapters.postgres.backfill.faults import NotFillable
from hitless.schema.backfill.confidence import CONFIDENCE, greatest_share
from hitless.schema.change.steps import Compare
from hitless.schema.names import quoted

PAGES = 300
"""One percent is ruled out by 299."""

LONGEST_S = 5
_SIZE = """
WITH RECURSIVE tree AS (
  SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass(%s)
  UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
)
SELECT sum(pg_relation_size(oid) / current_setting('block_size')::int)::bigint FROM tree
"""
_WHOLE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What a sample showed.

    Attributes:
        rows, pages: how many were looked at; both 0 = nothing was seen, and nothing is known.
        wrong: rows that are right in neither direction.
        is_whole: all rows were looked at.
        ruled_out: the share of pages with wrong rows that is ruled out; None where there is one, or all were seen.
        confidence: with which.
        at: when, as the server tells.
    """

    rows: int
    pages: int
    wrong: int
    is_whole: bool
    ruled_out: float | None
    confidence: float
    at: str


def watch_parity(connection: psycopg.Connection, step: Compare, *, pages: int = PAGES) -> Sampled:
    """Compare both sides in pages drawn at random.

    Args:
        connection: outside of a transaction.
        step: what to compare.
        pages: about how many are read.

    Raises:
        NotFillable: there is no such table.
        psycopg.Error: the server: a lock, a time-out after 5 s.
    """
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '50ms'; SET LOCAL statement_timeout = '{LONGEST_S}s'".encode())
        connection.execute("SET LOCAL transaction_read_only = on; SET LOCAL row_security = off")
        size = connection.execute(_SIZE, (str(step.table),)).fetchone()
        if size is None or size[0] is None:
            raise NotFillable(f"there is no table {step.table.shown}", hints=("hitless migrate status",))
        percent = min(_WHOLE, _WHOLE * pages / max(size[0], 1))
        found = connection.execute(_query(step, percent).encode()).fetchone()
    assert found is not None
    rows, read, wrong, at = found
    is_whole = percent >= _WHOLE
    return Sampled(
        rows=rows,
        pages=read,
        wrong=wrong,
        is_whole=is_whole,
        ruled_out=None if wrong or is_whole else greatest_share(read),
        confidence=CONFIDENCE,
        at=at,
    )


def _query(step: Compare, percent: float) -> str:
    right = f"(({step.forward}) IS TRUE OR ({step.backward}) IS TRUE)"
    page = "tableoid::bigint * 4294967296 + (ctid::text::point)[0]::bigint"
    return (
        f"SELECT count(*), count(DISTINCT {page}), count(*) FILTER (WHERE NOT {right}),"
        " to_jsonb(clock_timestamp()) #>> '{}'"
        f" FROM {step.table} AS {quoted(step.table.name)} TABLESAMPLE SYSTEM ({percent:.9f})"
    )
