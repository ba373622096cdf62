"""Actions on the transaction and on the session."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hitless.schema.actions.action import Action


class Boundary(StrEnum):
    """What a statement does to the transaction."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback to"
    PREPARE = "prepare"
    COMMIT_PREPARED = "commit prepared"
    ROLLBACK_PREPARED = "rollback prepared"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionStep(Action):
    """BEGIN, COMMIT and their kin; `chains` where the next transaction begins at once."""

    boundary: Boundary
    chains: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVariable(Action):
    """SET and RESET; `values` is empty where it is reset, `name` is `all` for RESET ALL."""

    name: str
    values: tuple[str, ...] = ()
    is_local: bool = False
