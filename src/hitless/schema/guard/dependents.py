"""What in the catalogue would break, or silently go, with what is removed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """One object of the user's that needs what is removed.

    Attributes:
        name: as PostgreSQL describes it: `view active_users`.
        why: in words.
        is_told_by_statements: where nested statements are captured, they tell what it sends; so it does not count.
    """

    name: str
    why: str
    is_told_by_statements: bool = False
