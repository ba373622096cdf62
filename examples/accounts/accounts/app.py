"""Accounts, by SQLAlchemy 2 and psycopg behind any ASGI server: `uvicorn accounts.app:app --port 8000`.

`DATABASE_URL` says where the database is, `ACCOUNTS_RELEASE` which release this is; of hitless it knows nothing, unless
it shall write down which SQL it sends.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from accounts.models import account_of, changes_of, shown, sign_in_of, values_of

RELEASE = os.environ.get("ACCOUNTS_RELEASE", "1")
KNOWS = changes_of(RELEASE)
LISTED = 20
Account = account_of(KNOWS)
SignIn = sign_in_of(KNOWS)


def engine_for(url: str, *, prepares: bool) -> Engine:
    """Make the engine; all else is SQLAlchemy's default.

    psycopg prepares what it sends five times. Where a column's type is exchanged under a session, each of its prepared
    statements that returns that column fails once: "cached plan must not change result type".
    """
    driver = url.replace("postgresql://", "postgresql+psycopg://", 1)
    return create_engine(driver, connect_args={} if prepares else {"prepare_threshold": None})


engine = engine_for(
    os.environ.get("DATABASE_URL", "postgresql:///accounts"),
    prepares=os.environ.get("ACCOUNTS_PREPARES", "yes") == "yes",
)


def write_down() -> Callable[[], Any]:
    """Write down which SQL this release sends, where somebody wants to know; return what ends it.

    uvicorn ends its process by the signal that it got: nothing that Python does at its exit is done then.
    """
    folder = os.environ.get("ACCOUNTS_MANIFESTS")
    if not folder:
        return lambda: None
    from hitless.lifecycle.sql import Capture  # noqa: PLC0415 - the application needs nothing of hitless

    capture = Capture(f"{folder}/{RELEASE}.json", service="accounts", version=RELEASE, scope="staging")
    capture.sqlalchemy(engine)
    return capture.write


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    end = write_down()
    yield
    end()


def create(asked: dict[str, Any]) -> Response:
    values = values_of({"name": "", "visits": 0, "bio": "", **asked}, KNOWS) | {"reference": asked["reference"]}
    with Session(engine) as session, session.begin():
        made = session.scalar(insert(Account).values(values).on_conflict_do_nothing().returning(Account.id))
        if made is not None:
            session.add(SignIn(user_id=made))
        account = session.scalar(select(Account).where(Account.reference == asked["reference"]))
        return answer(account, status=201)


def read(number: int) -> Response:
    with Session(engine) as session:
        return answer(session.get(Account, number))


def update(number: int, asked: dict[str, Any]) -> Response:
    with Session(engine) as session, session.begin():
        account = session.get(Account, number)
        if account is not None:
            for name, value in values_of(asked, KNOWS).items():
                setattr(account, name, value)
            session.flush()
        return answer(account)


def find(email: str) -> Response:
    with Session(engine) as session:
        return answer(session.scalar(select(Account).where(Account.email == email)))


def list_after(number: int) -> Response:
    with Session(engine) as session:
        page = session.scalars(select(Account).where(Account.id > number).order_by(Account.id).limit(LISTED))
        return told({"accounts": [shown(account, KNOWS) for account in page]})


def count_executions(prefix: str) -> Response:
    asked = select(Account.reference, func.count()).where(Account.reference.startswith(prefix, autoescape=True))
    with Session(engine) as session:
        return told({"executions": dict(session.execute(asked.group_by(Account.reference)).tuples().all())})


def is_ready() -> Response:
    with Session(engine) as session:
        session.execute(text("SELECT 1"))
    return told({"status": "ready"})


def answer(account: Any, *, status: int = 200) -> Response:
    if account is None:
        return told({"error": "no such account"}, status=404)
    return told(shown(account, KNOWS), status=status)


def told(content: dict[str, Any], *, status: int = 200) -> Response:
    return JSONResponse(content | {"version": RELEASE}, status_code=status, headers={"x-version": RELEASE})


def route(path: str, method: str, ask: Callable[[Request], Any], do: Callable[..., Response]) -> Route:
    """Route to a function that talks to the database, in a thread."""

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(do, *await ask(request))

    return Route(path, endpoint, methods=[method])


async def nothing(_: Request) -> tuple[()]:
    return ()


async def body(request: Request) -> tuple[dict[str, Any]]:
    return (await request.json(),)


async def number(request: Request) -> tuple[int]:
    return (request.path_params["number"],)


async def number_and_body(request: Request) -> tuple[int, dict[str, Any]]:
    return (request.path_params["number"], await request.json())


async def live(_: Request) -> Response:
    return told({"status": "alive"})


def asked_for(name: str, default: str = "") -> Callable[[Request], Any]:
    async def ask(request: Request) -> tuple[str]:
        return (request.query_params.get(name, default),)

    return ask


async def page(request: Request) -> tuple[int]:
    return (int(request.query_params.get("after", "0")),)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/health/live", live),
        route("/health/ready", "GET", nothing, is_ready),
        route("/accounts", "POST", body, create),
        route("/accounts", "GET", page, list_after),
        route("/accounts/executions", "GET", asked_for("prefix"), count_executions),
        route("/accounts/find", "GET", asked_for("email"), find),
        route("/accounts/{number:int}", "GET", number, read),
        route("/accounts/{number:int}", "PATCH", number_and_body, update),
    ],
)
