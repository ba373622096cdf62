"""The HTTP API: one thin route per method of `ControlPlane`, and nothing decided here.

Reading routes can wait for a change (`?after=SEQ&wait=10`). Every document stands in an envelope, every error is a
problem document. Routes return responses and not values: the views are built by typed code, so checking each once
more would only cost time, while the declared models describe them in the OpenAPI document.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse

from hitless.adapters.recordings.form import second_parts
from hitless.analysis.counts import Second
from hitless.api import problems
from hitless.api.control import ControlPlane, Verb
from hitless.api.requests import (
    MOST_MINUTES,
    ActRequest,
    After,
    Before,
    DeployRequest,
    Last,
    Limit,
    Minutes,
    Page,
    PreflightRequest,
    RestartRequest,
    Wait,
)
from hitless.ports import Recorded
from hitless.rollout.spec import StrategyName
from hitless.view.envelope import Noun, envelope
from hitless.view.models import (
    ControlPlaneView,
    Envelope,
    EnvoyView,
    JournalRecordView,
    PlanView,
    PreflightView,
    ProblemView,
    RolloutRowView,
    RolloutView,
    SecondsView,
    ServiceView,
    VerifyView,
)

CREATED = 201
PAGE = 1_000


def shape(model: Any) -> Any:
    """Return `model` for the OpenAPI document; pydantic reads the standard library's TypedDict from Python 3.12 on."""
    return model if sys.version_info >= (3, 12) else None


def create_app(control: ControlPlane, *, stopping: asyncio.Event) -> FastAPI:
    """Build the application.

    Args:
        control: what does the work.
        stopping: set when the server is about to end; long polls answer at once then.
    """
    app = FastAPI(
        title="hitless",
        summary="Zero-downtime releases.",
        version="1",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses={"default": {"model": shape(ProblemView), "description": "A problem (RFC 9457)."}},
    )
    waiting = _Waiting(control, stopping)
    for router in (_services(control, waiting), _rollouts(control), _journal(control, waiting), _self(control)):
        app.include_router(router, prefix="/v1")
    problems.install(app)
    return app


class _Waiting:
    """Long polls."""

    def __init__(self, control: ControlPlane, stopping: asyncio.Event) -> None:
        self._control = control
        self._stopping = stopping

    async def for_change(self, after: int | None, wait_s: float) -> int:
        """Return when something has changed since `after`, after `wait_s`, or when the server is about to end.

        Returns:
            The newest sequence number that is known.
        """
        if after is None or wait_s <= 0 or self._stopping.is_set():
            return after or 0
        change = asyncio.ensure_future(self._control.changed(after, wait_s))
        end = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({change, end}, return_when=asyncio.FIRST_COMPLETED)
            return change.result() if change.done() else after
        finally:
            change.cancel()
            end.cancel()
            await asyncio.gather(change, end, return_exceptions=True)

    async def for_records(self, after: int, subject: str | None, limit: int, wait_s: float) -> list[JournalRecordView]:
        """Read records above `after`; if there are none, wait for one that fits, however many others come."""
        clock, seen = asyncio.get_running_loop(), after
        deadline = clock.time() + wait_s
        while not (records := await self._control.journal(after, subject, limit)):
            left_s = deadline - clock.time()
            if left_s <= 0 or self._stopping.is_set():
                return []
            seen = await self.for_change(seen, left_s)
        return records


