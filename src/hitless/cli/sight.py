"""What a watch sees at one moment, and the questions that its renderings ask of it."""

from __future__ import annotations

from dataclasses import dataclass

from hitless.view.models import InstanceView, RolloutView, ServiceView, StageView

TERMINAL_STATES = frozenset({"completed", "rolled_back", "refused", "superseded", "failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One service, and the rollout that is looked at: its present one, a past one, or none."""

    service: ServiceView
    rollout: RolloutView | None


def sight_of(service: ServiceView) -> Sight:
    """Look at a service and its own rollout."""
    return Sight(service=service, rollout=service["rollout"])


def is_finished(rollout: RolloutView) -> bool:
    """Tell whether nothing more will happen to the rollout."""
    return rollout["state"] in TERMINAL_STATES


def current_stage(rollout: RolloutView) -> tuple[int, StageView] | None:
    """Return the current stage and its number from 1; None when it has none (any more)."""
    return next(
        ((number, stage) for number, stage in enumerate(rollout["stages"], 1) if stage["state"] == "current"), None
    )


def versions_shown(service: ServiceView) -> list[str]:
    """List versions in the view's order, then those of which only instances are left."""
    named = [version["version"] for version in service["versions"]]
    return list(dict.fromkeys([*named, *(instance["version"] for instance in service["instances"])]))


def instances_of(service: ServiceView, version: str) -> list[InstanceView]:
    """List the version's instances."""
    return [instance for instance in service["instances"] if instance["version"] == version]


def open_requests(service: ServiceView) -> int:
    """Sum the open requests and streams that are known."""
    return sum(instance["open_requests"] or 0 for instance in service["instances"])
