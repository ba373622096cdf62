"""Asks the application which POSTs it executed: more than once is a duplicate, acknowledged and never is a loss."""

from __future__ import annotations

import json
from collections.abc import Mapping

import h11

from hitless.testing.load.context import Context
from hitless.testing.load.dial import Dialer, NotConnectedError
from hitless.testing.load.fate import DUPLICATE, LOST, OK, Answer, cause_of
from hitless.testing.load.http1 import Http1Connection
from hitless.testing.load.plan import PREFIX, Kind
from hitless.testing.load.report import PostCheck

_TIMEOUT_S = 30.0


async def check_posts(context: Context, *, path: str, acknowledged: frozenset[str]) -> PostCheck:
    """Compare what was executed with what was acknowledged; an application that does not tell is a `problem`."""
    answer = await _ask(context, path.replace(PREFIX, context.prefix))
    cause = cause_of(answer, expected=None)
    if cause != OK:
        return PostCheck(acknowledged=len(acknowledged), problem=f"{path}: {cause} {answer.detail}".rstrip())
    try:
        executions = _read(answer.body)
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        return PostCheck(
            acknowledged=len(acknowledged), problem=f'{path}: no {{"executions": {{id: times}}}}: {problem}'
        )
    return _compare(context, executions, acknowledged)


def _compare(context: Context, executions: Mapping[str, int], acknowledged: frozenset[str]) -> PostCheck:
    own = {name: times for name, times in executions.items() if name.startswith(context.prefix)}
    again = {name: times for name, times in own.items() if times > 1}
    lost = sorted(acknowledged - own.keys())
    for name, times in again.items():
        context.ledger.exemplify(Kind.POST, DUPLICATE, detail=f"{name} was executed {times} times")
    for name in lost:
        context.ledger.exemplify(Kind.POST, LOST, detail=f"{name} was acknowledged and not executed")
    return PostCheck(
        acknowledged=len(acknowledged), executed=len(own), duplicates=sum(again.values()) - len(again), lost=len(lost)
    )


async def _ask(context: Context, path: str) -> Answer:
    headers = [("host", context.plan.authority), ("connection", "close")]
    try:
        connection = await Dialer(context.plan, "http/1.1").connect(Http1Connection)
    except NotConnectedError as problem:
        return problem.answer
    try:
        return await connection.ask(h11.Request(method="GET", target=path, headers=headers), timeout_s=_TIMEOUT_S)
    finally:
        connection.close()


def _read(body: bytes) -> Mapping[str, int]:
    return {str(name): int(times) for name, times in json.loads(body)["executions"].items()}
