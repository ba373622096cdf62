"""A season in a service's life: rollouts of one strategy, ended in every way at every stage, under a load.

For acceptance tests and benchmarks: whichever way a rollout ends, nobody may notice.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from hitless.testing.live import LiveLoad, LiveProject

STAGES: Mapping[str, int] = {"rolling": 1, "blue_green": 3, "canary": 4}
"""Strategies, and how many stages each has; a canary of three steps."""

_STAGE_WITHIN_S = 60.0
_END_WITHIN_S = 90.0
_POLL_S = 0.1


class Season:
    """One service's life under load; versions are numbered, `v1` runs at the beginning.

    Every method raises `RuntimeError` when a command does not exit as it must, `TimeoutError` when a rollout hangs.

    Attributes:
        deployed: how many rollouts were begun with a `deploy`.
        exits: of what was asked of rollouts under way, by verb and exit code; 4 = the rollout had ended before.
    """

    def __init__(self, project: LiveProject, *, service: str, strategy: str, load: LiveLoad) -> None:
        self._project, self._service, self._strategy, self._load = project, service, strategy, load
        self._numbers = itertools.count(2)
        self.deployed = 0
        self.exits: Counter[tuple[str, int]] = Counter()

    def run(self) -> None:
        """End rollouts in every way at every stage, and undo one that has completed."""
        for stage in range(STAGES[self._strategy]):
            self.promote(stage)
            self.abort(stage)
            self.supersede(stage)
        self.undo()

    def complete(self) -> None:
        """Let a rollout complete by itself."""
        self._load.mark(f"{self._strategy}, complete")
        self._deploy()

    def promote(self, stage: int) -> None:
        """Promote a rollout to its end as soon as it has reached a stage."""
        self._at_stage(stage, "promote", lambda: self._act("promote", "--full"))

    def abort(self, stage: int) -> None:
        """Abort a rollout as soon as it has reached a stage."""
        self._at_stage(stage, "abort", lambda: self._act("abort"))

    def supersede(self, stage: int) -> None:
        """Put another version in a rollout's place as soon as it has reached a stage."""
        self._at_stage(stage, "supersede", lambda: self._deploy("--supersede"))

    def undo(self) -> None:
        """Complete a rollout and undo it."""
        self._load.mark(f"{self._strategy}, undo")
        self._deploy()
        self._project.check("rollout", "undo", self._service)
        self.exits["undo", 0] += 1

    def _deploy(self, *options: str) -> None:
        version = f"v{next(self._numbers)}"
        self.deployed += 1
        chosen = ("--version", version, "--strategy", self._strategy, *options)
        self._project.check("deploy", self._service, *chosen)

    def _at_stage(self, stage: int, name: str, act: Callable[[], None]) -> None:
        self._load.mark(f"{self._strategy}, {name} at stage {stage + 1}")
        self._deploy("--detach")
        deadline = time.monotonic() + _STAGE_WITHIN_S
        while (rollout := self._rollout())["stage"] < stage and rollout["state"] == "running":
            if time.monotonic() > deadline:
                raise TimeoutError(f"stage {stage + 1} was not reached: {rollout}")
        act()
        self._wait_until_ended()

    def _act(self, verb: str, *options: str) -> None:
        done = self._project.run("rollout", verb, self._service, *options)
        self.exits[verb, done.returncode] += 1

    def _wait_until_ended(self) -> None:
        deadline = time.monotonic() + _END_WITHIN_S
        while (rollout := self._rollout())["state"] == "running":
            if time.monotonic() > deadline:
                raise TimeoutError(f"did not end: {rollout}")
            time.sleep(_POLL_S)

    def _rollout(self) -> Any:
        return self._project.status(self._service)["rollout"]
