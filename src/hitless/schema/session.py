"""What a script has done before a statement: its open transaction and its settings. A value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from hitless.schema.actions.action import Action
from hitless.schema.actions.objects import AddEnumValue
from hitless.schema.actions.session import Boundary, SetVariable, TransactionStep
from hitless.schema.effects.effect import Effect
from hitless.schema.names import Name


class Side(StrEnum):
    """What an action is to a release."""

    EXPANDS = "expands"  # new code needs it
    CONTRACTS = "contracts"  # old code needs what it takes away


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An action that a file has taken.

    Attributes:
        line, column: where it stands.
        transaction: number of the transaction; statements on their own have one each.
            in_block: it is a transaction that was begun.
        statement: number of its statement in the file.
            side: of a release; None = neither, or of use to nobody yet.
    """

    action: Action
    effect: Effect
    line: int
    column: int
    transaction: int
    in_block: bool
    statement: int
    side: Side | None = None


class Story:
    """What a file has done, in its order: a value that shares its memory with those it grew from.

    A tuple would be copied with every action, and a dump has a hundred thousand.
    """

    __slots__ = ("_all", "_length", "_start")

    def __init__(self, everything: list[Done] | None = None, length: int = 0, start: int = 0) -> None:
        self._all = everything if everything is not None else []
        self._length = length
        self._start = start

    def __len__(self) -> int:
        return self._length - self._start

    def __iter__(self) -> Iterator[Done]:
        return (self._all[number] for number in range(self._start, self._length))

    def __reversed__(self) -> Iterator[Done]:
        return (self._all[number] for number in range(self._length - 1, self._start - 1, -1))

    def followed_by(self, done: Done) -> Story:
        """Return the story with one more action."""
        grown = self._all if len(self._all) == self._length else self._all[: self._length]
        grown.append(done)
        return Story(grown, self._length + 1, self._start)

    def since(self, start: int) -> Story:
        """Return the end of the story, from the action of this number."""
        return Story(self._all, self._length, start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Where a file stands.

    Attributes:
        in_block: BEGIN was said, or whoever runs the file says it.
        is_wrapped: whoever runs the file says it.
        began_line: the line of the BEGIN.
        began_with: number of the action that the transaction began with.
        done: what the file has done so far.
        held: tables in use that the open transaction keeps writers from, and since which action.
        added_values: values that the open transaction has added to enums.
        has_waited: the file has asked for a lock that keeps writers from a table in use.
        settings: what SET has set, for the session and for the transaction.
    """

    in_block: bool = False
    is_wrapped: bool = False
    began_line: int = 1
    began_with: int = 0
    transaction: int = 0
    done: Story = field(default_factory=Story)
    held: Mapping[Name, Done] = field(default_factory=dict)
    added_values: tuple[Done, ...] = ()
    has_waited: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    local_settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_transaction(self) -> Story:
        """What the open transaction has done so far."""
        return self.done.since(self.began_with if self.in_block else len(self.done))

    def setting(self, name: str) -> str | None:
        """Return what a setting is set to; None = nobody set it."""
        return self.local_settings.get(name, self.settings.get(name))

    def taking(self, done: Done, closed: tuple[Name, ...]) -> Session:
        """Return the session with one more action, which keeps writers from these tables in use."""
        session = replace(self, done=self.done.followed_by(done), has_waited=self.has_waited or bool(closed))
        if not done.in_block:
            return session
        if new := [name for name in closed if name not in self.held]:
            session = replace(session, held={**self.held, **dict.fromkeys(new, done)})
        if isinstance(done.action, AddEnumValue):
            session = replace(session, added_values=(*self.added_values, done))
        return session

    def after(self, action: Action, line: int) -> Session:
        """Return the session after an action."""
        match action:
            case TransactionStep():
                return self._after_boundary(action, line)
            case SetVariable():
                return self._after_setting(action)
        return self

    def _after_boundary(self, action: TransactionStep, line: int) -> Session:
        match action.boundary:
            case Boundary.BEGIN if not self.in_block:
                return replace(self, in_block=True, began_line=line, began_with=len(self.done))
            case Boundary.COMMIT | Boundary.ROLLBACK | Boundary.PREPARE:
                return replace(
                    self,
                    in_block=action.chains,
                    is_wrapped=False,
                    began_with=len(self.done),
                    transaction=self.transaction + 1,
                    local_settings={},
                    held={},
                    added_values=(),
                )
        return self

    def _after_setting(self, action: SetVariable) -> Session:
        if action.name == "all":
            return replace(self, settings={}, local_settings={})
        settings = dict(self.local_settings if action.is_local else self.settings)
        settings.pop(action.name, None)
        if action.values:
            settings[action.name] = action.values[0]
        return replace(self, local_settings=settings) if action.is_local else replace(self, settings=settings)

    def next_statement(self) -> Session:
        """Count a statement that is a transaction of its own."""
        return self if self.in_block else replace(self, transaction=self.transaction + 1)
