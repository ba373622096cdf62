"""Start a server, and drain it on SIGTERM: `python -m hitless.lifecycle [option ...] command ...`.

SIGTERM drains; SIGINT ends without a drain; a second one of either kills at once.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import fields

from hitless.lifecycle.drain import Limits
from hitless.lifecycle.launcher import Launcher

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
_UNIT_S = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the launcher; return its exit code."""
    parser = command_line()
    asked = parser.parse_args(arguments)
    command = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
    if not command:
        parser.error("which server? For example: python -m hitless.lifecycle uvicorn shop:app --port 8000")
    program, *rest = command
    beside = os.path.dirname(sys.executable)  # noqa: PTH120 - a part of PATH; the server is installed beside this Python
    found = shutil.which(program, path=f"{beside}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        parser.error(f"{program} is neither beside {sys.executable} nor in PATH")
    limits = Limits(**{field.name: getattr(asked, field.name) for field in fields(Limits)})
    return Launcher([found, *rest], limits).run()


def command_line() -> argparse.ArgumentParser:
    """Return the parser of the launcher's command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hitless.lifecycle", usage="%(prog)s [option ...] command ...", description=__doc__
    )
    limits = Limits()

    def add(name: str, field: str, text: str) -> None:
        default = getattr(limits, field)
        kind = int if isinstance(default, int) else _seconds
        unit = "" if kind is int else " s"
        parser.add_argument(
            f"--{name}", dest=field, type=kind, default=default, help=f"{text} (default: {default:g}{unit})"
        )

    add("probes", "probes", "refused readiness probes after which load balancers have seen it")
    add("quiet", "quiet_s", "and no new request for so long")
    add("leave-within", "leave_within_s", "go on after so long without these two")
    add("deadline", "deadline_s", "from SIGTERM on; what is open then is cut")
    add("cut-within", "cut_within_s", "how long close frames and last events may take")
    add("end-within", "end_within_s", "how long the server may take to end; then it is killed")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="command ...", help="the server and its options")
    return parser


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; for example 30s, 500ms or 2m")
    return float(found[1]) * _UNIT_S[found[2]]


if __name__ == "__main__":
    sys.exit(main())
