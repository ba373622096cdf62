from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hitless.adapters.envoy import watches
from hitless.adapters.envoy.drain import QuietMeter
from hitless.adapters.envoy.files import FencedFiles, Stamp, read_resources, write_whole
from hitless.adapters.envoy.layout import SOCKET_PATH_MAX, Layout
from hitless.adapters.envoy.ledger import Ledger, ledger_document, read_ledger
from hitless.adapters.envoy.refusals import (
    AddressShared,
    SocketLinkTaken,
    VersionInUse,
    VersionWithoutEndpoints,
    WatchBudgetSpent,
    WeightsOffTotal,
    WeightWithoutEndpoint,
    check_table,
)
from hitless.adapters.envoy.transition import bridge, newcomers
from hitless.errors import Fenced
from hitless.rollout.spec import LOCAL, Address, InstanceId, Version
from hitless.rollout.world import EMPTY_TABLE, Endpoint, EndpointState, Table

A, B, C = InstanceId("a"), InstanceId("b"), InstanceId("c")
V1, V2 = Version("v1"), Version("v2")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ON, OFF = EndpointState.ACTIVE, EndpointState.DRAINING


def _end(port: int, state: EndpointState = ON) -> Endpoint:
    return Endpoint(address=Address(host="127.0.0.1", port=port), state=state)


def _one(weight: int = 10_000, **endpoints: Endpoint) -> Table:
    members = {InstanceId(name): end for name, end in endpoints.items()}
    return Table(weights={V1: weight} if weight else {}, endpoints={V1: members})


def test_weights_must_sum_to_all_traffic() -> None:
    with pytest.raises(WeightsOffTotal):
        check_table(_one(9_999, a=_end(1)), in_force=())
    with pytest.raises(WeightsOffTotal):
        check_table(Table(weights={V1: 10_001, V2: -1}, endpoints={V1: {A: _end(1)}}), in_force=())


def test_weight_needs_an_active_endpoint() -> None:
    with pytest.raises(WeightWithoutEndpoint):
        check_table(_one(a=_end(1, OFF)), in_force=())
    with pytest.raises(WeightWithoutEndpoint):
        check_table(Table(weights={V2: 10_000}, endpoints={V1: {A: _end(1)}}), in_force=())


def test_a_version_without_endpoints_is_refused() -> None:
    with pytest.raises(VersionWithoutEndpoints):
        check_table(_one(0), in_force=())


def test_two_endpoints_with_one_address_are_refused_even_across_versions() -> None:
    with pytest.raises(AddressShared, match=r"127\.0\.0\.1:1"):
        check_table(Table(endpoints={V1: {A: _end(1)}, V2: {B: _end(1, OFF)}}), in_force=())


@pytest.mark.parametrize(
    "current",
    [
        Table(weights={V2: 1, V1: 9_999}, endpoints={V1: {A: _end(1)}, V2: {B: _end(2)}}),
        Table(weights={V1: 10_000}, endpoints={V1: {A: _end(1)}, V2: {B: _end(2)}}, preview=V2),
    ],
)
def test_a_version_leaves_only_when_nothing_that_may_be_in_force_routes_to_it(current: Table) -> None:
    with pytest.raises(VersionInUse, match="v2"):
        check_table(_one(a=_end(1)), in_force=(_one(a=_end(1)), current))


def test_an_empty_table_is_fine_when_nothing_is_in_force() -> None:
    check_table(EMPTY_TABLE, in_force=())


def test_nobody_leaves_the_rotation_while_old_weights_may_be_in_force() -> None:
    now = _one(a=_end(1), b=_end(2))
    wanted = _one(0, a=_end(1, OFF), b=_end(2), c=_end(3))
    assert bridge(V1, wanted, (now,)) == {A: _end(1), B: _end(2), C: _end(3)}


def test_a_dead_endpoint_is_dropped_at_once_when_others_serve() -> None:
    assert bridge(V1, _one(b=_end(2)), (_one(a=_end(1), b=_end(2)),)) == {B: _end(2)}


def test_the_last_serving_endpoint_stays_until_its_successor_is_confirmed() -> None:
    assert bridge(V1, _one(b=_end(2)), (_one(a=_end(1)),)) == {A: _end(1), B: _end(2)}


def test_a_successor_on_the_same_address_takes_it_over() -> None:
    assert bridge(V1, _one(b=_end(1)), (_one(a=_end(1)),)) == {B: _end(1)}


def test_endpoints_of_every_table_that_may_be_in_force_go_on_serving() -> None:
    wanted = _one(a=_end(1), b=_end(2, OFF))
    assert bridge(V1, wanted, (_one(a=_end(1)), _one(a=_end(1), b=_end(2))))[B].state is ON


def test_newcomers_are_those_that_were_not_confirmed_in_rotation() -> None:
    wanted = _one(a=_end(1), b=_end(2), c=_end(3, OFF))
    assert newcomers(V1, wanted, None) == {_end(1).address, _end(2).address}
    assert newcomers(V1, wanted, _one(a=_end(1), b=_end(2, OFF))) == {_end(2).address}


def test_quiet_takes_three_zeros_20_ms_apart_the_first_100_ms_after_the_confirmation() -> None:
    meter = QuietMeter()
    meter.confirm("shop", {A}, at=10.0)
    reads = [(10.05, 0), (10.11, 0), (10.12, 0), (10.14, 0), (10.17, 0)]
    assert [meter.read("shop", A, count, at=at) for at, count in reads] == [False, False, False, False, True]


