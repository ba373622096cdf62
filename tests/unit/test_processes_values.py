from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hitless.adapters.clock import SystemClock
from hitless.adapters.processes.file_names import file_name, name_of
from hitless.adapters.processes.free_ports import FreePorts, candidate_ports
from hitless.adapters.processes.identity import ProcessIdentity, parse_stat
from hitless.adapters.processes.launch import LaunchError, fill
from hitless.adapters.processes.records import InstanceRecord, InstanceRecords
from hitless.rollout.spec import LOCAL, DrainSpec, HealthSpec, InstanceId, Version
from hitless.rollout.world import Phase

VALUES = {"port": "20000", "version": "v1", "instance": "web-1"}

RECORD = InstanceRecord(
    id=InstanceId("web/1"),
    service="web",
    version=Version("feature/x"),
    region=LOCAL,
    port=20_000,
    incarnation="abc",
    boot_id="boot",
    health=HealthSpec(live="/live"),
    drain=DrainSpec(),
    started_at=datetime(2030, 1, 1, tzinfo=UTC),
    started_monotonic_s=1.5,
    phase=Phase.READY,
    since=datetime(2030, 1, 2, tzinfo=UTC),
)


def test_placeholders_are_filled_in_and_other_braces_left_alone() -> None:
    assert fill("--port={port} {version}/{instance}", VALUES) == "--port=20000 v1/web-1"
    assert fill('${port} {"a": {}} {HOME} {1}', VALUES) == '${port} {"a": {}} {HOME} {1}'
    with pytest.raises(LaunchError, match=r"unknown placeholder \{prot\}"):
        fill("{prot}", VALUES)


def test_ports_lie_outside_of_the_ephemeral_range() -> None:
    assert candidate_ports(range(32_768, 61_000)) == tuple(range(20_000, 30_000))
    assert candidate_ports(range(25_000, 61_000)) == tuple(range(20_000, 25_000))
    assert 10_000 in candidate_ports(range(15_000, 65_536))
    assert candidate_ports(range(1024, 65_536))  # nowhere is outside: better a risk than no instance


def test_a_port_is_given_once_until_it_is_given_back() -> None:
    ports = FreePorts((1, 2))
    ports.reserve([1, 2])
    assert ports.take() is None


def test_a_command_name_may_hold_anything() -> None:
    tail = " ".join(["R", "1", "7", "8", *["0"] * 15, "4242", "0"])
    stat = parse_stat(f"7 (a) b ) ({'x'}) {tail}")
    assert stat.identity == ProcessIdentity(pid=7, start_ticks=4242)
    assert (stat.state, stat.group, stat.session) == ("R", 7, 8)


@pytest.mark.parametrize(
    "name", ["web-1", "feature/x", ".", "..", "../etc", "a b", "ü*?[x]", "%2E", "v1.2.3", ".hidden"]
)
def test_a_file_name_is_one_segment_and_reversible(name: str) -> None:
    segment = file_name(name)
    assert "/" not in segment
    assert segment not in {".", ".."}
    assert name_of(segment) == name


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    records = InstanceRecords(tmp_path)
    records.write(RECORD)
    assert records.load() == ([RECORD], [])
    records.end(RECORD)
    assert records.load() == ([], [])


def test_a_record_of_a_newer_release_is_read_without_what_is_not_known_here(tmp_path: Path) -> None:
    records = InstanceRecords(tmp_path)
    records.write(RECORD)
    path = tmp_path / "instances/web%2F1/record.json"
    path.write_text(path.read_text().replace("{", '{"invented_later": 1,', 1))
    assert records.load() == ([RECORD], [])


def test_a_claim_is_made_once(tmp_path: Path) -> None:
    records = InstanceRecords(tmp_path)
    records.write(RECORD)
    assert records.claim_or_void(RECORD.id) is None
    assert records.claim_path(RECORD.id).read_text() == "void\n"
    assert records.claim_or_void(RECORD.id) is None


def test_a_claim_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    records = InstanceRecords(tmp_path)
    records.write(RECORD)
    records.claim_path(RECORD.id).touch()
    with pytest.raises(BlockingIOError):
        records.claim_or_void(RECORD.id)


async def test_the_system_clock_is_aware() -> None:
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0)
    assert before.tzinfo is UTC
    assert clock.now() >= before
