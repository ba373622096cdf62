"""Comments that speak to the linter.

`-- hitless: allow RULE[, RULE]: reason` before a statement, or on one of its lines, lets pass what they find there.
`-- hitless: contract CHANGE` says that the statement is the last part of a change: rules about what is taken away let
it pass, because whether a version still uses it is for the contract guard to say when the migration runs.
`-- hitless: rows TABLE 12000000` says about how many rows a table has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hitless.schema.names import Name
from hitless.schema.reading.cutting import Comment

_ALLOW = re.compile(r"\s*hitless:\s*allow\s+(?P<rules>[\w\s,-]+?)\s*(?::(?P<reason>.*))?\Z", re.IGNORECASE)
_CONTRACT = re.compile(r"\s*hitless:\s*contract\s+(?P<change>[\w.-]+)\s*\Z", re.IGNORECASE)
_ROWS = re.compile(
    r"""\s*hitless:\s*rows\s+(?P<table>(?:"[^"]+"|[\w.$])+)\s*[:=]?\s*(?P<rows>[\d_,]+)\s*\Z""", re.IGNORECASE
)
LONGEST_LINE = 1_000
"""Characters of a line that may speak to the linter: a pattern that fails on a long one takes time."""

_PART = re.compile(r'"((?:[^"]|"")+)"|([^."]+)')


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a comment allows, and why.

    Attributes:
        rules: by name; none where it is a contract.
        start: the comment's offset.
        is_contract: all rules about what is taken away are meant.
    """

    rules: tuple[str, ...]
    reason: str
    start: int
    is_contract: bool = False


def allowances_in(comments: Iterable[Comment]) -> Iterator[Allowance]:
    """Read the comments that allow something."""
    for comment in comments:
        for line, start in _lines(comment):
            if said := _ALLOW.match(line):
                rules = tuple(one for one in re.split(r"[\s,]+", said["rules"].lower()) if one)
                yield Allowance(rules, (said["reason"] or "").strip(), start)
            elif said := _CONTRACT.match(line):
                reason = f"contract of {said['change']}; the guard says whether a version still uses it, when it runs"
                yield Allowance((), reason, start, is_contract=True)


def rows_in(comments: Iterable[Comment]) -> Iterator[tuple[Name, int]]:
    """Read the comments that say how large tables are."""
    for comment in comments:
        for line, _ in _lines(comment):
            if said := _ROWS.match(line):
                yield _name(said["table"]), int(re.sub(r"\D", "", said["rows"]) or 0)


def _lines(comment: Comment) -> Iterator[tuple[str, int]]:
    """Block comments may hold several, a line each."""
    for line in comment.text.splitlines():
        if len(line) <= LONGEST_LINE:
            yield line.removesuffix("\r").lstrip("* "), comment.start


def _name(text: str) -> Name:
    parts = [quoted.replace('""', '"') if quoted else plain.lower() for quoted, plain in _PART.findall(text)]
    return Name(parts[-1], parts[-2] if len(parts) > 1 else None)
