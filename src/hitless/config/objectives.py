"""The sections `slo`, `analysis` and `metrics`: what is promised, and how a new version is compared."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import model_validator

from hitless.config import rules
from hitless.config.fields import (
    Budget,
    Dependency,
    Duration,
    FigureName,
    FilePath,
    Given,
    HttpUrl,
    LabelName,
    LatencyLimit,
    Margin,
    Objective,
    OddsMargin,
    PartField,
    Points,
    PositiveDuration,
    Quantile,
    Query,
    SelectorField,
    ShortForm,
    SizeField,
    UndecidedField,
    UrlPath,
)
from hitless.config.section import Section, raise_if_any, section, setting
from hitless.config.values import read_quantile, write_duration, write_points, write_share
from hitless.rollout import spec

_SLO = spec.SloSpec()
_ANALYSIS = spec.AnalysisSpec()
_METRICS = spec.MetricsSpec()


class SuccessRate(Section):
    """How many requests succeed."""

    at_least: Objective = setting("Least share of requests that succeed.", example="99.95%")
    for_: PositiveDuration = setting(
        "A rollout is taken back when the new version is below it for so long, and the old one is not.",
        default=write_duration(_SLO.success_for_s),
        alias="for",
    )


_SHARE_ALONE = ShortForm(lambda text: {"at_least": text}, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$"})


class Slo(Section):
    """What users of the service are promised."""

    success_rate: Annotated[SuccessRate | None, Given(), _SHARE_ALONE] = setting(
        "Requests that succeed. A share alone, as in `99.95%`, means `at_least`. Not set: nothing is promised.",
        default=None,
    )
    latency: dict[Quantile, LatencyLimit] = setting(
        "The longest that an answer may take, by quantile: `p99: 300ms` promises 99 % of the answers within 300 ms.",
        default={},
        title="mapping of quantiles to durations",
        example={"p99": "300ms", "p50": "80ms"},
    )
    openslo: Annotated[FilePath | None, Given()] = setting(
        "A file of OpenSLO v1 to take objectives from, relative to this file's directory. What stands here beside it "
        "counts before it.",
        default=None,
        example="slo.yaml",
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        raise_if_any(rules.latency(self.to_spec().latency))
        return self

    def to_spec(self) -> spec.SloSpec:
        """Return the value that the rest of hitless works with; what a file says is not in it yet."""
        rate = self.success_rate
        found = ((read_quantile(name), seconds) for name, seconds in self.latency.items())
        return spec.SloSpec(
            success_rate=rate.at_least if rate else None,
            success_for_s=rate.for_ if rate else _SLO.success_for_s,
            latency=tuple(
                spec.LatencyObjective(quantile=quantile, at_most_ms=round(seconds * 1000, 6))
                for quantile, seconds in sorted(found)
            ),
        )


class ErrorRate(Section):
    """When more failures are worse."""

    margin: Points = setting(
        "A step is left once it is shown that no more than so many more of all users' requests fail, in percentage "
        "points. What is shown to fail more at all is taken back, also within it.",
        default=write_points(_ANALYSIS.error_margin),
    )


class Latency(Section):
    """When slower is worse."""

    margin: Margin = setting(
        "Slower by less than this share is not slower.", default=write_share(_ANALYSIS.latency_margin)
    )


class Analysis(Section):
    """Compares every new version with the old one."""

    enabled: bool = setting("Whether steps wait for a verdict.", default=True)
    false_rollback: Budget = setting(
        "At most this share of rollouts of a version that is no worse is taken back, whatever is looked at and however "
        "often.",
        default=write_share(_ANALYSIS.false_rollback),
    )
    false_promotion: Budget = setting(
        "At most this share of steps is left with a version that is worse than the margin.",
        default=write_share(_ANALYSIS.false_promotion),
    )
    error_rate: ErrorRate = section("When more failures are worse.", ErrorRate)
    latency: Latency = section("When slower is worse.", Latency)
    dependencies: list[Dependency] = setting(
        "What the service calls, as the metrics of its instances name it; calls that fail are compared for each.",
        default=[],
        example=["payments", "postgres"],
        max_length=32,
    )
    warm_up: Duration = setting(
        "So long after a version got users, or more of them, it is not compared how slow its answers are, nor how its "
        "calls to dependencies end: cold caches are no regression. Failed requests count from the first second.",
        default=write_duration(_ANALYSIS.warm_up_s),
    )
    undecided: UndecidedField = setting(
        "What becomes of a step whose verdict is still open `patience` after its own time: `wait` on, `rollback`, or "
        "`ask` for `hitless rollout promote`.",
        default=str(_ANALYSIS.undecided),
    )
    patience: Duration = setting(
        "How long a step may last beyond its own time for want of a verdict.",
        default=write_duration(_ANALYSIS.patience_s),
    )

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        raise_if_any(rules.dependencies(self.dependencies))
        return self

    def to_spec(self) -> spec.AnalysisSpec | None:
        """Return the value that the rest of hitless works with."""
        if not self.enabled:
            return None
        return spec.AnalysisSpec(
            false_rollback=self.false_rollback,
            false_promotion=self.false_promotion,
            error_margin=self.error_rate.margin,
            latency_margin=self.latency.margin,
            dependencies=tuple(self.dependencies),
            warm_up_s=self.warm_up,
            undecided=spec.Undecided(self.undecided),
            patience_s=self.patience,
        )


class Ratio(Section):
    """What the application counts of good and bad. Exactly two of `good`, `bad` and `total`."""

    good: Annotated[PartField | None, Given()] = setting(
        "Counter of what went well: a metric, with labels as in PromQL if need be; or `{query: ...}` to `prometheus`.",
        default=None,
        example='orders_total{outcome="paid"}',
    )
    bad: Annotated[PartField | None, Given()] = setting(
        "Counter of what went wrong.", default=None, example="cache_misses_total"
    )
    total: Annotated[PartField | None, Given()] = setting("Counter of all.", default=None, example="orders_total")
    margin: OddsMargin = setting(
        "The new version's odds of bad may be greater than the old one's by this share.", default=write_share(0.0)
    )

    @model_validator(mode="after")
    def _is_a_ratio(self) -> Self:
        raise_if_any(rules.ratio(good=self.good, bad=self.bad, total=self.total))
        return self

    def to_spec(self, name: str) -> spec.RatioSpec:
        """Return the value that the rest of hitless works with."""
        parts = (self.good, self.bad, self.total)
        good, bad, total = (one.text if isinstance(one, Query) else one for one in parts)
        is_query = any(isinstance(one, Query) for one in parts)
        return spec.RatioSpec(name=name, good=good, bad=bad, total=total, margin=self.margin, is_query=is_query)


class Pool(Section):
    """What each instance tells of a pool, as gauges."""

    used: SelectorField = setting("How many are in use.", example="db_pool_in_use")
    size: SizeField = setting("How many there are: a metric, or a number.", example="db_pool_size")


class Prometheus(Section):
    """A Prometheus that is asked for ratios."""

    url: HttpUrl = setting("Where it answers.", example="http://127.0.0.1:9090")
    version: LabelName = setting(
        "Label of its series that holds the version, as `deploy --version` names it.",
        default=spec.PrometheusSpec(url="").version,
    )
    token_file: Annotated[FilePath | None, Given()] = setting(
        "File that holds a bearer token, relative to this file.", default=None, example="secrets/prometheus"
    )

    def to_spec(self) -> spec.PrometheusSpec:
        """Return the value that the rest of hitless works with."""
        return spec.PrometheusSpec(url=self.url.rstrip("/"), version=self.version, token_file=self.token_file)


class Metrics(Section):
    """Where each instance tells figures of its own, and what is read out of them: business events, caches, pools."""

    path: UrlPath = setting("Path that answers in Prometheus or OpenMetrics text.", default=_METRICS.path)
    ratios: dict[FigureName, Ratio] = setting(
        "Counts of good and bad, by a name of your own: a new version with more bad ones is taken back.",
        default={},
        example={"orders": {"good": 'orders_total{outcome="paid"}', "total": "orders_total"}},
        max_length=16,
    )
    pools: dict[FigureName, Pool] = setting(
        "Pools, by a name of your own: a new version that uses one up while the old one does not is held.",
        default={},
        example={"database": {"used": "db_pool_in_use", "size": "db_pool_size"}},
        max_length=16,
    )
    prometheus: Annotated[Prometheus | None, Given()] = setting(
        "The Prometheus that `{query: ...}` asks. Not set: none.", default=None
    )

    @model_validator(mode="after")
    def _knows_whom_to_ask(self) -> Self:
        asking = [name for name, one in self.ratios.items() if one.to_spec(name).is_query]
        raise_if_any(rules.asked(asking, is_there=self.prometheus is not None))
        return self

    def to_spec(self) -> spec.MetricsSpec:
        """Return the value that the rest of hitless works with."""
        return spec.MetricsSpec(
            path=self.path,
            ratios=tuple(one.to_spec(name) for name, one in self.ratios.items()),
            pools=tuple(spec.PoolSpec(name=name, used=one.used, size=one.size) for name, one in self.pools.items()),
            prometheus=self.prometheus.to_spec() if self.prometheus is not None else None,
        )


PATH_ALONE = ShortForm(lambda path: {"path": path}, {"type": "string", "pattern": "^/"})
