"""Whether the judge keeps its word on this service: the old version is judged against itself, many times.

One half of the data is the background, the other half is judged as a rollout whose steps took their parts of its time;
in the next run the halves change places. So nothing is tempered by what it is then tried on. In every second run the
old version is parted by request, in the others by instance (`splitting`), where there are several.

Rules. What is promised is compared with an exact interval (Clopper and Pearson 1934): a few dozen runs can show that
the judge fires far too often, and never that it does so in less than one rollout of a hundred; the report has both
bounds. Runs share their data, so the interval is that of chance in the parting, not of another hour. With too few data
nothing is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from scipy.special import betaincinv

from hitless.analysis.background import background
from hitless.analysis.counts import Second
from hitless.analysis.judge import Judge
from hitless.analysis.proposals import LATENCY_MARGIN, Proposal, propose_latency_margin, propose_margin, propose_warm_up
from hitless.analysis.ruling import Call, Judgement, Why
from hitless.analysis.settings import Background, JudgeSettings, RatioRule
from hitless.analysis.splitting import LEAST_INSTANCES, By, Deal, Splitter, deal, instances_of, share_bp
from hitless.rollout.spec import ALL_TRAFFIC_BP, AnalysisSpec, CanaryStep, Region, SloSpec, Version

LEAST_S = 600
"""Half of it for the background, half to be judged: less is no rollout."""

LEAST_REQUESTS = 2_000
LEAST_STEP_S = 60.0
CONFIDENCE = 0.95
ITSELF = Version("(itself)")
BY_INSTANCE = frozenset({"onset"})
"""Rows that compare instances: without any in the new version's part they have nothing to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of the runs that were dealt in one way.

    Attributes:
        runs: how many.
        rollbacks: of them, taken back by a row.
        guarded: taken back by the guard of the objective, which is outside of what is promised.
        silenced: in which the placebo kept the judge from deciding at the end.
        promoted: in which the largest share was shown to be right at the end.
        fired: how often each row reached its bound; a row that was not tried is missing.
    """

    by: By
    runs: int
    rollbacks: int
    guarded: int
    silenced: int
    promoted: int
    fired: Mapping[str, int]

    def at_least(self, count: int) -> float:
        """Return the lower 95 % limit of a rate."""
        return float(betaincinv(count, self.runs - count + 1, 1 - CONFIDENCE)) if count else 0.0

    def at_most(self, count: int) -> float:
        """Return the upper 95 % limit of a rate."""
        return float(betaincinv(count + 1, self.runs - count, CONFIDENCE)) if count < self.runs else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedRow:
    """One row: what it may cost, and how bursty what it counts is.

    Attributes:
        promised: in at most this share of rollouts it takes back a version that is no worse.
        dispersion: measured Fano factor, the largest of its tests; 1 = as chance has it.
    """

    name: str
    title: str
    promised: float
    dispersion: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was found.

    Attributes:
        measured: the old version over all of the data.
        requests: of the old version.
        gaps_s: seconds that could not be read.
        missing: why nothing is said; empty = it is.
        promised: at most this share of rollouts of a version that is no worse is taken back.
        tried_again: with the settings that are proposed, where the present ones take back too often and they may help.
    """

    baseline: Version
    measured: Background
    requests: int
    gaps_s: int
    instances: int
    judged_s: int
    promised: float
    missing: tuple[str, ...] = ()
    rows: tuple[CalibratedRow, ...] = ()
    tried: tuple[Tried, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    tried_again: tuple[Tried, ...] = ()

    @property
    def fires_too_often(self) -> bool:
        """Whether the runs show that more is taken back than was promised."""
        return any(one.at_least(one.rollbacks) > self.promised for one in self.tried)

    @property
    def too_often(self) -> tuple[CalibratedRow, ...]:
        """The rows that are shown to fire more often than was promised of each."""
        return tuple(
            row
            for row in self.rows
            if any(one.at_least(one.fired.get(row.name, 0)) > row.promised for one in self.tried)
        )

    @property
    def silences_itself(self) -> bool:
        """Whether the placebo silenced the judge in more than one run of ten."""
        return any(one.silenced > one.runs / 10 for one in self.tried)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is calibrated: the settings of the service as they are."""

    analysis: AnalysisSpec
    slo: SloSpec | None
    steps: tuple[CanaryStep, ...]
    ratios: Mapping[str, RatioRule] = field(default_factory=dict)


def calibrate(
    seconds: Sequence[Second],
    *,
    baseline: Version,
    settings: Settings,
    runs: int,
    tell: Callable[[int], None] = lambda _: None,
) -> Calibration:
    """Judge a version against itself.

    Args:
        seconds: oldest first, gaps among them; versions beside the baseline are looked at for their warm-up only.
        baseline: the version.
        settings: that are tried.
        runs: how many times, each about a millisecond for each second that is judged.
        tell: told after each run how many there were.
    """
    read = [second for second in seconds if second.gap is None]
    measured = background(seconds, baseline=baseline, analysis=settings.analysis)
    requests = sum(c.requests.total for second in read for c in second.cells if c.version == baseline)
    known = instances_of(read, baseline)
    found = Calibration(
        baseline=baseline,
        measured=measured,
        requests=requests,
        gaps_s=len(seconds) - len(read),
        instances=sum(len(one) for one in known.values()),
        judged_s=len(seconds) // 2,
        promised=settings.analysis.false_rollback,
        missing=tuple(_missing(len(read), requests)),
    )
    if found.missing:
        return found
    ways = (By.REQUESTS, By.INSTANCES) if any(len(one) >= LEAST_INSTANCES for one in known.values()) else (By.REQUESTS,)

    def trials(told: Settings) -> _Trials:
        made = _Trials(seconds=seconds, baseline=baseline, settings=told)
        for number in range(runs):
            made.run(number, ways[number % len(ways)])
            tell(number + 1)
        return made

    first, proposals = trials(settings), _proposals(seconds, found, settings)
    tried = tuple(first.tried(way) for way in ways)
    found = replace(found, rows=first.rows(measured), tried=tried, proposals=proposals)
    proposed = _proposed(settings, proposals)
    if not found.fires_too_often or proposed == settings:
        return found
    second = trials(proposed)
    return replace(found, tried_again=tuple(second.tried(way) for way in ways))


def _proposed(settings: Settings, proposals: Sequence[Proposal]) -> Settings:
    """Return the settings with what may keep rows from firing: a margin of failures only bears on promotions."""
    margin = next((one.proposed for one in proposals if one.key == LATENCY_MARGIN), None)
    if margin is None:
        return settings
    return replace(settings, analysis=replace(settings.analysis, latency_margin=margin))


def _missing(read_s: int, requests: int) -> Iterator[str]:
    if read_s < LEAST_S:
        yield f"{read_s} s were measured, {LEAST_S} s are the least"
    if requests < LEAST_REQUESTS:
        yield f"the version had {requests:,} requests, {LEAST_REQUESTS:,} are the least"


def _proposals(seconds: Sequence[Second], found: Calibration, settings: Settings) -> tuple[Proposal, ...]:
    failure_rate = ((found.measured.failure_rate or 0.0) * found.requests + 1) / (found.requests + 1)
    return (
        propose_margin(
            settings.steps,
            requests_per_s=found.measured.requests_per_s,
            failure_rate=min(failure_rate, 0.95),
            dispersion=found.measured.dispersion.get("errors", 1.0),
            analysis=settings.analysis,
        ),
        propose_latency_margin(seconds, baseline=found.baseline, analysis=settings.analysis),
        propose_warm_up(seconds, analysis=settings.analysis),
    )


@dataclass(slots=True, kw_only=True)
class _Trials:
    """Runs judges, and counts what they say."""

    seconds: Sequence[Second]
    baseline: Version
    settings: Settings
    _outcomes: dict[By, Counter[str]] = field(default_factory=dict)
    _fired: dict[By, Counter[str]] = field(default_factory=dict)
    _rows: dict[str, tuple[str, float]] = field(default_factory=dict)
    _backgrounds: dict[int, Background] = field(default_factory=dict)

    def run(self, number: int, by: By) -> None:
        """Judge once; the number decides who is dealt and which half is judged."""
        middle = len(self.seconds) // 2
        halves = (self.seconds[:middle], self.seconds[middle:])
        judged = (number // 2 + 1) % 2  # each way of dealing meets both
        salt = f"calibrate:{number}"
        judge = Judge(self._told(halves[1 - judged], judged, salt))
        splitter = Splitter(version=self.baseline, other=ITSELF, salt=salt)
        known = instances_of(halves[judged], self.baseline)
        deals: dict[float, dict[Region, Deal]] = {}
        for second, share in zip(halves[judged], _shares(self.settings.steps, len(halves[judged])), strict=True):
            if share not in deals:
                deals[share] = {region: deal(one, share=share, by=by, salt=salt) for region, one in known.items()}
            judge.take(splitter.split(second, deals[share]), share_bp(deals[share]))
        self._count(judge.judgement(next_share_bp=ALL_TRAFFIC_BP), by)

    def _told(self, before: Sequence[Second], judged: int, salt: str) -> JudgeSettings:
        if judged not in self._backgrounds:
            analysis = self.settings.analysis
            self._backgrounds[judged] = background(before, baseline=self.baseline, analysis=analysis)
        return JudgeSettings(
            canary=ITSELF,
            baseline=self.baseline,
            analysis=replace(self.settings.analysis, warm_up_s=0.0),  # nobody is cold
            slo=self.settings.slo,
            background=self._backgrounds[judged],
            salt=salt,
            ratios=self.settings.ratios,
        )

    def _count(self, judgement: Judgement, by: By) -> None:
        told = {Why.PLACEBO: "silenced", Why.OBJECTIVE: "guarded"}
        outcome = told.get(judgement.ruling.why, judgement.ruling.call.value)
        self._outcomes.setdefault(by, Counter())[outcome] += 1
        rows = [row for row in judgement.rows if row.acts is Call.ROLLBACK]
        self._fired.setdefault(by, Counter()).update(row.name for row in rows if row.since is not None)
        self._rows |= {row.name: (row.title, row.weight * self.settings.analysis.false_rollback) for row in rows}

    def tried(self, by: By) -> Tried:
        """Return what came of one way of dealing."""
        outcomes = self._outcomes.get(by, Counter[str]())
        return Tried(
            by=by,
            runs=outcomes.total(),
            rollbacks=outcomes[Call.ROLLBACK.value],
            guarded=outcomes["guarded"],
            silenced=outcomes["silenced"],
            promoted=outcomes[Call.PROMOTE.value],
            fired={
                name: self._fired.get(by, Counter[str]())[name]
                for name in self._rows
                if by is By.INSTANCES or name not in BY_INSTANCE
            },
        )

    def rows(self, measured: Background) -> tuple[CalibratedRow, ...]:
        """Return the rows with what is promised of them."""
        return tuple(
            CalibratedRow(name=name, title=title, promised=promised, dispersion=_dispersion(name, measured))
            for name, (title, promised) in self._rows.items()
        )


def _shares(steps: Sequence[CanaryStep], seconds: int) -> list[float]:
    """Return the share of each second: the steps, each as much of the time as its hold is of all of them."""
    compared = [step for step in steps if 0 < step.weight_bp < ALL_TRAFFIC_BP]
    if not compared:
        return [0.5] * seconds
    holds = [max(step.hold_s, LEAST_STEP_S) for step in compared]
    ends = [seconds * end / sum(holds) for end in accumulate(holds)]
    shares = [step.weight_bp / ALL_TRAFFIC_BP for step in compared]
    return [shares[next((n for n, end in enumerate(ends) if at < end), -1)] for at in range(seconds)]


def _dispersion(row: str, measured: Background) -> float:
    """Return the largest of a row's tests; onsets and the objective count failures too."""
    prefix = {"onset": "errors", "objective": "errors"}.get(row, row)
    values = [one for name, one in measured.dispersion.items() if name == prefix or name.startswith(f"{prefix}.")]
    return max(values, default=1.0)
