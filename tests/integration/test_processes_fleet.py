from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from processes_support import (
    APPS,
    HEALTH,
    WEB_1,
    fetch,
    find,
    fleet_at,
    gone,
    main_process,
    processes_in,
    processes_of,
    record_of,
    settled,
    spec_of,
    start,
    until,
    web_spec,
    with_environment,
)

from hitless.adapters.processes.free_ports import FreePorts
from hitless.rollout.spec import LOCAL
from hitless.rollout.world import Phase


def open_files(pid: int | str) -> dict[int, str]:
    return {int(path.name): str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}


async def test_an_instance_starts_becomes_ready_and_is_seen_by_the_engine(tmp_path: Path) -> None:
    changes: list[float] = []
    async with fleet_at(tmp_path, on_change=lambda _service: changes.append(time.monotonic())) as fleet:
        await start(fleet, web_spec())
        started = await find(fleet)
        assert started is not None
        assert (started.phase, started.region, started.version) == (Phase.STARTING, LOCAL, "v1")
        ready = await settled(fleet, WEB_1, Phase.READY)
        assert changes
        assert ready.cause is None
        assert ready.since >= ready.started_at
        assert (await fleet.observe("another")) == ()


async def test_readiness_is_seen_soon_after_the_instance_says_so(tmp_path: Path) -> None:
    slow_interval = replace(HEALTH, interval_s=60.0)
    async with fleet_at(tmp_path) as fleet:
        begun_s = time.monotonic()
        await start(fleet, web_spec(health=slow_interval))
        await settled(fleet, WEB_1, Phase.READY)
        assert time.monotonic() - begun_s < 20.0  # far below the interval; usually 0.3 s


async def test_placeholders_and_environment_are_filled_in(tmp_path: Path) -> None:
    (tmp_path / "releases/v1").mkdir(parents=True)
    spec = with_environment(web_spec("{port}", "{version}-{instance}"), COLOUR="of {version}", **{"a.dotted-name": "x"})
    spec = replace(spec, run=replace(spec.run, directory="releases/{version}"))
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, spec)
        ready = await settled(fleet, WEB_1, Phase.READY)
        about = json.loads(await fetch(ready, "/about"))
    port = str(ready.address.port)
    assert about["argv"][1:] == [port, "v1-web-1"]
    assert about["cwd"] == str(tmp_path / "releases/v1")
    expected = {
        "PORT": port,
        "HITLESS_VERSION": "v1",
        "HITLESS_INSTANCE": "web-1",
        "HITLESS_SERVICE": "web",
        "COLOUR": "of v1",
        "a.dotted-name": "x",
    }
    assert expected.items() <= about["env"].items()


async def test_a_process_has_its_own_session_and_no_descriptor_but_its_own(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        async with fleet_at(tmp_path) as fleet:
            await start(fleet, web_spec("idle"))
            pid = (await main_process(tmp_path)).pid
            assert os.getsid(pid) == pid
            assert os.getpgid(pid) == pid
            files = open_files(pid)
            assert open_files("self")[writer] not in files.values()
            assert files[0] == "/dev/null"
            assert files[1] == files[2]
    finally:
        os.close(reader)
        os.close(writer)


async def test_an_instance_known_already_is_left_alone(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec())
        before = (await main_process(tmp_path)).pid
        await start(fleet, web_spec())
        assert (await main_process(tmp_path)).pid == before
        assert len(await fleet.observe("web")) == 1


async def test_an_instance_that_is_never_ready_fails_at_its_start_deadline_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "unready").touch()
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(health=replace(HEALTH, start_deadline_s=1.5)))
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        assert failed.cause is not None
        assert failed.cause.startswith("not ready within 1.5 s: /ready last said: 503: warming up")
        assert (await main_process(tmp_path)).is_running()  # ending it is the engine's decision


async def test_an_instance_that_listens_to_nobody_fails_at_its_start_deadline(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("idle", health=replace(HEALTH, start_deadline_s=0.5)))
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        port = failed.address.port
        assert failed.cause is not None
        assert failed.cause.startswith(
            f"not ready within 0.5 s: /ready last said: connection refused; nothing listens on port {port}"
        )


async def test_an_instance_that_exits_at_its_start_fails_with_code_and_last_words(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("crash"))
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        assert failed.cause == "exited with code 1; its log ends with: no such table: orders"


