"""What a judge says, in sentences: figures where they decided, none where they change every second."""

from __future__ import annotations

import math

from hitless.analysis.odds import Tally, allowed_for
from hitless.analysis.onset import LEAST_INSTANCES
from hitless.analysis.ruling import Estimate
from hitless.analysis.settings import RATIOS, JudgeSettings
from hitless.analysis.thresholds import PROMOTED_BY
from hitless.rollout.spec import ALL_TRAFFIC_BP

SLOWED_FROM = 2.0
"""Times as many requests; less than that is usual, and no news."""

_FAR = 20.0
_FEW_DIGITS = 10.0
_UNITS = ((172_800, 86_400, "days"), (7_200, 3_600, "h"), (600, 60, "min"), (-math.inf, 1, "s"))
"""From so many seconds on, in a unit of so many."""


def percent(share: float) -> str:
    """Render a share: `0.9 %`, `12 %`."""
    return f"{100.0 * share:.2g} %" if share < 0.995 else "100 %"  # noqa: PLR2004  (would be rounded to 1e+02)


def share_words(share_bp: int) -> str:
    """Render basis points: `2.5 %`."""
    return f"{100 * share_bp / ALL_TRAFFIC_BP:g} %"


def span(seconds: float) -> str:
    """Render how long something is expected to take: `309 s`, `52 min`, `13 h`, `877 days`."""
    size, unit = next((size, unit) for least, size, unit in _UNITS if seconds >= least)
    return f"{seconds / size:,.0f} {unit}"


def of_all(counted: tuple[int, int]) -> str:
    """Render `37 of 4,120`."""
    return f"{counted[0]:,} of {counted[1]:,}"


def with_share(counted: tuple[int, int], words: str) -> str:
    """Render `37 of 4,120 requests (0.9 %)`."""
    share = f" ({percent(counted[0] / counted[1])})" if counted[1] else ""
    return f"{of_all(counted)} {words}{share}"


def odds_words(estimate: Estimate) -> str:
    """Render `9 times the odds (at least 2.8)`."""
    low = estimate.low if estimate.low and estimate.low > 1.0 else None
    if estimate.value is None:
        return f"at least {_rounded_down(low)} times the odds" if low else "too few to name odds"
    value = f"{estimate.value:.2g}" if estimate.value < _FAR else f"{estimate.value:,.0f}"
    bound = f" (at least {_rounded_down(low)})" if low else ""
    return f"{value} times the odds{bound}"


def _rounded_down(low: float) -> str:
    """Render what is certain, two digits or what tells it from 1."""
    digits = 10.0 ** (1 - math.floor(math.log10(low))) if low >= 1.1 else 1_000.0  # noqa: PLR2004  (1.0 says nothing)
    return f"{math.floor(low * digits) / digits:.12g}"


def odds_sentence(
    settings: JudgeSettings, name: str, tally: Tally, estimate: Estimate, *, limits_ms: tuple[float, float] | None
) -> str:
    """Say what one test has counted."""
    canary, baseline = settings.canary, settings.baseline
    if limits_ms is not None:
        mine, its = (f"{limit:,.0f} ms" for limit in limits_ms)
        counted = (
            f"{with_share(tally.canary, f'answers of {canary}')} took longer than {mine}, "
            f"{with_share(tally.baseline, f'of {baseline}')} longer than {its}"
        )
    elif name == "onset":
        counted = (
            f"{of_all(tally.canary)} times an instance of {canary} began to fail, {of_all(tally.baseline)} one of "
            f"{baseline}"
        )
    elif name.startswith(RATIOS):
        what = name.removeprefix(RATIOS)
        mine, its = with_share(tally.canary, f"{what} of {canary}"), with_share(tally.baseline, f"of {baseline}")
        counted = f"{mine} were bad, {its}"
    else:
        what, at, verb = _NAMES.get(name, (f"calls to {name.partition('.')[2]}", "by", "failed"))
        mine = with_share(tally.canary, f"{what} {at} {canary}")
        counted = f"{mine} {verb}, {with_share(tally.baseline, f'{at} {baseline}')}"
    return f"{counted}: {odds_words(estimate)}{_margin_words(settings, name)}"


