"""Serve the shop: `python -m shop --port 8000 [--server uvicorn]`."""

from __future__ import annotations

import argparse
import os


def main() -> None:
    parser = argparse.ArgumentParser(prog="shop")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8000")))
    parser.add_argument("--server", choices=sorted(SERVERS), default="granian")
    asked = parser.parse_args()
    SERVERS[asked.server](asked.port)


def serve_with_granian(port: int) -> None:
    from granian import Granian  # noqa: PLC0415 - only the server that is asked for is imported: an instance starts sooner
    from granian.constants import Interfaces  # noqa: PLC0415 - as above

    Granian("shop.app:app", port=port, interface=Interfaces.ASGI, log_enabled=False).serve()


def serve_with_uvicorn(port: int) -> None:
    import uvicorn  # noqa: PLC0415 - as above

    uvicorn.run("shop.app:app", host="127.0.0.1", port=port, log_level="warning")


SERVERS = {"granian": serve_with_granian, "uvicorn": serve_with_uvicorn}

if __name__ == "__main__":
    main()
