"""Rules about transactions: what may not run in one, what must not share one, what is left open."""

from __future__ import annotations

from collections.abc import Iterator

from hitless.schema.actions.action import Action, Other
from hitless.schema.actions.data import Block, Read
from hitless.schema.actions.objects import AddEnumValue
from hitless.schema.actions.session import Boundary, SetVariable, TransactionStep
from hitless.schema.actions.tables import AddConstraint, ValidateConstraint
from hitless.schema.names import literal, quoted
from hitless.schema.rules.rule import Family, FileEnd, Rule, Severity, Step, Trouble
from hitless.schema.rules.writing import alter, script


def not_in_transaction(step: Step) -> Iterator[Trouble]:
    """What PostgreSQL refuses in a transaction block."""
    if not step.effect.outside_transaction or not step.session.in_block or step.action is not step.siblings[0]:
        return
    begun = (
        "whoever runs the file wraps it in one"
        if step.session.is_wrapped
        else f"BEGIN in line {step.session.began_line}"
    )
    yield Trouble(
        message=f"PostgreSQL refuses this in a transaction block ({begun})",
        fix=script("-- in a file of its own, run without a transaction:", step.statement.text),
    )


def validated_at_once(step: Step) -> Iterator[Trouble]:
    """VALIDATE in the transaction that added the constraint: the lock of ADD is still held."""
    action = step.action
    if not isinstance(action, ValidateConstraint) or not step.is_in_use(action.table):
        return
    if any(_adds(one, action, step) for one in step.siblings):
        where = "in the same statement"
    else:
        added = (done for done in step.session.in_transaction if _adds(done.action, action, step))
        done = next(added, None)
        if done is None:
            return
        where = f"in line {done.line} of the same transaction"
    yield Trouble(
        message=f"{action.name} was added {where}: its lock is held while all of {action.table} is read",
        fix=script("COMMIT", "BEGIN", alter(action, f"VALIDATE CONSTRAINT {quoted(action.name)}")),
        severity=step.gravity(action.table),
    )


def _adds(added: Action, action: ValidateConstraint, step: Step) -> bool:
    if not isinstance(added, AddConstraint):
        return False
    table = step.before.resolve(action.table)
    return step.before.resolve(added.table) == table and added.constraint.named_for(table.name) == action.name


def nested(step: Step) -> Iterator[Trouble]:
    """BEGIN in a transaction, COMMIT outside of one."""
    action = step.action
    if not isinstance(action, TransactionStep):
        return
    if action.boundary is Boundary.BEGIN and step.session.in_block:
        where = "the file is wrapped in" if step.session.is_wrapped else f"line {step.session.began_line} began"
        yield Trouble(
            message=f"BEGIN does nothing in the transaction that {where}; the first COMMIT ends it",
            fix="-- leave out this BEGIN and its COMMIT; SAVEPOINT marks a place to go back to",
        )
    if action.boundary in {Boundary.COMMIT, Boundary.ROLLBACK} and not step.session.in_block:
        yield Trouble(
            message=f"{action.boundary.upper()} ends a transaction that nobody began",
            fix="-- leave it out, or write BEGIN before the statements that belong together",
        )
    if action.boundary in {Boundary.COMMIT, Boundary.ROLLBACK} and step.session.is_wrapped:
        yield Trouble(
            message=f"{action.boundary.upper()} ends the transaction that whoever runs the file began; what follows "
            "runs without one",
            fix="-- leave it out",
        )


def left_open(end: FileEnd) -> Iterator[Trouble]:
    """BEGIN without an end."""
    last = next(reversed(end.session.done), None)
    if end.session.in_block and not end.session.is_wrapped and last is not None:
        yield Trouble(
            message=f"the transaction that line {end.session.began_line} began is not ended: nothing of it is kept, "
            "and its locks stay until the connection ends",
            fix="COMMIT;",
            at=last,
        )