def _services(control: ControlPlane, waiting: _Waiting) -> APIRouter:
    router = APIRouter(prefix="/services", tags=["services"])

    @router.get("", response_model=shape(Envelope[list[ServiceView]]))
    async def services(after: After = None, wait: Wait = 0) -> JSONResponse:
        """List all services."""
        await waiting.for_change(after, wait)
        return _document("services", await control.services())

    @router.get("/{name}", response_model=shape(Envelope[ServiceView]))
    async def service(name: str, after: After = None, wait: Wait = 0) -> JSONResponse:
        """Show one service; with `after` and `wait`, as soon as something has changed."""
        await waiting.for_change(after, wait)
        return _document("service", await control.service(name))

    @router.get("/{name}/plan", response_model=shape(Envelope[PlanView]))
    async def plan(name: str, version: str, strategy: StrategyName | None = None) -> JSONResponse:
        """Show what a deploy would do; writes nothing."""
        return _document("plan", await control.plan(service=name, version=version, strategy=strategy))

    @router.get("/{name}/seconds", response_model=shape(Envelope[SecondsView]))
    async def seconds(name: str, minutes: Minutes = MOST_MINUTES) -> JSONResponse:
        """Return what was measured of the service, second by second, in the form of a recording."""
        found = await control.seconds(service=name, minutes=minutes)
        return await asyncio.to_thread(_seconds_document, name, found)  # some megabytes of a busy service

    @router.post("/{name}/rollouts", response_model=shape(Envelope[RolloutView]), status_code=CREATED)
    async def deploy(name: str, request: DeployRequest) -> JSONResponse:
        """Begin a rollout; answers as soon as it is journaled."""
        view = await control.deploy(service=name, **request.model_dump())
        return _document("rollout", view, status=CREATED, headers={"location": f"/v1/rollouts/{view['id']}"})

    @router.post("/{name}/preflight", response_model=shape(Envelope[PreflightView]))
    async def preflight(name: str, request: PreflightRequest) -> JSONResponse:
        """Examine a version out of rotation; answers when that is done."""
        return _document("preflight", await control.preflight(service=name, **request.model_dump()))

    @router.post("/{name}/{verb}", response_model=shape(Envelope[RolloutView]))
    async def act(name: str, verb: Verb, request: ActRequest) -> JSONResponse:
        """Act on the service's rollout; answers as soon as it is journaled."""
        if request.stage is not None and not verb.startswith("promote"):
            raise problems.InvalidRequest([{"loc": ("body", "stage"), "msg": f"{verb} takes no stage"}])
        return _document("rollout", await control.act(service=name, verb=verb, **request.model_dump()))

    return router


def _rollouts(control: ControlPlane) -> APIRouter:
    router = APIRouter(prefix="/rollouts", tags=["rollouts"])

    @router.get("", response_model=shape(Envelope[list[RolloutRowView]]))
    async def rollouts(service: str | None = None, limit: Page = 100, before: Before = None) -> JSONResponse:
        """List rollouts, newest first."""
        return _document("rollouts", await control.rollouts(service, limit=limit, before=before))

    @router.get("/{rollout_id}", response_model=shape(Envelope[RolloutView]))
    async def rollout(rollout_id: str) -> JSONResponse:
        """Show one rollout."""
        return _document("rollout", await control.rollout(rollout_id))

    return router


def _journal(control: ControlPlane, waiting: _Waiting) -> APIRouter:
    router = APIRouter(prefix="/journal", tags=["journal"])

    @router.get("", response_model=shape(Envelope[list[JournalRecordView]]))
    async def journal(
        after: After = None, subject: str | None = None, limit: Limit = 100, wait: Wait = 0, last: Last = None
    ) -> JSONResponse:
        """Read records, oldest first: those above `after`, or the `last` so many."""
        if last is not None:
            return _document("journal", await _newest(control, subject, last))
        return _document("journal", await waiting.for_records(after or 0, subject, limit, wait))

    @router.get("/check", response_model=shape(Envelope[VerifyView]))
    async def check() -> JSONResponse:
        """Recompute the whole chain."""
        return _document("journal-check", await control.verify_journal())

    return router


def _self(control: ControlPlane) -> APIRouter:
    router = APIRouter(tags=["control plane"])

    @router.get("/control-plane", response_model=shape(Envelope[ControlPlaneView]))
    async def control_plane() -> JSONResponse:
        """Show the control plane itself."""
        return _document("control-plane", await control.control_plane())

    @router.get("/envoy", response_model=shape(Envelope[EnvoyView]))
    async def envoy() -> JSONResponse:
        """Show Envoy's process, and those that it has replaced and that still live."""
        return _document("envoy", await control.envoy())

    @router.post("/envoy/restart", response_model=shape(Envelope[EnvoyView]))
    async def restart_envoy(request: RestartRequest) -> JSONResponse:
        """Exchange Envoy while it serves; answers when the new one does."""
        return _document("envoy", await control.restart_envoy(**request.model_dump()))

    @router.post("/down", response_model=shape(Envelope[None]))
    async def down() -> JSONResponse:
        """End all instances and Envoy, then the control plane."""
        await control.down()
        return _document("down", None)

    return router


async def _newest(control: ControlPlane, subject: str | None, count: int) -> list[JournalRecordView]:
    """Read the newest `count` records; a subject's lie anywhere, so all are looked at."""
    after = max(await control.changed(0, 0) - count, 0) if subject is None else 0
    newest: list[JournalRecordView] = []
    while page := await control.journal(after, subject, PAGE):
        newest = (newest + page)[-count:] if count else []
        after = page[-1]["seq"]
    return newest


def _seconds_document(service: str, seconds: Sequence[Second]) -> JSONResponse:
    rows = [second_parts(Recorded(second=replace(one, usage=()), share_bp={})) for one in seconds]
    return _document("seconds", SecondsView(service=service, seconds=rows))


def _document(noun: Noun, data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(envelope(noun, data), status_code=status, headers=headers)
