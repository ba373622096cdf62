"""One rollout before its judge: what the judge is told, what it sees each second, what it says.

A case is a task of its own, so that nothing in it holds up the service's loop, and what goes wrong in it is told. It
goes on from its recording: the next controller makes the same judge and shows it the same evidence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from hitless import __version__
from hitless.analysis.counts import Second
from hitless.analysis.ruling import Call, Judgement, Ruling, Why
from hitless.analysis.settings import JudgeSettings, ratio_rules
from hitless.engine.outside import Outside
from hitless.engine.shares import Shares
from hitless.errors import HitlessError
from hitless.ports import Judge, Metrics, Recorded
from hitless.rollout.spec import ALL_TRAFFIC_BP, ROLE_POOL, AnalysisSpec, ServiceSpec
from hitless.rollout.state import Rollout
from hitless.system_faults import in_words

LOOK_S = 0.25
"""So long after a second is whole it is seen at the latest; asking for none costs some microseconds."""

SILENT_AFTER_S = 10
"""Without a measured second for so long, what was shown before counts no more: the metrics lag 1 or 2 s at most."""

BACKGROUND_S = 2_400
READ_S = 60.0
"""A disk or metrics that hang must not keep a new version from being judged. Twenty recordings of an hour take 10 s to
read."""

UNTOLD_AFTER_S = 120
"""So long a judge waits before it is told what no instance tells: some counters come with their first use, and what a
Prometheus has read is late."""

AT_ONCE = 20
"""Seconds taken in one go, about 1 ms each, before others have their turn."""

TAKEN_UP_AT_ONCE = 100
"""Recorded seconds that a judge takes in one go, about 3 ms each: hours of one rollout keep no other from its judge,
nor hitless from ending."""

TAKES_UP = Ruling(call=Call.HOLD, why=Why.NO_DATA, sentence="the judge takes up what was recorded before")
SILENT = Ruling(call=Call.HOLD, why=Why.NO_DATA, sentence=f"no second was measured for {SILENT_AFTER_S} s")
FAILED = Ruling(call=Call.HOLD, why=Why.NO_DATA, sentence="the judge has failed; the log says why")

Wanted = TypeVar("Wanted")
log = logging.getLogger("hitless")


@dataclass(slots=True, kw_only=True)
class Case:
    """One rollout before its judge.

    Attributes:
        clear_until: the last look at which the new version had no traffic; None = there was none.
        on_ruling: told the call when the judge says something else than before.
        next_share_bp: what a PROMOTE is asked for.
        ruling: what the judge says; the same object until something changes that decides.
        troubles: what is wrong, by where.
    """

    rollout: Rollout
    spec: ServiceSpec
    outside: Outside
    metrics: Metrics
    shares: Shares
    clear_until: datetime | None
    on_ruling: Callable[[Call], None]
    next_share_bp: int = ALL_TRAFFIC_BP
    ruling: Ruling | None = None
    judgement: Judgement | None = None
    troubles: dict[str, str] = field(default_factory=dict)
    _asked_bp: int = 0
    _taken_to: int = 0
    _began_at: int = 0
    _is_recorded: bool = False
    _has_failed: bool = False

    def says(self, now: datetime) -> Ruling | None:
        """Return what a decision may rest on; a ROLLBACK stays one, everything else needs a judge that hears."""
        if self.ruling is not None and self.ruling.call is Call.ROLLBACK:
            return self.ruling
        if self._has_failed:
            return FAILED
        if self.judgement is None:
            return TAKES_UP if self.rollout.ruling is not None else None
        is_silent = abs(now.timestamp() - self._taken_to) > SILENT_AFTER_S  # after one from the future, none is news
        return SILENT if is_silent else self.ruling

    def shows(self, now: datetime) -> Judgement | None:
        """Return the evidence, under what a decision may rest on."""
        said = self.says(now)
        if self.judgement is None or said not in {SILENT, FAILED}:
            return self.judgement
        return replace(self.judgement, ruling=said, detail=said.sentence)

    async def run(self) -> None:
        """Judge until cancelled; whatever goes wrong is told, and holds up nothing but a promotion."""
        try:
            judge = await self._open()
            while True:
                await self._look(judge)
                await self.outside.clock.sleep(LOOK_S)
        except Exception as error:
            log.exception("the judge of %s has failed", self.rollout.id)
            self._has_failed = True
            self.troubles["judge"] = f"the judge has failed, nobody compares any more: {in_words(error)}"
            self.on_ruling(FAILED.call)

    # What the judge is told before it begins

    async def _open(self) -> Judge:
        self._taken_to = self._began_at = int(self.outside.clock.now().timestamp())
        recorded = await self._read()
        if recorded is not None:
            await self._compare_versions()
            return await self._take_up(*recorded)
        settings = await self._settings()
        if self._is_recorded and self.outside.recorder is not None:
            await self._guarded("recording", self.outside.recorder.begin(self.rollout.id, settings))
        return await self._apart(partial(self.outside.judge, settings))

    async def _compare_versions(self) -> None:
        """Tell when another hitless has begun the recording: the settings are the same, its judge need not be."""
        assert self.outside.recorder is not None
        begun_by = await self._guarded(
            "recording", self.outside.within(READ_S, self.outside.recorder.begun_by(self.rollout.id))
        )
        if begun_by not in {None, __version__}:
            self.troubles["version"] = f"judged again by hitless {__version__}; it was begun by {begun_by}"

    async def _take_up(self, settings: JudgeSettings, seconds: Sequence[Recorded]) -> Judge:
        judge = await self._apart(partial(self.outside.judge, settings))
        for begin in range(0, len(seconds), TAKEN_UP_AT_ONCE):
            await self._apart(partial(_show, judge, seconds[begin : begin + TAKEN_UP_AT_ONCE]))
        return judge

    async def _apart(self, work: Callable[[], Wanted]) -> Wanted:
        return await asyncio.get_running_loop().run_in_executor(self.outside.bench, work)

    async def _read(self) -> tuple[JudgeSettings, tuple[Recorded, ...]] | None:
        """Read what an earlier controller has recorded; what cannot be read, or is another rollout's, is left alone."""
        if self.outside.recorder is None:
            return None
        found = await self._guarded(
            "recording", self.outside.within(READ_S, self.outside.recorder.read(self.rollout.id))
        )
        if found is not None and not self._is_ours(*found):
            self.troubles["recording"] = f"a recording of another rollout {self.rollout.id} is there; this one has none"
            found = None
        self._is_recorded = "recording" not in self.troubles
        if found is None and self.rollout.ruling is not None:
            self.troubles["before"] = "what a judge saw before is not to be had: another one begins, without it"
        return found

    def _is_ours(self, settings: JudgeSettings, seconds: Sequence[Recorded]) -> bool:
        """Tell whether it is of this rollout: numbers begin anew when a store is lost."""
        versions = (self.rollout.candidate, self.rollout.baseline)
        began_at = int(self.rollout.started_at.timestamp())
        return versions == (settings.canary, settings.baseline) and all(one.second.at >= began_at for one in seconds)

    async def _settings(self) -> JudgeSettings:
        rollout, analysis = self.rollout, self.spec.analysis or AnalysisSpec()
        assert rollout.baseline is not None
        before, baseline = await self._seconds_before(), rollout.baseline
        background = await self._apart(partial(self.outside.background, before, baseline=baseline, analysis=analysis))
        return JudgeSettings(
            canary=rollout.candidate,
            baseline=baseline,
            analysis=analysis,
            slo=self.spec.slo,
            background=background,
            salt=rollout.id,
            ratios=ratio_rules(self.spec.metrics),
            pools=_watched_pools(self.spec),
        )

    async def _seconds_before(self) -> tuple[Second, ...]:
        """Return what was measured before the new version had traffic."""
        if self.clear_until is None:
            return ()
        clear_until = self.clear_until.timestamp()
        after = int(clear_until) - BACKGROUND_S - 1
        found = await self._measured(after, within_s=READ_S)
        return tuple(one for one in found if one.at + 1 <= clear_until)

    # What it sees, what it says

    async def _look(self, judge: Judge) -> None:
        seconds = await self._measured(self._taken_to, within_s=SILENT_AFTER_S)
        if not seconds:
            return
        taken = []
        for number, second in enumerate(seconds, 1):
            taken.append(self._take(judge, Recorded(second=second, share_bp=self.shares.during(second.at))))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        self._hear(judge, self.next_share_bp)
        if self._is_recorded and self.outside.recorder is not None:
            await self._guarded("recording", self.outside.recorder.add(self.rollout.id, taken))

    def _take(self, judge: Judge, one: Recorded) -> Recorded:
        """Show one second to the judge; one that makes no sense is a gap."""
        self._taken_to = max(self._taken_to, one.second.at)
        self.troubles.pop("judge", None)
        try:
            judge.take(one.second, one.share_bp)
        except ValueError as error:
            self.troubles["judge"] = f"what was measured makes no sense to the judge: {error}"
            one = replace(one, second=Second(at=one.second.at, gap=str(error)))
            # as it is recorded, or the next controller would judge by something else
            judge.take(one.second, one.share_bp)
        return one

    def _hear(self, judge: Judge, share_bp: int) -> None:
        before, asked_bp = self.ruling, self._asked_bp
        self.judgement, self._asked_bp = judge.judgement(next_share_bp=share_bp), share_bp
        self._note_untold(self.judgement)
        ruling = self.judgement.ruling
        if before is None or not _decides_the_same(before, ruling, asked_bp=asked_bp, share_bp=share_bp):
            self.ruling = ruling
            self.on_ruling(ruling.call)

    def _note_untold(self, judgement: Judgement) -> None:
        """Tell which figures of the application nobody tells: one that is misspelt must not look like a good one."""
        self.troubles.pop("untold", None)
        if judgement.at - self._began_at < UNTOLD_AFTER_S:
            return
        untold = [f"{row.name}: {row.untold}" for row in judgement.rows if row.untold]
        if untold:
            self.troubles["untold"] = "; ".join(untold)

    # What may go wrong

    async def _measured(self, after: int, *, within_s: float) -> tuple[Second, ...]:
        """Return seconds later than `after`; none while metrics fail or hang, which is told, and asked again."""
        asked = self.metrics.seconds(self.spec.name, after=after)
        return await self._guarded("metrics", self.outside.within(within_s, asked)) or ()

    async def _guarded(self, where: str, asked: Awaitable[Wanted]) -> Wanted | None:
        """Await; what goes wrong is told, until it goes well again."""
        try:
            answer = await asked
        except (HitlessError, OSError) as error:
            self.troubles[where] = f"{_WHERE[where]}: {in_words(error)}"
            return None
        self.troubles.pop(where, None)
        return answer


