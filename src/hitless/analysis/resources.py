"""Memory, descriptors, processor time, pools: a few series of a few instances, for which no theorem gives a bound.

So they only hold a rollout, with a sentence that says what was seen and against what; they never take one back. What
each rule is, and what was measured of it, stands in `growth`, `processor` and `pools`. What answers carry over the
`network` stands beside them, and holds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from hitless.analysis.counts import Second
from hitless.analysis.growth import BLOCK_S, Growth, GrowthWatch, Rule
from hitless.analysis.network import NetworkWatch
from hitless.analysis.pools import Pools
from hitless.analysis.processor import FEWEST_BATCHES, MARGIN, ProcessorWatch
from hitless.analysis.ruling import Call, Estimate, RowReport
from hitless.analysis.settings import JudgeSettings

_MIB = 1024 * 1024
MEMORY = Rule(least_growth=2 * _MIB, least_growth_share=0.005, headroom=64 * _MIB)
DESCRIPTORS = Rule(least_growth=8, least_growth_share=0.02, headroom=256)
_PROBLEMS = {
    "memory": "memory of the new version grows beside the old one's, and no end is in sight",
    "descriptors": "open descriptors of the new version grow beside the old one's, and no end is in sight",
    "cpu": f"processor time per request is more than {1 + MARGIN:.2f} times that of the old version",
}
_FEWEST_BLOCKS = 10
_HOUR_S = 3_600

_Show = Callable[[float], str]


class Resources:
    """Watches what the instances of both versions use.

    Args:
        settings: of the rollout's judge.
        memory_bytes: what one instance may use at most (the machine's, or a limit); None = not known.
        bake_s: within which memory must not run out.
    """

    def __init__(
        self, settings: JudgeSettings, *, memory_bytes: int | None = None, bake_s: float = 6 * _HOUR_S
    ) -> None:
        canary, baseline, warm_up_s = settings.canary, settings.baseline, settings.analysis.warm_up_s
        offset_s = crc32(settings.salt.encode()) % BLOCK_S  # hundreds of rollouts need not look in the same second
        self._memory = GrowthWatch(
            canary=canary,
            baseline=baseline,
            read=lambda usage: usage.memory_bytes,
            rule=MEMORY,
            warm_up_s=warm_up_s,
            limit=memory_bytes,
            bake_s=bake_s,
            offset_s=offset_s,
        )
        self._descriptors = GrowthWatch(
            canary=canary,
            baseline=baseline,
            read=lambda usage: usage.descriptors,
            rule=DESCRIPTORS,
            warm_up_s=warm_up_s,
            offset_s=offset_s,
        )
        self._processor = ProcessorWatch(
            canary=canary,
            baseline=baseline,
            alpha=settings.analysis.false_rollback,
            warm_up_s=warm_up_s,
            offset_s=offset_s,
        )
        self._network = NetworkWatch(canary=canary, baseline=baseline)
        self._pools = Pools(settings)
        self._since: dict[str, int] = {}
        self._reports = self._report()

    def take(self, second: Second) -> None:
        """Take what was read in one second; seconds come in order."""
        self._network.take(second)
        self._pools.take(second)
        ended = [watch.take(second) for watch in (self._memory, self._descriptors, self._processor)]
        if any(ended):
            self._note_since(second.at)
            self._reports = self._report()

    def reports(self) -> tuple[RowReport, ...]:
        """Return a row for each; none of them is in the sum of the judge."""
        network = self._row("network", "bytes of an answer", self._network.detail, self._network_estimate())
        return *self._reports, network, *self._pools.reports()

    def problem(self) -> str | None:
        """Say what holds the rollout, without figures, which are in the rows; None = nothing does."""
        found = [_PROBLEMS[one.name] for one in self._reports if one.since is not None]
        return "; ".join(filter(None, (*found, self._pools.problem()))) or None

    def _note_since(self, at: int) -> None:
        troubled = {
            "memory": self._memory.growth is not None,
            "descriptors": self._descriptors.growth is not None,
            "cpu": self._processor.is_costlier,
        }
        for name, is_troubled in troubled.items():
            if is_troubled:
                self._since.setdefault(name, at)
            else:
                self._since.pop(name, None)

    def _report(self) -> tuple[RowReport, ...]:
        return (
            self._row("memory", "memory", _growth_detail(self._memory, "memory", _megabytes)),
            self._row("descriptors", "open descriptors", _growth_detail(self._descriptors, "descriptors", _plain)),
            self._row("cpu", "processor time per request", _processor_detail(self._processor), self._cpu_estimate()),
        )

    def _row(self, name: str, title: str, detail: str, estimate: Estimate | None = None) -> RowReport:
        return RowReport(
            name=name, title=title, acts=Call.HOLD, estimate=estimate, since=self._since.get(name), detail=detail
        )

    def _cpu_estimate(self) -> Estimate | None:
        watch = self._processor
        if watch.ratio is None:
            return None
        return Estimate(value=watch.ratio, low=watch.at_least, high=None, unit="times the processor time per request")

    def _network_estimate(self) -> Estimate | None:
        if self._network.ratio is None:
            return None
        return Estimate(value=self._network.ratio, low=None, high=None, unit="times the bytes of an answer")


def _growth_detail(watch: GrowthWatch, what: str, show: _Show) -> str:
    if watch.growth is not None:
        return _growing(watch.growth, what, show)
    if watch.compared_blocks == 0:
        return "nothing to compare yet: no reading of both versions at the same time, after the first minute of each"
    if watch.compared_blocks < _FEWEST_BLOCKS:
        missing_s = (_FEWEST_BLOCKS - watch.compared_blocks) * BLOCK_S
        return f"too early to tell: {missing_s} s more"
    return f"no growth beside the old version ({_reference(is_age_matched=watch.is_age_matched)})"


def _growing(growth: Growth, what: str, show: _Show) -> str:
    end = ""
    if growth.exhausted_after_s is not None:
        end = f"; what there is would be used up in {growth.exhausted_after_s / _HOUR_S:.1f} h"
    return (
        f"{what} {'grows' if what == 'memory' else 'grow'} by {show(growth.per_hour)} an hour beside the old version, "
        f"from {show(growth.size)} an instance, for {growth.span_s / 60:.0f} min so far "
        f"({_reference(is_age_matched=growth.is_age_matched)}){end}"
    )


def _reference(*, is_age_matched: bool) -> str:
    return "age-matched baseline" if is_age_matched else "aged baseline"


def _processor_detail(watch: ProcessorWatch) -> str:
    if watch.at_least is None or watch.ratio is None:
        if watch.left_out:
            return watch.left_out
        return f"too early to tell: {watch.batches} of {FEWEST_BATCHES} batches of 30 s"
    found = f"{watch.ratio:.2f} times that of the old version, at least {watch.at_least:.2f} times"
    return f"processor time per request is {found}; {1 + MARGIN:.2f} times is allowed"


def _megabytes(amount: float) -> str:
    return f"{amount / 1e6:.3g} MB"


def _plain(amount: float) -> str:
    return f"{amount:.3g}"
