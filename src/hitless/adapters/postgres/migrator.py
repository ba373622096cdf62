"""Carries changes out: part by part, step by step, and back.

Rules.
* The database says where a change stands, nobody's memory: a worker takes hold, reads what is recorded, and does what
  is not. So any worker goes on where another one was killed.
* A change is carried out by the plan that was kept when it began: the catalogue has changed since, and a plan that was
  made anew from it would be another one.
* A part begins where the one before it is whole. Contracting does one part at a time, and asks the guard before each.
* Back is the same in the opposite order, each step with its record; what was begun and never recorded is taken back
  too. The last change to go takes the schema `hitless` with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from hitless.adapters.postgres import records
from hitless.adapters.postgres.checks import check
from hitless.adapters.postgres.connections import require_room
from hitless.adapters.postgres.database import Database
from hitless.adapters.postgres.exchanging import keep_begun, since_begun, tell_differences
from hitless.adapters.postgres.faults import all_in_words, in_words
from hitless.adapters.postgres.guard import brownout
from hitless.adapters.postgres.hold import Hold, Patience, Told
from hitless.adapters.postgres.keeping import FILE, keep
from hitless.adapters.postgres.patience import Try, patiently
from hitless.adapters.postgres.runners import GUARDED, guard, runner_of
from hitless.adapters.postgres.states import read_states
from hitless.adapters.postgres.taking import must_write, taken, unknown
from hitless.errors import Refused
from hitless.schema.change.fingerprint import Difference
from hitless.schema.change.standing import FORWARD, LEADS_TO, ORDER, Part, Standing, Verb, before, is_at_least
from hitless.schema.change.state import ChangeState
from hitless.schema.change.steps import Plan, Step
from hitless.schema.names import Name


class NotItsTurn(Refused):
    """The part before it is not whole."""

    code = "HL4523"

    def __init__(self, change: str, part: Part, standing: Standing) -> None:
        wanted = before(part)
        verb = next(verb for verb, parts in FORWARD.items() if any(LEADS_TO[one] is wanted for one in parts))
        super().__init__(
            f"{part.value} of {change} begins where it is {wanted.value.replace('_', ' ')}",
            evidence=(f"it is {standing.value.replace('_', ' ')}",),
            hints=(f"hitless migrate {verb.value} {change}",),
        )


class NoWayBack(Refused):
    """What was done cannot be taken back by us."""

    code = "HL4528"


def _is_final(change: str) -> NoWayBack:
    return NoWayBack(
        f"{change} is contracted: the data are gone, and nothing brings them back but a backup",
        hints=("restore a backup from before the drop beside this database, and copy what is missed",),
    )


def _is_file(change: str) -> NoWayBack:
    return NoWayBack(
        f"{change} is a file of statements: it says no way back",
        hints=(
            "write the way back as another file, and run it: hitless migrate run FILE.sql",
            f"hitless migrate undo {change} --forget   # forgets that it was run, and changes nothing else",
        ),
    )


def _silent(_: Told) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrator:
    """Carries out changes of one database.

    Attributes:
        actor: who asks for it.
        tell: told what happens, from the worker's thread; must not raise.
        stopping: once set, work ends at the next moment at which nothing is half done.
        patience: with what takes locks.
        allowed: reasons why checks that find rows may be passed over, by step.
    """

    database: Database
    actor: str
    tell: Callable[[Told], None] = _silent
    stopping: Event = field(default_factory=Event)
    patience: Patience = field(default_factory=Patience)
    allowed: Mapping[str, str] = field(default_factory=dict)

    def register(self, spec: Mapping[str, Any], plan: Plan) -> ChangeState:
        """Keep a change and its plan; one that is kept already stays as it is, and nothing is done yet.

        Args:
            spec: what people wrote, as JSON values: by it, a change is known again.
            plan: how it is carried out. Where no step of it is done, a later plan replaces an earlier one.

        Raises:
            DiffersFromBegun: a change of this name has begun, with another spec.
            ReadOnly, NotPermitted, DatabaseUnreachable, ConnectionLost: the server.
        """
        hold = self._hold(plan.change)
        with self.database.connect() as connection, in_words(self.database):
            must_write(hold, connection)

        def act(one: Try) -> None:
            with in_words(self.database):
                records.make(one.connection)
                keep(one.connection, spec, plan, actor=self.actor)

        patiently(hold, act, is_fenced=False)
        return self.state(plan.change)

    def states(self) -> tuple[ChangeState, ...]:
        """Return where each change stands, in the order in which they began."""
        with self.database.connect() as connection, in_words(self.database):
            return read_states(connection)

    def state(self, change: str) -> ChangeState:
        """Return where a change stands.

        Raises:
            UnknownChange: there is none of this name.
        """
        states = self.states()
        found = next((one for one in states if one.change == change), None)
        if found is None:
            raise unknown(change, tuple(one.change for one in states))
        return found

    def find(self, change: str) -> ChangeState | None:
        """Return where a change stands; None = there is none of this name."""
        return next((one for one in self.states() if one.change == change), None)

    def carry_out(self, change: str, verb: Verb) -> ChangeState:
        """Do what a verb says; what is done already is not done again.

        Raises:
            NotItsTurn: the part before it is not whole.
            ChangeHeld, Fenced: another worker has the change.
            NoRoom: it would take the last connections of the server.
            Stopped: somebody asked to stop.
            Refused, EnvironmentFault: a step's or the guard's own.
        """
        with taken(self._hold(change)) as hold:
            state = self.state(change)
            ahead = _parts(verb, state)
            if ahead:
                self._require_room()
            for part in ahead:
                self._carry_part(hold, part)
        return self.state(change)

    def _require_room(self) -> None:
        """Ask before anything is done; a way back is not asked: it needs fewer, and is not to be held up."""
        with self.database.connect() as connection, in_words(self.database):
            require_room(connection)

    def _carry_part(self, hold: Hold, part: Part) -> None:
        state = self.state(hold.change)
        if not is_at_least(state.standing, before(part)):
            raise NotItsTurn(hold.change, part, state.standing)
        if part is Part.EXPAND and not state.touched:
            for note in state.plan.notes:
                hold.tell(Told(kind="note", sentence=note))
        is_ahead = any(step.id not in state.done for step in state.plan.of(part))
        evidence = guard().permit(state.plan, part, hold) if part in GUARDED and is_ahead else {}
        is_first = part is Part.EXPAND and not state.touched
        patiently(hold, lambda one: _begin_part(one, part, evidence, state.plan.tables if is_first else ()))
        for number, step in enumerate(state.plan.of(part), start=1):
            if step.id not in state.done:
                of = f"{part.value} {number}/{len(state.plan.of(part))}"
                hold.tell(Told(kind="step_began", sentence=f"{of}: {step.title}", data=_step_data(step)))
                for caveat in step.caveats:
                    hold.tell(Told(kind="caveat", sentence=f"  {caveat}", data=_step_data(step)))
                _do(step, hold)
                hold.tell(Told(kind="step_done", sentence=f"{of}: done", data=_step_data(step)))
        patiently(hold, lambda one: _end_part(one, part, state.plan))

    def undo(self, change: str, to: Standing = Standing.PLANNED) -> ChangeState | None:
        """Take a change back to where it stood; to `planned`: nothing of it is left, and None is returned.

        Raises:
            NoWayBack: its data are dropped, or it is a file of statements.
            Refused, EnvironmentFault: as `carry_out`.
        """
        with taken(self._hold(change)) as hold:
            state = self.state(change)
            if FILE in state.spec:
                raise _is_file(change)
            if any(step.id in state.done for step in state.plan.of(Part.DROP)) and to is not Standing.CONTRACTED:
                raise _is_final(change)
            patiently(hold, lambda one: _begin_way_back(one, state, to))
            for step in reversed(_beyond(state.plan, to)):
                if step.id in state.touched:
                    self._take_back(step, hold)
            if to is Standing.PLANNED:
                tell_differences(hold, "since it began", patiently(hold, lambda one: _left(one, state.plan)))
                return None
            patiently(hold, lambda one: _end_way_back(one, to))
        return self.state(change)

    def forget(self, change: str) -> None:
        """Forget a change, whatever it has done: nothing of the user's is touched.

        For what is contracted, and for files that were run: no other way back is known of them.

        Raises:
            NoWayBack: something of it can still be taken back.
        """
        with taken(self._hold(change)) as hold:
            state = self.state(change)
            if FILE not in state.spec and state.standing is not Standing.CONTRACTED and state.touched:
                raise _not_to_be_forgotten(change)
            patiently(hold, _leave)

    def _take_back(self, step: Step, hold: Hold) -> None:
        hold.stop_if_asked()
        hold.tell(Told(kind="step_undone", sentence=f"takes back: {step.title}", data=_step_data(step)))
        with all_in_words(hold.database):
            runner_of(step).take_back(step, hold)
        patiently(hold, lambda one: _forgotten(one, step))

    def _hold(self, change: str) -> Hold:
        return Hold(
            database=self.database,
            change=change,
            fence=0,
            actor=self.actor,
            tell=self.tell,
            stopping=self.stopping,
            patience=self.patience,
            allowed=self.allowed,
        )


def _parts(verb: Verb, state: ChangeState) -> tuple[Part, ...]:
    """Return the parts of a verb that are ahead; of a contract, the next one alone."""
    ahead = tuple(part for part in FORWARD[verb] if not is_at_least(state.standing, LEADS_TO[part]))
    return ahead[:1] if verb is Verb.CONTRACT else ahead


def _do(step: Step, hold: Hold) -> None:
    hold.stop_if_asked()
    with all_in_words(hold.database):
        check(step, hold)
        evidence = runner_of(step).run(step, hold)
    patiently(hold, lambda one: _recorded(one, step, evidence))


def _recorded(one: Try, step: Step, evidence: Mapping[str, Any]) -> None:
    """Record what did not record itself."""
    is_new = step.id not in records.done(one.connection, one.hold.change)
    records.record(one.connection, one.hold, step.id, evidence)
    if is_new:
        records.tell(one.connection, one.hold.change, one.hold.actor, "step.done", step=step.id, **evidence)


def _forgotten(one: Try, step: Step) -> None:
    """Forget what did not forget itself."""
    if step.id in records.done(one.connection, one.hold.change):
        records.forget(one.connection, one.hold, step.id)
        records.tell(one.connection, one.hold.change, one.hold.actor, "step.undone", step=step.id)


def _not_to_be_forgotten(change: str) -> NoWayBack:
    return NoWayBack(
        f"{change} has done something that can be taken back: forgetting it would leave that behind",
        hints=(f"hitless migrate undo {change}",),
    )


def _begin_part(one: Try, part: Part, evidence: Mapping[str, Any], fingerprinted: Iterable[Name]) -> None:
    if fingerprinted:
        keep_begun(one.connection, one.hold.change, fingerprinted)
    records.want(one.connection, one.hold, LEADS_TO[part])
    records.tell(
        one.connection, one.hold.change, one.hold.actor, "part.began", part=part.value, evidence=dict(evidence)
    )


def _end_part(one: Try, part: Part, plan: Plan) -> None:
    if part is Part.DROP:
        brownout.settle(one, plan)
    records.stand(one.connection, one.hold, LEADS_TO[part])
    records.tell(one.connection, one.hold.change, one.hold.actor, "part.done", part=part.value)


def _beyond(plan: Plan, to: Standing) -> tuple[Step, ...]:
    return tuple(step for step in plan.steps if ORDER.index(LEADS_TO[step.part]) > ORDER.index(to))


def _begin_way_back(one: Try, state: ChangeState, to: Standing) -> None:
    """From the first step on it stands no further than where it shall end: who goes forward again does all of it."""
    lower = min(state.standing, to, key=ORDER.index)
    records.want(one.connection, one.hold, lower)
    records.stand(one.connection, one.hold, lower)
    records.tell(one.connection, one.hold.change, one.hold.actor, "undo.began", to=to.value)


def _end_way_back(one: Try, to: Standing) -> None:
    records.tell(one.connection, one.hold.change, one.hold.actor, "change.undone", to=to.value)


def _left(one: Try, plan: Plan) -> tuple[Difference, ...]:
    """Forget a change that is taken back; return what hangs on its tables otherwise than before it began."""
    found = since_begun(one.connection, plan.change, plan.tables)
    _leave(one)
    return found


def _leave(one: Try) -> None:
    """Forget a change that is taken back; the last one takes the schema with it, unless something else is in it."""
    connection = one.connection
    connection.execute(records.HOUSE_LOCK)
    connection.execute("DELETE FROM hitless.change WHERE id = %s", (one.hold.change,))
    connection.execute("DELETE FROM hitless.event WHERE change = %s", (one.hold.change,))
    if connection.execute("SELECT 1 FROM hitless.change LIMIT 1").fetchone() is None:
        records.pull_down(connection)


def _step_data(step: Step) -> dict[str, Any]:
    return {"step": step.id, "kind": step.kind, "part": step.part.value, "title": step.title}
