"""What a judge says: to turn back, to go on, or that it cannot tell yet and why. Values only, and no library.

`Ruling` is what a rollout acts on and what is journaled; it is equal to another one unless something changed that
decides. `Judgement` is a ruling with its evidence as it stands this very second, for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Call(StrEnum):
    """What to do about the new version."""

    ROLLBACK = "rollback"
    PROMOTE = "promote"
    HOLD = "hold"


class Why(StrEnum):
    """What a ruling rests on; the reason of a HOLD is what is missing."""

    WORSE = "worse"  # ROLLBACK: a row of the judge reached its bound
    OBJECTIVE = "objective"  # ROLLBACK: below the service's own objective for too long, and the old version is not
    NOT_WORSE = "not_worse"  # PROMOTE: shown for the share that comes next
    TOO_FEW = "too_few"  # HOLD: not enough requests yet
    WARMING_UP = "warming_up"  # HOLD: the declared warm-up is not over
    NO_DATA = "no_data"  # HOLD: the source is silent, or too much of it is missing
    SPLIT = "split"  # HOLD: the versions do not get the traffic that the weights say
    ENVIRONMENT = "environment"  # HOLD: both versions are below the objective
    RESOURCES = "resources"  # HOLD: memory or processor time grows
    PLACEBO = "placebo"  # HOLD: the old version compared with itself raises alarms; the bound may not hold here


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What a rollout acts on.

    Attributes:
        row: the row of the judge that decided, by name (`errors`, `latency`, ...); None where none did.
        sentence: for people, with the figures that decided; of a HOLD without figures, which change every second.
        next_share_bp: PROMOTE: the largest share of the traffic that this is shown for, basis points.
        settings: hash of the judge's frozen settings.
    """

    call: Call
    why: Why
    row: str | None = None
    sentence: str
    next_share_bp: int = 0
    settings: str = ""

    def promotes_to(self, share_bp: int) -> bool:
        """Tell whether it is shown that the new version may get this share."""
        return self.call is Call.PROMOTE and share_bp <= self.next_share_bp


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How much worse the new version is, with a confidence sequence that holds at every moment.

    Attributes:
        unit: `odds` (ratio of odds) or another word for what is compared.
        low, high: None = unbounded on that side as yet.
    """

    value: float | None
    low: float | None
    high: float | None
    unit: str = "odds"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReport:
    """One row of the judge as it stands.

    Attributes:
        name: stable, for machines.
        title: for people.
        acts: what it may lead to.
        log_evidence: natural logarithm of its e-value; None = nothing to compare yet.
        log_needed: where it decides, ln(1 / (weight x alpha)); None for rows outside the sum.
        weight: of the false rollbacks that are allowed; 0 outside the sum.
        canary, baseline: what was counted, `(bad, all)`.
        coverage: share of the canary's requests that had something to be compared with.
        since: second in which it first reached its bound; None = not.
        detail: what it saw, one sentence.
        untold: figures that were to be told and were not, by whom; empty = none.
    """

    name: str
    title: str
    acts: Call
    log_evidence: float | None = None
    log_needed: float | None = None
    weight: float = 0.0
    canary: tuple[int, int] | None = None
    baseline: tuple[int, int] | None = None
    coverage: float | None = None
    estimate: Estimate | None = None
    since: int | None = None
    detail: str = ""
    untold: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A ruling with its evidence.

    Attributes:
        at: the last second that it rests on.
        detail: the ruling's sentence with the figures of this moment.
        missing: what a HOLD waits for: requests of the canary, and seconds at the present rate; None = not known.
        promise: the sentence that is true about the error rate of this rollout's judge.
    """

    at: int
    ruling: Ruling
    detail: str
    rows: tuple[RowReport, ...] = ()
    missing_requests: int | None = None
    missing_s: float | None = None
    promise: str = ""