@pytest.mark.parametrize(
    ("command", "directory", "cause"),
    [
        (("no-such-program", "x"), ".", "executable missing: no-such-program is in none of PATH="),
        (("./run.sh",), ".", "executable missing: {home}/run.sh does not exist"),
        (("./plain.txt",), ".", "executable missing: {home}/plain.txt may not be executed"),
        (("./script",), ".", "interpreter missing: '/no/such/python', as the first line of {home}/script says"),
        (("./dos",), ".", r"interpreter missing: '/bin/sh\r', as the first line of {home}/dos says"),
        (("true",), "releases/{version}", "directory missing: {home}/releases/v1"),
        (("true",), "plain.txt", "directory missing: {home}/plain.txt"),
        (
            ("true", "{prot}"),
            ".",
            "unknown placeholder {{prot}} in '{{prot}}'; known are {{port}}, {{version}}, {{instance}}",
        ),
    ],
)
async def test_a_start_that_cannot_work_is_a_failed_instance_that_says_why(
    tmp_path: Path, command: tuple[str, ...], directory: str, cause: str
) -> None:
    (tmp_path / "plain.txt").touch(0o644)
    for name, interpreter in {"script": "/no/such/python -u", "dos": "/bin/sh\r"}.items():
        (tmp_path / name).write_bytes(f"#!{interpreter}\n".encode())
        (tmp_path / name).chmod(0o755)
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, spec_of(*command, directory=directory))
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        assert failed.cause is not None
        assert failed.cause.startswith(cause.format(home=tmp_path))
        await fleet.stop(WEB_1, grace_s=5)
        await gone(fleet)


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        yield thief.getsockname()[1]


async def test_without_a_free_port_an_instance_is_failed(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        with taken_port() as port:
            fleet._ports = FreePorts((port,))
            await start(fleet, web_spec())
            failed = await settled(fleet, WEB_1, Phase.FAILED)
            assert (failed.cause or "").startswith("no free port on 127.0.0.1 in ")


async def test_an_instance_whose_port_was_taken_meanwhile_is_failed_without_blame_and_says_by_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet_at(tmp_path) as fleet:
        with taken_port() as port:
            monkeypatch.setattr("hitless.adapters.processes.free_ports._is_free", lambda _: True)
            fleet._ports = FreePorts((port,))
            await start(fleet, web_spec())
            failed = await settled(fleet, WEB_1, Phase.FAILED)
            assert failed.cause is not None
            assert failed.cause.startswith(f"exited with code 1: port {port} was taken by another program: ")
            assert f"(pid {os.getpid()})" in failed.cause
            assert not failed.is_to_blame


async def test_an_answer_of_somebody_else_is_not_readiness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(), "web-1")
        other = await settled(fleet, "web-1", Phase.READY)
        monkeypatch.setattr("hitless.adapters.processes.free_ports._is_free", lambda _: True)
        fleet._ports = FreePorts((other.address.port,))
        await start(fleet, web_spec("idle"), "web-2")
        failed = await settled(fleet, "web-2", Phase.FAILED)
        assert failed.cause is not None
        assert failed.cause.startswith(f"port {other.address.port} was taken by another program: ")
        assert f"(pid {(await main_process(tmp_path, 'web-1')).pid})" in failed.cause
        assert not failed.is_to_blame


async def test_what_the_kernel_knows_of_an_instance_that_does_not_answer_is_told(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(health=replace(HEALTH, timeout_s=0.3)))
        await settled(fleet, WEB_1, Phase.READY)
        process = await main_process(tmp_path)
        process.send_signal(signal.SIGSTOP)
        unready = await settled(fleet, WEB_1, Phase.UNREADY)
        assert unready.cause is not None
        assert unready.cause.endswith(
            f"no answer within 0.3 s; pid {process.pid} is stopped by a signal (such as SIGSTOP)"
        )
        process.send_signal(signal.SIGCONT)
        await settled(fleet, WEB_1, Phase.READY)


async def test_readiness_comes_and_goes_with_hysteresis(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(health=replace(HEALTH, interval_s=0.2, unhealthy_after=4, healthy_after=2)))
        await settled(fleet, WEB_1, Phase.READY)
        (tmp_path / "unready").touch()
        begun_s = time.monotonic()
        unready = await settled(fleet, WEB_1, Phase.UNREADY)
        assert time.monotonic() - begun_s > 0.5  # three pauses at least
        assert unready.cause == "not ready: /ready failed 4 times in a row, last: 503: warming up"
        (tmp_path / "unready").unlink()
        begun_s = time.monotonic()
        ready = await settled(fleet, WEB_1, Phase.READY)
        assert time.monotonic() - begun_s > 0.15
        assert ready.cause is None
        assert ready.since > unready.since


