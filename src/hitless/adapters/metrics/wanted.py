"""What a service's settings want read out of its instances' text: ratios of counters, pools of gauges. Pure.

Rules. A ratio is told once both of its metrics are there, with whatever labels: then a series that does not fit yet has
counted nothing. A metric that is not there at all may be misspelt, so nothing is told of its ratio, and that is said.
What is no counter (no gauge, for a pool) is not read, whatever its values look like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from hitless.adapters.metrics.exposition import (
    CallCounter,
    Counters,
    Series,
    families_of,
    is_about_a_dependency,
    parse_calls_of,
)
from hitless.analysis.counts import RATIO
from hitless.rollout.selectors import Selector, read_selector
from hitless.rollout.spec import MetricsSpec, PoolSpec, RatioSpec

ADDS: Mapping[frozenset[str], Mapping[str, tuple[int, int]]] = {
    frozenset({"good", "bad"}): {"good": (1, 0), "bad": (1, 1)},
    frozenset({"good", "total"}): {"good": (0, -1), "total": (1, 1)},
    frozenset({"bad", "total"}): {"bad": (0, 1), "total": (1, 0)},
}
"""By what is told of a ratio: what one more of each adds to all, and to the bad ones."""

_COUNTERS = ("counter", "unknown", "untyped")
_GAUGES = ("gauge", "unknown", "untyped")
_MOST_SERIES = 1_000
"""Of one selector; more are another metric than was meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one instance told.

    Attributes:
        pools: used and size by name.
        missing: what was wanted and is not there, sentences.
    """

    counters: Counters = field(default_factory=dict)
    pools: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


class NotTold(ValueError):
    """Something that is wanted is not there, or is something else; the message is for people."""


@lru_cache(maxsize=256)
def selector_of(text: str) -> Selector:
    """Return a selector, read once."""
    return read_selector(text)


def parse_figures(text: str, wanted: MetricsSpec, *, content_type: str = "") -> Figures:
    """Read everything that is wanted of an instance's text.

    Raises:
        NotExposition: it is neither Prometheus' nor OpenMetrics'.
    """
    ratios = tuple(one for one in wanted.ratios if not one.is_query)
    names = {selector_of(text).name for text in _selectors(ratios, wanted.pools)}
    families = families_of(text, content_type=content_type, keep=_keeper(names) if names else is_about_a_dependency)
    counters, pools, missing = parse_calls_of(families), dict[str, tuple[float, float]](), list[str]()
    for ratio in ratios:
        try:
            counters |= _ratio(ratio, families, missing)
        except NotTold as problem:
            missing.append(str(problem))
    for pool in wanted.pools:
        try:
            pools[pool.name] = _pool(pool, families)
        except NotTold as problem:
            missing.append(str(problem))
    return Figures(counters=counters, pools=pools, missing=tuple(missing))


def _selectors(ratios: Iterable[RatioSpec], pools: Iterable[PoolSpec]) -> Iterator[str]:
    for ratio in ratios:
        yield from ratio.parts.values()
    for pool in pools:
        yield pool.used
        if isinstance(pool.size, str):
            yield pool.size


def _keeper(names: Iterable[str]) -> Callable[[str], bool]:
    beginnings = tuple(sorted(names))
    return lambda line: line.startswith(beginnings) or is_about_a_dependency(line)


def _ratio(ratio: RatioSpec, families: Sequence[Metric], missing: list[str]) -> dict[Series, CallCounter]:
    name, adds = f"{RATIO}{ratio.name}", ADDS[frozenset(ratio.parts)]
    settings = repr(ratio.parts)
    read = {
        part: _samples(text, families, kinds=_COUNTERS, what=f"ratio {ratio.name}", wants="counters")
        for part, text in ratio.parts.items()
    }
    # both metrics are there, whatever they have counted so far
    counters: dict[Series, CallCounter] = {
        (f"{name}:{settings}", ()): CallCounter(dependency=name, value=0.0, adds=(0, 0), selected_by=settings)
    }
    for part, samples in read.items():
        if not samples:
            missing.append(f"ratio {ratio.name}: no series fits `{ratio.parts[part]}` yet, which counts as none")
        for sample in samples:
            series = f"{name}:{part}:{sample.name}", tuple(sorted(sample.labels.items()))
            counters[series] = CallCounter(
                dependency=name, value=float(sample.value), adds=adds[part], selected_by=settings
            )
    return counters


def _pool(pool: PoolSpec, families: Sequence[Metric]) -> tuple[float, float]:
    used = _sum(pool, pool.used, families)
    size = _sum(pool, pool.size, families) if isinstance(pool.size, str) else float(pool.size)
    if used < 0 or size <= 0:
        raise NotTold(f"pool {pool.name}: {used:g} of {size:g} is no utilisation")
    return used, size


def _sum(pool: PoolSpec, text: str, families: Sequence[Metric]) -> float:
    samples = _samples(text, families, kinds=_GAUGES, what=f"pool {pool.name}", wants="gauges")
    if not samples:
        raise NotTold(f"pool {pool.name}: no series fits `{text}`")
    return float(sum(sample.value for sample in samples))


def _samples(text: str, families: Sequence[Metric], *, kinds: tuple[str, ...], what: str, wants: str) -> list[Sample]:
    """Return the series that fit; none, where the metric is there and no series of it fits yet."""
    selector = selector_of(text)
    found = [family for family in families if _is_named(family, selector.name)]
    if not found:
        raise NotTold(f"{what}: there is no metric `{selector.name}`")
    for family in found:
        if family.type not in kinds:
            raise NotTold(f"{what}: `{selector.name}` is of a {family.type}, and {wants} are needed")
    fitting = [
        sample
        for family in found
        for sample in family.samples
        if _is_of(family, sample, selector.name) and selector.fits(sample.labels)
    ]
    if len(fitting) > _MOST_SERIES:
        raise NotTold(f"{what}: more than {_MOST_SERIES:,} series fit `{text}`")
    if not all(math.isfinite(sample.value) for sample in fitting):
        raise NotTold(f"{what}: a series of `{text}` has no finite value")
    return fitting


def _is_named(family: Metric, name: str) -> bool:
    if family.samples:
        return any(_is_of(family, sample, name) for sample in family.samples)
    return family.name in {name, name.removesuffix("_total")}


def _is_of(family: Metric, sample: Sample, name: str) -> bool:
    """Tell whether a sample is a metric's; the parser gives the ending `_total` to counters that lack it."""
    return sample.name == name or (family.type == "counter" and sample.name == f"{name}_total")