def _margin_words(settings: JudgeSettings, name: str) -> str:
    rule = settings.ratios.get(name.removeprefix(RATIOS)) if name.startswith(RATIOS) else None
    return f", {1.0 + rule.margin:.6g} times is allowed" if rule is not None and rule.margin else ""


_NAMES = {
    "errors": ("requests", "to", "failed"),
    "retried": ("requests", "to", "needed another attempt"),
}


def bound_words(settings: JudgeSettings) -> str:
    """Say what false alarms this judge may give."""
    return f"false alarms of this judge are at most {percent(settings.analysis.false_rollback)}"


def slowed_words(settings: JudgeSettings, part: str | None, *, times: float) -> str:
    """Say that what was before the rollout makes a promotion take long; nothing where it hardly does.

    Args:
        settings: with what was measured before.
        part: of the promotion, which takes most requests: `errors` or `latency`.
        times: as many requests it takes.
    """
    before = settings.background
    dispersion = before.dispersion.get(f"latency.{PROMOTED_BY}" if part == "latency" else "errors", 1.0)
    if part is None or times < SLOWED_FROM:
        return ""
    what = "slow answers" if part == "latency" else "failures"
    size = f"{dispersion:,.0f}" if dispersion >= _FEW_DIGITS else f"{dispersion:.2g}"
    return (
        f"; {what} of {settings.baseline} came in bursts in the {span(before.seconds)} before (dispersion {size}): "
        f"that takes about {times:.2g} times as many requests"
    )


def promise(settings: JudgeSettings, *, latency_is_known: bool) -> str:
    """Say what is true about the error rates of this judge, and under which assumptions."""
    sentences = [_rollback_words(settings), _burst_words(settings), _age_words(settings), _promotion_words(settings)]
    if not latency_is_known:
        sentences.append(f"No answer of {settings.baseline} was seen before: what is slow is learnt first.")
    sentences.append("The guard of the objective and what memory and processor time say are not part of these figures.")
    return " ".join(sentences)


def _rollback_words(settings: JudgeSettings) -> str:
    return (
        f"If {settings.canary} is no worse than {settings.baseline} (no more failures{_ratio_words(settings)}, answers "
        "not more than "
        f"{percent(settings.analysis.latency_margin)} slower, within the objective) and chance alone decides which "
        "users meet it, it is taken back by a row with a probability of at most "
        f"{percent(settings.analysis.false_rollback)} in this whole rollout, however often it is looked at."
    )


def _ratio_words(settings: JudgeSettings) -> str:
    names = (
        f"{name} (up to {1.0 + rule.margin:.6g} times the odds)" if rule.margin else name
        for name, rule in settings.ratios.items()
    )
    told = ", ".join(names)
    return f", no more bad ones of {told}" if told else ""


def _age_words(settings: JudgeSettings) -> str:
    warm_up_s = settings.analysis.warm_up_s
    left_out = f", how slow it is in its first {warm_up_s:g} s in a region aside" if warm_up_s else ""
    return (
        f"{settings.baseline} has run for longer than {settings.canary}: what is worse only because it is new counts "
        f"as worse{left_out}."
    )


def _promotion_words(settings: JudgeSettings) -> str:
    return (
        "A step is left with a version that is worse than the margin with a probability of at most "
        f"{percent(settings.analysis.false_promotion)}: so many more failures that all users together see more than "
        f"{100 * settings.analysis.error_margin:.2g} percentage points, or so many more answers slower than the usual "
        "p95 that all users together see half as many again; as long as failures do not become many times more common "
        "within a few minutes."
    )


def _burst_words(settings: JudgeSettings) -> str:
    """Say what is proved and what is only measured where failures come in bursts."""
    dispersion = allowed_for(settings.background.dispersion.get("errors", 1.0))
    measured = (
        "Users keep their version, and instances fail in bursts: that is covered by tempering the evidence by the "
        f"dispersion measured before ({dispersion:.2g}), which is experience and no theorem"
    )
    if settings.background.baseline_instances >= LEAST_INSTANCES:
        return f"{measured}; the row of onsets holds all the same if instances of both versions are exchangeable."
    return f"{measured}; with fewer than {LEAST_INSTANCES} instances nothing else tells a burst from a worse version."
