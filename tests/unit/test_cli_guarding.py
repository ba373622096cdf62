"""Which versions a control plane tells the contract guard of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from hitless.cli.client import Client
from hitless.cli.guarding import PAGE, known_of, rollouts_of
from hitless.view.models import RolloutRowView, ServiceView

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SERVICE = cast("ServiceView", {"name": "shop", "versions": [{"version": "42", "role": "stable", "ready_instances": 2}]})


def rollout(number: int, baseline: str | None, candidate: str, state: str = "completed") -> RolloutRowView:
    """Make a row; the higher its number, the newer it is."""
    at = (NOON + timedelta(minutes=number)).isoformat()
    row = {"id": f"r{number}", "baseline": baseline, "candidate": candidate, "state": state}
    return cast("RolloutRowView", {**row, "started_at": at, "finished_at": at})


def names(rollouts: Sequence[RolloutRowView]) -> set[str]:
    return {one.name for one in known_of(SERVICE, rollouts, NOON + timedelta(days=3))}


class Pages:
    """A control plane with many rollouts."""

    def __init__(self, rows: Sequence[RolloutRowView]) -> None:
        self.rows = rows

    def rollouts(self, _service: str, *, limit: int, before: str | None) -> list[RolloutRowView]:
        return [one for one in self.rows if before is None or one["started_at"] < before][:limit]


def test_the_rollback_target_is_found_behind_any_number_of_rollouts_that_failed() -> None:
    failed = [rollout(number, "42", "43", "rolled_back") for number in range(3 * PAGE, 10, -1)]
    client: Any = Pages([*failed, rollout(2, "41", "42"), rollout(1, None, "41")])
    assert names(rollouts_of(cast("Client", client), "shop")) == {"shop@42", "shop@41"}


def test_the_rollback_target_is_found_behind_a_deploy_of_other_settings() -> None:
    assert names([rollout(3, "42", "42"), rollout(2, "41", "42"), rollout(1, None, "41")]) == {"shop@42", "shop@41"}


def test_a_first_release_has_no_rollback_target() -> None:
    assert names([rollout(1, None, "42")]) == {"shop@42"}


def test_what_a_running_rollout_goes_back_to_counts() -> None:
    rows = [rollout(3, "42", "43", "running"), rollout(2, "41", "42")]
    assert names(rows) == {"shop@42", "shop@41"}
