"""Restarts behind a load balancer that knows nothing of hitless lose nothing with the library, and requests without."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from benchmarks.balanced import SERVERS
from benchmarks.drain import Row, Size, measure
from benchmarks.stage import HAPROXY

SIZE = Size(restarts=2, requests=500, rate_rps=60.0)
BARE = Size(restarts=1, requests=200, rate_rps=60.0)


def measure_all(size: Size, *, with_library: bool) -> list[Row]:
    """Measure all servers side by side: most of a restart is waiting."""
    with ThreadPoolExecutor(len(SERVERS)) as pool:
        return list(pool.map(lambda server: measure(server, size, with_library=with_library), SERVERS.values()))


@pytest.mark.acceptance
@pytest.mark.alone
def test_sigterm_under_load_loses_no_request_with_the_library_and_some_without() -> None:
    if HAPROXY is None and os.environ.get("CI") != "true":
        pytest.skip("haproxy is not installed; with CI=true this is a failure")
    ours, bare = measure_all(SIZE, with_library=True), measure_all(BARE, with_library=False)
    for row in (*ours, *bare):
        print(row.server, "with" if row.with_library else "without", row.report.sent, dict(row.report.total.failed))
    assert {row.server: dict(row.report.total.failed) for row in ours} == {name: {} for name in SERVERS}
    assert {row.server: set(row.exits) for row in ours} == {name: {0} for name in SERVERS}
    assert min(row.report.sent for row in ours) >= SIZE.requests
    assert [row.server for row in bare if not row.failed] == []