_WHERE = {"metrics": "requests are not measured", "recording": "what the judge sees is not recorded"}


def _watched_pools(spec: ServiceSpec) -> tuple[str, ...]:
    """Name the pools that instances tell of, and the one that the database tells of where versions have roles."""
    told = tuple(pool.name for pool in spec.metrics.pools) if spec.metrics is not None else ()
    wish = spec.database
    has_limits = wish is not None and wish.roles is not None and wish.connections is not None
    return (*told, ROLE_POOL) if has_limits else told


def _show(judge: Judge, seconds: Sequence[Recorded]) -> None:
    """Show what was recorded; a second that makes no sense is a gap, as it would have been when it was measured."""
    for one in seconds:
        try:
            judge.take(one.second, one.share_bp)
        except ValueError as error:
            judge.take(Second(at=one.second.at, gap=str(error)), one.share_bp)


def _decides_the_same(before: Ruling, after: Ruling, *, asked_bp: int, share_bp: int) -> bool:
    """Tell whether nothing follows from the change: figures in sentences grow, and every change is journaled."""
    if before.call is Call.ROLLBACK:
        return True
    if asked_bp != share_bp:
        return before == after
    same = (before.call, before.why, before.row, before.settings) == (after.call, after.why, after.row, after.settings)
    return same and before.promotes_to(share_bp) is after.promotes_to(share_bp)
