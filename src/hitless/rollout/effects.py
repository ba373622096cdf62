"""What `converge` asks the outside to do. Every effect may be issued again at any time without harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """Make `table` the routing of `region`.

    Attributes:
        cut: requests and streams that end because the drain deadline of an endpoint has passed; None = count not known.
    """

    kind: Literal["route"] = "route"
    region: Region
    table: Table
    cut: Mapping[InstanceId, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End an instance that is acknowledged out of rotation, and forget it once it is gone; `why` is for the journal."""

    kind: Literal["stop"] = "stop"
    instance: InstanceId
    why: str


Effect = Start | Route | Stop
