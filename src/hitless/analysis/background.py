"""What the old version was like before the rollout: thresholds, rates, dispersion; fixed before anything is judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hitless.analysis.counts import LAST_BUCKET, MOST_MS, RATIO, Second, bound_ms
from hitless.analysis.dispersion import LONG_S, NEIGHBOUR_S, dispersion_between_instances, dispersion_over_time
from hitless.analysis.onset import onsets
from hitless.analysis.settings import RATIOS, Background
from hitless.rollout.spec import AnalysisSpec, Region, Version

QUANTILES: Mapping[str, float] = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
USUAL = 0.99
LATELY_S = 60
LEAST_ANSWERS = 200
"""With fewer, quantiles are those of a few answers: then nothing is said, and the rollout's own first ones count."""

_Series = list[tuple[int, int, int]]


def background(seconds: Sequence[Second], *, baseline: Version, analysis: AnalysisSpec) -> Background:
    """Measure the old version.

    Args:
        seconds: from before the canary got traffic, oldest first; gaps are left out. 30 minutes or more are wanted.
        baseline: whose answers count; `requests_per_s` is that of all versions.
        analysis: names the dependencies, and how long an instance warms up.

    Returns:
        With `dispersion` by test: `errors`, `retried`, `onset`, `latency.p50` and so on, `dependencies.<name>`,
        `ratios.<name>` of every ratio that was told of; and `instances`: of failures between instances alone, where
        there are several, which no outage of everybody raises.
    """
    read = [second for second in seconds if second.gap is None]
    counts = _Counts(read, baseline)
    bounds = latency_bounds(counts.durations) if counts.durations.total() >= LEAST_ANSWERS else ()
    return Background(
        seconds=len(read),
        requests_per_s=counts.everybodys / len(read) if read else 0.0,
        failure_rate=counts.failed / counts.total if counts.total else None,
        latency_bounds=bounds,
        usual_duration_s=_usual_duration_s(counts.durations),
        usual_durations_s={route: _usual_duration_s(seen) for route, seen in counts.by_route.items()},
        dispersion=_dispersion(read, counts, bounds, baseline, analysis),
        baseline_instances=_instances(read[-LATELY_S:], baseline),
    )


def latency_bounds(durations: Mapping[int, int]) -> tuple[int, ...]:
    """Return the buckets of `QUANTILES`; empty without durations. What hangs is above every bound."""
    if not sum(durations.values()):
        return ()
    return tuple(min(_quantile(durations, q), LAST_BUCKET - 1) for q in QUANTILES.values())


def _quantile(durations: Mapping[int, int], quantile: float) -> int:
    """Return the smallest bucket such that no more than `1 - quantile` of the answers lie above it."""
    left = sum(durations.values())
    allowed = left * (1.0 - quantile) + 1e-9
    for bucket in sorted(durations):
        left -= durations[bucket]
        if left <= allowed:
            return bucket
    return LAST_BUCKET


def _usual_duration_s(durations: Mapping[int, int]) -> float:
    return min(bound_ms(_quantile(durations, USUAL)), MOST_MS) / 1000.0 if durations else 0.0


class _Counts:
    """Sums of all seconds, and the series that dispersion is measured on."""

    def __init__(self, seconds: Sequence[Second], baseline: Version) -> None:
        self.everybodys = self.total = self.failed = 0
        self.durations: Counter[int] = Counter()
        self.by_route: dict[str, Counter[int]] = {}
        self.errors: _Series = []
        self.retried: _Series = []
        self.histograms: list[tuple[int, Counter[int]]] = []
        for second in seconds:
            self.everybodys += sum(cell.requests.total for cell in second.cells)
            mine = [cell for cell in second.cells if cell.version == baseline]
            total, failed = sum(c.requests.total for c in mine), sum(c.requests.failed for c in mine)
            self.total, self.failed = self.total + total, self.failed + failed
            self.errors.append((second.at, total, failed))
            self.retried.append((second.at, total, sum(c.retried for c in mine)))
            histogram = Counter[int]()
            for cell in mine:
                histogram.update(cell.durations)
                self.by_route.setdefault(cell.route, Counter()).update(cell.durations)
            self.durations.update(histogram)
            self.histograms.append((second.at, histogram))

    def slow(self, bound: int) -> _Series:
        """Return the series of answers above a bucket."""
        return [
            (at, histogram.total(), sum(count for bucket, count in histogram.items() if bucket > bound))
            for at, histogram in self.histograms
        ]


def _dispersion(
    seconds: Sequence[Second], counts: _Counts, bounds: Sequence[int], baseline: Version, analysis: AnalysisSpec
) -> Mapping[str, float]:
    between = dispersion_between_instances(seconds, version=baseline, warm_up_s=analysis.warm_up_s)
    result = {
        "errors": max(
            dispersion_over_time(counts.errors, with_bursts=False, steady=True, window_s=LONG_S),
            dispersion_over_time(counts.errors)
            if between is None
            else max(between, dispersion_over_time(counts.errors, with_bursts=False, steady=True)),
        ),
        "retried": dispersion_over_time(counts.retried),
        "onset": dispersion_over_time(
            onsets(seconds, version=baseline, failure_rate=counts.failed / counts.total if counts.total else 0.0),
            with_bursts=False,
            steady=True,
        ),
    }
    if between is not None:
        result["instances"] = between
    for name, bound in zip(QUANTILES, bounds, strict=False):
        result[f"latency.{name}"] = dispersion_over_time(counts.slow(bound), with_bursts=False)
    for dependency in analysis.dependencies:
        result[f"dependencies.{dependency}"] = dispersion_over_time(_calls(seconds, baseline, dependency))
    for ratio in {call.dependency for second in seconds for call in second.calls if call.dependency.startswith(RATIO)}:
        told = _neighbours(_calls(seconds, baseline, ratio))
        result[f"{RATIOS}{ratio.removeprefix(RATIO)}"] = dispersion_over_time(told)
    return result


def _neighbours(series: _Series) -> _Series:
    """Bring windows together between which nothing was told: figures that are told now and then have no others."""
    windows = dict.fromkeys(at // NEIGHBOUR_S for at, total, _ in series if total)
    number = {window: place for place, window in enumerate(windows)}
    return [(number[at // NEIGHBOUR_S] * NEIGHBOUR_S, total, bad) for at, total, bad in series if total]


def _calls(seconds: Sequence[Second], baseline: Version, dependency: str) -> _Series:
    series: _Series = []
    for second in seconds:
        fates = [c.fates for c in second.calls if c.version == baseline and c.dependency == dependency]
        series.append((second.at, sum(f.total for f in fates), sum(f.failed for f in fates)))
    return series


def _instances(seconds: Sequence[Second], baseline: Version) -> int:
    """Count instances in the region that has fewest."""
    by_region: dict[Region, set[str]] = {}
    for second in seconds:
        for cell in second.cells:
            if cell.version == baseline:
                by_region.setdefault(cell.region, set()).update(i for i, f in cell.instances.items() if f.total)
    return min((len(instances) for instances in by_region.values()), default=0)
