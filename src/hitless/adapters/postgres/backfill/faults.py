"""What keeps a backfill from its end, as people are told it."""

from __future__ import annotations

from collections.abc import Sequence

from hitless.errors import EnvironmentFault, Refused, UserError


class NoKey(Refused):
    """A table cannot be walked through: it has no key that says where a batch ends."""

    code = "HL4530"

    def __init__(self, table: str) -> None:
        super().__init__(
            f"{table} has no primary key, and no unique index over columns that are NOT NULL",
            evidence=("a batch needs a key to say where it ends, and where another worker goes on",),
            hints=(
                f"CREATE UNIQUE INDEX CONCURRENTLY ON {table} (COLUMN);   # of columns that are NOT NULL",
                "then run the same command again",
            ),
        )


class RowRefuses(Refused):
    """A row cannot be filled: its values do not fit the expression or a constraint."""

    code = "HL4531"

    def __init__(self, *, table: str, key: str, why: str, change: str) -> None:
        super().__init__(
            f"the row {key} of {table} cannot be filled: {why}",
            evidence=("all rows before it are filled, and the position is kept",),
            hints=(
                "correct the row, or the expression in the change",
                f"hitless migrate backfill {change}   # goes on from there",
            ),
        )


class HeldUp(EnvironmentFault):
    """Somebody holds locks that a backfill needs, and did not let go of them in time."""

    code = "HL4532"
    exit_code = 5

    def __init__(self, what: str, *, change: str, blockers: Sequence[str]) -> None:
        super().__init__(
            what,
            evidence=tuple(blockers) or ("who holds the lock could not be seen",),
            hints=(
                "end that transaction, if it is forgotten",
                f"hitless migrate backfill {change}   # goes on from there",
            ),
        )


class NotAlike(Refused):
    """Rows say one thing in the old columns and another one in the new columns."""

    code = "HL4533"

    def __init__(self, *, table: str, wrong: int, rows: int, shown: Sequence[str], change: str) -> None:
        more = wrong - len(shown)
        super().__init__(
            f"{wrong:,} of {rows:,} rows of {table} say one thing in the old columns and another one in the new",
            evidence=(*shown, *((f"and {more:,} more",) if more else ())),
            hints=(
                "find out who wrote them: a trigger that was disabled, a session_replication_role, a restore",
                f"hitless migrate undo {change} --to expanded   # then backfill fills them again",
            ),
        )


class NotFillable(Refused):
    """What should be filled or compared is no table that can be walked through."""

    code = "HL4534"


class ServerRefuses(EnvironmentFault):
    """The server does not let a batch be written: a privilege, its disk, a standby."""

    code = "HL4535"
    temporary = False


class NothingBegun(UserError):
    """There is no backfill of this change to steer."""

    code = "HL4536"

    def __init__(self, change: str) -> None:
        super().__init__(
            f"{change} has no backfill that has begun",
            hints=(f"hitless migrate backfill {change}", "hitless migrate status"),
        )
