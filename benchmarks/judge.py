"""How often the judge is wrong, how soon it is right, beside others, and what it costs. Simulated.

The long form: `python -m benchmarks.judge [part ...] [--report FILE]`; parts that are not named stay as they were.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import looks, sameness, sides, verdicts
from benchmarks.page import renewed, section
from benchmarks.races import EIGHT, ONE, bound, race
from benchmarks.results import Cell, Goal, Result, Table
from benchmarks.trials import NEVER

JUMPS = sides.WORSE
SHARES = (0.01, 0.05, 0.25, 0.5)
MOST_OF_BOUND = {ONE: 1.5, EIGHT: 2.2}
USUAL_CASE = (0.001, 0.01, 0.05)
MOST_S, MOST_ALL_FAILING_S = 130.0, 2.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is played.

    Attributes:
        cells: runs of each.
        worlds: runs of each.
        seconds: of each of these runs.
        races: of each jump, until all are decided.
        jumps: of failure rates.
        hours: runs beside others.
        hour_s: how long they last.
        rollouts: before the whole judge, of each kind.
        rollout_s: how long they last.
        rounds: of 500 rollouts judged.
    """

    cells: int
    worlds: int
    seconds: int = 1_000
    races: int
    jumps: tuple[tuple[float, float], ...] = JUMPS
    hours: int
    hour_s: int = sides.HOUR_S
    rollouts: int
    rollout_s: int = 600
    looks: int = 400
    at_once: int = 500
    rounds: int = 5


QUICK = Size(
    cells=40,
    worlds=40,
    seconds=60,
    races=20,
    jumps=JUMPS[2:],
    hours=4,
    hour_s=300,
    rollouts=1,
    rollout_s=60,
    looks=10,
    at_once=10,
    rounds=1,
)
USUAL = Size(cells=200, worlds=100, races=200, hours=20, rollouts=4, looks=100, rounds=3)
LONG = Size(cells=4_000, worlds=4_000, races=1_000, hours=500, rollouts=40)


def run(*, quick: bool) -> Result:
    """Measure all parts in the quick or the usual form."""
    size = QUICK if quick else USUAL
    parts = [part.measure(size) for part in PARTS.values()]
    return Result(
        tables=tuple(table for part in parts for table in part.tables),
        goals=tuple(goal for part in parts for goal in part.goals),
    )


def _speed(size: Size) -> Result:
    table, goals = looks.measure(looks=size.looks, rollouts=size.at_once, rounds=size.rounds)
    return Result(tables=(table,), goals=goals)


def _cells(size: Size) -> Result:
    found = list(sameness.of_cells(size.cells, size.seconds))
    goal = sameness.goal_of("false rollbacks, 95 % upper limit, worst cell", [outcome for _, _, outcome in found])
    return Result(tables=(sameness.cells_table(found),), goals=(goal,))


def _worlds(size: Size) -> Result:
    found = list(sameness.of_kinds(size.worlds, size.seconds))
    goal = sameness.goal_of("false rollbacks, 95 % upper limit, worst world", [outcome for _, outcome in found])
    return Result(tables=(sameness.kinds_table(found),), goals=(goal,))


def _races(size: Size) -> Result:
    found = list(_jumps(size))
    rows = [row for row, _, _ in found]
    goals = tuple(
        Goal(
            name=f"requests needed, times the bound, {level}, worst cell",
            measured=max(times[level] for _, times, _ in found),
            limit=limit,
        )
        for level, limit in MOST_OF_BOUND.items()
    )
    usual = next(seconds for _, _, seconds in found if seconds is not None)
    columns = (
        "failures",
        "share",
        "least requests",
        ONE,
        "times the least",
        EIGHT,
        "times the least",
        "median s",
        "failed users (median)",
        "not found",
    )
    return Result(
        tables=(
            Table(
                title=f"Requests to the new version until it is found (mean of {size.races:,})",
                columns=columns,
                rows=tuple(rows),
            ),
        ),
        goals=(
            *goals,
            Goal(name="0.1 to 1 % at 5 % of 100/s, eight metrics, median", measured=usual, limit=MOST_S, unit=" s"),
        ),
    )


def _jumps(size: Size) -> Iterator[tuple[tuple[Cell, ...], dict[str, float], float | None]]:
    """Return by cell its row, the requests by level as times of the bound, and the median time of the usual case."""
    seed = 2_000
    for old, new in size.jumps:
        for share in SHARES:
            seed += 1
            least = bound(old, new, share)
            found = race(seed, runs=size.races, old=old, new=new, share=share)
            means = {level: float(found.requests[level].mean()) for level in (ONE, EIGHT)}
            seconds = median(found.seconds[EIGHT].tolist())
            row = (
                f"{100 * old:g} -> {100 * new:g} %",
                f"{100 * share:g} %",
                round(least),
                round(means[ONE]),
                f"{means[ONE] / least:.2f}",
                round(means[EIGHT]),
                f"{means[EIGHT] / least:.2f}",
                f"{seconds:,.0f}",
                f"{median(found.harmed[EIGHT].tolist()):.0f}",
                int((found.seconds[EIGHT] == NEVER).sum()),
            )
            yield (
                row,
                {level: mean / least for level, mean in means.items()},
                (seconds if (old, new, share) == USUAL_CASE else None),
            )


