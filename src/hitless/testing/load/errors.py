"""Why a load is not even started."""

from __future__ import annotations

from hitless.errors import Refused, UserError


class BadLoadPlan(UserError):
    """The load plan cannot be carried out."""

    code = "HL2401"


class RemoteTarget(Refused):
    """The load's target is not on this machine."""

    code = "HL4401"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"{host} is not a loopback address",
            evidence=(f"target host: {host}",),
            hints=("aim at 127.0.0.1 or ::1", "allow it on purpose: --allow-remote, LoadPlan(allow_remote=True)"),
        )