async def test_an_instance_that_hangs_becomes_unready(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(health=replace(HEALTH, timeout_s=0.3)))
        await settled(fleet, WEB_1, Phase.READY)
        (tmp_path / "hang").touch()
        unready = await settled(fleet, WEB_1, Phase.UNREADY)
        assert unready.cause == "not ready: /ready failed 3 times in a row, last: no answer within 0.3 s"
        (tmp_path / "hang").unlink()


async def test_lost_liveness_fails_an_instance_that_was_ready(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(health=replace(HEALTH, live="/live")))
        await settled(fleet, WEB_1, Phase.READY)
        (tmp_path / "dead").touch()
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        assert failed.cause == "liveness lost: /live failed 3 times in a row, last: 500: deadlock"
        assert (await main_process(tmp_path)).is_running()


async def test_a_redirect_is_not_readiness(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(health=replace(HEALTH, ready="/moved", start_deadline_s=1.0)))
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        assert failed.cause is not None
        assert "/moved last said: 301 to /ready" in failed.cause


async def test_a_killed_instance_is_noticed_at_once_and_leaves_no_zombie(tmp_path: Path) -> None:
    slow_interval = replace(HEALTH, interval_s=60.0)
    seen_s: list[float] = []
    async with fleet_at(tmp_path, on_change=lambda _service: seen_s.append(time.monotonic())) as fleet:
        await start(fleet, web_spec(health=slow_interval))
        await settled(fleet, WEB_1, Phase.READY)
        process = await main_process(tmp_path)
        killed_s = time.monotonic()
        process.kill()
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        assert failed.cause == "killed by signal 9 (SIGKILL); its log ends with: starting"
        assert seen_s[-1] - killed_s < 1.0  # told by the kernel, long before the next probe; usually 5 ms
        assert not psutil.pid_exists(process.pid)


async def test_a_process_that_daemonises_counts_as_exited_and_its_group_is_ended(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("daemonise"))
        failed = await settled(fleet, WEB_1, Phase.FAILED)
        assert failed.cause is not None
        (daemon,) = processes_in(tmp_path)
        assert failed.cause.startswith("exited with code 0 and left running: ")
        assert f"(pid {daemon.pid}); it must stay in the foreground" in failed.cause
        await fleet.stop(WEB_1, grace_s=10)
        await gone(fleet)
        assert processes_in(tmp_path) == []


async def test_stop_ends_politely_and_forgets(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec())
        await settled(fleet, WEB_1, Phase.READY)
        await fleet.stop(WEB_1, grace_s=20)
        stopping = await find(fleet)
        assert stopping is not None
        assert stopping.phase is Phase.STOPPING
        await gone(fleet)
        ended = json.loads((tmp_path / ".hitless/ended/web/web-1.json").read_text())
        assert ended["cause"] == "killed by signal 15 (SIGTERM)"
        assert not (tmp_path / ".hitless/instances/web-1").exists()
        await fleet.stop(WEB_1, grace_s=20)  # again, without harm


async def test_who_ignores_sigterm_is_killed_after_the_grace_and_not_before(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("ignore-term"))
        await settled(fleet, WEB_1, Phase.READY)
        begun_s = time.monotonic()
        await fleet.stop(WEB_1, grace_s=1.0)
        await gone(fleet)
        assert time.monotonic() - begun_s >= 1.0
        ended = json.loads((tmp_path / ".hitless/ended/web/web-1.json").read_text())
        assert ended["cause"] == "killed: it did not end within its grace"
        assert await fleet.endings("web") == {WEB_1: "killed: it did not end within its grace"}


async def test_a_second_stop_may_shorten_the_grace(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("ignore-term"))
        await settled(fleet, WEB_1, Phase.READY)
        begun_s = time.monotonic()
        await fleet.stop(WEB_1, grace_s=600)
        await fleet.stop(WEB_1, grace_s=0.2)
        await fleet.stop(WEB_1, grace_s=600)
        await gone(fleet)
        assert time.monotonic() - begun_s < 20


async def test_children_are_ended_with_the_instance_even_in_sessions_of_their_own(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("children"))
        await settled(fleet, WEB_1, Phase.READY)
        record = record_of(tmp_path)
        await until(lambda: len(processes_of(record)) == 3)
        await fleet.stop(WEB_1, grace_s=20)
        await gone(fleet)
        assert processes_of(record) == []


