"""A million requests while rollouts of every strategy end in every way at every stage: how many fail?"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import reduce
from operator import add

from benchmarks.results import Cell, Goal, Result, Table
from benchmarks.shop import NAME, shop
from hitless.testing.live import LiveLoad, live_load
from hitless.testing.load import Kind, KindReport, Report
from hitless.testing.season import STAGES, Season

REQUESTS, QUICK_REQUESTS = 1_000_000, 500
RATE_RPS, QUICK_RATE_RPS = 1_100, 150
STREAMS = 10
WITHIN_S = 55 * 60.0  # the rest of an hour is for starting and ending
QUICK_STRATEGIES = ("rolling",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One strategy's season."""

    strategy: str
    report: Report
    deployed: int
    exits: Counter[tuple[str, int]]
    journal_problem: str | None


def run(*, quick: bool) -> Result:
    """Play a season per strategy until the requests are sent or the time is up."""
    strategies = QUICK_STRATEGIES if quick else tuple(STAGES)
    wanted = (QUICK_REQUESTS if quick else REQUESTS) // len(strategies) + 1
    end = time.monotonic() + WITHIN_S
    seasons = []
    for left, strategy in zip(range(len(strategies), 0, -1), strategies, strict=True):
        until = time.monotonic() + (end - time.monotonic()) / left
        seasons.append(_play(strategy, wanted, until, quick=quick))
    whole = reduce(add, (one.report for one in seasons))
    return Result(
        tables=(_by_kind(seasons, whole), _by_window(whole), _endings(seasons)),
        goals=(
            Goal(name="requests", measured=whole.sent, limit=wanted * len(strategies) - 3, at_least=True),
            Goal(name="failed requests, duplicated and lost POSTs included", measured=whole.failed, limit=0),
            Goal(name="streams cut before the drain deadline", measured=whole.total.cut, limit=0),
        ),
        notes=(_posts(whole), f"verdict of the load: {whole.verdict}; {whole.total.late:,} requests left late"),
        broken=tuple(_broken(seasons, whole)),
    )


def _play(strategy: str, wanted: int, until: float, *, quick: bool) -> Played:
    rate_rps = QUICK_RATE_RPS if quick else RATE_RPS
    options = ("--rate", str(rate_rps), "--streams", str(STREAMS))
    with shop() as found, live_load(str(found.listen), *options, duration_s=2 * WITHIN_S) as load:
        season = Season(found.project, service=NAME, strategy=strategy, load=load)
        if quick:
            season.supersede(0)
        else:
            _fill(season, load, wanted, until)
        report = load.finish()
        verified = found.client.verify_journal()
    return Played(
        strategy=strategy,
        report=report,
        deployed=season.deployed,
        exits=season.exits,
        journal_problem=verified["problem"],
    )


def _fill(season: Season, load: LiveLoad, wanted: int, until: float) -> None:
    season.run()
    while load.sent() < wanted and time.monotonic() < until:
        season.run()


def _by_kind(seasons: list[Played], whole: Report) -> Table:
    columns = ("clients", *(f"{one.strategy}, sent" for one in seasons), "sent", "failed", "causes", "streams cut")
    rows = [
        (kind.value, *(_sent(one.report, kind) for one in seasons), *_fate(found))
        for kind, found in whole.kinds.items()
    ]
    total = ("all", *(one.report.sent for one in seasons), *_fate(whole.total))
    return Table(title="Requests by kind of client", columns=columns, rows=(*rows, total))


def _sent(report: Report, kind: Kind) -> int:
    return report.kinds[kind].sent if kind in report.kinds else 0


def _fate(found: KindReport) -> tuple[Cell, ...]:
    return found.sent, found.failures, _causes(found), f"{found.cut} of {found.opened}" if found.opened else ""


def _causes(found: KindReport) -> str:
    return ", ".join(f"{count:,} {cause}" for cause, count in sorted(found.failed.items()))


def _by_window(whole: Report) -> Table:
    sums = {mark: reduce(add, kinds.values(), KindReport()) for mark, kinds in whole.by_mark.items()}
    rows = tuple((mark or "before and after", one.sent, one.failures, _causes(one)) for mark, one in sums.items())
    return Table(title="Requests by what was done", columns=("what", "sent", "failed", "causes"), rows=rows)


def _endings(seasons: list[Played]) -> Table:
    verbs = sorted({verb for one in seasons for verb, _ in one.exits})
    rows: list[tuple[Cell, ...]] = [
        (one.strategy, one.deployed, *(_times(one, verb) for verb in verbs)) for one in seasons
    ]
    return Table(title="Rollouts", columns=("strategy", "deployed", *verbs), rows=tuple(rows))


def _times(one: Played, verb: str) -> str:
    codes = sorted((code, count) for (name, code), count in one.exits.items() if name == verb)
    return ", ".join(f"{count} x exit {code}" for code, count in codes)


def _posts(whole: Report) -> str:
    posts = whole.posts
    if posts is None or posts.problem:
        return f"POSTs could not be checked: {posts.problem if posts else 'none were sent'}"
    return f"POSTs: {posts.acknowledged:,} acknowledged, {posts.duplicates} executed twice, {posts.lost} lost"


def _broken(seasons: list[Played], whole: Report) -> list[str]:
    found = [f"journal of {one.strategy}: {one.journal_problem}" for one in seasons if one.journal_problem]
    if whole.failed:
        examples = [f"{one.kind} {one.cause} in {one.mark}: {one.detail}" for one in whole.examples[:5]]
        found.append(f"{whole.failed} requests failed, for example {'; '.join(examples)}")
    if whole.total.cut:
        found.append(f"{whole.total.cut} streams were cut")
    return found
