"""An aiohttp application, as its documentation has it."""

from __future__ import annotations

import asyncio
import os

from aiohttp import web


async def answer(_: web.Request) -> web.Response:
    return web.Response(text="fine")


async def answer_slowly(_: web.Request) -> web.Response:
    await asyncio.sleep(0.5)
    return web.Response(text="fine")


app = web.Application()
app.add_routes([web.get("/", answer), web.get("/health/ready", answer), web.get("/slow", answer_slowly)])

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]))
