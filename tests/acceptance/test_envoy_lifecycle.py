"""Envoy is exchanged, renewed, killed and frozen under load, through the command line."""

from __future__ import annotations

import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import SHOP
from hitless.testing.certificate import self_signed
from hitless.testing.live import LiveProject, free_ports, live_load

CONFIGURATION = """
service: shop
listen: 127.0.0.1:{port}
instances: 2
run:
  command: ["{python}", -m, shop, --port, "{{port}}"]
  directory: "{shop}"
  environment: {{SHOP_DATA: "{data}", SHOP_RELEASE: "{{version}}"}}
tls: {{cert: {cert}, key: {key}}}
health: {{live: /health/live, ready: /health/ready, start_deadline: 20s}}
drain: {{requests: 1s, streams: 10m}}
traffic: {{keep_alive: 2s}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "tls"
    found.mkdir()
    self_signed(found, days=9)
    return found


@pytest.fixture
def shop(tmp_path: Path, folder: Path) -> Iterator[LiveProject]:
    data = tmp_path / "data"
    data.mkdir()
    (port,) = free_ports(1)
    cert, key = folder / "cert.pem", folder / "key.pem"
    configuration = CONFIGURATION.format(port=port, python=sys.executable, shop=SHOP, data=data, cert=cert, key=key)
    with LiveProject(directory=tmp_path / "project", configuration=configuration) as project:
        project.check("deploy", "--version", "v1")
        yield project


def until(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "condition not met in time"
        time.sleep(0.05)


def envoy(project: LiveProject) -> Any:
    return project.json("envoy", "status")


def served(address: str) -> bytes | None:
    host, _, port = address.rpartition(":")
    try:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port)), timeout=2.0))
    except OSError:
        return None


def renew(address: str, folder: Path) -> None:
    cert, _ = self_signed(folder, days=9)
    fresh = ssl.PEM_cert_to_DER_cert(cert.read_text())
    until(lambda: served(address) == fresh)


@pytest.mark.acceptance
def test_envoy_is_exchanged_and_its_certificate_renewed_and_no_request_fails(shop: LiveProject, folder: Path) -> None:
    target = shop.status("shop")["listen"]
    pids = {envoy(shop)["pid"]}
    singles = ("--rate", "200", "--kinds", "keepalive", "close", "h2", "post", "--tls", "--insecure")
    streams = ("--rate", "1", "--streams", "5", "--kinds", "websocket", "sse", "--tls", "--insecure")
    with live_load(target, *singles) as load:
        for _ in range(2):
            with live_load(target, *streams) as lasting:
                until(lambda load=lasting: load.sent() >= 20)
                view = shop.json("envoy", "restart")
                assert view["status"] == "running"
                pids.add(view["pid"])
                shop.check("envoy", "restart", expect=4)  # it would cut them
                renew(target, folder)
                kept = lasting.finish()
            assert (kept.total.cut, kept.total.failed) == (0, {}), kept.examples
            assert kept.total.opened == 10
            until(lambda: all(one["open_connections"] == 0 for one in envoy(shop)["earlier"]))
        shop.check("deploy", "--version", "v2")
        report = load.finish()
    assert report.total.failed == {}, report.examples
    assert report.posts is not None
    assert (report.posts.duplicates, report.posts.lost) == (0, 0)
    assert len(pids) == 3
    assert shop.check("journal", "tail", "-n", "1000").count("control_plane.envoy_restarted") == 2
    view = shop.status("shop")
    assert (view["health"], view["certificate"]["days_left"]) == ("healthy", 8)
    assert any("ends in 8 days" in notice for notice in view["notices"])


@pytest.mark.acceptance
def test_an_instance_waits_for_its_streams_in_the_envoy_before(shop: LiveProject) -> None:
    target = shop.status("shop")["listen"]
    streams = ("--rate", "1", "--streams", "3", "--kinds", "websocket", "--tls", "--insecure")
    with live_load(target, *streams) as load:
        until(lambda: load.sent() >= 6)
        shop.check("envoy", "restart")
        shop.check("deploy", "--version", "v2")
        time.sleep(3.0)  # drain.requests and traffic.keep_alive are over
        left = [one for one in shop.status("shop")["instances"] if one["version"] == "v1"]
        assert left
        assert sum(one["open_requests"] for one in left) >= 3
        report = load.finish()
    assert (report.total.cut, report.total.failed) == (0, {}), report.examples
    until(lambda: {one["version"] for one in shop.status("shop")["instances"]} == {"v2"})


@pytest.mark.fault("Envoy hangs")
@pytest.mark.acceptance
def test_envoy_killed_or_frozen_comes_back_and_the_next_command_works(shop: LiveProject) -> None:
    target, before = shop.status("shop")["listen"], envoy(shop)["pid"]
    os.kill(before, signal.SIGKILL)
    until(lambda: served(target) is not None)
    pid = envoy(shop)["pid"]
    assert pid != before
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: any("does not answer" in one for one in shop.status("shop")["problems"]))
        assert "does not answer" in shop.run("envoy", "restart").stderr
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: shop.status("shop")["problems"] == [])
    shop.check("deploy", "--version", "v2")
    assert envoy(shop)["pid"] == pid


@pytest.mark.acceptance
def test_the_next_release_of_hitless_says_that_envoy_should_be_exchanged(shop: LiveProject, folder: Path) -> None:
    """The number of Envoy's threads stands for whatever another release starts otherwise.

    In the middle of a renewal, too.
    """
    pid = envoy(shop)["pid"]
    assert shop.stop() == 0
    cores = os.sched_getaffinity(0)
    if len(cores) == 1:
        pytest.fail("needs two cores")
    os.sched_setaffinity(0, {min(cores)})
    (folder / "key.pem").write_text("half a key")
    try:
        shop.up()
    finally:
        os.sched_setaffinity(0, cores)
    until(lambda: any("hitless envoy restart" in one for one in shop.status("shop")["notices"]))
    assert envoy(shop)["pid"] == pid
    assert "hitless envoy restart" in shop.check("status")
    assert shop.json("envoy", "restart")["differences"] == []
    assert any("no private key in PEM form" in one for one in shop.status("shop")["notices"])
    assert served(shop.status("shop")["listen"]) is not None
    until(lambda: not any("hitless envoy restart" in one for one in shop.status("shop")["notices"]))
