"""Runs the real control plane and kills it, by itself and with SIGKILL, at an exact moment of what it decides.

    echo advancing/observed/stage.settled/after-commit | python -m hitless.testing.crash --told died-at -- up

Every line of stdin starts one control plane, which dies at whichever of the line's points comes first and writes its
name to the file; its pid is printed. They are forks of one process that has imported everything, because importing is
nearly all of a start, and a crash matrix starts hundreds.

Nothing of the product knows of this: the seams that every decision goes through (the pure machine, the store's commit,
the router, the fleet) are wrapped here, in the process that is to die.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from hitless.adapters.envoy.files import FencedFiles
from hitless.adapters.envoy.router import EnvoyRouter
from hitless.adapters.processes import beginning
from hitless.adapters.processes.launch import Launch, spawn
from hitless.adapters.processes.records import InstanceRecord, InstanceRecords
from hitless.adapters.processes.supervisor import Supervisor
from hitless.adapters.store_sql.store import SqlStore
from hitless.rollout import machine
from hitless.rollout.events import InstanceOrdered
from hitless.rollout.inputs import Command, Observed
from hitless.rollout.state import ServiceState
from hitless.rollout.step import Step
from hitless.testing.crash_points import CrashPoint, Moment, Move, kind_of, moves_of

ORDERED = kind_of(InstanceOrdered)


@dataclass(slots=True, kw_only=True)
class Executioner:
    """Knows when to die.

    Attributes:
        points: of which the first that comes is the last thing this process sees.
        told: file that gets the point's name.
        decided: the newest step, not committed yet, and the moves that it is.
        ordered: instances whose start the newest step has decided on.
        acting: what follows from the last commit, by event: dies in its effect, or behind it.
        starting: the instances whose start is meant by that, of that commit or a later one.
    """

    points: frozenset[CrashPoint]
    told: Path
    decided: tuple[tuple[str, ...], frozenset[Move]] = ((), frozenset())
    ordered: frozenset[str] = frozenset()
    acting: dict[str, CrashPoint] = field(default_factory=dict)
    starting: frozenset[str] = frozenset()

    def decides(self, state: ServiceState, asked: type[Command | Observed], step: Step) -> Step:
        """Note what is about to be committed."""
        if step.events:
            kinds = tuple(event.kind for event in step.events)
            self.decided = kinds, moves_of(state.phase, asked, step)
            self.ordered = frozenset(event.instance for event in step.events if isinstance(event, InstanceOrdered))
        return step

    def commits(self, kinds: Sequence[str], moment: Moment) -> None:
        """Die around the commit of a step; behind it, note which of its effects to die in."""
        if tuple(kinds) != self.decided[0]:  # a record that is told, not decided
            return
        for move in sorted(self.decided[1]):
            self.die_at(CrashPoint(move=move, moment=moment))
            for later in (Moment.IN_EFFECT, Moment.AFTER_EFFECT):
                point = CrashPoint(move=move, moment=later)
                if moment is Moment.AFTER_COMMIT and point in self.points:
                    self.acting.setdefault(move.event, point)
        if moment is Moment.AFTER_COMMIT and ORDERED in self.acting:
            self.starting |= self.ordered

    def starts(self, instance: str, moment: Moment) -> None:
        """Die in the start of an instance, or behind it; one that was ordered earlier may still be starting."""
        if instance in self.starting:
            self.acts(ORDERED, moment)

    def acts(self, event: str, moment: Moment) -> None:
        """Die in an effect, or behind it."""
        point = self.acting.get(event)
        if point is not None and point.moment is moment:
            self.die_at(point)

    def die_at(self, point: CrashPoint) -> None:
        """Die if that is the moment."""
        if point in self.points:
            written = self.told.with_suffix(f".{threading.get_ident()}")  # two threads may come to a point at once
            written.write_text(str(point))
            written.replace(self.told)
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Import everything once; then start a control plane for every line."""
    parser = argparse.ArgumentParser(prog="python -m hitless.testing.crash")
    parser.add_argument("--told", required=True, type=Path, metavar="FILE", help="gets the name of the point")
    parser.add_argument("command", nargs="+", help="hitless' own arguments, behind --")
    asked = parser.parse_args()
    for name in _IMPORTED_FIRST:  # they are above this room: looked up, not imported
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    for line in sys.stdin:
        points = frozenset(map(CrashPoint.parse, line.split()))
        pid = os.fork()
        if pid == 0:
            _become_hitless(Executioner(points=points, told=asked.told), asked.command)
        print(pid, flush=True)  # noqa: T201 - whoever sent the line reads it


