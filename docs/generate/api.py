"""The page of the HTTP API, from its OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, cast

from hitless.api.app import create_app
from hitless.api.control import ControlPlane

HEAD = """\
# HTTP API

Generated from the OpenAPI document by `make docs`.

The control plane answers on the Unix socket `.hitless/hitless.sock`, which only its owner may open; the command line
uses nothing else.

```console
$ curl --unix-socket .hitless/hitless.sock http://hitless/v1/services
{"schema":"hitless.services/v1","data":[...]}
$ curl --unix-socket .hitless/hitless.sock http://hitless/v1/services/checkout/rollouts \\
    --json '{"version": "v2", "actor": "user:ana"}'
{"schema":"hitless.rollout/v1","data":{...}}
```

* Every answer stands in an envelope: `schema` names its shape and rises when an old reader would break. The shapes are
  those of `--json` on the command line.
* An error is a problem document (RFC 9457, `application/problem+json`) with `code`, `exit_code`, `evidence` and
  `hints`; see [Errors](errors.md).
* `after` and `wait` make a long poll: the answer comes when the journal has grown beyond `after`, at the latest after
  `wait` seconds.
* The whole document is at `/v1/openapi.json`.

"""

_HTTP_VERBS = ("get", "post")


def page() -> str:
    """Return the page."""
    rows = "".join(f"{row}\n" for row in _rows())
    bodies = "".join(_body(name) for name in ("DeployRequest", "ActRequest", "RestartRequest"))
    return f"{HEAD}| request | does | query |\n| --- | --- | --- |\n{rows}\n{bodies}".rstrip() + "\n"


def openapi() -> Mapping[str, Any]:
    """Return the OpenAPI document; no control plane is needed to describe it."""
    nobody = cast("ControlPlane", None)
    return create_app(nobody, stopping=asyncio.Event()).openapi()


def _rows() -> Iterator[str]:
    for path, verbs in openapi()["paths"].items():
        for verb in _HTTP_VERBS:
            if verb in verbs:
                yield _row(verb.upper(), path, verbs[verb])


def _row(verb: str, path: str, route: Mapping[str, Any]) -> str:
    query = [f"`{one['name']}`" for one in route.get("parameters", ()) if one["in"] == "query"]
    chosen = [_choices(one) for one in route.get("parameters", ()) if one["in"] == "path"]
    does = " ".join([route["description"].partition("\n")[0], *filter(None, chosen)])
    return f"| `{verb} {path}` | {does} | {', '.join(query)} |"


def _choices(parameter: Mapping[str, Any]) -> str:
    values = parameter["schema"].get("enum", ())
    return f"`{parameter['name']}`: {', '.join(f'`{one}`' for one in values)}." if values else ""


def _body(name: str) -> str:
    schema = openapi()["components"]["schemas"][name]
    rows = [
        f"| `{key}` | {'required' if key in schema.get('required', ()) else ''} | {_meaning(one)} |\n"
        for key, one in schema["properties"].items()
    ]
    return f"## {name}\n\n| field | | meaning |\n| --- | --- | --- |\n{''.join(rows)}\n"


def _meaning(one: Mapping[str, Any]) -> str:
    return str(one.get("description", ""))
