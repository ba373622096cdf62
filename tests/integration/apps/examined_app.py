"""A web application on the standard library alone: honest, unless the words on its command line say otherwise.

ready-after=S     readiness says 503 so long
serve-after=S     readiness says yes at once, pages fail so long                            (a liar)
early=S           something else says yes to everything so long, then the application comes (a liar)
catch-all         every path answers 200, readiness is no path of its own                   (a liar)
ignore-term       SIGTERM is ignored                                                        (a liar)
sessions=KIND     memory: known to this process alone (a liar); shared: known to all; fresh: new with every answer
orphan            leaves a process without environment, in a session of its own             (a liar)
cut               ends at once on SIGTERM                                                   (a liar)
alone             two of it cannot run side by side
keep-alive=S      idle connections are closed after so long
exit=N            ends with this code on SIGTERM
crash             ends at once
"""

from __future__ import annotations

import http.server
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

WORDS = dict(word.partition("=")[::2] for word in sys.argv[1:])
STARTED_S = time.monotonic()
SLEEPER = ["/usr/bin/env", "-i", sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def seconds(word: str, default: float = 0.0) -> float:
    return float(WORDS.get(word, default))


def is_before(word: str) -> bool:
    return time.monotonic() - STARTED_S < seconds(word)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = seconds("keep-alive", 30)
    sessions: frozenset[str] = frozenset()

    def do_GET(self) -> None:
        if is_before("early"):
            self._answer(200)
        elif self.path == "/health/ready":
            self._answer(503 if is_before("ready-after") else 200)
        elif self.path in {"/", "/slow"}:
            time.sleep(0.8 if self.path == "/slow" else 0)
            self._answer(503 if is_before("serve-after") else 200, *self._cookies())
        else:
            self._answer(200 if "catch-all" in WORDS else 404)

    def _cookies(self) -> tuple[str, ...]:
        kind, sent = WORDS.get("sessions"), self.headers.get("Cookie", "").removeprefix("sid=")
        if kind is None or (kind == "shared" and sent) or (kind == "memory" and sent in Handler.sessions):
            return ()
        fresh = os.urandom(8).hex()
        Handler.sessions |= {fresh}
        return (f"sid={fresh}; HttpOnly; Path=/",)

    def _answer(self, status: int, *cookies: str) -> None:
        self.send_response(status)
        for cookie in cookies:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = False  # server_close() waits for requests in flight


def main() -> None:
    if "crash" in WORDS:
        raise SystemExit("no such table: orders")
    if "alone" in WORDS:
        Path("lock").touch(exist_ok=False)
    if "orphan" in WORDS:
        subprocess.Popen(SLEEPER, start_new_session=True)
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
    if "cut" in WORDS:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    elif "ignore-term" in WORDS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    raise SystemExit(int(WORDS.get("exit", 0)))


if __name__ == "__main__":
    main()
