"""A small web application that does as files in its directory and words on its command line say.

With `count` it writes a dot to the file `count` for every request.

Files: `unready` (the ready path answers 503), `dead` (the live path answers 500), `hang` (nothing is answered).
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if "count" in sys.argv:
            with Path("count").open("a") as count:
                count.write(".")
        while Path("hang").exists():
            time.sleep(0.05)
        if self.path == "/ready" and Path("unready").exists():
            self._answer(503, "warming up")
        elif self.path == "/live" and Path("dead").exists():
            self._answer(500, "deadlock")
        elif self.path == "/moved":
            self._answer(301, "", Location="/ready")
        elif self.path == "/about":
            self._answer(200, json.dumps({"env": dict(os.environ), "argv": sys.argv, "cwd": str(Path.cwd())}))
        else:
            self._answer(200, "fine")

    def _answer(self, status: int, text: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


def serve() -> None:
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()


def main(words: list[str]) -> None:
    sys.stdout.write("starting\n")
    sys.stdout.flush()
    if "crash" in words:
        raise SystemExit("no such table: orders")
    if "ignore-term" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "children" in words:
        subprocess.Popen(SLEEPER)
        subprocess.Popen(SLEEPER, start_new_session=True)
    if "daemonise" in words and os.fork():
        os._exit(0)
    if "idle" in words:
        time.sleep(600)
    serve()


if __name__ == "__main__":
    main(sys.argv[1:])
