"""The rows of the judge: which there are for this service, what each may cost, which tests it is the mean of.

Fixed when a rollout begins. A rollout is taken back once some row's e-value reaches 1 / (weight x alpha): by Ville's
inequality for each row and the sum over rows, that ever happens with probability at most alpha, however rows depend on
each other, if the new version is no worse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hitless.analysis.counts import RATIO
from hitless.analysis.evidence import Floats, log_sum
from hitless.analysis.odds import OddsTests
from hitless.analysis.onset import LEAST_INSTANCES
from hitless.analysis.settings import RATIOS, WEIGHTS, JudgeSettings
from hitless.analysis.thresholds import Thresholds

PLACEBOS = ("placebo.first", "placebo.second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        tests: by name of a test, the logarithm of its weight in the row; empty for the objective, which is no odds
            test.
        log_needed: where it decides.
    """

    name: str
    title: str
    weight: float
    log_needed: float
    tests: Mapping[str, float]

    def log_value(self, tests: OddsTests, values: Floats) -> float:
        """Return the logarithm of its e-value: a mean of e-values is one, however they depend on each other."""
        if len(self.tests) == 1:
            return float(values[tests.place_of(next(iter(self.tests)))])
        weighted = [values[tests.place_of(name)] + log_weight for name, log_weight in self.tests.items()]
        return float(log_sum(np.array(weighted)))

    def leading(self, tests: OddsTests, values: Floats) -> str:
        """Return the test that says most."""
        return max(self.tests, key=lambda name: values[tests.place_of(name)] + self.tests[name])


def rows_of(settings: JudgeSettings, thresholds: Thresholds) -> tuple[Row, ...]:
    """Return this service's rows, their weights' sum 1."""
    wanted = tuple(_wanted(settings, thresholds))
    everything = sum(weight for _, _, weight, _ in wanted)
    alpha = settings.analysis.false_rollback
    return tuple(
        Row(
            name=name,
            title=title,
            weight=weight / everything,
            log_needed=math.log(everything / (weight * alpha)),
            tests=tests,
        )
        for name, title, weight, tests in wanted
    )


def _wanted(settings: JudgeSettings, thresholds: Thresholds) -> Iterator[tuple[str, str, float, Mapping[str, float]]]:
    by_instance = settings.background.baseline_instances >= LEAST_INSTANCES
    yield "errors", "failed requests", WEIGHTS["errors"] + (0.0 if by_instance else WEIGHTS["onset"]), {"errors": 0.0}
    if by_instance:
        yield "onset", "instances that begin to fail", WEIGHTS["onset"], {"onset": 0.0}
    latency = {f"latency.{name}": weight for name, weight in thresholds.log_weights().items()}
    yield "latency", "slow answers", WEIGHTS["latency"], latency
    if has_objective_row(settings):
        yield "objective", "success rate against the objective", WEIGHTS["objective"], {}
    hidden = {
        "retried": "requests that needed another attempt",
        **{f"dependencies.{name}": f"calls to {name}" for name in settings.analysis.dependencies},
        **{f"{RATIOS}{name}": f"bad ones of {name}" for name in settings.ratios},
    }
    for name, title in hidden.items():
        yield name, title, WEIGHTS["dependencies"] / len(hidden), {name: 0.0}


def counted_as(test: str) -> str | None:
    """Return the name under which a test's counts are in `Call`; None = they are none."""
    if test.startswith(RATIOS):
        return f"{RATIO}{test.removeprefix(RATIOS)}"
    return test.removeprefix("dependencies.") if test.startswith("dependencies.") else None


def log_nulls(settings: JudgeSettings) -> dict[str, float]:
    """Return the logarithm of the odds ratio that is allowed, by test; those that allow none are left out."""
    return {f"{RATIOS}{name}": math.log1p(rule.margin) for name, rule in settings.ratios.items() if rule.margin}


def has_objective_row(settings: JudgeSettings) -> bool:
    """Tell whether the objective can judge: one that the old version misses anyhow says nothing about the new one."""
    promised = settings.slo.success_rate if settings.slo else None
    if promised is None or not 0.0 < promised < 1.0:
        return False
    usual = settings.background.failure_rate
    return usual is None or usual <= 1.0 - promised


def dispersion_of(settings: JudgeSettings, rows: tuple[Row, ...]) -> dict[str, float]:
    """Return the measured dispersion of every test; 1 where none was measured."""
    measured = settings.background.dispersion
    result = {name: float(measured.get(name, 1.0)) for row in rows for name in row.tests}
    slow = [value for name, value in measured.items() if name.startswith("latency.")]
    for name in result:
        if name.startswith("latency.slo."):
            result[name] = float(measured.get(name.replace("slo.", ""), max(slow, default=1.0)))
    return {**result, **dict.fromkeys(PLACEBOS, float(measured.get("errors", 1.0)))}
