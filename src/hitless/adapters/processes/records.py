"""What is known of each instance, on disk, so that a controller may die at any moment.

`instances/<id>/record.json` is written BEFORE the process is spawned: the intent. `instances/<id>/process` is the
claim: it is created exclusively, either by the process itself before it becomes the command (its line of
`/proc/<pid>/stat`: pid and start time), or by a later controller that finds none (`void`). Whoever comes second gives
up, so an intent leads to at most one process, and no process is unknown, whenever the controller was killed.

Deadlines are on CLOCK_MONOTONIC, which runs on from one process to the next within a boot; `boot_id` says which boot.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from pydantic import TypeAdapter, ValidationError

from hitless.adapters.processes.file_names import KEPT_PER_SERVICE, file_name, newest_first
from hitless.adapters.processes.identity import ProcessIdentity, parse_stat
from hitless.errors import EnvironmentFault
from hitless.rollout.spec import DrainSpec, HealthSpec, InstanceId, Region, Version
from hitless.rollout.world import Phase

logger = logging.getLogger(__name__)

_VOID = "void\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """One instance, with the settings it was started with.

    Attributes:
        incarnation: the mark in its processes' environment, of its own for every start.
        phase: the last one seen; READY and UNREADY tell a later controller that it was ready once.
        stop_deadline_s: when a stop that was ordered turns into SIGKILL, monotonic.
        term_sent: SIGTERM was delivered to the main process.
        lost_its_port: it failed because somebody else listens on its port.
        is_lost: it failed with the machine, or before it began.
    """

    id: InstanceId
    service: str
    version: Version
    region: Region
    port: int
    incarnation: str
    boot_id: str
    health: HealthSpec
    drain: DrainSpec
    started_at: datetime
    started_monotonic_s: float
    phase: Phase
    since: datetime
    cause: str | None = None
    stop_deadline_s: float | None = None
    term_sent: bool = False
    lost_its_port: bool = False
    is_lost: bool = False


class RecordUnreadable(EnvironmentFault):
    """An instance's record cannot be read; the instance is left alone."""

    code = "HL6201"
    temporary: ClassVar[bool] = False


_CODEC = TypeAdapter(InstanceRecord)


class InstanceRecords:
    """The records of one state directory. Calls block."""

    def __init__(self, directory: Path) -> None:
        self._live = directory / "instances"
        self._ended = directory / "ended"

    def write(self, record: InstanceRecord) -> None:
        """Write a record, whole or not at all, and durable on return."""
        folder = self._folder(record.id)
        folder.mkdir(parents=True, exist_ok=True)
        _write_durably(folder / "record.json", _CODEC.dump_json(record, indent=1))

    def load(self) -> tuple[list[InstanceRecord], list[RecordUnreadable]]:
        """Read all records; one that is broken does not hide the others."""
        records: list[InstanceRecord] = []
        faults: list[RecordUnreadable] = []
        for folder in sorted(self._live.iterdir()) if self._live.is_dir() else []:
            try:
                records.extend(_read(folder))
            except RecordUnreadable as fault:
                faults.append(fault)
        return records, faults

    def peek(self) -> list[InstanceRecord]:
        """Read the records that can be read, and change nothing: a controller may be at work."""
        records: list[InstanceRecord] = []
        for path in self._live.glob("*/record.json"):
            with contextlib.suppress(ValidationError, OSError):  # told by who may do something about it: `load`
                records.append(_CODEC.validate_json(path.read_bytes()))
        return records

    def end(self, record: InstanceRecord) -> None:
        """Forget a record; the newest ones are kept aside for people to read."""
        try:
            self._keep(record)
        except OSError:  # such as a full disk: no reason to go on listing an instance that has ended
            logger.exception("the last record of instance %s was not kept", record.id)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder(record.id))

    def claim_path(self, instance: InstanceId) -> Path:
        """Return where the process puts its claim."""
        return self._folder(instance) / "process"

    def claim_or_void(self, instance: InstanceId) -> ProcessIdentity | None:
        """Return the process that claimed the instance; if none did, take care that none ever will.

        Raises:
            BlockingIOError: a process is claiming it at this moment; ask again.
        """
        path = self.claim_path(instance)
        if not path.parent.is_dir():  # forgotten: there is nowhere to put a claim
            return None
        with contextlib.suppress(FileExistsError), path.open("x", encoding="ascii") as claim:
            claim.write(_VOID)
            return None
        text = path.read_text(encoding="utf-8", errors="replace")
        if not text.endswith("\n"):
            raise BlockingIOError(f"{path} is being written")
        return None if text == _VOID else parse_stat(text).identity

    def _keep(self, record: InstanceRecord) -> None:
        folder = self._ended / file_name(record.service)
        folder.mkdir(parents=True, exist_ok=True)
        _write_durably(folder / f"{file_name(record.id)}.json", _CODEC.dump_json(record, indent=1))
        for surplus in newest_first(folder.glob("*.json"))[KEPT_PER_SERVICE:]:
            surplus.unlink(missing_ok=True)

    def _folder(self, instance: InstanceId) -> Path:
        return self._live / file_name(instance)


def _read(folder: Path) -> Iterator[InstanceRecord]:
    path = folder / "record.json"
    try:
        yield _CODEC.validate_json(path.read_bytes())
    except FileNotFoundError:  # killed before the intent was written, or after the end was: nothing runs in either case
        shutil.rmtree(folder)
    except (ValidationError, OSError) as fault:
        raise RecordUnreadable(
            f"{path} cannot be read; its instance is neither watched nor ended",
            evidence=(str(fault),),
            hints=(f"look for its process: cat {folder / 'process'}", f"when it has ended: rm -r {folder}"),
        ) from fault


def _write_durably(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
