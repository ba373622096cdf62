"""How others decide, after their source and documentation, on one metric: which share of requests failed.

Where a source leaves something open, the reading is taken that suits the tool better.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import rankdata

from benchmarks.trials import NEVER, Ints
from hitless.analysis.evidence import Floats

MINUTE = 60

FLAGGER_LEAST = 0.99
FLAGGER_DEFAULT, FLAGGER_TUTORIAL = 1, 5
ARGO_LEAST, ARGO_EVERY_S, ARGO_LIMIT = 0.95, 300, 3

KAYENTA_TOLERANCE, KAYENTA_CONFIDENCE = 0.25, 0.98
_ROOT_WITHIN = 1e-4
"""Absolute, as in Kayenta: its judgement depends on the unit. Percent here, the kinder one."""


def flagger(total: Ints, failed: Ints, *, threshold: int) -> Ints:
    """Return the second in which Flagger turns back, by run.

    fluxcd/flagger, `scheduler.go`: every minute the success rate of the canary's last minute is held against a minimum;
    below it, or without any value, a counter goes up, which is never set back.

    Args:
        total, failed: the canary's, shape (seconds, runs).
        threshold: so many failed checks turn back. 1 is the default, 5 that of the tutorial.
    """
    requests, bad = _windows(total, MINUTE), _windows(failed, MINUTE)
    is_failed = (requests == 0) | (bad > (1.0 - FLAGGER_LEAST) * requests)
    return _first(is_failed.cumsum(axis=0) >= threshold, MINUTE)


def argo(total: Ints, failed: Ints) -> Ints:
    """Return the second in which Argo Rollouts' documented analysis fails, by run.

    argoproj/argo-rollouts, `docs/features/analysis.md`: every five minutes a success rate of at least 0.95 in the last
    five minutes; more than three failed measurements. Without a request there is nothing to measure.
    """
    requests, bad = _windows(total, ARGO_EVERY_S), _windows(failed, ARGO_EVERY_S)
    is_failed = bad > (1.0 - ARGO_LEAST) * requests
    return _first(is_failed.cumsum(axis=0) > ARGO_LIMIT, ARGO_EVERY_S)


def kayenta(control: Floats, experiment: Floats) -> bool:
    """Tell whether Kayenta's judge classifies a metric as High: more is worse, defaults of `NetflixACAJudge`.

    spinnaker/kayenta, `MannWhitneyClassifier.scala`: the confidence interval of the Hodges-Lehmann shift lies above
    `KAYENTA_TOLERANCE` of the shift itself, and the ratio of means is at least 1.

    Args:
        control: of an equally large baseline, a point a minute.
        experiment: of the canary.
    """
    if not len(control) or not len(experiment) or np.array_equal(np.sort(control), np.sort(experiment)):
        return False
    critical = float(-ndtri((1.0 - KAYENTA_CONFIDENCE) / 2.0))
    if _z(0.0, control, experiment) < critical - 0.5:  # then the interval begins below no shift at all
        return False
    low, estimate = (_root(control, experiment, z) for z in (critical, 0.0))
    mean = float(control.mean())
    return low > KAYENTA_TOLERANCE * abs(estimate) and (mean == 0.0 or float(experiment.mean()) >= mean)


def equally_large(chance: np.random.Generator, wanted: Ints, total: Ints, failed: Ints) -> Floats:
    """Return the failure rate of as much of the baseline as the canary had, percent; Kayenta asks for such a one."""
    taken = np.minimum(wanted, total)
    bad = chance.hypergeometric(failed, total - failed, taken)
    return 100.0 * bad / np.maximum(1, taken)


def minutes(counts: Ints) -> Ints:
    """Return the sums of whole minutes, shape (minutes, runs)."""
    return _windows(counts, MINUTE)


def _windows(counts: Ints, size: int) -> Ints:
    whole = len(counts) // size
    return np.asarray(counts[: whole * size].reshape(whole, size, *counts.shape[1:]).sum(axis=1, dtype=np.int64))


def _first(is_reached: np.ndarray, size: int) -> Ints:
    if not len(is_reached):
        return np.full(is_reached.shape[1], NEVER)
    found = np.where(is_reached.any(axis=0), (is_reached.argmax(axis=0) + 1) * size, NEVER)
    return np.asarray(found, dtype=np.int64)


def _z(shift: float, control: Floats, experiment: Floats) -> float:
    """Return the statistic of Mann and Whitney, continuity and ties corrected, of the experiment less a shift."""
    m, n = len(experiment), len(control)
    ranks = rankdata(np.concatenate([experiment - shift, control]))
    _, ties = np.unique(ranks, return_counts=True)
    away = float(ranks[:m].sum()) - m * (m + 1) / 2 - m * n / 2
    tied = float((ties.astype(float) ** 3 - ties).sum()) / ((m + n) * (m + n - 1))
    sigma = np.sqrt(m * n / 12 * ((m + n + 1) - tied))
    return float((away - 0.5 * np.sign(away)) / sigma) if sigma > 0.0 else 0.0


def _root(control: Floats, experiment: Floats, z: float) -> float:
    """Return the shift at which the statistic is `z`."""
    low, high = float(experiment.min() - control.max()), float(experiment.max() - control.min())

    def away(shift: float) -> float:
        return _z(shift, control, experiment) - z

    if away(low) <= 0.0:
        return low
    return high if away(high) >= 0.0 else float(brentq(away, low, high, xtol=_ROOT_WITHIN))