_IMPORTED_FIRST = ("hitless.bootstrap", "hitless.cli.shell", "hitless.cli.control_plane")


def _become_hitless(executioner: Executioner, command: list[str]) -> NoReturn:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    arm(executioner)
    sys.argv = ["hitless", *command]
    runpy.run_module("hitless.cli", run_name="__main__")
    sys.exit("hitless returned, which it never does")


def arm(executioner: Executioner) -> None:
    """Wrap every seam."""
    _wrap_decisions(executioner)
    _wrap_commits(executioner)
    _wrap_start(executioner)
    _wrap_stop(executioner)
    _wrap_route(executioner)


def _wrap_decisions(executioner: Executioner) -> None:
    command, observe = machine.command, machine.observe

    def commanded(state: ServiceState, asked: Command, *, now: datetime) -> Step:
        return executioner.decides(state, type(asked), command(state, asked, now=now))

    def observed(state: ServiceState, seen: Observed) -> Step:
        return executioner.decides(state, Observed, observe(state, seen))

    machine.command, machine.observe = commanded, observed


def _wrap_commits(executioner: Executioner) -> None:
    commit = SqlStore.commit

    def committed(self: SqlStore, **given: Any) -> Any:
        kinds = [entry.type for entry in given["entries"]]
        executioner.commits(kinds, Moment.BEFORE_COMMIT)
        records = commit(self, **given)
        executioner.commits(kinds, Moment.AFTER_COMMIT)
        return records

    _put(SqlStore, "commit", committed)


def _wrap_start(executioner: Executioner) -> None:
    """In the effect: the process is spawned, nobody has noted it. Behind it: it is watched.

    `ProcessFleet.start` has returned before that, so others may be starting too: what is died in is the start of an
    instance that this commit, or a later one, has ordered.
    """
    launch = Supervisor._launch  # noqa: SLF001 - the seam: there is no public moment at which a start is done

    def spawned(launch: Launch, **named: Any) -> int:
        pid = spawn(launch, **named)
        executioner.starts(launch.environment["HITLESS_INSTANCE"], Moment.IN_EFFECT)
        return pid

    async def launched(self: Supervisor, begun: beginning.Beginning) -> None:
        await launch(self, begun)
        executioner.starts(self.record.id, Moment.AFTER_EFFECT)

    _put(beginning, "spawn", spawned)
    _put(Supervisor, "_launch", launched)


def _wrap_stop(executioner: Executioner) -> None:
    """In the effect: the deadline is on disk, SIGTERM is not sent. Behind it: it is sent, and on disk.

    Of an instance that has ended already, the effect is that it is forgotten.
    """
    write, end = InstanceRecords.write, InstanceRecords.end

    def written(self: InstanceRecords, record: InstanceRecord) -> None:
        write(self, record)
        if record.stop_deadline_s is not None:
            moment = Moment.AFTER_EFFECT if record.term_sent else Moment.IN_EFFECT
            executioner.acts("instance.retired", moment)

    def ended(self: InstanceRecords, record: InstanceRecord) -> None:
        end(self, record)
        executioner.acts("instance.retired", Moment.AFTER_EFFECT)

    _put(InstanceRecords, "write", written)
    _put(InstanceRecords, "end", ended)


def _wrap_route(executioner: Executioner) -> None:
    """In the effect: the first of several files is written. Behind it: Envoy was asked for all of them."""
    update, apply = FencedFiles.update, EnvoyRouter.apply

    def updated(self: FencedFiles, *given: Any, **named: Any) -> str:
        version = update(self, *given, **named)
        executioner.acts("traffic.routed", Moment.IN_EFFECT)
        return version

    async def applied(self: EnvoyRouter, service: str, **given: Any) -> None:
        await apply(self, service, **given)
        executioner.acts("traffic.routed", Moment.AFTER_EFFECT)

    _put(FencedFiles, "update", updated)
    _put(EnvoyRouter, "apply", applied)


def _put(place: Any, name: str, wrapped: Callable[..., Any]) -> None:
    setattr(place, name, wrapped)


if __name__ == "__main__":
    main()