@pytest.mark.parametrize("interruption", [None, 1])
def test_an_open_or_unknown_request_starts_the_count_of_zeros_again(interruption: int | None) -> None:
    meter = QuietMeter()
    meter.confirm("shop", {A}, at=0.0)
    reads = [(1.0, 0), (1.1, 0), (1.2, interruption), (1.3, 0), (1.4, 0), (1.5, 0)]
    assert [meter.read("shop", A, count, at=at) for at, count in reads][-2:] == [False, True]


def test_who_is_back_in_rotation_must_go_quiet_anew() -> None:
    meter = QuietMeter()
    meter.confirm("shop", {A}, at=0.0)
    for at in (1.0, 1.1, 1.2):
        meter.read("shop", A, 0, at=at)
    meter.confirm("shop", (), at=1.3)
    meter.confirm("shop", {A}, at=1.4)
    assert not meter.read("shop", A, 0, at=2.0)
    assert not meter.read("another", A, 0, at=2.0)


def test_a_ledger_survives_the_disk_with_the_order_of_its_weights(tmp_path: Path) -> None:
    table = Table(
        weights={V2: 100, V1: 9_900},
        endpoints={V2: {B: _end(2)}, V1: {A: _end(1), C: _end(3, OFF)}},
        preview=V2,
        salt="s",
    )
    ledger = Ledger().begun(table, fence=3, revision=17).settled(table, versions={"x": "3.17"}, now=NOON)
    ledger = ledger.begun(_one(a=_end(1)), fence=3, revision=18)
    FencedFiles(tmp_path).write(tmp_path / "l.json", ledger_document(ledger), fence=3)
    read = read_ledger(tmp_path / "l.json")
    assert read == ledger
    assert read.acknowledged is not None
    assert list(read.acknowledged.weights) == [V2, V1]


def test_draining_since_is_the_first_confirmation_and_ends_with_the_return_to_rotation() -> None:
    off, on = _one(a=_end(1), c=_end(3, OFF)), _one(a=_end(1), c=_end(3))
    first = Ledger().settled(off, versions={}, now=NOON)
    assert first.settled(off, versions={}, now=NOON + timedelta(hours=1)).draining_since == {C: NOON}
    assert first.begun(on, fence=1, revision=2).draining_since == {}


def test_endpoints_of_every_unsettled_table_stay_in_sight() -> None:
    ledger = Ledger().settled(_one(a=_end(1)), versions={}, now=NOON)
    ledger = ledger.begun(_one(a=_end(1), b=_end(2)), fence=1, revision=2)
    ledger = ledger.begun(_one(a=_end(1), c=_end(3)), fence=1, revision=3)
    pending = ledger.pending()
    assert pending is not None
    assert pending.endpoints[V1] == {A: _end(1), B: _end(2), C: _end(3)}
    assert ledger.begun(_one(a=_end(1), c=_end(3)), fence=1, revision=3).unsettled == ledger.unsettled


def test_an_older_fence_writes_nothing(tmp_path: Path) -> None:
    files = FencedFiles(tmp_path)
    path = tmp_path / "x.json"
    version = files.update(path, lambda _: {"a": {"name": "a"}}, Stamp(5, 1))
    with pytest.raises(Fenced):
        files.update(path, lambda _: {"b": {"name": "b"}}, Stamp(4, 9))
    assert read_resources(path) == (version, {"a": {"name": "a"}})
    assert version.startswith("5.1-")


def test_unchanged_resources_are_not_written_again(tmp_path: Path) -> None:
    files = FencedFiles(tmp_path)
    path = tmp_path / "x.json"
    first = files.update(path, lambda _: {"a": {"name": "a"}}, Stamp(1, 1))
    inode = path.stat().st_ino
    assert files.update(path, dict, Stamp(1, 2)) == first
    assert path.stat().st_ino == inode


def test_one_revision_with_two_contents_has_two_versions() -> None:
    stamp = Stamp(1, 1)
    assert stamp.version_of({"a": {"name": "a"}}) != stamp.version_of({"a": {"name": "a", "x": 1}})


def test_the_watch_budget_is_refused_with_figures_and_the_command_that_raises_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "limit"
    write_whole(limit, b"12\n")
    monkeypatch.setattr(watches, "_LIMIT", limit)
    monkeypatch.setattr(watches, "instances_in_use", lambda _uid: 1)
    watches.check_budget(1)
    with pytest.raises(WatchBudgetSpent) as refusal:
        watches.check_budget(2)
    assert "in use by this user: 1" in refusal.value.evidence
    assert any(hint.startswith("sudo sysctl fs.inotify.max_user_instances=") for hint in refusal.value.hints)


def test_a_deep_directory_gets_a_short_way_to_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setattr("tempfile.tempdir", short)
        layout = Layout.of(tmp_path / ("d" * 120), LOCAL)
        layout.ensure_short_way()
        assert len(os.fsencode(layout.admin_socket)) <= SOCKET_PATH_MAX
        assert layout.admin_socket.parent.resolve() == layout.root
        layout.remove_short_way()
        assert not layout.admin_socket.parent.exists()


def test_a_planted_short_way_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    layout = Layout.of(tmp_path / ("d" * 120), LOCAL)
    layout.admin_socket.parent.symlink_to(tmp_path)
    with pytest.raises(SocketLinkTaken):
        layout.ensure_short_way()
