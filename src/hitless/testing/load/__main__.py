"""Load a service from a process of its own.

`python -m hitless.testing.load --target 127.0.0.1:8080 --rate 500 --duration 30 --json`
"""

from __future__ import annotations

import argparse
import sys

from hitless.adapters.clock import SystemClock
from hitless.errors import HitlessError
from hitless.testing.load.command import LoadOptions, run_cli
from hitless.testing.load.plan import Kind


def main() -> int:
    """Run one load; return its exit code."""
    asked = _parser().parse_args()
    options = LoadOptions(**{**vars(asked), "kinds": tuple(asked.kinds)})
    try:
        return run_cli(options, clock=SystemClock())
    except HitlessError as problem:
        hints = "".join(f"\n  {hint}" for hint in problem.hints)
        sys.stderr.write(f"{problem.code}: {problem.message}{hints}\n")
        return problem.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hitless.testing.load", description="Load a service, count every request's fate."
    )
    parser.add_argument("--target", required=True, help="host:port")
    parser.add_argument(
        "--rate", dest="rate_rps", type=float, default=200.0, help="requests per second, all kinds together"
    )
    parser.add_argument("--duration", dest="duration_s", type=float, default=30.0, help="seconds")
    parser.add_argument("--kinds", nargs="+", choices=[kind.value for kind in Kind], default=(), help="default: all")
    parser.add_argument("--streams", type=int, default=10, help="open streams of each kind of stream")
    parser.add_argument("--mix", metavar="FILE", help="YAML: what each kind of client asks, instead of the usual")
    parser.add_argument("--max-requests", type=int, default=10_000_000)
    parser.add_argument("--version-header", default="x-version")
    parser.add_argument("--host", help="Host header")
    parser.add_argument(
        "--no-executions", dest="executions", action="store_false", help="do not ask which POSTs were executed"
    )
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--insecure", action="store_true", help="do not verify the certificate")
    parser.add_argument("--allow-remote", action="store_true", help="aim at another machine")
    parser.add_argument("--json", action="store_true", help="JSON lines: snapshots, then the report")
    parser.add_argument("--marks-from-stdin", action="store_true", help="each line read begins the window of that name")
    return parser


if __name__ == "__main__":
    sys.exit(main())
