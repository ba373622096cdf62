"""Judges whose words and faults the test decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hitless.analysis.counts import Second
from hitless.analysis.ruling import Call, Judgement, RowReport, Ruling, Why
from hitless.analysis.settings import Background, JudgeSettings
from hitless.ports import Recorded
from hitless.rollout.spec import AnalysisSpec, Region, Version

TOO_FEW = Ruling(call=Call.HOLD, why=Why.TOO_FEW, sentence="too few requests")
WORSE = Ruling(call=Call.ROLLBACK, why=Why.WORSE, row="errors", sentence="errors: 9 times the odds")


def not_worse(share_bp: int) -> Ruling:
    """Build the ruling that lets the new version get a share."""
    return Ruling(call=Call.PROMOTE, why=Why.NOT_WORSE, sentence="not worse", next_share_bp=share_bp)


@dataclass(slots=True, kw_only=True)
class FakeJudge:
    """`hitless.ports.Judge`: says what its court was told to, and remembers what it was shown.

    Attributes:
        taken: every second with the shares that were said of it, in the order in which they came.
        asked: the shares that it was asked for.
    """

    settings: JudgeSettings
    court: FakeJudges
    taken: list[Recorded] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    def take(self, second: Second, share_bp: Mapping[Region, int]) -> None:
        """Take one second.

        Raises:
            ValueError: it is one of those that make no sense.
        """
        if second.at in self.court.senseless and second.gap is None:
            raise ValueError(f"second {second.at}: more failures than requests")
        if self.court.fault is not None:
            raise self.court.fault
        self.taken.append(Recorded(second=second, share_bp=share_bp))

    def judgement(self, *, next_share_bp: int) -> Judgement:
        """Say what was decided, with figures that grow."""
        self.asked.append(next_share_bp)
        return Judgement(
            at=self.taken[-1].second.at if self.taken else 0,
            ruling=self.court.ruling,
            detail=f"{self.court.ruling.sentence}, after {len(self.taken)} seconds",
            rows=self.court.rows,
        )


@dataclass(slots=True, kw_only=True)
class FakeJudges:
    """Makes judges, and measures backgrounds: `Outside(judge=judges.judge, background=judges.background, ...)`.

    Attributes:
        ruling: what every judge says from now on.
        rows: its evidence.
        senseless: seconds that a judge refuses.
        fault: breaks every judge that is shown a second.
        made: every judge, oldest first.
        before: what the last background was measured from.
    """

    ruling: Ruling = TOO_FEW
    rows: tuple[RowReport, ...] = ()
    senseless: set[int] = field(default_factory=set)
    fault: Exception | None = None
    made: list[FakeJudge] = field(default_factory=list)
    before: tuple[Second, ...] = ()

    def judge(self, settings: JudgeSettings) -> FakeJudge:
        """Make one."""
        self.made.append(FakeJudge(settings=settings, court=self))
        return self.made[-1]

    def background(self, seconds: Sequence[Second], *, baseline: Version, analysis: AnalysisSpec) -> Background:  # noqa: ARG002 - a fake compares nothing
        """Count the seconds."""
        self.before = tuple(seconds)
        return Background(seconds=len(seconds))
