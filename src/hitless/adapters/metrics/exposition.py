"""Applications' own figures: what became of calls to their dependencies, from Prometheus or OpenMetrics text. Pure.

The convention, which wins where both are there:

    hitless_dependency_calls_total{dependency="payments",outcome="ok"} 1027
    hitless_dependency_calls_total{dependency="payments",outcome="error"} 3

Otherwise any counter that names what is called (`dependency`, `upstream`, `target` or `service`) and what came of it
(`outcome`, `status` or `code`). One that is an HTTP status fails from 500 on; a gRPC status fails where it is the other
side's fault; a word fails if it is one of `FAILED_WORDS`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus
from prometheus_client.samples import Sample

from hitless.analysis.counts import RATIO

CONVENTION = "hitless_dependency_calls_total"
NAMES = ("dependency", "upstream", "target", "service")
OUTCOMES = ("outcome", "status", "code")
FAILED_WORDS = frozenset(
    {
        *("error", "err", "fail", "failed", "failure", "false", "exception", "timeout", "aborted", "5xx"),
        *("unknown", "deadline_exceeded", "deadlineexceeded", "internal", "unavailable", "data_loss", "dataloss"),
    }
)
MOST_DEPENDENCIES = 50

_FAILS_FROM = 500
_OPENMETRICS = "application/openmetrics-text"
_RELEVANT = re.compile(rf"\b(?:{'|'.join(NAMES)})=\"")
_COUNTERS = ("counter", "unknown", "untyped")

Series = tuple[str, tuple[tuple[str, str], ...]]
"""One counter: its name and its labels, in order."""


class NotExposition(ValueError):
    """The text is neither Prometheus' nor OpenMetrics'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCounter:
    """One counter of calls, as it stands.

    Attributes:
        adds: what one more adds to all calls, and to those that failed.
        selected_by: of a ratio, by which settings.
    """

    dependency: str
    value: float
    adds: tuple[int, int] = (1, 0)
    selected_by: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether it counts what failed."""
        return self.adds[1] > 0


Counters = Mapping[Series, CallCounter]


def parse_calls(text: str, *, content_type: str = "") -> Mapping[Series, CallCounter]:
    """Read the counters of calls to dependencies.

    Args:
        text: what an instance answered.
        content_type: by which the two formats are told apart.

    Raises:
        NotExposition: it cannot be read.
    """
    return parse_calls_of(families_of(text, content_type=content_type, keep=is_about_a_dependency))


def parse_calls_of(families: Iterable[Metric]) -> dict[Series, CallCounter]:
    """Find the counters of calls to dependencies among families that were read."""
    return _one_source_each(dict(_counters(families)))


def families_of(text: str, *, content_type: str, keep: Callable[[str], bool]) -> list[Metric]:
    """Read families; of samples, the lines to keep: parsing costs 10 us a line, and there may be 100,000 of them.

    Raises:
        NotExposition: it cannot be read.
    """
    parse = parse_openmetrics if content_type.startswith(_OPENMETRICS) else parse_prometheus
    lines = (line for line in text.split("\n") if line.startswith("#") or keep(line))
    try:
        return list(parse("\n".join(lines) + "\n"))
    except (ValueError, KeyError, IndexError) as error:
        raise NotExposition(str(error)) from error


def is_about_a_dependency(line: str) -> bool:
    """Tell whether a line's labels name what is called."""
    return _RELEVANT.search(line) is not None


def _counters(families: Iterable[Metric]) -> Iterator[tuple[Series, CallCounter]]:
    for family in families:
        if family.type not in _COUNTERS:
            continue
        for sample in family.samples:
            if (found := _counter(sample, is_typed=family.type == "counter")) is not None:
                yield (sample.name, tuple(sorted(sample.labels.items()))), found


def _counter(sample: Sample, *, is_typed: bool) -> CallCounter | None:
    if not sample.name.endswith("_total") and (not is_typed or sample.name.endswith("_created")):
        return None
    dependency = next((sample.labels[name] for name in NAMES if sample.labels.get(name)), None)
    outcome = next((sample.labels[name] for name in OUTCOMES if name in sample.labels), None)
    if dependency is None or outcome is None or not math.isfinite(sample.value) or dependency.startswith(RATIO):
        return None
    return CallCounter(dependency=dependency, value=float(sample.value), adds=(1, int(is_failure(outcome))))


def is_failure(outcome: str) -> bool:
    """Tell whether a label's value says that a call failed; an HTTP call without a status has."""
    if outcome.isdecimal():
        return int(outcome) >= _FAILS_FROM or int(outcome) == 0
    return outcome.strip().lower() in FAILED_WORDS or not outcome.strip()


def _one_source_each(found: Mapping[Series, CallCounter]) -> dict[Series, CallCounter]:
    """Count a call once: of several metrics about one dependency, take the convention's or the first by name."""
    sources: dict[str, str] = {}
    for name, labels in sorted(found, key=lambda series: (series[0] != CONVENTION, series)):
        dependency = found[name, labels].dependency
        if dependency in sources or len(sources) < MOST_DEPENDENCIES:
            sources.setdefault(dependency, name)
    return {series: one for series, one in found.items() if sources.get(one.dependency) == series[0]}
