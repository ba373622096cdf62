"""Run benchmarks: `python -m benchmarks [name ...] [--quick] [--json FILE]`.

Exit code 0 whatever the figures are, 1 when something is broken, such as a request that failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import traceback
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.results import Result, to_json, to_markdown

NAMES = (
    "flips",
    "overhead",
    "shares",
    "control",
    "adoption",
    "envoy_restart",
    "drain",
    "scale",
    "million",
    "metrics",
    "judge",
    "lint",
    "locks",
    "backfill",
)
LONGER = ("resources", "leak")
"""A quarter of an hour and more: only by name."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)} (none = these), {', '.join(LONGER)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds each: shows that it works, measures nothing"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    asked = parser.parse_args()
    if unknown := set(asked.names) - {*NAMES, *LONGER}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join((*NAMES, *LONGER))}")
    before = environment()
    print(f"# Benchmarks{' (quick)' if asked.quick else ''}\n\n{_facts(before)}\n", flush=True)
    results = {name: _run(name, quick=asked.quick) for name in asked.names or NAMES}
    after = environment()
    print(f"load average at the end: {after['load_average']}")
    if asked.json:
        found = {name: to_json(result) for name, result in results.items()}
        report = {"is_quick": asked.quick, "before": before, "after": after, "benchmarks": found}
        asked.json.write_text(json.dumps(report, indent=1))
    return 1 if any(result.broken for result in results.values()) else 0


def _run(name: str, *, quick: bool) -> Result:
    """Run one; imports only it, so that a report of one part needs nothing of the others."""
    try:
        result: Result = importlib.import_module(f"benchmarks.{name}").run(quick=quick)
    except Exception as problem:  # noqa: BLE001 - whatever it is, it breaks this benchmark and not the ones after it
        traceback.print_exc()
        result = Result(tables=(), broken=(f"{type(problem).__name__}: {problem}",))
    print(to_markdown(name, result), flush=True)
    return result


def _facts(found: dict[str, str]) -> str:
    return "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in found.items())


if __name__ == "__main__":
    sys.exit(main())
