"""Envoy exchanged and its certificate renewed again and again under load, then killed: what do users notice?

Everything over TLS. Streams are opened before each exchange and held for seconds after it; then the next one may come,
since an exchange with streams from before the last one is refused.
"""

from __future__ import annotations

import os
import signal
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import spread_ms
from benchmarks.results import Goal, Result, Table
from benchmarks.shop import Shop, shop
from hitless.testing.certificate import self_signed
from hitless.testing.live import LiveLoad, live_load
from hitless.testing.load import KindReport, Report

ROUNDS, QUICK_ROUNDS = 20, 1
REQUESTS, QUICK_REQUESTS = 100_000, 200
RATE_RPS, QUICK_RATE_RPS = "700", "150"
KILL_RATE_RPS = "200"
STREAMS = "5"
ECHOES = 20  # two from each stream: all are open
HOLD_S = 2.0
CALM_S, QUICK_CALM_S = 10.5, 0.0  # one that crashes again within 10 s is started again with growing pauses
LONGEST_S = 55 * 60.0
_WITHIN_S = 60.0
_POLL_S = 0.02
SINGLE = ("keepalive", "close", "h2", "post", "slow", "upload")
LASTING = ("websocket", "sse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanged:
    """What was done under the load, and what became of it."""

    report: Report
    streams: KindReport
    restarts_s: list[float]
    renewals_s: list[float]


def run(*, quick: bool) -> Result:
    """Exchange and renew under load, then kill under a lighter one."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder, shop(tls=self_signed(Path(folder))) as found:
        done = _exchange(found, Path(folder), rounds, quick=quick)
        killed, back_s = _kill(found, rounds, QUICK_CALM_S if quick else CALM_S)
    return Result(
        tables=(_times(done, back_s), _windows(done.report), _lost(killed, rounds)),
        goals=(
            Goal(name="requests", measured=done.report.sent, limit=_wanted(quick=quick), at_least=True),
            Goal(name="failed requests, duplicated and lost POSTs included", measured=done.report.failed, limit=0),
            Goal(name="streams cut", measured=done.streams.cut, limit=0),
            Goal(name="Envoy serves again after kill -9, max", measured=max(back_s), limit=1.0, unit=" s"),
        ),
        notes=(
            f"{rounds} exchanges and {rounds} renewals, {done.streams.opened:,} streams held over exchanges",
            f"verdict of the load: {done.report.verdict}; {done.report.total.late:,} requests left late",
        ),
        broken=tuple(_broken(done)),
    )


def _wanted(*, quick: bool) -> int:
    return QUICK_REQUESTS if quick else REQUESTS


def _exchange(found: Shop, folder: Path, rounds: int, *, quick: bool) -> Exchanged:
    restarts_s, renewals_s, streams = [], [], KindReport()
    with _load(found, QUICK_RATE_RPS if quick else RATE_RPS, SINGLE) as load:
        for _ in range(rounds):
            with _load(found, "1", LASTING) as lasting:
                _until_open(lasting)
                load.mark("Envoy exchanged")
                restarts_s.append(_restart(found))
                time.sleep(HOLD_S)
                load.mark("certificate renewed")
                renewals_s.append(_renew(found, folder))
                streams += lasting.finish().total
        load.mark("nothing done")
        _until(lambda: load.sent() >= _wanted(quick=quick), within_s=LONGEST_S)
        return Exchanged(report=load.finish(), streams=streams, restarts_s=restarts_s, renewals_s=renewals_s)


@contextmanager
def _load(found: Shop, rate_rps: str, kinds: tuple[str, ...]) -> Iterator[LiveLoad]:
    options = ("--rate", rate_rps, "--streams", STREAMS, "--kinds", *kinds, "--tls", "--insecure")
    with live_load(str(found.listen), *options, duration_s=LONGEST_S) as load:
        yield load


def _until_open(lasting: LiveLoad) -> None:
    _until(lambda: lasting.sent() >= ECHOES)


def _restart(found: Shop) -> float:
    """Exchange Envoy as soon as that cuts nothing; return how long the command took."""
    _until(lambda: all(one["open_connections"] == 0 for one in found.client.envoy()["earlier"]))
    began = time.monotonic()
    found.client.restart_envoy(cut=False, actor="user:bench", reason=None)
    return time.monotonic() - began


def _renew(found: Shop, folder: Path) -> float:
    """Renew the certificate; return how long it took until a new connection got it."""
    cert, _ = self_signed(folder)
    began, wanted = time.monotonic(), ssl.PEM_cert_to_DER_cert(cert.read_text())
    address = (found.listen.host, found.listen.port)
    return _until(lambda: ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(address)) == wanted) - began


def _kill(found: Shop, rounds: int, calm_s: float) -> tuple[Report, list[float]]:
    back_s = []
    address = (found.listen.host, found.listen.port)
    with _load(found, KILL_RATE_RPS, ("keepalive", "close", "post")) as load:
        for _ in range(rounds):
            time.sleep(max(calm_s, 1.0))
            pid = found.client.envoy()["pid"]
            assert pid is not None
            began = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            time.sleep(_POLL_S)
            back_s.append(_until(lambda: _answers(address)) - began)
        return load.finish(), back_s


def _answers(address: tuple[str, int]) -> bool:
    try:
        return bool(ssl.get_server_certificate(address, timeout=1.0))
    except OSError:
        return False


def _times(done: Exchanged, back_s: list[float]) -> Table:
    rows = (
        ("`envoy restart` -> the new one serves, checks before it included", done.restarts_s),
        ("certificate renamed -> a new connection gets it", done.renewals_s),
        ("kill -9 of Envoy -> a new TLS connection is accepted", back_s),
    )
    return Table(
        title="How long it takes",
        columns=("what", "n", "p50 ms", "p95 ms", "p99 ms", "max ms"),
        rows=tuple((name, len(values), *spread_ms(values)) for name, values in rows),
    )


def _windows(report: Report) -> Table:
    rows = []
    for mark, kinds in report.by_mark.items():
        total = sum(kinds.values(), KindReport())
        rows.append((mark or "before", total.sent, total.failures, _causes(total)))
    return Table(title="Requests by what was done", columns=("what", "sent", "failed", "causes"), rows=tuple(rows))


def _lost(killed: Report, rounds: int) -> Table:
    total = killed.total
    row = (rounds, total.sent, total.failures, _causes(total))
    return Table(title="Lost by kill -9", columns=("kills", "sent", "failed", "causes"), rows=(row,))


def _causes(found: KindReport) -> str:
    return ", ".join(f"{count:,} {cause}" for cause, count in sorted(found.failed.items()))


def _broken(done: Exchanged) -> Iterator[str]:
    for cause, count in done.report.total.failed.items():
        yield f"{count} requests failed: {cause}"
    posts = done.report.posts
    if posts is None or posts.problem or posts.duplicates or posts.lost:
        yield f"POSTs: {posts}"
    if done.streams.cut or done.streams.failures:
        yield f"{done.streams.cut} streams cut, {done.streams.failures} answers missed"


def _until(condition: Callable[[], bool], *, within_s: float = _WITHIN_S) -> float:
    """Wait for a condition; return the moment when it was seen.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {within_s:g} s")
        time.sleep(_POLL_S)
    return time.monotonic()
