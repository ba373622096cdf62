"""The order of a drain, decided from what is seen: no clock, no process, no signal.

    serving -> leaving -> closing -> ending      nothing was cut
                             |-> cutting -> ending      the deadline passed

Each phase does one thing more than the one before: readiness says no; kept connections are told to close; event streams
and WebSockets are told to come again; the server gets SIGTERM. The listener stays open until the last step: a stray
request that comes late is served, because a refused connection is a failed request.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Phase(IntEnum):
    """How far a drain is."""

    SERVING = 0
    LEAVING = 1  # readiness says no, everything else is as ever
    CLOSING = 2  # load balancers have gone: answers close their connection
    CUTTING = 3  # the deadline has passed: event streams and WebSockets are told to come again
    ENDING = 4  # the server has been told to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long each step of a drain may take.

    Attributes:
        probes: refused readiness probes after which load balancers have seen it. HAProxy and Kubernetes take an
            instance out at the third by default, Envoy and Traefik at the first.
        quiet_s: without a new request for so long, nobody sends any more: probes may come from several load balancers.
        leave_within_s: when this is over the drain goes on without `probes` and `quiet_s`: nobody probes, or somebody
            sends whatever readiness says. Three of HAProxy's probes at its default of one every 2 s, and a reserve.
        deadline_s: from SIGTERM on; what is open then is cut.
        cut_within_s: how long close frames and last events may take.
        end_within_s: how long the server may take to end after its SIGTERM: the application's own shutdown is in it,
            and hypercorn's 3 s for idle connections.
    """

    probes: int = 3
    quiet_s: float = 1.0
    leave_within_s: float = 10.0
    deadline_s: float = 30.0
    cut_within_s: float = 1.0
    end_within_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the launcher sees of a drain.

    Attributes:
        elapsed_s: since SIGTERM.
        in_phase_s: since the present phase began.
        quiet_s: since the last new request.
        refused_probes: readiness probes that were told no, since SIGTERM.
        in_flight: requests, event streams and WebSockets that are open.
    """

    elapsed_s: float
    in_phase_s: float
    quiet_s: float
    refused_probes: int
    in_flight: int


def next_phase(phase: Phase, seen: Seen, limits: Limits) -> Phase:
    """Return the phase that a drain is in now."""
    if phase in {Phase.LEAVING, Phase.CLOSING} and seen.elapsed_s >= limits.deadline_s:
        return Phase.CUTTING
    if phase is Phase.LEAVING and _has_left(seen, limits):
        return Phase.CLOSING
    if phase is Phase.CLOSING and seen.in_flight == 0 and _are_told(seen, limits):
        return Phase.ENDING
    if phase is Phase.CUTTING and (seen.in_flight == 0 or seen.in_phase_s >= limits.cut_within_s):
        return Phase.ENDING
    return phase


def _has_left(seen: Seen, limits: Limits) -> bool:
    is_seen = seen.refused_probes >= limits.probes and seen.quiet_s >= limits.quiet_s
    return is_seen or seen.elapsed_s >= limits.leave_within_s


def _are_told(seen: Seen, limits: Limits) -> bool:
    """Whether busy kept connections, if there are any, had time for one more answer, which closed them."""
    return max(seen.quiet_s, seen.in_phase_s) >= limits.quiet_s
