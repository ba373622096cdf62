"""What a service loop acts on, as handed in by the composition root."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar, cast

from hitless.analysis.counts import Second
from hitless.analysis.settings import Background, JudgeSettings
from hitless.errors import EnvironmentFault
from hitless.ports import (
    BackgroundOf,
    Checker,
    Clock,
    Fleet,
    Judge,
    Metrics,
    Preflighter,
    Recorder,
    Router,
    Schemas,
)
from hitless.rollout.spec import AnalysisSpec, Version

Wanted = TypeVar("Wanted")

JUDGE, RESOURCES, BACKGROUND = "hitless.analysis.judge", "hitless.analysis.resources", "hitless.analysis.background"
"""Loaded by the first rollout that is judged: numpy and scipy would cost every start of hitless half a second."""


def usual_judge(settings: JudgeSettings) -> Judge:
    """Make the judge, and what watches memory and processor time for it."""
    resources = importlib.import_module(RESOURCES).Resources(settings)
    return cast("Judge", importlib.import_module(JUDGE).Judge(settings, resources))


def usual_background(seconds: Sequence[Second], *, baseline: Version, analysis: AnalysisSpec) -> Background:
    """Measure the background."""
    measured = importlib.import_module(BACKGROUND).background(seconds, baseline=baseline, analysis=analysis)
    return cast("Background", measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a service loop acts on.

    Attributes:
        metrics: None = nobody measures, so nobody judges.
        recorder: None = what judges saw is not kept: the next controller judges anew.
        schemas: None = nobody reaches databases, so a release that needs one is refused.
        bench: where judges are made and take up recordings; None = in the loop's threads, for which commits wait.
    """

    fleet: Fleet
    router: Router
    checker: Checker
    preflighter: Preflighter
    clock: Clock
    metrics: Metrics | None = None
    recorder: Recorder | None = None
    schemas: Schemas | None = None
    bench: Executor | None = None
    judge: Callable[[JudgeSettings], Judge] = usual_judge
    background: BackgroundOf = usual_background

    async def within(self, seconds: float, asked: Awaitable[Wanted], *, of: str = "") -> Wanted:
        """Await at most so long, by the clock: what hangs must hold up nobody for ever.

        Args:
            seconds: at most.
            asked: the question.
            of: who is asked, for people.

        Raises:
            EnvironmentFault: no answer.
        """
        answer = asyncio.ensure_future(asked)
        over = asyncio.ensure_future(self.clock.sleep(seconds))
        try:
            await asyncio.wait({answer, over}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise EnvironmentFault(f"{of}: no answer within {seconds:g} s".removeprefix(": "))
            return answer.result()
        finally:
            answer.cancel()
            over.cancel()
