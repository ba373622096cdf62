"""What an application imports to be replaced without a failed request: readiness, and a drain on SIGTERM.

    from hitless.lifecycle import Lifecycle

    app = Lifecycle(app, warm_up=[load_catalogue], checks={"database": ping_database})

    $ python -m hitless.lifecycle uvicorn shop:app --port 8000

Two halves, because every server takes SIGTERM for itself, and one with several processes tells its workers last. The
**launcher** (`python -m hitless.lifecycle`) owns SIGTERM and decides; the **middleware** (`Lifecycle` for ASGI,
`WsgiLifecycle` for WSGI) answers probes, counts what is open and carries the decision out. Between them is a `Board`,
a piece of shared memory. The server in the middle knows of neither, and gets SIGTERM when nothing is open any more.

This room stands alone: the standard library, and nothing else of hitless.
"""

from hitless.lifecycle.asgi import Lifecycle
from hitless.lifecycle.board import InFlight
from hitless.lifecycle.health import Check, State
from hitless.lifecycle.wsgi import WsgiLifecycle

__all__ = ["Check", "InFlight", "Lifecycle", "State", "WsgiLifecycle"]
