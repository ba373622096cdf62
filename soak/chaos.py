"""Plays beats on a real project under load, and writes down what comes of it."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
from benchmarks.shop import NAME

from hitless.cli.faults import Unreachable
from hitless.rollout.state import RolloutPhase, ServiceState
from hitless.testing.crash_stories import Verb, is_idle, is_whole
from hitless.testing.live import LiveLoad
from hitless.testing.load.ledger import UNMARKED
from soak.beats import Beat, Fault
from soak.ledger import Happened, Ledger, measure
from soak.operator import POLL_S, Operator

BEAT_S = 3.0
LOOK_EVERY_S = 10.0
CALM_S = 4.0  # behind a killed instance or Envoy: the slowest request takes 3 s
MENDS_WITHIN_S = 60.0
ENDS_WITHIN_S = 180.0
_COST_S = 1.5  # of a restart, until it was measured


class Chaos:
    """One soak under way."""

    def __init__(self, operator: Operator, load: LiveLoad, ledger: Ledger, *, until: float) -> None:
        self._operator, self._load, self.ledger = operator, load, ledger
        self._began, self._until = time.monotonic(), until
        self._looked_at = 0.0
        self._cost_s = _COST_S
        self._versions = 1
        self._hit: dict[Fault, Callable[[Beat], None]] = {
            Fault.KILL: self._kill,
            Fault.KILL_TWICE: self._kill_twice,
            Fault.TERM: self._term,
            Fault.FREEZE: self._freeze,
            Fault.ENVOY: self._kill_envoy,
            Fault.INSTANCE: self._kill_instance,
            Fault.NEWCOMERS: self._kill_newcomers,
        }

    @property
    def at_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    @property
    def state(self) -> ServiceState:
        """The service's durable state."""
        return self._operator.books.state

    def play(self, beat: Beat) -> None:
        """Steer the rollout, wait, do harm, look."""
        self._steer(beat)
        time.sleep(beat.wait * 2 * max(self._beat_s() - self._cost_s, 0))
        began = time.monotonic()
        self._hit[beat.fault](beat)
        self._cost_s += (time.monotonic() - began - self._cost_s) / 10
        self._look()

    def play_quietly(self, beat: Beat) -> None:
        """Steer the rollout and let this controller live; measure it."""
        self._steer(beat)
        for _ in range(2):  # so that there are enough of them in the last half minute of five
            time.sleep(0.5)
            self.ledger.controller.append(measure(self._operator.process.pid, self.at_s))
        self._look()

    def end(self) -> None:
        """Let everything come to its end, and close the books."""
        if not self._operator.is_alive():
            self._start()
        self.ledger.seconds = self.at_s
        self.ledger.report = self._load.finish()
        self._until_whole()
        books, ledger = self._operator.books, self.ledger
        ledger.strays += books.strays()
        ledger.discrepancies += [*books.discrepancies(), *books.broken_journal()]
        ledger.came_back_s, ledger.refused = self._operator.came_back_s, self._operator.refused
        ledger.instances_left = len({one.instance for one in books.running()})
        for record in books.store.journal():
            ledger.records = record.seq
            ledger.begun += record.entry.type == "rollout.started"
            if record.entry.type == "rollout.finished":
                ledger.ended[str(record.entry.data["outcome"])] += 1

    def _until_whole(self) -> None:
        """Wait until the last rollout has ended; if it never does, the books will say so."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        while not is_whole(self.state) and time.monotonic() < deadline:
            if self.state.phase is RolloutPhase.PAUSED:
                self._ask("resume")
            time.sleep(POLL_S)

    # What a person does

    def _steer(self, beat: Beat) -> None:
        state = self.state
        if is_idle(state):
            self._begin(beat)
        elif state.phase is RolloutPhase.PAUSED and beat.next == "nothing":
            self._ask("resume")
        elif beat.next == "supersede":
            self._deploy(beat, "good", supersede=True)
        elif beat.next != "nothing":
            self._ask(beat.next)

    def _begin(self, beat: Beat) -> None:
        if beat.first == "undo" and self.state.previous is not None:
            self._ask("undo")
        else:
            self._deploy(beat, "good" if beat.first == "undo" else beat.first, supersede=False)

    def _deploy(self, beat: Beat, kind: str, *, supersede: bool) -> None:
        self._versions += 1
        version = f"v{self._versions}{'' if kind == 'good' else f'-{kind}'}"
        asked: dict[str, Any] = {"version": version, "strategy": beat.strategy.value, "supersede": supersede}
        self._tell(
            f"{'supersede' if supersede else 'deploy'} ({kind})",
            lambda actor: self._operator.client.deploy(NAME, actor=actor, reason=None, **asked),
        )

    def _ask(self, verb: Verb) -> None:
        self._tell(verb, lambda actor: self._operator.client.act(NAME, verb, actor=actor, reason=None))

    def _tell(self, name: str, asking: Callable[[str], Any]) -> None:
        self.ledger.asked[name] += 1
        if not self._operator.heard(asking):
            self._start()

    # What goes wrong

    def _kill(self, beat: Beat) -> None:
        self._happened(beat.fault)
        self._operator.end(signal.SIGKILL)
        self._start()

    def _kill_twice(self, beat: Beat) -> None:
        self._happened(beat.fault)
        self._operator.end(signal.SIGKILL)
        self._operator.start()
        time.sleep(beat.which * self._cost_s)
        self._operator.end(signal.SIGKILL)
        self._start()

    def _term(self, beat: Beat) -> None:
        self._happened(beat.fault)
        code = self._operator.end(signal.SIGTERM)
        if code != 0:
            self.ledger.discrepancies.append(f"SIGTERM at {self.at_s:.0f} s: exit {code}")
        self._start()

    def _freeze(self, beat: Beat) -> None:
        self._happened(beat.fault)
        self._operator.process.send_signal(signal.SIGSTOP)
        time.sleep(beat.which * BEAT_S)
        self._operator.process.send_signal(signal.SIGCONT)

    def _kill_envoy(self, beat: Beat) -> None:
        pid = self._operator.client.control_plane()["envoy_pid"]
        if pid is not None:
            self._in_a_window(beat, [pid], mended=self._envoy_serves)

    def _envoy_serves(self) -> bool:
        return self._operator.client.control_plane()["envoy"] == "running"

    def _kill_instance(self, beat: Beat) -> None:
        names = sorted(self.state.instances)
        if names:
            chosen = names[math.floor(beat.which * len(names))]
            self._end_instances(beat, {chosen})

    def _kill_newcomers(self, beat: Beat) -> None:
        state = self.state
        if state.rollout is not None and not is_idle(state):
            candidate = state.rollout.candidate
            self._end_instances(beat, {name for name, one in state.instances.items() if one.version == candidate})

    def _end_instances(self, beat: Beat, names: set[str]) -> None:
        pids = [one.pid for one in self._operator.books.running() if one.instance in names]
        if pids:
            self._in_a_window(beat, pids, mended=lambda: names.isdisjoint(self.state.instances))

    def _in_a_window(self, beat: Beat, pids: list[int], *, mended: Callable[[], bool]) -> None:
        """Kill, and have the load count apart what it costs until all is well again."""
        window = f"{self.at_s:.0f} s: {beat.fault}"
        self._happened(beat.fault, window=window)
        self._load.mark(window)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + MENDS_WITHIN_S
        while not mended():
            if time.monotonic() > deadline:
                self.ledger.discrepancies.append(f"{window}: not mended after {MENDS_WITHIN_S:g} s")
                break
            time.sleep(POLL_S)
        time.sleep(CALM_S)
        self._load.mark(UNMARKED)

    def _happened(self, fault: Fault, *, window: str = UNMARKED) -> None:
        self.ledger.faults.append(Happened(at_s=self.at_s, fault=fault, window=window))

    # What is seen

    def _start(self) -> None:
        """Start controllers until one answers; one that ends by itself is a discrepancy."""
        if self._operator.is_alive():
            return
        self._operator.start()
        if self._operator.await_answer():
            with contextlib.suppress(psutil.Error):
                self.ledger.controllers.append(measure(self._operator.process.pid, self.at_s))
        else:
            self.ledger.discrepancies.append(f"{self.at_s:.0f} s: `up` ended: {self._operator.last_words()}")

    def _look(self) -> None:
        if self.at_s < self._looked_at + LOOK_EVERY_S:
            return
        self._looked_at = self.at_s
        self.ledger.looks += 1
        self.ledger.strays += self._operator.books.strays()
        with contextlib.suppress(psutil.Error, Unreachable):
            pid = self._operator.client.control_plane()["envoy_pid"]
            if pid is not None:
                self.ledger.envoy.append(measure(pid, self.at_s))

    def _beat_s(self) -> float:
        """Return how long a beat may take if as many controllers are to be killed as was asked for."""
        left = self.ledger.kills_wanted - self.ledger.kills
        return min(BEAT_S, (self._until - time.monotonic()) / left) if left > 0 else BEAT_S
