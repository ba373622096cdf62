"""A file of plain SQL as a plan: each statement, or each transaction that it opens, is a step.

Rules.
* What builds or drops an index concurrently is a `Build`; what hinders no writer, or reads or writes a table to its end
  because the file allows it, is a `Validate`: it may take its time. Anything else changes the catalogue alone.
* What a file sets (`SET search_path`) holds for what follows in it, and each step is a transaction of its own: so each
  begins with `SET LOCAL`. Time-outs are ours.
* What cannot be run in a transaction, and is no index, is refused: nothing could say whether it was done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hitless.errors import Place, Refused
from hitless.schema.actions.action import Action
from hitless.schema.actions.objects import CreateIndex, Drop
from hitless.schema.actions.session import Boundary, SetVariable, TransactionStep
from hitless.schema.catalog.catalog import Catalog
from hitless.schema.catalog.changes import apply
from hitless.schema.change.standing import Part
from hitless.schema.change.steps import Build, Ddl, Plan, Step, Validate
from hitless.schema.effects.classify import effect_of
from hitless.schema.effects.effect import Effect, Work, merged
from hitless.schema.effects.ground import Ground
from hitless.schema.names import Name
from hitless.schema.reading.script import Read, read_script
from hitless.schema.reading.sections import way_forward
from hitless.schema.reading.source import Source

TIMEOUTS = frozenset(
    {"lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"}
)
TITLE_LENGTH = 100


class CannotRun(Refused):
    """A statement of a file cannot be run so that it can be gone on with."""

    code = "HL4502"


def plan_of_file(source: Source, *, catalog: Catalog, postgres: int) -> Plan:
    """Plan a file; its name is the plan's.

    Args:
        source: the file, which the parser must understand: a lint says so.
        catalog: the schema before it.
        postgres: the server's major version.

    Raises:
        CannotRun: a statement cannot be run so that it can be gone on with.
    """
    steps = _Steps(file=source.name, catalog=catalog, postgres=postgres)
    for one in read_script(way_forward(source.text)):
        if isinstance(one, Read):
            steps.take(one)
    if steps.open_ is not None:
        raise _cannot(source.name, steps.open_[-1] if steps.open_ else None, "the transaction is not ended: COMMIT")
    return Plan(change=source.name.rpartition("/")[2], steps=tuple(steps.made))


@dataclass(slots=True, kw_only=True)
class _Steps:
    """The steps of a file, as they come.

    Attributes:
        settings: what has been set, as SET LOCAL.
        open_: statements of the transaction that is open.
    """

    file: str
    catalog: Catalog
    postgres: int
    settings: list[str] = field(default_factory=list)
    open_: list[Read] | None = None
    effects: list[Effect] = field(default_factory=list)
    made: list[Step] = field(default_factory=list)

    def take(self, one: Read) -> None:
        """Take the next statement."""
        first = one.actions[0] if one.actions else None
        if isinstance(first, TransactionStep):
            self._bound(one, first)
        elif isinstance(first, SetVariable) and not first.is_local:
            self._set(one, first)
        else:
            effect = self._effect(one)
            if self.open_ is None:
                self._step([one], effect)
            else:
                self.open_.append(one)
                self.effects.append(effect)

    def _bound(self, one: Read, step: TransactionStep) -> None:
        match step.boundary:
            case Boundary.BEGIN if self.open_ is None:
                self.open_, self.effects = [], []
            case Boundary.COMMIT if self.open_ is not None and not step.chains:
                if self.open_:
                    self._step(self.open_, merged(tuple(self.effects)))
                self.open_ = None
            case Boundary.SAVEPOINT | Boundary.RELEASE | Boundary.ROLLBACK_TO if self.open_ is not None:
                self.open_.append(one)
            case _:
                raise _cannot(self.file, one, "a file is a list of statements and of transactions that end with COMMIT")

    def _set(self, one: Read, action: SetVariable) -> None:
        if action.name not in TIMEOUTS:
            self.settings.append(_SET.sub("SET LOCAL ", one.statement.text, count=1))

    def _effect(self, one: Read) -> Effect:
        effects = []
        for action in one.actions:
            effects.append(effect_of(action, Ground(catalog=self.catalog, postgres=self.postgres)))
            self.catalog = apply(self.catalog, action)
        return merged(tuple(effects))

    def _step(self, reads: list[Read], effect: Effect) -> None:
        step_id = f"expand.{len(self.made) + 1}"
        line, text = reads[0].statement.first_line, " ".join(reads[0].statement.text.split())
        title = f"{self.file}:{line}: {text[:TITLE_LENGTH]}"
        if effect.outside_transaction:
            self.made.append(self._build(reads[0], step_id, title))
            return
        do = (*self.settings, *(one.statement.text for one in reads))
        takes_its_time = effect.work > Work.NONE or not any(one.mode.blocks_writes for one in effect.locks)
        kind = Validate if takes_its_time else Ddl
        self.made.append(kind(id=step_id, part=Part.EXPAND, title=title, do=do))

    def _build(self, one: Read, step_id: str, title: str) -> Build:
        action = one.actions[0]
        index = _index_of(action)
        if index is None:
            raise _cannot(self.file, one, "it runs outside of any transaction: nothing could say whether it was done")
        if index.schema is None and any("search_path" in setting for setting in self.settings):
            raise _cannot(self.file, one, "write the schema before the names: it runs without the search_path above")
        return Build(
            id=step_id,
            part=Part.EXPAND,
            title=title,
            index=index,
            do=one.statement.text,
            undo="",
            is_drop=isinstance(action, Drop),
        )


_SET = re.compile(r"\ASET\s+(?:SESSION\s+)?", re.IGNORECASE)


def _index_of(action: Action) -> Name | None:
    """Return the index that is built or dropped concurrently."""
    match action:
        case CreateIndex(name=str(name)):
            return Name(name, action.table.schema)
        case Drop(concurrently=True, names=(name,)):
            return name
    return None


def _cannot(file: str, one: Read | None, why: str) -> CannotRun:
    line, column = one.statement.place() if one else (1, 1)
    text = " ".join(one.statement.text.split())[:TITLE_LENGTH] if one else ""
    return CannotRun(
        f"this cannot be run from a file: {why}",
        place=Place(file, line, column),
        evidence=(text,) if text else (),
        hints=("run it by hand, or change the file: hitless explain HL4502",),
    )
