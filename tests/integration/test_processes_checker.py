from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from hitless.adapters.processes.checker import HttpChecker
from hitless.rollout.spec import Address, CheckSpec


async def answer(request: web.Request) -> web.Response:
    if request.path == "/slow":
        await asyncio.sleep(5)
    if request.path == "/moved":
        raise web.HTTPFound("/")
    return web.Response(text=f"hello {request.query_string}", status=418 if request.path == "/teapot" else 200)


@asynccontextmanager
async def target() -> AsyncIterator[Address]:
    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield Address(host=host, port=port)
    finally:
        await runner.cleanup()


async def problems(*checks: CheckSpec, targets: tuple[Address, ...]) -> list[str | None]:
    results = await HttpChecker().run(checks=checks, targets=targets)
    assert tuple(result.check for result in results) == checks
    return [result.problem for result in results]


async def test_checks_pass_when_status_and_text_are_as_expected() -> None:
    async with target() as one, target() as two:
        checks = (
            CheckSpec(path="/"),
            CheckSpec(path="/?name=ana", contains="hello name=ana"),
            CheckSpec(path="/teapot", status=418),
            CheckSpec(path="/moved", status=302),
        )
        assert await problems(*checks, targets=(one, two)) == [None, None, None, None]


async def test_a_problem_names_target_path_and_cause() -> None:
    async with target() as one:
        found = await problems(
            CheckSpec(path="/teapot"),
            CheckSpec(path="/", contains="goodbye"),
            CheckSpec(path="/moved"),
            CheckSpec(path="/slow", timeout_s=0.2),
            targets=(one,),
        )
        assert found == [
            f"{one}/teapot: answered 418, expected 200",
            f"{one}/: answered 200 without 'goodbye' in the body",
            f"{one}/moved: answered 302, expected 200",
            f"{one}/slow: no answer within 0.2 s",
        ]


async def test_one_bad_target_fails_the_check() -> None:
    async with target() as good:
        async with target() as bad:
            pass
        assert await problems(CheckSpec(path="/"), targets=(good, bad)) == [f"{bad}/: connection refused"]


async def test_no_target_is_no_pass() -> None:
    assert await problems(CheckSpec(path="/health"), targets=()) == ["/health: no instance to ask"]
