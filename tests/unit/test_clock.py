"""A step of the wall clock moves no hold, no deadline and no lease."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from hitless.adapters import clock as room
from hitless.adapters.clock import SteadyClock, SystemClock

BOOTED = datetime(2030, 1, 1, tzinfo=UTC)


class Machine:
    """A machine whose two clocks a test sets: since boot, and the wall's deviation from it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, boot_id: Path) -> None:
        self.boot_s, self.wall_off_s = 100.0, 0.0
        boot_id.write_text("this boot\n")
        monkeypatch.setattr(room, "_BOOT_ID", boot_id)
        monkeypatch.setattr(room, "_boot_s", lambda: self.boot_s)
        monkeypatch.setattr(SystemClock, "now", lambda _: self.wall)

    @property
    def wall(self) -> datetime:
        return BOOTED + timedelta(seconds=self.boot_s + self.wall_off_s)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path / "boot_id")


def test_it_is_the_wall_clock_as_long_as_nobody_moves_that(machine: Machine, tmp_path: Path) -> None:
    clock = SteadyClock(tmp_path)
    for _ in range(3):
        assert clock.now() == machine.wall
        machine.boot_s += 3600
    assert clock.problem is None


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_step_makes_durations_one_percent_wrong_at_most_and_is_absorbed_in_a_hundred_hours(
    machine: Machine, tmp_path: Path, step_s: float
) -> None:
    clock = SteadyClock(tmp_path)
    moments = [clock.now()]
    machine.wall_off_s += step_s
    for _ in range(101):
        machine.boot_s += 3600
        moments.append(clock.now())
    passed = [(after - before).total_seconds() for before, after in pairwise(moments)]
    assert all(3600 * 0.99 - 0.001 <= one <= 3600 * 1.01 + 0.001 for one in passed)
    assert moments[-1] == machine.wall


def test_it_never_runs_backwards_however_often_it_is_asked(machine: Machine, tmp_path: Path) -> None:
    clock = SteadyClock(tmp_path)
    moments = [clock.now()]
    for number in range(1, 200):
        machine.boot_s += 0.001
        machine.wall_off_s = -1e6 if number % 2 else 1e6
        moments.append(clock.now())
    assert moments == sorted(moments)


def test_the_next_controller_goes_on_where_this_one_was(machine: Machine, tmp_path: Path) -> None:
    before = SteadyClock(tmp_path)
    before.keep()
    machine.wall_off_s, machine.boot_s = 3600, machine.boot_s + 10
    expected = before.now()
    assert SteadyClock(tmp_path).now() == expected
    assert abs(expected - (machine.wall - timedelta(hours=1))) <= timedelta(seconds=0.1)


def test_after_a_restart_of_the_machine_the_wall_clock_counts_anew(machine: Machine, tmp_path: Path) -> None:
    SteadyClock(tmp_path).keep()
    kept = tmp_path / room.FILE_NAME
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "boot_id": "another"}))
    machine.wall_off_s = 3600
    assert SteadyClock(tmp_path).now() == machine.wall


@pytest.mark.parametrize("content", ["", "{", "[]", '{"boot_id": "this boot", "at_s": "x", "offset_s": 1}'])
def test_a_file_that_cannot_be_read_is_told_and_the_wall_clock_counts(
    machine: Machine, tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / room.FILE_NAME).write_text(content)
    assert SteadyClock(tmp_path).now() == machine.wall
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("step_s", "words"), [(3600.0, "60 min ahead of"), (30.0, "30 s ahead of"), (-3600.0, "60 min behind")]
)
def test_a_clock_that_was_moved_is_told(machine: Machine, tmp_path: Path, step_s: float, words: str) -> None:
    clock = SteadyClock(tmp_path)
    machine.wall_off_s = step_s
    assert clock.problem is not None
    assert words in clock.problem


def test_the_offset_is_written_only_when_it_has_changed(machine: Machine, tmp_path: Path) -> None:
    clock = SteadyClock(tmp_path)
    clock.keep()
    written = (tmp_path / room.FILE_NAME).read_text()
    machine.boot_s += 60
    clock.keep()
    assert (tmp_path / room.FILE_NAME).read_text() == written
    machine.wall_off_s, machine.boot_s = 10, machine.boot_s + 60
    clock.keep()
    assert (tmp_path / room.FILE_NAME).read_text() != written
