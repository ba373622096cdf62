"""The books: what hitless has written down about a project, held against the processes that are really there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.ledger import read_ledger
from hitless.adapters.processes.identity import MARK
from hitless.adapters.processes.records import InstanceRecords
from hitless.adapters.store_sql.store import SqlStore
from hitless.cli.place import STATE_DIRECTORY
from hitless.engine.codec import load_state, rebuild, subject_of
from hitless.rollout.spec import LOCAL
from hitless.rollout.state import ServiceState
from hitless.testing.crash_stories import in_rotation

TRIAL = "HITLESS_TRIAL"
"""Environment variable that every process of one project inherits: nothing that it started can hide."""

_GRACE_S = 1.0  # between the end of a process and the removal of its record, or the other way round


@dataclass(frozen=True, slots=True)
class Running:
    """One process of an instance: which start of which instance it belongs to."""

    pid: int
    started_at: float
    instance: str
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The state directory of one project with one service.

    Attributes:
        directory: the project's.
        trial: value of `TRIAL` in the environment of everything that belongs to it.
    """

    directory: Path
    trial: str
    service: str
    store: SqlStore

    @property
    def state(self) -> ServiceState:
        """The service's state row."""
        run = self.store.run(subject_of(self.service))
        return load_state(run.state) if run else ServiceState(service=self.service)

    def running(self) -> Iterator[Running]:
        """List processes that are instances of this project."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                environment = process.environ()
                if environment.get(TRIAL) == self.trial and MARK in environment:
                    named = environment.get("HITLESS_INSTANCE", "")
                    yield Running(process.pid, process.create_time(), named, environment[MARK])

    def strays(self) -> list[str]:
        """Find processes that no record knows, and instances that run twice; what is in passing is looked at again."""
        suspects = self._suspects()
        if suspects:
            time.sleep(_GRACE_S)
            again = self._suspects()
            suspects = {key: words for key, words in suspects.items() if key in again}
        return list(suspects.values())

    def _suspects(self) -> dict[Running | str, str]:
        running = tuple(self.running())
        known = self._recorded()
        found: dict[Running | str, str] = {
            one: f"orphan: process {one.pid} of {one.instance}, start {one.incarnation[:8]}, is in no record"
            for one in running
            if known.get(one.instance) != one.incarnation
        }
        for name in {one.instance for one in running}:
            starts = {one.incarnation for one in running if one.instance == name}
            if len(starts) > 1:
                found[name] = f"doubled: {name} runs {len(starts)} times"
        return found

    def _recorded(self) -> Mapping[str, str]:
        records, _ = InstanceRecords(self.directory / STATE_DIRECTORY).load()
        return {record.id: record.incarnation for record in records}

    def discrepancies(self) -> list[str]:
        """Compare processes, records, decisions and Envoy, for a service that is whole: `crash_stories.is_whole`."""
        return [*self.strays(), *self._unlike_wanted(), *self._unlike_envoy()]

    def _unlike_wanted(self) -> Iterator[str]:
        state = self.state
        running = {one.instance for one in self.running()}
        if running != set(state.instances):
            yield f"running: {sorted(running)}; decided on: {sorted(state.instances)}"
        wanted = {version: count for world in state.desired.values() for version, count in world.pools.items()}
        serving = {version: count for version, count in in_rotation(state).items() if count}
        if serving != wanted:
            yield f"in rotation: {serving}; wanted: {wanted}"

    def _unlike_envoy(self) -> Iterator[str]:
        layout = Layout.of(self.directory / STATE_DIRECTORY / "envoy", LOCAL)
        ledger = read_ledger(layout.record(self.service))
        if ledger.unsettled or ledger.acknowledged != self.state.tables.get(LOCAL):
            yield f"Envoy has {ledger.acknowledged} and {len(ledger.unsettled)} pending, not {self.state.tables}"

    def broken_journal(self) -> Iterator[str]:
        """Recompute the whole chain, and rebuild the state row from it: slow where the journal is long."""
        broken = self.store.verify_journal()
        if broken is not None:
            yield f"journal: {broken.problem} at record {broken.seq}"
        if rebuild(self.store.journal(), service=self.service) != self.state:
            yield "journal: folded, it is not the state row"
