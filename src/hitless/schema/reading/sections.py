"""What a tool for migrations means by its own comments and commands in a file.

dbmate, goose, sql-migrate and Rambler keep the way back in the same file, behind a mark: it is no part of the history.
Some files say that they are run without a transaction. A psql script may include others. `alembic upgrade a:c --sql`
prints several migrations as one text, with a comment before each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_WAY_BACK = re.compile(
    r"^[ \t]*--[ \t]*(?:migrate:down|\+goose[ \t]+down|\+migrate[ \t]+down|rambler[ \t]+down|//@undo)\b.*",
    re.IGNORECASE | re.MULTILINE,
)
_WITHOUT_TRANSACTION = re.compile(
    r"^[ \t]*--[ \t]*(?:migrate:up\b.*transaction:false|\+goose[ \t]+no[ \t]+transaction|\+migrate[ \t]+.*notransaction"
    r"|atlas:txmode[ \t]+none|no-transaction|hitless:[ \t]*no[ \t]+transaction)\b",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT = re.compile(r"Running upgrade\b.* -> \S+")
_INCLUDED = re.compile(r"^[ \t]*\\(?:i|ir|include|include_relative)[ \t]+(?P<file>\S+)", re.MULTILINE)


def way_forward(text: str) -> str:
    """Return the file without its way back."""
    mark = _WAY_BACK.search(text)
    return text[: mark.start()] if mark else text


def runs_without_transaction(text: str) -> bool:
    """Tell whether the file says that its tool must not wrap it."""
    return _WITHOUT_TRANSACTION.search(text) is not None


def begins_migration(comment: str) -> bool:
    """Tell whether a comment stands between two migrations of one text."""
    return _NEXT.match(comment) is not None


def included_files(text: str) -> Iterator[tuple[int, str]]:
    """Name the files that a psql script includes, with the offsets where it does."""
    return ((found.start("file"), found["file"]) for found in _INCLUDED.finditer(text))
