"""What the HTTP API needs of a control plane. The engine implements it; tests script it."""

from __future__ import annotations

from typing import Literal, Protocol

from hitless.analysis.counts import Second
from hitless.view.models import (
    ControlPlaneView,
    EnvoyView,
    JournalRecordView,
    PlanView,
    PreflightView,
    RolloutRowView,
    RolloutView,
    ServiceView,
    VerifyView,
)

Verb = Literal["promote", "promote_full", "pause", "resume", "abort", "undo"]


class ControlPlane(Protocol):
    """Everything a user can ask of hitless, in the words of the view model."""

    async def deploy(
        self,
        *,
        service: str,
        version: str,
        strategy: str | None,
        supersede: bool,
        skip_preflight: bool = False,
        actor: str,
        reason: str | None,
    ) -> RolloutView:
        """Begin a rollout and return it as journaled, before any of its effects.

        Raises:
            UnknownService: there is none of this name.
            RolloutInProgress: another rollout is going on and `supersede` is not set.
            AlreadyRunning: the version runs already.
            SessionsWouldEnd: the settings say that sessions live in the instances that would go.
        """
        ...

    async def preflight(self, *, service: str, version: str, actor: str, reason: str | None) -> PreflightView:
        """Examine a version out of rotation; nothing else changes.

        Raises:
            UnknownService: there is none of this name.
        """
        ...

    async def act(
        self, *, service: str, verb: Verb, actor: str, reason: str | None, stage: int | None = None
    ) -> RolloutView:
        """Carry out `verb` on the service's rollout and return it as journaled; for `undo` that is the rollout back.

        `stage` is the one, from zero, that is to be promoted.

        Raises:
            UnknownService: there is none of this name.
            NoRollout: none is going on.
            NotAllowedNow: the verb does not fit the present phase.
            NothingToUndo: no earlier version is known.
            StageMoved: the rollout is in another stage than `stage`.
        """
        ...

    async def services(self) -> list[ServiceView]:
        """List all services, in the order of `hitless.yaml`."""
        ...

    async def service(self, name: str) -> ServiceView:
        """Show one service now.

        Raises:
            UnknownService: there is none of this name.
        """
        ...

    async def seconds(self, *, service: str, minutes: int) -> tuple[Second, ...]:
        """Return what was measured of a service in the last minutes, oldest first; empty where nobody measures.

        Raises:
            UnknownService: there is none of this name.
        """
        ...

    async def rollouts(self, service: str | None, *, limit: int, before: str | None = None) -> list[RolloutRowView]:
        """List at most `limit` rollouts, newest first, only those begun before `before`; None = of all services."""
        ...

    async def rollout(self, rollout_id: str, /) -> RolloutView:
        """Show one rollout.

        Raises:
            UserError: there is none of this id; status 404.
        """
        ...

    async def journal(self, after: int, subject: str | None, limit: int) -> list[JournalRecordView]:
        """Read at most `limit` records with a sequence number above `after`, oldest first."""
        ...

    async def verify_journal(self) -> VerifyView:
        """Recompute the whole chain."""
        ...

    async def control_plane(self) -> ControlPlaneView:
        """Show the control plane itself."""
        ...

    async def envoy(self) -> EnvoyView:
        """Show Envoy's process."""
        ...

    async def restart_envoy(self, *, cut: bool, actor: str, reason: str | None) -> EnvoyView:
        """Exchange Envoy for the one that would be started now; return when that serves.

        Raises:
            EarlierEnvoyBusy: streams would be cut, and `cut` is not set.
            HotRestartImpossible: there is no way without an outage, and `cut` is not set.
            EnvironmentFault: the new one would not start, or does not; what runs goes on.
        """
        ...

    async def plan(self, *, service: str, version: str, strategy: str | None) -> PlanView:
        """Show what a deploy would do now; writes nothing.

        Raises:
            UnknownService: there is none of this name.
        """
        ...

    async def changed(self, after_seq: int, timeout_s: float) -> int:
        """Wait until anything has changed since `after_seq`, at most `timeout_s`; return the newest sequence number."""
        ...

    async def down(self) -> None:
        """End all instances and Envoy, then the control plane; return when the first two are gone."""
        ...
