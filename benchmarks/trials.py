"""The judge over many rollouts at once: its own rows, admission, likelihoods and evidence, with a leading axis of runs.

What is left out, because it is kept by objects of one rollout: the row of instances (its weight is the errors' row's
then, as where there are fewer than four instances), the objective, and whatever only holds. `verdicts` has all of it.
A unit test says that evidence here and in `hitless.analysis.judge` is the same for the same counts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hitless.analysis.admission import Admission
from hitless.analysis.counts import Second
from hitless.analysis.evidence import Evidence, Floats, log_sum
from hitless.analysis.likelihood import Tables, log_ratios
from hitless.analysis.odds import LOG_ODDS, LOG_WEIGHTS, allowed_for
from hitless.analysis.rows import Row, rows_of
from hitless.analysis.settings import Background, JudgeSettings
from hitless.analysis.thresholds import Thresholds
from hitless.rollout.spec import AnalysisSpec, Region, Version

Ints = NDArray[np.int64]

OLD, NEW = Version("v1"), Version("v2")
BOUNDS = (40, 80, 120, 160, 200, 240)
"""Of six thresholds; only their order matters here."""

TESTS = (
    "errors",
    *(f"latency.{name}" for name in ("p50", "p75", "p90", "p95", "p99", "p99.9")),
    "retried",
    "dependencies.payments",
)
"""Eight metrics, and the retries that the judge watches in any case."""

COUNTED_WHEN_COLD = tuple(TESTS.index(name) for name in ("errors", "retried"))
NEVER = -1

_LOOKED_FOR = np.isfinite(LOG_WEIGHTS)
"""The other ratios are watched for the estimate alone."""

_BLOCK = 4_000
"""Tables that fit into a processor's cache: more of them at once take twice as long."""


def settings_of(*, warm_up_s: float = 0.0, background: Background | None = None) -> JudgeSettings:
    """Return the default settings, with one dependency."""
    return JudgeSettings(
        canary=NEW,
        baseline=OLD,
        analysis=AnalysisSpec(warm_up_s=warm_up_s, dependencies=("payments",)),
        slo=None,
        background=background or Background(requests_per_s=100.0, usual_duration_s=0.3, latency_bounds=BOUNDS),
        salt="trials",
    )


def thresholds_of(settings: JudgeSettings) -> Thresholds:
    return Thresholds(
        baseline=settings.baseline,
        bounds=settings.background.latency_bounds,
        objectives=(),
        margin=settings.analysis.latency_margin,
    )


class Trials:
    """Runs side by side."""

    def __init__(self, runs: int, settings: JudgeSettings, *, dispersion: Floats | None = None) -> None:
        """Begin without evidence.

        Args:
            runs: how many.
            settings: the same for all of them.
            dispersion: as it was measured, by run and test (`TESTS`); None = 1.
        """
        self.rows = rows_of(settings, thresholds_of(settings))
        measured = np.ones((runs, len(TESTS))) if dispersion is None else dispersion
        allowed = np.vectorize(allowed_for, otypes=[float])(measured)
        self._evidence = Evidence((runs, len(TESTS)), LOG_WEIGHTS[_LOOKED_FOR], dispersion=allowed)
        before = settings.background
        self._admission = Admission(
            usual_duration_s=before.usual_duration_s,
            usual_durations_s=before.usual_durations_s,
            warm_up_s=settings.analysis.warm_up_s,
        )
        self.reached_at = {row.name: np.full(runs, NEVER) for row in self.rows}

    def take(self, at: int, share_bp: Mapping[Region, int], counts: Ints) -> None:
        """Take a second of every run: counts of shape (runs, strata, tests, 4), the four as in `Tables`."""
        if not self._admission.admit(Second(at=at), share_bp):
            return
        if not self._admission.warm:
            counts = _cold(counts)
        runs, strata, tests, _ = counts.shape
        self._evidence.add(_ratios(counts.reshape(-1, 4)).reshape(runs, strata, tests, -1).sum(axis=1))
        self._decide(at)

    def log_values(self) -> Floats:
        """Return the logarithms of all e-values, shape (runs, tests)."""
        return self._evidence.log_value()

    @property
    def is_taken_back(self) -> NDArray[np.bool_]:
        """Which runs have been decided against by any row."""
        reached: NDArray[np.bool_] = np.stack(list(self.reached_at.values())) != NEVER
        return np.asarray(reached.any(axis=0))

    def _decide(self, at: int) -> None:
        values = self.log_values()
        for row in self.rows:
            reached, known = _log_value(row, values) >= row.log_needed, self.reached_at[row.name]
            known[reached & (known == NEVER)] = at


def _ratios(four: Ints) -> Floats:
    blocks = [four[begin : begin + _BLOCK] for begin in range(0, len(four), _BLOCK)]
    tables = [Tables(canary=b[:, 0], canary_bad=b[:, 1], baseline=b[:, 2], baseline_bad=b[:, 3]) for b in blocks]
    return np.concatenate([log_ratios(one, LOG_ODDS[_LOOKED_FOR]) for one in tables])


def _log_value(row: Row, values: Floats) -> Floats:
    places = [TESTS.index(name) for name in row.tests]
    return log_sum(values[:, places] + np.array(list(row.tests.values())))


def _cold(counts: Ints) -> Ints:
    """Leave out what cold caches slow down."""
    result = np.zeros_like(counts)
    result[:, :, COUNTED_WHEN_COLD] = counts[:, :, COUNTED_WHEN_COLD]
    return result
