"""Serve the API on the control plane's Unix socket, and end promptly.

uvicorn takes SIGINT and SIGTERM for itself and then waits for open requests before it tells the application; with a
long poll open that is as long as the poll. Here signals stay with whoever runs the control plane: it sets `stopping`,
long polls answer at once, and the server ends within a few ticks of 0.1 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from hitless.api.app import create_app
from hitless.api.control import ControlPlane
from hitless.api.spare import Spare
from hitless.api.unix_socket import listening

if TYPE_CHECKING:
    import socket

CUT_AFTER_S = 1


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, and with a word when it serves."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._on_ready()


async def serve(
    control: ControlPlane,
    socket_path: Path,
    *,
    stopping: asyncio.Event,
    on_ready: Callable[[], None] = lambda: None,
    takes_over: bool = False,
) -> None:
    """Serve `control` at `socket_path` until `stopping` is set.

    Args:
        control: what does the work.
        socket_path: where.
        stopping: ends it.
        on_ready: called once it serves.
        takes_over: the caller holds the lease: a control plane that stands still there is not waited for.

    Raises:
        ControlPlaneRunning: another live process serves there.
        SocketTaken: something that is no control plane is there.
    """
    with listening(socket_path, takes_over=takes_over) as sock, Spare().answering(asyncio.get_running_loop()):
        config = uvicorn.Config(
            create_app(control, stopping=stopping),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=CUT_AFTER_S,
        )
        server = _Server(config, on_ready)
        end = asyncio.create_task(_end_when(stopping, server))
        try:
            await server.serve(sockets=[sock])
        finally:
            end.cancel()
            with suppress(asyncio.CancelledError):
                await end


async def _end_when(stopping: asyncio.Event, server: uvicorn.Server) -> None:
    await stopping.wait()
    server.should_exit = True
