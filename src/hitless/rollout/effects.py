"""What `converge` asks the outside to do. Every effect may be issued again at any time without harm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hitless.rollout.spec import InstanceId, Region, Version
from hitless.rollout.world import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Start one more instance."""

    kind: Literal["start"] = "start"
    instance: InstanceId
    version: Version
    region: Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Make `table` the routing of `region`."""

    kind: Literal["route"] = "route"
    region: Region
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End an instance that is acknowledged out of rotation, and forget it once it is gone.

    Attributes:
        why: for the journal.
        streams_cut: open requests that the drain deadline ended; None = not known.
    """

    kind: Literal["stop"] = "stop"
    instance: InstanceId
    why: str
    streams_cut: int | None = 0


Effect = Start | Route | Stop
