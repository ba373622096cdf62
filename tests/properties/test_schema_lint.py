"""No text makes the lint fail: it is judged, or told to be unreadable."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))  # the texts of the rules' own tests

import itertools

from schema_cases_compatibility import COMPATIBILITY, SHOP
from schema_cases_locks import LOCKS, PARTS, USERS
from schema_cases_release import RELEASE
from schema_cases_rows import ROWS
from schema_cases_style import OPTIONAL, STYLE
from schema_cases_transactions import TRANSACTIONS

from hitless.schema.linting import catalog_of, lint
from hitless.schema.reading.cutting import cut
from hitless.schema.reading.source import Source, decode
from hitless.schema.rules.registry import RULES
from hitless.schema.rules.rule import Settings

CASES = (LOCKS | TRANSACTIONS | COMPATIBILITY | ROWS | RELEASE | OPTIONAL | STYLE).values()
STATEMENTS = [USERS, PARTS, SHOP, *(text for found in CASES for text in found.silent[0].files)]
STATEMENTS += [text for found in CASES for one in found.fires for text in one.files]
EVERY = Settings(chosen=frozenset(RULES))
PIECES = [
    *{word for text in STATEMENTS for word in text.split()},
    "'",
    '"',
    "$$",
    "/*",
    "*/",
    "--",
    "\\",
    ";",
    "(",
    "\n",
]


def holds(text: str) -> None:
    known = catalog_of(Source("0.sql", text))
    report = lint([Source("1.sql", text), Source("2.sql", text)], catalog=known, settings=EVERY)
    lines = text.count("\n") + 1
    assert all(1 <= one.line <= lines and one.column >= 1 for one in (*report.findings, *report.unread))


@given(st.text())
def test_any_text(text: str) -> None:
    holds(text)


@given(st.binary())
def test_any_bytes(content: bytes) -> None:
    holds(decode("1.sql", content).text)


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_any_words_of_sql(words: list[str]) -> None:
    holds(" ".join(words))


@given(st.lists(st.sampled_from(STATEMENTS), max_size=6), st.integers(0, 400), st.integers(0, 400))
def test_any_statements_one_behind_another_cut_anywhere(texts: list[str], start: int, end: int) -> None:
    whole = ";\n".join(texts)
    holds(whole)
    holds(whole[start:])
    holds(whole[: len(whole) - end])


@given(st.lists(st.sampled_from([*PIECES, *STATEMENTS]), max_size=30).map("".join))
def test_cutting_loses_nothing_but_comments_and_what_is_no_sql(text: str) -> None:
    found = list(cut(text))
    assert all(0 <= one.start <= one.end <= len(text) for one in found)
    assert all(before.end <= after.start for before, after in itertools.pairwise(found))
