"""The judge of one rollout: takes seconds, and says at any moment what is known about the new version.

Rules. What it says, in this order: ROLLBACK, which stays; whatever forbids to go on (`_HOLDS`); PROMOTE, if shown; else
that there is too little yet. A ruling's sentence is written once, when it falls, so that equal rulings are equal.
Evidence is in `weighing`; here it is only compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

from hitless.analysis import wording
from hitless.analysis.checking import check_second, check_shares
from hitless.analysis.counts import Second
from hitless.analysis.promotion import Missing
from hitless.analysis.reports import objective_sentence, row_reports, sentence_of
from hitless.analysis.rows import Row
from hitless.analysis.ruling import Call, Judgement, RowReport, Ruling, Why
from hitless.analysis.settings import JudgeSettings
from hitless.analysis.weighing import Weighing, guard_decides, objective_decides
from hitless.rollout.spec import Region

SILENT_AFTER_S = 10
LEANING = math.log(10.0)
"""Nothing is promoted while a row has such evidence: of a version that is no worse, one row in ten ever has it."""


class ResourceWatch(Protocol):
    """What watches memory and processor time: outside the sum, it only holds."""

    def take(self, second: Second) -> None:
        """Take one second."""
        ...

    def reports(self) -> tuple[RowReport, ...]:
        """Return its rows."""
        ...

    def problem(self) -> str | None:
        """Say what forbids to go on."""
        ...


class Judge:
    """Judges one rollout."""

    def __init__(self, settings: JudgeSettings, resources: ResourceWatch | None = None) -> None:
        """Begin without evidence.

        Args:
            settings: frozen.
            resources: None = memory and processor time are not watched.
        """
        self._weighing = Weighing(settings)
        self._settings = settings
        self._resources = resources
        self._digest = settings.digest
        self._promise = wording.promise(settings, latency_is_known=self._weighing.thresholds.are_known)
        self._since: dict[str, int] = {}
        self._rollback: Ruling | None = None
        self._promotions: dict[int, Ruling] = {}

    def take(self, second: Second, share_bp: Mapping[Region, int]) -> None:
        """Take one whole second; one that was taken already, or is older than the last one, is ignored.

        Args:
            second: in order; where some are missing before it, they were gaps.
            share_bp: the canary's share of the traffic by region, all of this second long; a region in which it
                changed, or is unknown, is missing.

        Raises:
            ValueError: names what cannot be; nothing was taken.
        """
        check_second(second)
        check_shares(share_bp)
        if not self._weighing.admission.is_news(second):
            return
        if self._resources is not None:
            self._resources.take(second)
        self._weighing.take(second, share_bp)
        self._decide(second.at)

    def judgement(self, *, next_share_bp: int) -> Judgement:
        """Say what is known after the seconds taken so far.

        Args:
            next_share_bp: the share that the canary would get next; PROMOTE is about it.

        Raises:
            ValueError: it is no share.
        """
        check_shares({Region("next"): next_share_bp})
        ruling, detail, missing = self._ruling(next_share_bp)
        return Judgement(
            at=self._weighing.admission.last or 0,
            ruling=ruling,
            detail=detail,
            rows=(
                *row_reports(self._weighing, since=self._since, next_share_bp=next_share_bp),
                *(self._resources.reports() if self._resources is not None else ()),
            ),
            missing_requests=missing.requests,
            missing_s=missing.seconds,
            promise=self._promise,
        )

    def _decide(self, at: int) -> None:
        """Note which rows have reached their bound, and turn back at the first that may."""
        reached = [row for row in self._weighing.rows if self._weighing.log_value(row) >= row.log_needed]
        for row in reached:
            self._since.setdefault(row.name, at)
        if self._rollback is None:
            self._rollback = self._by_guard() or self._by_rows(reached)

    def _by_guard(self) -> Ruling | None:
        objective = self._weighing.objective
        if objective is None or not objective.is_below_for_long or not guard_decides(self._weighing):
            return None
        return self._said(
            Call.ROLLBACK,
            Why.OBJECTIVE,
            f"objective: below it for longer than {objective.success_for_s:g} s: "
            f"{objective_sentence(self._weighing, lately=True)}",
            row="objective",
        )

    def _by_rows(self, reached: list[Row]) -> Ruling | None:
        if self._weighing.placebo_fails:
            return None
        deciding = [row for row in reached if row.name != "objective" or objective_decides(self._weighing)]
        if not deciding:
            return None
        row = deciding[0]  # rows stand in the order in which they tell people most
        sentence = f"{row.name}: {sentence_of(self._weighing, row)}; {wording.bound_words(self._settings)}"
        return self._said(Call.ROLLBACK, Why.WORSE, sentence, row=row.name)

    def _ruling(self, next_share_bp: int) -> tuple[Ruling, str, Missing]:
        """Return the ruling, its sentence with the figures of this moment, and what is missing."""
        nothing = Missing(requests=None, seconds=None)
        if self._rollback is not None:
            return self._rollback, self._rollback.sentence, nothing
        for hold in _HOLDS:
            found = hold(self)
            if found is not None:
                why, sentence, detail = found
                return self._said(Call.HOLD, why, sentence), detail, nothing
        largest = self._weighing.promotion.largest_share_bp()
        if largest >= max(1, next_share_bp) and self._leaning() is None:
            ruling = self._promotion(largest)
            return ruling, ruling.sentence, Missing(requests=0, seconds=0.0)
        return self._too_few(next_share_bp)

    def _promotion(self, share_bp: int) -> Ruling:
        if share_bp not in self._promotions:
            tally = self._weighing.tests.tally("errors")
            margin = 100.0 * self._settings.analysis.error_margin
            sentence = (
                f"{self._settings.canary} is not worse than the margin at {wording.share_words(share_bp)} of the "
                f"traffic: {wording.with_share(tally.canary, f'requests to {self._settings.canary}')} failed, "
                f"{wording.with_share(tally.baseline, f'to {self._settings.baseline}')}; all users together see at "
                f"most {margin:.2g} percentage points more, wrong in at most "
                f"{wording.percent(self._settings.analysis.false_promotion)} of steps"
            )
            self._promotions[share_bp] = self._said(Call.PROMOTE, Why.NOT_WORSE, sentence, next_share_bp=share_bp)
        return self._promotions[share_bp]

    def _too_few(self, next_share_bp: int) -> tuple[Ruling, str, Missing]:
        lately, canary = self._weighing.lately, self._settings.canary
        missing = self._weighing.promotion.missing(
            next_share_bp, present_share=lately.canary_share, canary_per_s=lately.canary_per_s
        )
        sentence = (
            f"not enough requests to {canary} yet to show that it may get {wording.share_words(next_share_bp)} of the "
            "traffic"
        )
        seen = f"{lately.canary_ever:,} seen" if lately.canary_ever else "none seen while both versions had traffic"
        leaning = self._leaning()
        if leaning is not None:
            missing = Missing(requests=None, seconds=None)  # more of the same will not do
            more = f"{leaning.name} speaks against it, not enough to decide: {sentence_of(self._weighing, leaning)}"
        elif missing.requests == 0 and missing.seconds is not None:
            stays = f"that is shown now, and must stay so for {wording.span(missing.seconds)} more"
            more = f"{stays}; a second that cannot be read begins this time anew"
        elif missing.requests is None or missing.seconds is None:
            more = "at the present traffic it is not known how many more are needed"
        else:
            more = f"about {missing.requests:,} more are needed, {wording.span(missing.seconds)} at the present rate"
            more += wording.slowed_words(self._settings, missing.part, times=missing.times)
        return self._said(Call.HOLD, Why.TOO_FEW, sentence), f"{sentence}: {seen}, {more}", missing

    def _leaning(self) -> Row | None:
        """Return a row that speaks against the new version, though not enough to decide."""
        leaning = [row for row in self._weighing.rows if self._weighing.log_value(row) >= LEANING]
        return max(leaning, key=self._weighing.log_value, default=None)

    def _said(self, call: Call, why: Why, sentence: str, *, row: str | None = None, next_share_bp: int = 0) -> Ruling:
        return Ruling(
            call=call, why=why, row=row, sentence=sentence, next_share_bp=next_share_bp, settings=self._digest
        )

    def _no_data(self) -> tuple[Why, str, str] | None:
        admission, lately = self._weighing.admission, self._weighing.lately
        if admission.last is None:
            return _hold(Why.NO_DATA, "nothing was read yet")
        if admission.unread_s >= SILENT_AFTER_S:
            return _hold(Why.NO_DATA, "what users meet cannot be read", f"for {admission.unread_s} s")
        if admission.ignored >= SILENT_AFTER_S:
            return _hold(Why.NO_DATA, "what is read is older than what was judged already: the source's clock stepped")
        if lately.is_hardly_compared:
            return _hold(
                Why.NO_DATA,
                f"most requests to {self._settings.canary} have none to {self._settings.baseline} to be compared with",
                f"{lately.coverage or 0.0:.0%} of the last minute's were",
            )
        return None

    def _placebo(self) -> tuple[Why, str, str] | None:
        if not self._weighing.placebo_fails:
            return None
        return _hold(
            Why.PLACEBO,
            f"{self._settings.baseline} compared with itself raises alarms: nothing that is compared here can be "
            "relied on",
            f"{self._weighing.alarms} alarms",
        )

    def _environment(self) -> tuple[Why, str, str] | None:
        if self._weighing.objective is None or not self._weighing.objective.both_suffer:
            return None
        sentence = "both versions are below the objective: something else is wrong"
        return _hold(Why.ENVIRONMENT, sentence, objective_sentence(self._weighing, lately=True))

    def _split(self) -> tuple[Why, str, str] | None:
        if not self._weighing.split.is_off:
            return None
        sentence = f"{self._settings.canary} does not get the traffic that the weights say"
        return _hold(Why.SPLIT, sentence, f"{self._weighing.lately.canary_share:.1%} of the last minute's requests")

    def _warming_up(self) -> tuple[Why, str, str] | None:
        if not self._weighing.admission.is_warming_up:
            return None
        sentence = (
            f"{self._settings.canary} warms up for {self._settings.analysis.warm_up_s:g} s: how long its answers take "
            "is left out until then"
        )
        return _hold(Why.WARMING_UP, sentence)

    def _resource_problem(self) -> tuple[Why, str, str] | None:
        problem = self._resources.problem() if self._resources is not None else None
        return None if problem is None else _hold(Why.RESOURCES, problem)


def _hold(why: Why, sentence: str, figures: str = "") -> tuple[Why, str, str]:
    return why, sentence, f"{sentence}: {figures}" if figures else sentence


_HOLDS: tuple[Callable[[Judge], tuple[Why, str, str] | None], ...] = (
    Judge._no_data,  # noqa: SLF001  (a table of this module's own)
    Judge._placebo,  # noqa: SLF001
    Judge._environment,  # noqa: SLF001
    Judge._split,  # noqa: SLF001
    Judge._warming_up,  # noqa: SLF001
    Judge._resource_problem,  # noqa: SLF001
)
