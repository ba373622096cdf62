"""Every strategy, ended in every way at every step, under every kind of client: no request fails, no stream is cut."""

from __future__ import annotations

import pytest

from hitless.testing.live import LiveProject, live_load
from hitless.testing.load import Report, Verdict, as_text
from hitless.testing.season import STAGES, Season

LEAST_REQUESTS = 100_000
RATE_RPS = "1000"


@pytest.mark.acceptance
@pytest.mark.alone
@pytest.mark.timeout(600)
@pytest.mark.parametrize("strategy", STAGES)
def test_no_request_fails_whichever_way_a_rollout_ends(shop: LiveProject, strategy: str) -> None:
    shop.check("deploy", "shop", "--version", "v1", "--strategy", "rolling")
    target = shop.status("shop")["listen"]
    with live_load(target, "--rate", RATE_RPS, "--streams", "10") as load:
        season = Season(shop, service="shop", strategy=strategy, load=load)
        season.run()
        while load.sent() < LEAST_REQUESTS:
            season.complete()
        report = load.finish()
    print(f"\n{strategy}: {season.deployed} deployed, {dict(season.exits)}\n{as_text(report)}")
    _assert_nobody_noticed(report)
    for verb in ("promote", "abort"):  # one that comes when the last stage is over already is told so: exit 4
        assert season.exits[verb, 0] >= max(STAGES[strategy] - 1, 1), season.exits
    assert shop.json("journal", "verify")["problem"] is None


def _assert_nobody_noticed(report: Report) -> None:
    assert report.total.sent >= LEAST_REQUESTS
    assert report.total.failed == {}, report.examples
    assert report.total.cut == 0
    assert report.posts is not None
    assert (report.posts.problem, report.posts.duplicates, report.posts.lost) == (None, 0, 0)
    assert report.verdict in {Verdict.CLEAN, Verdict.INCOMPLETE}
