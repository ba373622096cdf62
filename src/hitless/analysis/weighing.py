"""All evidence of one rollout, second by second; what follows from it is said in `judge`.

Each second is read into strata (`strata`), those that may be compared (`admission`), a few seconds together where there
is little traffic (`pooling`). All tests of odds take them at once (`odds`, `onset`, `placebo`); the objective, the
split and what may be promoted keep their own evidence. All arithmetic is done when a second is taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from hitless.analysis.admission import Admission
from hitless.analysis.counts import RATIO, Call, Cell, Fates, Second
from hitless.analysis.lately import Lately, Sums
from hitless.analysis.likelihood import Tables
from hitless.analysis.objective import objective_of
from hitless.analysis.odds import OddsTests, allowed_for
from hitless.analysis.onset import Onset
from hitless.analysis.placebo import INCIDENT_S, TOO_MANY, Halves, swapped
from hitless.analysis.pooling import Batch, Pool
from hitless.analysis.promotion import MOST_DISPERSION, Promotion
from hitless.analysis.rows import (
    PLACEBOS,
    Row,
    counted_as,
    dispersion_of,
    has_objective_row,
    log_nulls,
    rows_of,
)
from hitless.analysis.settings import Background, JudgeSettings
from hitless.analysis.split import Split
from hitless.analysis.strata import FAILED, RETRIED, Reader, Strata, tables_of_calls
from hitless.analysis.thresholds import PROMOTED_BY, Thresholds
from hitless.rollout.spec import ALL_TRAFFIC_BP, Region, Version


class Weighing:
    """Evidence by row, and what forbids to trust it."""

    def __init__(self, settings: JudgeSettings) -> None:
        analysis, before = settings.analysis, settings.background
        self.settings = settings
        self.thresholds = Thresholds(
            baseline=settings.baseline,
            bounds=before.latency_bounds,
            objectives=settings.slo.latency if settings.slo else (),
            margin=analysis.latency_margin,
        )
        self.rows = rows_of(settings, self.thresholds)
        self._by_instance = any(row.name == "onset" for row in self.rows)
        dispersion = dispersion_of(settings, self.rows)
        errors_dispersion = allowed_for(dispersion["errors"])
        self.tests = OddsTests(dispersion, level=analysis.false_rollback, log_nulls=log_nulls(settings))
        self.values = self.tests.log_values()
        self.admission = Admission(
            usual_duration_s=before.usual_duration_s,
            usual_durations_s=before.usual_durations_s,
            warm_up_s=analysis.warm_up_s,
        )
        self._pool = Pool(requests_per_s=before.requests_per_s)
        self._reader = Reader(canary=settings.canary, baseline=settings.baseline)
        self._reader.thresholds = self.thresholds.buckets
        self._onset = Onset(
            canary=settings.canary,
            baseline=settings.baseline,
            failure_rate=before.failure_rate or 0.0,
            salt=settings.salt,
        )
        self._called = {test: name for test in self.tests.names if (name := counted_as(test)) is not None}
        self._lag_s = {f"{RATIO}{name}": rule.lag_s for name, rule in settings.ratios.items()}
        self._warm_since: dict[Region, int] = {}
        self.told: set[tuple[str, Version]] = set()
        """What was ever told of, by its name in `Call` and version, compared or not."""
        self.halves = Halves(baseline=settings.baseline, salt=settings.salt)
        self.alarms = 0
        self._incident_until = 0
        self.objective = objective_of(settings.slo, dispersion=errors_dispersion)
        self.split = Split()
        self.lately = Lately()
        self.promotion = Promotion(
            error_margin=analysis.error_margin,
            false_promotion=analysis.false_promotion,
            failure_rate=_careful_rate(before),
            errors_dispersion=max(
                min(errors_dispersion, MOST_DISPERSION), allowed_for(before.dispersion.get("instances", 1.0))
            ),
            latency_dispersion=min(allowed_for(dispersion[f"latency.{PROMOTED_BY}"]), MOST_DISPERSION),
        )

    def take(self, second: Second, share_bp: Mapping[Region, int]) -> None:
        """Take one second that is news."""
        regions = self.admission.admit(second, share_bp)
        self.told.update((call.dependency, call.version) for call in second.calls)
        second = replace(
            second,
            cells=self.admission.settled(second.cells, at=second.at),
            calls=self._calls_of_now(second) if any(self._lag_s.values()) else second.calls,
        )
        if second.gap is not None or self.admission.broke:
            self.promotion.interrupt()
        self._watch(second, regions, share_bp)
        canary_share = max((share_bp[region] for region in regions), default=0) / ALL_TRAFFIC_BP
        for batch in self._pool.take(
            second, regions, self.admission.warm, canary_share=canary_share, broke=self.admission.broke
        ):
            self._compare(batch)
        self.values = self.tests.log_values()
        self._count_alarms(second.at)

    @property
    def placebo_fails(self) -> bool:
        """Whether the old version against itself has raised too many alarms."""
        return self.alarms >= TOO_MANY

    def log_value(self, row: Row) -> float:
        """Return the logarithm of a row's e-value."""
        if row.name == "objective":
            return self.objective.log_value if self.objective else 0.0
        return row.log_value(self.tests, self.values)

    def _calls_of_now(self, second: Second) -> tuple[Call, ...]:
        """Leave out what may have happened before a region was warm: some figures are told late."""
        before, warm = self._warm_since, self.admission.warm
        if second.gap is None:
            self._warm_since = {region: before.get(region, second.at) for region in warm}
        return tuple(
            call
            for call in second.calls
            if not (lag_s := self._lag_s.get(call.dependency))
            or (call.region in warm and second.at >= self._warm_since[call.region] + lag_s)
        )

    def _learn(self, cells: Iterable[Cell]) -> None:
        self.thresholds.learn(cells)
        self._reader.thresholds = self.thresholds.buckets

    def _watch(self, second: Second, regions: frozenset[Region], share_bp: Mapping[Region, int]) -> None:
        """Take what needs no stratum: sums by region."""
        sums = self._sums(second.cells, self.admission.watched)
        if regions:
            compared = {region: sums[region] for region in regions}
            self.lately.note(compared)
            self.split.take({region: (one[0], one[2]) for region, one in compared.items()}, share_bp)
        if sums and self.objective is not None:
            canary, canary_bad = (sum(one[i] for one in sums.values()) for i in (0, 1))
            # where the new version has all of the traffic, the old one only ends what it had, streams cut off included
            baseline, baseline_bad = (sum(sums[region][i] for region in regions) for i in (2, 3))
            self.objective.take(
                second.at,
                Fates(total=canary, failed=canary_bad),
                Fates(total=baseline, failed=baseline_bad),
            )

    def _sums(self, cells: Iterable[Cell], regions: frozenset[Region]) -> Sums:
        sums = {region: [0, 0, 0, 0] for region in regions}
        places = {self.settings.baseline: 2, self.settings.canary: 0}
        for cell in cells:
            place = places.get(cell.version)
            if place is not None and cell.region in regions:
                sums[cell.region][place] += cell.requests.total
                sums[cell.region][place + 1] += cell.requests.failed
        return {region: (one[0], one[1], one[2], one[3]) for region, one in sums.items()}

    def _compare(self, batch: Batch) -> None:
        strata = self._reader.read(batch.cells, batch.regions)
        warm = strata if batch.warm == batch.regions else self._reader.read(batch.cells, batch.warm)
        halves = self.halves.tables(batch.cells, batch.regions)
        parts = [("errors", strata.of_fates(FAILED)), ("retried", strata.of_fates(RETRIED))]
        parts += zip(PLACEBOS, (halves, swapped(halves)), strict=True)
        parts += self._slow(warm)
        for test, name in self._called.items():
            parts.append((test, tables_of_calls(batch.calls, name, reader=self._reader, regions=batch.warm)))
        if self._by_instance:
            parts.append(("onset", self._onset.take(batch.cells, batch.regions, seconds=batch.seconds)))
        self.tests.take(parts)
        self.lately.note_compared(*strata.compared())
        self.promotion.take(
            errors=strata.of_fates(FAILED),
            slow=warm.of_slow(self.thresholds.place_of(PROMOTED_BY)) if self.thresholds.are_known else None,
            canary=strata.canary(),
            seconds=batch.seconds,
        )
        if not self.thresholds.are_known:
            self._learn(batch.cells)  # for what comes after it: nothing is judged by what it has shown itself

    def _slow(self, strata: Strata) -> list[tuple[str, Tables]]:
        if not self.thresholds.are_known:
            return []
        return [(f"latency.{name}", strata.of_slow(self.thresholds.place_of(name))) for name in self.thresholds.names]

    def _count_alarms(self, at: int) -> None:
        """Count an alarm, and begin anew once its incident is over."""
        needed = math.log(len(PLACEBOS) / self.settings.analysis.false_rollback)
        if at < self._incident_until:
            for name in PLACEBOS:
                self.tests.renew(name)
        elif any(self.values[self.tests.place_of(name)] >= needed for name in PLACEBOS):
            self.alarms += 1
            self._incident_until = at + INCIDENT_S


def _careful_rate(before: Background) -> float | None:
    """Return the old version's failure rate, one failure more than were seen; None = nothing was seen."""
    seen = before.seconds * before.requests_per_s
    if before.failure_rate is None or seen < 1.0:
        return None
    return before.failure_rate + 1.0 / seen


def objective_decides(weighing: Weighing) -> bool:
    """Tell whether the objective's row may take a rollout back: not while the old version may suffer too."""
    return (
        has_objective_row(weighing.settings)
        and weighing.objective is not None
        and not weighing.objective.baseline_suffers
        and weighing.objective.baseline_does_better
    )


def guard_decides(weighing: Weighing) -> bool:
    """Tell whether it is the new version that is to blame for missing the objective.

    Where the old version serves beside it, that one must keep it now; where it does not, it must have kept it before.
    """
    objective = weighing.objective
    if objective is None or objective.both_suffer or not objective.baseline_does_better:
        return False
    _, baseline = objective.lately()
    return baseline.total > 0 or has_objective_row(weighing.settings)