def new_enum_value_used(step: Step) -> Iterator[Trouble]:
    """A value that the same transaction has added to an enum is used, which PostgreSQL refuses."""
    action = step.action
    if not step.session.in_block or action is not step.siblings[0] or isinstance(action, AddEnumValue):
        return
    for done in step.session.added_values:
        added = done.action
        if not isinstance(added, AddEnumValue) or step.before.is_new_type(added.type):
            continue
        if literal(added.value) in step.statement.text:
            yield Trouble(
                message=f"{literal(added.value)} was added to {added.type} in line {done.line} of this transaction: "
                "PostgreSQL refuses to use it before the commit",
                fix=script("COMMIT", "BEGIN", step.statement.text),
            )


def program_put_together(step: Step) -> Iterator[Trouble]:
    """A DO block runs SQL that is put together at run time."""
    action = step.action
    if isinstance(action, Block) and action.is_dynamic:
        yield Trouble(
            message="what EXECUTE puts together, or another language does, is not judged here",
            fix="-- write the statements out, or trace the file on a copy of the schema",
        )


def session_state(step: Step) -> Iterator[Trouble]:
    """What stays with a connection when the file is done."""
    action = step.action
    what = ""
    if isinstance(action, SetVariable) and not action.is_local and action.values:
        what = f"SET {action.name}"
    elif isinstance(action, Read) and any(one.name in _SESSION_LOCKS for one in action.functions):
        what = "a session's advisory lock"
    elif isinstance(action, Other) and action.kind in {"listen", "prepare"}:
        what = action.kind.upper()
    if what:
        yield Trouble(
            message=f"{what} stays with the connection, which a pooler in transaction mode gives to somebody else",
            fix="-- SET LOCAL, pg_advisory_xact_lock(), or a connection that goes around the pooler",
        )


_SESSION_LOCKS = {"pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared"}

RULES = (
    Rule(
        id="enum-value-used-at-once",
        family=Family.TRANSACTIONS,
        severity=Severity.ERROR,
        summary="A new value of an enum is used in the transaction that adds it.",
        why="PostgreSQL refuses it: other sessions cannot know the value before the commit.",
        safe="Commit between the two.",
        on_action=new_enum_value_used,
    ),
    Rule(
        id="program-put-together",
        family=Family.TRANSACTIONS,
        severity=Severity.WARNING,
        summary="A DO block runs SQL that is put together at run time.",
        why="Nobody knows before it runs what it locks.",
        safe="Write the statements out.",
        on_action=program_put_together,
    ),
    Rule(
        id="session-state",
        family=Family.TRANSACTIONS,
        severity=Severity.OFF,
        summary="SET without LOCAL, a session's advisory lock, LISTEN or PREPARE.",
        why="Behind a pooler in transaction mode the connection goes on to somebody else, with all of it.",
        safe="SET LOCAL, pg_advisory_xact_lock(), or a direct connection.",
        on_action=session_state,
    ),
    Rule(
        id="not-in-transaction",
        family=Family.TRANSACTIONS,
        severity=Severity.ERROR,
        summary="A statement stands in a transaction that PostgreSQL only takes outside of one.",
        why="CREATE INDEX CONCURRENTLY and its kin commit on their way; PostgreSQL refuses them in a block.",
        safe="A file of its own, run without a transaction.",
        on_action=not_in_transaction,
    ),
    Rule(
        id="validated-at-once",
        family=Family.TRANSACTIONS,
        severity=Severity.ERROR,
        summary="A constraint is added NOT VALID and validated in one transaction.",
        why="The lock of ADD CONSTRAINT is held until the end, so validating keeps everybody waiting after all.",
        safe="VALIDATE in another transaction.",
        on_action=validated_at_once,
    ),
    Rule(
        id="transaction-nested",
        family=Family.TRANSACTIONS,
        severity=Severity.ERROR,
        summary="BEGIN stands in a transaction, or COMMIT outside of one.",
        why="PostgreSQL has no nested transactions: the first COMMIT ends all.",
        safe="One BEGIN and one COMMIT; SAVEPOINT for less.",
        on_action=nested,
    ),
    Rule(
        id="transaction-left-open",
        family=Family.TRANSACTIONS,
        severity=Severity.ERROR,
        summary="A transaction is begun and not ended.",
        why="It is rolled back when the connection ends, and holds its locks until then.",
        safe="COMMIT.",
        on_file=left_open,
    ),
)
