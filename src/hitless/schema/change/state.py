"""What is known of a change that is under way, and of what was left behind: values that a database's adapter reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from hitless.schema.change.standing import LEADS_TO, ORDER, Standing
from hitless.schema.change.steps import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A step that is done."""

    at: datetime
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """How far a backfill is.

    Attributes:
        rows: that were looked at; `changed`: those that were written.
        upper, position: keys, as JSON.
    """

    step: str
    rows: int
    changed: int
    batches: int
    upper: Any
    position: Any
    is_paused: bool
    begun_at: datetime
    changed_at: datetime
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a change."""

    number: int
    at: datetime
    actor: str
    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A session that holds a change; `age_s` = seconds since it began, None = not visible here."""

    pid: int | None
    user: str
    application: str
    client: str
    age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeState:
    """A change.

    Attributes:
        spec: what people wrote.
        wanted: where somebody wants it to stand; earlier than `standing` = it is being taken back.
        worker: which process took hold of it last.
        held_by: sessions that hold it now; empty = nobody works on it.
        done: steps that are done.
        begun: steps that were begun, cannot commit with their record, and are not recorded.
        events: the newest, oldest first.
    """

    change: str
    spec: Mapping[str, Any]
    plan: Plan
    standing: Standing
    wanted: Standing
    fence: int
    worker: str | None
    begun_at: datetime
    changed_at: datetime
    held_by: tuple[Holder, ...]
    done: Mapping[str, Done]
    begun: tuple[str, ...]
    fills: tuple[Filled, ...]
    events: tuple[Event, ...]

    @property
    def touched(self) -> frozenset[str]:
        """Steps of which something may be in the database."""
        return frozenset({*self.done, *self.begun, *(one.step for one in self.fills)})

    @property
    def goes_back(self) -> bool:
        """Tell whether it is being taken back and has not arrived: steps are there beyond where it shall stand."""
        wanted = ORDER.index(self.wanted)
        return any(one.id in self.touched and ORDER.index(LEADS_TO[one.part]) > wanted for one in self.plan.steps)


LeftoverKind = Literal["index", "trigger", "function", "sequence", "column", "table", "schema", "lock", "scratch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something in the database that no change accounts for.

    Attributes:
        name: as SQL writes it.
        why: what it is, and what it costs.
        remedy: SQL or a command.
        can_be_fixed: it holds no data, and nothing uses it: `status --fix` takes it away.
    """

    kind: LeftoverKind
    name: str
    why: str
    remedy: str
    can_be_fixed: bool = False
