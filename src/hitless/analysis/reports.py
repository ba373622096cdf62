"""The rows of a judge as people see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hitless.analysis.rows import Row, counted_as
from hitless.analysis.ruling import Call, Estimate, RowReport
from hitless.analysis.settings import RATIOS
from hitless.analysis.weighing import Weighing
from hitless.analysis.wording import odds_sentence, share_words, with_share

NOTHING = "nothing to compare yet"


def row_reports(weighing: Weighing, *, since: Mapping[str, int], next_share_bp: int) -> tuple[RowReport, ...]:
    """Return all rows: those of the sum, then those outside of it."""
    return (
        *(_of_row(weighing, row, since.get(row.name)) for row in weighing.rows),
        *_outside(weighing, next_share_bp),
    )


def sentence_of(weighing: Weighing, row: Row) -> str:
    """Say what a row has counted."""
    if row.name == "objective":
        return objective_sentence(weighing)
    name = row.leading(weighing.tests, weighing.values)
    return odds_sentence(
        weighing.settings,
        name,
        weighing.tests.tally(name),
        weighing.tests.estimate(name),
        limits_ms=_limits_ms(weighing, name),
    )


def objective_sentence(weighing: Weighing, *, lately: bool = False) -> str:
    """Say how both versions stand to the objective: in all, or in the guard's time."""
    objective, settings = weighing.objective, weighing.settings
    if objective is None:
        return "nothing is promised"
    canary, baseline = objective.lately() if lately else (objective.canary, objective.baseline)
    beside = f", {with_share((baseline.failed, baseline.total), f'to {settings.baseline}')}" if baseline.total else ""
    return (
        f"{with_share((canary.failed, canary.total), f'requests to {settings.canary}')} failed{beside}, "
        f"and {100 * objective.promised:.3g} % may"
    )


def _limits_ms(weighing: Weighing, name: str) -> tuple[float, float] | None:
    if not name.startswith("latency.") or not weighing.thresholds.are_known:
        return None
    return weighing.thresholds.limits_ms(name.partition(".")[2])


def _of_row(weighing: Weighing, row: Row, since: int | None) -> RowReport:
    canary, baseline, estimate = _counted(weighing, row)
    compared = canary[1] > 0 and (row.name == "objective" or baseline[1] > 0)
    untold = _untold(weighing, row)
    return RowReport(
        name=row.name,
        title=row.title,
        acts=Call.ROLLBACK,
        log_evidence=weighing.log_value(row) if compared else None,
        log_needed=row.log_needed,
        weight=row.weight,
        canary=canary,
        baseline=baseline,
        coverage=weighing.lately.coverage,
        estimate=estimate if compared else None,
        since=since,
        detail=sentence_of(weighing, row) if compared else "; ".join(filter(None, (NOTHING, untold))),
        untold=untold if row.name.startswith(RATIOS) else "",
    )


def _untold(weighing: Weighing, row: Row) -> str:
    """Say who has told nothing of what only applications can tell."""
    name = counted_as(row.name)
    versions = weighing.settings.canary, weighing.settings.baseline
    silent = [version for version in versions if name is not None and (name, version) not in weighing.told]
    return f"nothing was told of it by {' and '.join(silent)}" if silent else ""


def _counted(weighing: Weighing, row: Row) -> tuple[tuple[int, int], tuple[int, int], Estimate | None]:
    if row.name == "objective":
        assert weighing.objective is not None
        canary, baseline = weighing.objective.canary, weighing.objective.baseline
        return (canary.failed, canary.total), (baseline.failed, baseline.total), None
    name = row.leading(weighing.tests, weighing.values)
    tally = weighing.tests.tally(name)
    return tally.canary, tally.baseline, weighing.tests.estimate(name)


def _placebo_words(weighing: Weighing) -> str:
    if weighing.halves.are_empty:
        return f"needs two instances of {weighing.settings.baseline} that fail now and then"
    return f"false alarms so far: {weighing.alarms}"


def _outside(weighing: Weighing, next_share_bp: int) -> Iterator[RowReport]:
    promotion, split = weighing.promotion, weighing.split
    largest = promotion.largest_share_bp()
    yield RowReport(
        name="promotion",
        title=f"not worse than the margin at {share_words(next_share_bp)}",
        acts=Call.PROMOTE,
        log_evidence=promotion.log_value(next_share_bp),
        log_needed=promotion.needed,
        detail=f"shown for up to {share_words(largest)} of the traffic" if largest else "not shown for any share yet",
    )
    yield RowReport(
        name="split",
        title="traffic as the weights say",
        acts=Call.HOLD,
        log_evidence=split.log_value,
        log_needed=split.log_needed,
        detail=f"{weighing.settings.canary} got {weighing.lately.canary_share:.1%} of the last minute's requests",
    )
    yield RowReport(
        name="placebo",
        title=f"{weighing.settings.baseline} against itself",
        acts=Call.HOLD,
        detail=_placebo_words(weighing),
    )
