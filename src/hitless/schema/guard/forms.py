"""The forms in which captured statements come, made into one that a server can prepare.

* Drivers' marks (`%s`, `%(name)s`) become `$1`, `$2`. A driver replaces them inside of strings and comments too, so
  nothing needs to be read of the statement.
* pg_stat_statements writes `$n` where constants stood, also where the grammar takes none: `interval $1`, `date $1`,
  `extract($1 FROM x)`. Those are written so that they can be read; anything else that cannot be is left as it is.
* What stands inside of a function has names of variables where values will be; `expression` of an assignment is
  selected.
"""

from __future__ import annotations

import re

_MARK = re.compile(r"%(?:(?P<percent>%)|\((?P<name>[^)]*)\)[sbt]|[sbt])")
_TYPED = re.compile(
    r"\b(?P<type>interval|date|timestamptz|timetz|time(?:stamp)?(?:\s+with(?:out)?\s+time\s+zone)?|numeric|json|jsonb"
    r"|uuid|inet|cidr|bool|boolean|text|int[248]?|integer|bigint|smallint|bytea|float[48]|double\s+precision|point|money)"
    r"(?:\s*\(\s*\d+(?:\s*,\s*\d+)?\s*\))?"
    r"\s+(?P<mark>\$\d+)(?:\s+(?P<unit>year|month|day|hour|minute|second)(?:\s+to\s+\w+)?\b)?",
    re.IGNORECASE,
)
_EXTRACT = re.compile(r"\bextract\s*\(\s*\$\d+\s+from\b", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"^\s*[\w.\"$\[\]]+\s*:?=\s*", re.DOTALL)


def numbered(text: str, marks: str) -> str:
    """Number the marks of a driver: `$` numbered already, `%` as psycopg and psycopg2 have them."""
    if marks != "%":
        return text
    names: dict[str, int] = {}
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found["percent"]:
            return "%"
        name = found["name"]
        if name is not None and name in names:
            return f"${names[name]}"
        count += 1
        if name is not None:
            names[name] = count
        return f"${count}"

    return _MARK.sub(number, text)


def readable(text: str) -> str:
    """Write constants that were taken out of a place where the grammar takes no parameter."""
    text = _TYPED.sub(lambda found: f"CAST({found['mark']} AS {found['type']})", text)
    return _EXTRACT.sub("extract(epoch FROM", text)


def selected(text: str) -> str | None:
    """Write a function's assignment, `x := (SELECT ...)`, as a query; None = it is none."""
    found = _ASSIGNMENT.match(text)
    return f"SELECT {text[found.end() :]}" if found is not None and ":=" in found.group() else None
