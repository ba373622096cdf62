"""Soak hitless: random rollouts and faults under load, and a ledger: `python -m soak --minutes 30`.

Exit code 0 if every promise was kept, 1 if not, or if one could not be judged. Ctrl-C ends it with the ledger so far.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from hitless.testing.live import live_load
from soak.beats import ALL, CONTROLLER, Beat, beats
from soak.chaos import Chaos
from soak.ledger import GROWTH_OF, Ledger
from soak.operator import Operator, operated
from soak.render import to_markdown

QUIET_SHARE = 0.1
"""Of the time, at its end: the controller lives on, so that its own growth can be seen."""

STREAMS = "4"
TELL_EVERY_S = 10.0
KILLS_PER_MINUTE = 500 / 30
SETTINGS = {
    "steps": "[{weight: 1%, hold: 500ms}, {weight: 50%, hold: 1s}, {weight: 100%}]",
    "keep_warm": "1s",
    "start_deadline": "8s",
    "max_failures": 2,
}


def main() -> int:
    """Run a soak and print its ledger."""
    asked = _arguments()
    ledger = Ledger(seed=asked.seed, kills_wanted=asked.kills_at_least)
    print(f"seed {asked.seed}, {asked.minutes:g} minutes, faults: {asked.faults}", flush=True)
    faults = CONTROLLER if asked.faults == "controller" else ALL
    with operated(**SETTINGS) as operator:
        _soak(operator, beats(asked.seed, faults), ledger, seconds=asked.minutes * 60, rate_rps=asked.rate)
    text = to_markdown(ledger)
    print(text)
    if asked.report:
        asked.report.write_text(text)
    return 0 if ledger.is_kept(but=GROWTH_OF.values() if asked.short else ()) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, help="the same seed draws the same sequence; without it, any")
    parser.add_argument(
        "--kills-at-least", type=int, metavar="N", help="of the controller; without it, 500 in 30 minutes"
    )
    parser.add_argument(
        "--faults",
        choices=("controller", "all"),
        default="controller",
        help="all: instances and Envoy are killed too; what that costs is counted apart",
    )
    parser.add_argument("--rate", type=float, default=150.0, help="requests per second")
    parser.add_argument(
        "--short",
        action="store_true",
        help="that growth could not be judged, for want of looks, is told and no failure",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the ledger there as Markdown")
    asked = parser.parse_args()
    if asked.seed is None:
        asked.seed = random.randrange(1_000_000)
    if asked.kills_at_least is None:
        share = KILLS_PER_MINUTE if asked.faults == "controller" else KILLS_PER_MINUTE / 3
        asked.kills_at_least = int(asked.minutes * share)
    return asked


def _soak(operator: Operator, drawn: Iterator[Beat], ledger: Ledger, *, seconds: float, rate_rps: float) -> None:
    options = ("--rate", str(rate_rps), "--streams", STREAMS)
    target = str(operator.shop.listen)
    with live_load(target, *options, duration_s=2 * seconds + 600) as load:
        quiet_from = time.monotonic() + seconds * (1 - QUIET_SHARE)
        chaos = Chaos(operator, load, ledger, until=quiet_from)
        with contextlib.suppress(KeyboardInterrupt):
            _play(chaos, drawn, quiet_from=quiet_from, until=quiet_from + seconds * QUIET_SHARE)
        chaos.end()


def _play(chaos: Chaos, drawn: Iterator[Beat], *, quiet_from: float, until: float) -> None:
    tell_at = 0.0
    for beat in drawn:
        now = time.monotonic()
        if now >= until:
            return
        if now < quiet_from:
            chaos.play(beat)
        else:
            chaos.play_quietly(beat)
        if now >= tell_at:
            tell_at = now + TELL_EVERY_S
            _tell(chaos)


def _tell(chaos: Chaos) -> None:
    ledger, state = chaos.ledger, chaos.state
    rollout = f"{state.rollout.id} {state.phase}" if state.rollout else "none"
    killed = f"{ledger.kills:,} of {ledger.kills_wanted:,} controllers killed"
    print(f"{chaos.at_s:7.0f} s  {killed}, {len(ledger.strays)} strays; rollout {rollout}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
