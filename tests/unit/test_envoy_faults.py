"""Faults of Envoy's files and processes that need no Envoy to be shown."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from hitless import bootstrap
from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy import files, logs, process
from hitless.adapters.envoy.acknowledge import Acknowledgements
from hitless.adapters.envoy.admin import Admin, Snapshot
from hitless.adapters.envoy.certificates import Certificates
from hitless.adapters.envoy.damage import Damage
from hitless.adapters.envoy.earlier import Record, record_document
from hitless.adapters.envoy.files import FencedFiles, FileDamaged, FilesLocked, Stamp, kept_copy, read_resources
from hitless.adapters.envoy.identity import Identity
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.ledger import Ledger, ledger_document
from hitless.adapters.envoy.process import EnvoyProcess
from hitless.adapters.envoy.refusals import CertificateUnusable
from hitless.adapters.envoy.router import EnvoyRouter
from hitless.adapters.envoy.standing import newest_fence
from hitless.bootstrap import LocalControlPlane
from hitless.rollout.spec import LOCAL, Address, RunSpec, ServiceSpec, TlsSpec, TrafficSpec
from hitless.testing.certificate import self_signed


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.of(tmp_path, LOCAL)


@pytest.mark.parametrize("content", [b"", b"\x00", b'{"version_info": "1"}'])
async def test_a_damaged_file_of_listeners_is_told_by_every_look_and_ends_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    async def snapshot(_self: Admin) -> Snapshot:
        return Snapshot(taken_at=0.0, versions={})

    monkeypatch.setattr(Admin, "snapshot", snapshot)
    router = EnvoyRouter(tmp_path, SystemClock())
    monkeypatch.setattr(type(router._life.process), "pid", 1)
    path = tmp_path / LOCAL / "lds.json"
    path.write_bytes(content)
    assert await router.look()
    assert f"{path} is damaged" in (router._silence or "")
    path.unlink()
    await asyncio.sleep(0.25)
    assert await router.look()
    assert router._silence is None


async def test_no_fault_of_a_look_ends_the_control_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = iter([FileDamaged(tmp_path, "empty"), OSError("disk"), asyncio.CancelledError()])

    async def look() -> bool:
        raise next(faults)

    monkeypatch.setattr(bootstrap, "LOOK_EVERY_S", 0.0)
    control = SimpleNamespace(router=SimpleNamespace(look=look))
    with pytest.raises(asyncio.CancelledError):
        await LocalControlPlane.watch_routing(cast("LocalControlPlane", control))
    assert not list(faults)


def routes_to(version: str, layout: Layout, revision: int) -> str:
    resource = {"shop": {"name": "shop", "to": version}}
    return FencedFiles(layout.root).update(layout.routes("shop"), lambda _: resource, Stamp(1, revision))


@pytest.mark.parametrize("retried", ["v2", "v1"])
def test_a_write_that_failed_behind_its_copy_is_done_again(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, retried: str
) -> None:
    """Forwards and, for a rollback, back."""
    damage = Damage(layout)
    routes_to("v1", layout, 1)
    damage.restore()
    path, write = layout.routes("shop"), files.write_whole

    def fail(written: Path, data: bytes, *, is_durable: bool = True) -> None:
        if written == path:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(written, data, is_durable=is_durable)

    monkeypatch.setattr(files, "write_whole", fail)
    with pytest.raises(OSError, match="No space left"):
        routes_to("v2", layout, 2)
    monkeypatch.setattr(files, "write_whole", write)
    version = routes_to(retried, layout, 3)
    assert read_resources(path) == (version, {"shop": {"name": "shop", "to": retried}})
    assert damage.restore() == ()
    assert read_resources(path)[0] == version


def test_a_write_that_failed_behind_its_copy_is_done_by_the_next_look(layout: Layout) -> None:
    damage = Damage(layout)
    routes_to("v1", layout, 1)
    path = layout.routes("shop")
    before = path.read_bytes()
    routes_to("v2", layout, 2)
    path.write_bytes(before)
    damage.restore()
    assert read_resources(path)[1]["shop"]["to"] == "v2"


@pytest.mark.parametrize("harm", [Path.unlink, Path.touch, lambda path: path.write_bytes(b"[")])
def test_a_copy_that_is_lost_or_damaged_is_made_anew(layout: Layout, harm: Callable[[Path], object]) -> None:
    damage = Damage(layout)
    routes_to("v1", layout, 1)
    damage.restore()
    path = layout.routes("shop")
    copy, before = kept_copy(layout.root, path), path.read_bytes()
    harm(copy)
    assert damage.restore() == ()
    path.unlink()
    assert any(str(path) in one for one in damage.restore())
    assert path.read_bytes() == before


class Agreeing(Acknowledgements):
    """An Envoy that takes everything."""

    async def wait(self, *_: object, **__: object) -> None:
        return None


def with_tls(folder: Path) -> ServiceSpec:
    traffic = TrafficSpec(
        listen=Address(host="127.0.0.1", port=1),
        tls=TlsSpec(cert=str(folder / "cert.pem"), key=str(folder / "key.pem")),
    )
    return ServiceSpec(name="shop", instances=1, run=RunSpec(command=()), traffic=traffic)


async def test_a_certificate_that_is_refused_is_refused_again_and_the_one_that_serves_is_followed_on(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by the next controller."""
    monkeypatch.setattr("hitless.adapters.envoy.certificates._LOOK_EVERY_S", 0.0)
    admin, missing = Admin(layout.admin_socket), with_tls(tmp_path / "missing")

    def controller() -> Certificates:
        return Certificates(layout, FencedFiles(layout.root), Agreeing(admin, layout.log), admin)

    self_signed(tmp_path)
    for certificates in (controller(), controller()):
        certificates.take(with_tls(tmp_path))
        for _ in range(2):
            with pytest.raises(CertificateUnusable):
                certificates.take(missing)
        cert, _ = self_signed(tmp_path)
        await certificates.look(timeout_s=1.0)
        served = read_resources(layout.secret("shop"))[1]["shop"]["tls_certificate"]
        assert served["certificate_chain"] == {"inline_string": cert.read_text()}
        seen = certificates.seen("shop")
        assert seen is not None
        assert (seen.path, seen.problem) == (str(cert), None)
    later = controller()
    with pytest.raises(CertificateUnusable):
        later.take(missing)
    cert.unlink()
    later.take(with_tls(tmp_path))
    await admin.close()