async def test_a_child_of_a_shell_that_does_not_exec_is_told_to_end_and_not_killed(tmp_path: Path) -> None:
    script = f"trap 'exit 0' TERM; {sys.executable} -S {APPS / 'fleet_app.py'} & wait"
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, spec_of("sh", "-c", script))
        await settled(fleet, WEB_1, Phase.READY)
        await fleet.stop(WEB_1, grace_s=20)
        await gone(fleet)
        assert processes_in(tmp_path) == []
        assert json.loads((tmp_path / ".hitless/ended/web/web-1.json").read_text())["cause"] == "exited with code 0"


async def test_an_instance_may_be_stopped_while_it_starts(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec("idle"))
        await fleet.stop(WEB_1, grace_s=20)
        await gone(fleet)
        assert processes_in(tmp_path) == []


async def test_two_services_have_instances_ports_and_logs_of_their_own(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(), "web-1")
        await start(fleet, web_spec(), "web-2")
        await start(fleet, web_spec(name="shop"), "shop-1")
        ready = [
            await settled(fleet, "web-1", Phase.READY),
            await settled(fleet, "web-2", Phase.READY),
            await settled(fleet, "shop-1", Phase.READY, service="shop"),
        ]
        assert len({one.address.port for one in ready}) == 3
        assert [one.id for one in await fleet.observe("shop")] == ["shop-1"]
        assert (tmp_path / ".hitless/logs/shop/shop-1.log").read_text() == "starting\n"
        await fleet.stop(ready[0].id, grace_s=20)
        await gone(fleet, "web-1")
        assert [one.phase for one in await fleet.observe("web")] == [Phase.READY]
        assert [one.phase for one in await fleet.observe("shop")] == [Phase.READY]


async def test_end_all_returns_when_nothing_is_left(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(), "web-1")
        await start(fleet, web_spec(name="shop"), "shop-1")
        await fleet.end_all(10)
        assert (await fleet.observe("web"), await fleet.observe("shop")) == ((), ())
        assert processes_in(tmp_path) == []
        await fleet.end_all(10)


async def test_a_full_disk_fails_a_start_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with fleet_at(tmp_path) as fleet:
        await start(fleet, web_spec(), "web-1")
        await settled(fleet, "web-1", Phase.READY)
        with monkeypatch.context() as patch:
            patch.setattr("hitless.adapters.processes.records._write_durably", full)
            await start(fleet, web_spec(), "web-2")
            failed = await settled(fleet, "web-2", Phase.FAILED)
            assert failed.cause is not None
            assert "No space left on device" in failed.cause
            (await main_process(tmp_path, "web-1")).kill()
            await settled(fleet, "web-1", Phase.FAILED)
            await fleet.end_all(5)
        assert processes_in(tmp_path) == []


async def test_a_node_server_starts_serves_and_ends(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        assert os.environ.get("CI") != "true", "node is missing"
        pytest.skip("node is missing")
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, spec_of("node", str(APPS / "fleet_app.mjs")))
        ready = await settled(fleet, WEB_1, Phase.READY)
        assert await fetch(ready, "/") == "fine"
        await fleet.stop(WEB_1, grace_s=20)
        await gone(fleet)
        assert processes_in(tmp_path) == []


async def test_a_server_with_workers_ends_without_force_and_its_orphans_are_ended_too(tmp_path: Path) -> None:
    granian = (sys.executable, "-m", "granian", "--interface", "asgi", "--workers", "2", "--port", "{port}")
    spec = spec_of(*granian, "--working-dir", str(APPS), "fleet_asgi:app")
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, spec, "web-1")
        await start(fleet, spec, "web-2")
        first = await settled(fleet, "web-1", Phase.READY)
        await settled(fleet, "web-2", Phase.READY)
        await fleet.stop(first.id, grace_s=20)
        await gone(fleet, "web-1")
        assert json.loads((tmp_path / ".hitless/ended/web/web-1.json").read_text())["cause"] == "exited with code 0"
        record = record_of(tmp_path, "web-2")
        os.kill((await main_process(tmp_path, "web-2")).pid, signal.SIGKILL)
        await settled(fleet, "web-2", Phase.FAILED)
        await fleet.stop(record.id, grace_s=2)
        await gone(fleet, "web-2")
        assert processes_of(record) == []
