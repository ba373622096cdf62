"""What a judge is told before a rollout begins, and never afterwards: changing it in between would void its bound."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from hitless.analysis.counts import HANGS_AFTER_S
from hitless.rollout.spec import AnalysisSpec, MetricsSpec, SloSpec, Version

Row = str

WEIGHTS: Mapping[Row, float] = {
    "errors": 0.30,
    "onset": 0.15,
    "latency": 0.35,
    "objective": 0.10,
    "dependencies": 0.10,
}
"""Shares of the false rollbacks that each row may cause; a row that a service has not gives its share to the others."""

RATIOS = "ratios."
"""Begins the rows of the application's ratios."""

STAY_S = int(HANGS_AFTER_S) + 1
"""What is shown must stay so for so long before it is promoted to: requests that hang are known that late."""

LATENCY_MARGIN = 0.5
"""So many more of all users' answers may be slow, as a share of those that usually are."""

USUALLY_SLOW = 0.05
"""Above p95."""

QUERY_WINDOW_S, QUERY_LONGEST_S, QUERY_SCRAPE_S = 30, 60, 30
"""What a Prometheus tells is compared for so long together; for so long at most; what it has is so old at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What the old version was like before the rollout, measured: predictable, so that no bound suffers from it.

    Attributes:
        seconds: how much of it was seen, gaps left out.
        requests_per_s: of all versions together.
        failure_rate: None = no request was seen.
        latency_bounds: thresholds as bucket numbers: of p50, p75, p90, p95, p99 and p99.9; empty = no answer was seen.
        usual_duration_s: p99 of durations: so long a newcomer's first seconds show only what is quick.
        usual_durations_s: the same by class of routes, where it was seen.
        dispersion: Fano factor by row, at least 1: how far failures come in bursts.
        baseline_instances: how many served, by region.
    """

    seconds: int = 0
    requests_per_s: float = 0.0
    failure_rate: float | None = None
    latency_bounds: tuple[int, ...] = ()
    usual_duration_s: float = 0.0
    usual_durations_s: Mapping[str, float] = field(default_factory=dict)
    dispersion: Mapping[Row, float] = field(default_factory=dict)
    baseline_instances: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioRule:
    """How one of the application's ratios is compared.

    Attributes:
        margin: so much greater the new version's odds of bad may be, 0.1 for a tenth.
        lag_s: what is told in a second may have happened so long before it.
    """

    margin: float = 0.0
    lag_s: int = 0


def ratio_rules(metrics: MetricsSpec | None) -> Mapping[str, RatioRule]:
    """Return how each configured ratio is compared."""
    return {
        one.name: RatioRule(margin=one.margin, lag_s=QUERY_LONGEST_S + QUERY_SCRAPE_S if one.is_query else 0)
        for one in (metrics.ratios if metrics is not None else ())
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """One rollout's judge, frozen.

    Attributes:
        salt: the rollout's id: decides how the placebo halves the old version.
        ratios: by name.
        pools: names of pools that are watched.
    """

    canary: Version
    baseline: Version
    analysis: AnalysisSpec
    slo: SloSpec | None
    background: Background
    salt: str
    ratios: Mapping[str, RatioRule] = field(default_factory=dict)
    pools: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Hash of all of it, 12 hexadecimal digits; of what came later, what is set: older recordings stay ours."""
        told = asdict(self)
        told = {name: value for name, value in told.items() if value or name not in {"ratios", "pools"}}
        text = json.dumps(told, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
