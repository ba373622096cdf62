"""What clients send, checked strictly: an unknown field is an error, not a typo that is ignored."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from hitless.rollout.spec import StrategyName

LONGEST_WAIT_S = 30.0
MOST_RECORDS = 1_000
MOST_MINUTES = 45

Wait = Annotated[
    float, Query(ge=0, le=LONGEST_WAIT_S, description="Long poll: seconds to wait for a change since `after`.")
]
After = Annotated[int | None, Query(ge=0, description="Sequence number that the client has seen.")]
Limit = Annotated[int, Query(ge=1, le=MOST_RECORDS, description="Most records in one answer.")]
Page = Annotated[int, Query(ge=1, le=MOST_RECORDS, description="Most rollouts in one answer.")]
Before = Annotated[str | None, Query(description="Only rollouts begun before this one: the last of the page before.")]
Minutes = Annotated[int, Query(ge=1, le=MOST_MINUTES, description="How far back; no more is kept.")]
Last = Annotated[int | None, Query(ge=0, le=MOST_RECORDS, description="Only the newest so many; excludes `after`.")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    actor: Annotated[
        str, Field(min_length=1, max_length=200, description="Who asks, e.g. `user:ana`; goes into the journal.")
    ]
    reason: Annotated[str | None, Field(max_length=2_000, description="Why; goes into the journal.")] = None


class DeployRequest(_Request):
    """Bring a version in."""

    version: Annotated[str, Field(min_length=1, max_length=200, description="The version to bring in.")]
    strategy: Annotated[StrategyName | None, Field(description="Instead of the service's own.")] = None
    supersede: Annotated[
        bool, Field(description="End a rollout that is going on, and start from the world as it is.")
    ] = False
    skip_preflight: Annotated[bool, Field(description="Do not examine it before, whatever the settings say.")] = False


class PreflightRequest(_Request):
    """Examine a version out of rotation."""

    version: Annotated[str, Field(min_length=1, max_length=200, description="The version to examine.")]


class RestartRequest(_Request):
    """Exchange Envoy while it serves."""

    cut: Annotated[bool, Field(description="Streams may be cut where there is no other way.")] = False


class ActRequest(_Request):
    """Act on the service's rollout."""

    stage: Annotated[
        int | None, Field(ge=0, description="For `promote`: refused unless the rollout is in this stage, from zero.")
    ] = None
