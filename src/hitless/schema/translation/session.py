"""Statements about the transaction, the session, and programs in the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hitless.schema.actions.action import Action
from hitless.schema.actions.data import Block
from hitless.schema.actions.session import Boundary, SetVariable, TransactionStep
from hitless.schema.parser import pg
from hitless.schema.translation.names import options, value_text

_BOUNDARIES: Mapping[int, Boundary] = {
    pg.TRANS_STMT_BEGIN: Boundary.BEGIN,
    pg.TRANS_STMT_START: Boundary.BEGIN,
    pg.TRANS_STMT_COMMIT: Boundary.COMMIT,
    pg.TRANS_STMT_ROLLBACK: Boundary.ROLLBACK,
    pg.TRANS_STMT_SAVEPOINT: Boundary.SAVEPOINT,
    pg.TRANS_STMT_RELEASE: Boundary.RELEASE,
    pg.TRANS_STMT_ROLLBACK_TO: Boundary.ROLLBACK_TO,
    pg.TRANS_STMT_PREPARE: Boundary.PREPARE,
    pg.TRANS_STMT_COMMIT_PREPARED: Boundary.COMMIT_PREPARED,
    pg.TRANS_STMT_ROLLBACK_PREPARED: Boundary.ROLLBACK_PREPARED,
}


def transaction(node: pg.TransactionStmt) -> Iterator[Action]:
    """Read BEGIN, COMMIT and their kin."""
    yield TransactionStep(boundary=_BOUNDARIES[node.kind], chains=node.chain)


def variable(node: pg.VariableSetStmt) -> Iterator[Action]:
    """Read SET and RESET."""
    is_all = node.kind == pg.VAR_RESET_ALL
    yield SetVariable(
        name="all" if is_all else node.name.lower(),
        values=tuple(value_text(one) for one in node.args),
        is_local=node.is_local,
    )


def block(node: pg.DoStmt) -> Block:
    """Read DO; what its body does is not looked at here."""
    given = {one.defname: one.arg for one in options(node.args)}
    return Block(language=value_text(given["language"]).lower() if "language" in given else "plpgsql")


def body_of(node: pg.DoStmt) -> str:
    """Return the program of a DO."""
    return next((value_text(one.arg) for one in options(node.args) if one.defname == "as"), "")
