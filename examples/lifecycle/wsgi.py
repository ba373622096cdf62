"""A WSGI application that drains: `python -m hitless.lifecycle gunicorn wsgi:app`; `plain` is the same without."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

from hitless.lifecycle import Check, WsgiLifecycle

Environ = dict[str, Any]
StartResponse = Callable[..., object]
catalogue: dict[str, str] = {}


def load_catalogue() -> None:
    time.sleep(0.1)
    catalogue["lamp"] = "a lamp"


def ask_warehouse() -> bool:
    return bool(catalogue)


def events() -> Iterator[bytes]:
    for number in itertools.count(1):
        yield f"id: {number}\ndata: tick\n\n".encode()
        time.sleep(0.1)


def plain(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return events()
    body = json.dumps({"id": identify(path, environ)}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("201 Created" if path == "/orders" else "200 OK", headers)
    return [body]


def identify(path: str, environ: Environ) -> str:
    if path == "/orders":
        return json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))["id"]
    if path == "/slow":
        asked = parse_qs(environ["QUERY_STRING"])
        time.sleep(float(asked["seconds"][0]))
        return asked.get("id", [""])[0]
    time.sleep(0.005)
    return path.rpartition("/")[2]


app = WsgiLifecycle(
    plain,
    warm_up=[load_catalogue],
    checks={"warehouse": Check(run=ask_warehouse, timeout_s=0.5)},
)
