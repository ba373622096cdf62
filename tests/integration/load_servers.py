"""Servers with planted faults, for the load generator to find: each counts what it planted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hitless.rollout.spec import Address


@dataclass(slots=True)
class Exchange:
    """One request as the server read it, and the ways to answer it, good or bad."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter

    @property
    def id(self) -> str:
        return json.loads(self.body)["id"] if self.body.startswith(b"{") else self.path.rpartition("/")[2]

    def answer(self, body: object = None, *, status: int = 200, headers: tuple[str, ...] = (), length: int = 0) -> None:
        content = json.dumps({"id": self.id} if body is None else body).encode()
        head = [f"HTTP/1.1 {status} X", f"content-length: {length or len(content)}", "x-version: v1", *headers]
        self.writer.write("\r\n".join([*head, "", ""]).encode() + content)

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() then sends RST
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


Behaviour = Callable[[Exchange], Awaitable[None]]


@asynccontextmanager
async def http_server(behaviour: Behaviour) -> AsyncIterator[Address]:
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                count += 1
                method, path, _ = first.split(" ")
                await behaviour(Exchange(count, method, path, headers, body, writer))
                await writer.drain()
        writer.close()

    async with listening(serve) as address:
        yield address


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Address]:
    conversations: set[asyncio.Task[None]] = set()

    async def serve_known(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        task.add_done_callback(conversations.discard)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve_known, "127.0.0.1", 0)
    try:
        yield Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    finally:
        server.close()
        left = tuple(conversations)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)  # transports close their sockets in the loop's next turn
