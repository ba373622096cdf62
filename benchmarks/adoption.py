"""How long until a control plane that was killed has everything back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from benchmarks.figures import spread_ms
from benchmarks.load import Seen, closed_loop
from benchmarks.results import Goal, Result, Table
from benchmarks.shop import LEAST_PATH, Shop, shop
from hitless.cli.faults import Unreachable
from hitless.view.models import ControlPlaneView

ROUNDS, QUICK_ROUNDS = 7, 1
RATE_RPS = 200.0
CONNECTIONS = 4
_POLL_S = 0.005
_WITHIN_S = 30.0


def run(*, quick: bool) -> Result:
    """Kill the control plane under load, again and again."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with shop() as project:
        before = project.client.control_plane()["envoy_pid"]
        answered_s, adopted_s, seen = _kill_control_planes(project, rounds)
        after = project.client.control_plane()["envoy_pid"]
    rows = (
        ("`hitless up` after kill -9 -> its API answers", answered_s),
        ("`hitless up` after kill -9 -> same instances, all ready and in rotation", adopted_s),
    )
    return Result(
        tables=(
            Table(
                title="Coming back",
                columns=("what", "n", "p50 ms", "p95 ms", "p99 ms", "max ms"),
                rows=tuple((name, len(values), *spread_ms(values)) for name, values in rows),
            ),
        ),
        goals=(Goal(name="adoption, max", measured=max(adopted_s), limit=5.0, unit=" s"),),
        notes=(f"{len(seen.took_s):,} requests were answered while control planes were killed and came back",),
        broken=(
            *(f"{count} requests failed without a control plane: {cause}" for cause, count in seen.failed.items()),
            *([] if before == after else ["Envoy did not survive its control plane"]),
        ),
    )


def _kill_control_planes(project: Shop, rounds: int) -> tuple[list[float], list[float], Seen]:
    with closed_loop(project.listen, connections=CONNECTIONS, rate_rps=RATE_RPS, path=LEAST_PATH) as load:
        times = [_come_back(project) for _ in range(rounds)]
        seen = load.finish()
    return [answered_s for answered_s, _ in times], [adopted_s for _, adopted_s in times], seen


def _come_back(project: Shop) -> tuple[float, float]:
    before = _whole(project)
    project.project.kill()
    began = time.monotonic()
    _start_control_plane(project)
    answered_s = _until(lambda: _whole(project) is not None) - began
    return answered_s, _until(lambda: _whole(project) == before) - began


def _start_control_plane(project: Shop) -> None:
    """Start without waiting: `LiveProject.up` asks by commands, each of which takes a core for a while."""
    with project.project.log_path.open("ab") as log:
        command = project.project.command("up")
        project.project.control_plane = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _whole(project: Shop) -> object | None:
    """Return what must be the same afterwards: processes, and who is ready and in rotation; None without an answer."""
    try:
        view: ControlPlaneView = project.client.control_plane()
    except Unreachable:
        return None
    instances = {
        (one["id"], one["address"], one["phase"], one["rotation"])
        for service in view["services"]
        for one in service["instances"]
    }
    return view["envoy"], instances, [service["health"] for service in view["services"]]


def _until(condition: Callable[[], bool]) -> float:
    """Wait for a condition; return the moment when it was seen.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + _WITHIN_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {_WITHIN_S:g} s")
        time.sleep(_POLL_S)
    return time.monotonic()