def _sides(size: Size) -> Result:
    return Result(tables=sides.tables(size.hours, size.hour_s))


def _verdicts(size: Size) -> Result:
    table, all_fail_s = verdicts.measure(size.rollouts, size.rollout_s)
    name = "all requests failing, from the first one on, median, worst share"
    return Result(tables=(table,), goals=(Goal(name=name, measured=all_fail_s, limit=MOST_ALL_FAILING_S, unit=" s"),))


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the report."""

    title: str
    how: str
    measure: Callable[[Size], Result]


PARTS = {
    "cells": Part(
        title="False rollbacks",
        how=(
            "Each run: 100 requests/s for 1,000 s, assigned at random; both versions fail equally often, and the new "
            "one is slower by just the margin that is allowed. Eight metrics: failed requests, six thresholds of "
            "latency, calls to a dependency; the judge watches retries besides. A look every second, bound 1 %. The "
            "limit is that of Clopper and Pearson, one-sided: of a rate of 0.5 %, 2,000 runs show four times of five "
            "that it is below 1 %, 4,000 runs 98 times of 100. The ramp lasts 250 s a step. The tests of many runs are "
            "made at once by the judge's own functions (`benchmarks/trials.py`; a unit test holds both to the same "
            "evidence); the row of instances and the objective are left out and give their weight to the others."
        ),
        measure=_cells,
    ),
    "worlds": Part(
        title="False rollbacks where requests are not alike",
        how=(
            "As above, failures 0.1 %. Bursts: 20 instances, each of which fails half of its requests for five seconds "
            "every ten minutes on average. Sticky retries: who fails, fails three times in three seconds, at any "
            "instance of the same version. For both, dispersion is measured by `hitless.analysis.background` in 40 "
            "minutes before, once for four runs; the row of instances is left out. Warm-up: the new version's answers "
            "are slow five times as often for two minutes after each step, with `warm_up: 120s`. Swing: traffic and "
            "failure rate rise and fall by 90 %, a day in 1,000 s."
        ),
        measure=_worlds,
    ),
    "races": Part(
        title="Requests needed",
        how=(
            "The least: 4.503 nats (Wald; false alarms 1 %, power 99 %) over the Jensen-Shannon divergence of both "
            "versions at their shares, times the share (`benchmarks/races.py`). One metric decides at ln 100, failed "
            "requests among eight at ln (100 / 0.30), the weight of their row where a service has every row; time and "
            "failed users are those among eight. Failed users include those whom the old version had failed too."
        ),
        measure=_races,
    ),
    "sides": Part(
        title="Beside others",
        how=(
            "The same requests to all, an hour of 100/s, success rate only. *hitless*: bound 1 %, alone and with the "
            "weight it has among eight metrics. *Flagger*: success rate of the canary of at least 99 % in each minute; "
            "`threshold` failed checks turn back, 1 by default, 5 in the tutorial; steps are not played, checks go on "
            "for the hour. *Argo Rollouts*: the documented analysis, success rate of at least 0.95 in each five "
            "minutes, `failureLimit: 3`. *Kayenta*: `NetflixACAJudge` with its defaults (Mann-Whitney, tolerance 0.25, "
            "confidence 0.98, direction increase), judged once at the end with a point a minute, against a baseline as "
            "large as the canary. `benchmarks/incumbents.py` has the emulations; none of the others promises a rate of "
            "false rollbacks over repeated looks, and the first two look at no baseline."
        ),
        measure=_sides,
    ),
    "verdicts": Part(
        title="The whole judge",
        how=(
            "`Judge.take` and `Judge.judgement` second by second, with all rows: 20 instances, an objective of 99 %, "
            "a dependency, 100 requests/s; 30 minutes before each rollout are measured as in a service. Seconds count "
            "from the first with traffic to the new version; the first one is left out by the judge."
        ),
        measure=_verdicts,
    ),
    "speed": Part(
        title="Speed",
        how="Processor time of one core, which other work shared; reading Envoy's log: `python -m benchmarks metrics`.",
        measure=_speed,
    ),
}

HEAD = """# The judge, measured

What [the judge](../how-to/analyse.md) does to versions that are no worse and to those that are, in simulations.
`make bench-long` writes this page anew, about twenty minutes of one core; `make bench` prints a short form. Each table
says on how many runs it rests, each section when and where it was measured.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; none = all")
    parser.add_argument("--report", type=Path, metavar="FILE", help="renew the parts' sections there")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for name in asked.parts or PARTS:
        part, began_s = PARTS[name], time.process_time()
        found = section(part.title, part.how, part.measure(LONG), spent_s=time.process_time() - began_s)
        print(found, flush=True)
        if asked.report:
            asked.report.write_text(renewed(asked.report, head=HEAD, names=PARTS, name=name, text=found), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
