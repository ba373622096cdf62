"""What is certain without statistics: every single request to the candidate fails, and the baseline's do not.

Rules. No data is neither success nor failure: without enough requests on both sides nothing is said. One good answer
of the candidate, ever, and nothing is said either. A baseline that fails in half of its requests or more, at the same
time where it still serves, speaks for a cause that both share (a database that is away), not for the candidate.

Numbers. Were the candidate no worse than a baseline that fails in less than half of its requests, 30 failures in a row
would be a chance of less than 1 in a billion (0.5 ^ 30).
"""

from __future__ import annotations

from hitless.rollout.spec import Version
from hitless.rollout.world import Observation

LEAST_REQUESTS = 30


def all_requests_fail(observed: Observation, *, candidate: Version, baseline: Version | None) -> str | None:
    """Say so with the figures if it is certain, else None.

    Args:
        observed: with the proxy's counts.
        candidate: the version that comes in.
        baseline: the version to return to; without one, or when both are the same, nothing can be said.
    """
    if baseline in {None, candidate}:
        return None
    assert baseline is not None
    new, old = observed.answers(candidate), observed.answers(baseline)
    if new.total < LEAST_REQUESTS or new.failed < new.total:
        return None
    if old.recent_total < LEAST_REQUESTS or 2 * old.recent_failed >= old.recent_total:
        return None
    return (
        f"all {new.total} requests to {candidate} failed (5xx), "
        f"while {old.recent_failed} of the last {old.recent_total} to {baseline} did"
    )