def test_only_the_very_process_is_signalled_and_one_that_has_ended_is_no_fault() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        identity = Identity.of(process.pid)
        assert identity is not None
        replace(identity, started_ticks=identity.started_ticks - 1).send(signal.SIGKILL)
        assert process.poll() is None
        identity.send(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        identity.send(signal.SIGKILL)


@pytest.mark.fault("a control plane stands still while it writes Envoy's files")
def test_who_holds_the_files_and_stands_still_is_named_with_the_way_on(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOCKED_WITHIN_S", 0.1)
    program = (
        "import os, pathlib, signal, sys; from hitless.adapters.envoy.files import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])): print(flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    )
    command = [sys.executable, "-c", program, str(layout.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as frozen:
        assert frozen.stdout is not None
        frozen.stdout.readline()
        try:
            with pytest.raises(FilesLocked) as fault:
                routes_to("v1", layout, 1)
            assert f"process {frozen.pid} " in fault.value.message
            assert any(f"kill -KILL {frozen.pid}" in hint for hint in fault.value.hints)
        finally:
            frozen.kill()
    assert routes_to("v1", layout, 1)


async def test_of_envoys_log_the_end_is_kept_that_fits(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ENVOY_LOG_MAX_BYTES", 10)
    layout.log.write_text("a" * 25 + "end of log")
    await logs.rotate(layout, Admin(layout.admin_socket))
    assert layout.log.with_suffix(".log.1").read_text() == "end of log"
    assert layout.log.read_text() == ""


@pytest.mark.parametrize("name", ["fence", "base-id", "envoy.json", "tables/shop.json"])
@pytest.mark.parametrize("content", [b"", b"\x00", None])
def test_what_a_start_relies_on_is_restored_before_it_is_read(
    tmp_path: Path, layout: Layout, name: str, content: bytes | None
) -> None:
    identity = Identity(pid=1, started_ticks=1)
    written = {
        "fence": 7,
        "base-id": 42,
        "envoy.json": record_document(Record(current=identity)),
        "tables/shop.json": ledger_document(Ledger(fence=9)),
    }
    for one, document in written.items():
        files.write_kept(layout.root, layout.root / one, document)
    if content is None:
        (layout.root / name).unlink()
    else:
        (layout.root / name).write_bytes(content)
    assert newest_fence(tmp_path) == 9
    assert {one: files.read_document(layout.root / one) for one in written} == written


@pytest.mark.parametrize("content", [b"", b"\x00", b"{}"])
def test_behind_a_damaged_fence_nothing_is_written(layout: Layout, content: bytes) -> None:
    (layout.root / "fence").write_bytes(content)
    with pytest.raises(FileDamaged):
        routes_to("v1", layout, 1)
    assert not layout.routes("shop").exists()


LEADERLESS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print(flush=True)
ctypes.CDLL(None).syscall({number}, 0)  # exit(2): this thread alone
"""


@pytest.fixture
def dying() -> Iterator[Identity]:
    """Have a process whose first thread has ended while another one still holds what is open."""
    number = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
    code = LEADERLESS.format(number=number)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as started:
        found = Identity.of(started.pid)
        assert found is not None
        assert started.stdout is not None
        started.stdout.readline()
        deadline = time.monotonic() + 10
        while found.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        yield found
        started.kill()


def test_a_process_is_gone_only_with_its_last_thread(dying: Identity) -> None:
    assert (dying.is_alive(), dying.is_gone()) == (False, False)
    dying.send(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not dying.is_gone():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_next_envoy_starts_only_when_all_threads_of_the_dead_one_have_ended(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, dying: Identity
) -> None:
    files.write_kept(layout.root, layout.process, record_document(Record(current=dying)))
    was_gone: list[bool] = []

    def spawn(*_: object, **__: object) -> int:
        was_gone.append(dying.is_gone())
        return os.getpid()

    def sleep(seconds: float) -> None:
        dying.send(signal.SIGKILL)
        time.sleep(seconds)

    monkeypatch.setattr(process, "spawn_orphan", spawn)
    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    envoy_of(layout)._spawn()
    assert was_gone == [True]


async def test_nothing_stands_still_while_what_an_envoy_leaves_behind_is_removed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, loop_turned = threading.Event(), threading.Event()

    def forget(_: set[int]) -> None:
        begun.set()
        assert loop_turned.wait(2)

    envoy = envoy_of(layout)
    monkeypatch.setattr(envoy, "_forget", forget)
    stopping = asyncio.create_task(envoy.stop())
    while not begun.is_set():  # noqa: ASYNC110 - another thread sets it
        await asyncio.sleep(0.005)
    loop_turned.set()
    await stopping


def envoy_of(layout: Layout) -> EnvoyProcess:
    return EnvoyProcess(layout, Admin(layout.admin_socket), SystemClock(), program=Path("/envoy"), concurrency=1)
