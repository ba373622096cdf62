"""Who may hold the lease, and who may still write.

Pure, and free of the store's driver: the in-memory fake keeps the same rules. A lease passes to another owner only
once it has run out or was given back; every new holder gets the next fence; renewing keeps it. An owner's name must be
unique among processes: two controllers of one name would share a fence.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hitless.errors import Fenced, LeaseHeld
from hitless.journal.record import timestamp
from hitless.ports import Lease


def next_lease(
    held: Lease | None, *, fence: int, owner: str, now: datetime, ttl_s: float, above: int | None = None
) -> Lease:
    """Take or renew the lease.

    Args:
        held: the present lease, run out or not; None when it was given back.
        fence: the newest one that was given out, as far as the store knows.
        above: a fence that was seen elsewhere: the store may have been lost or replaced by an older one.
        owner: who asks.
        now: the moment.
        ttl_s: seconds that the lease lasts.

    Raises:
        LeaseHeld: another owner's has not run out.
    """
    if held and held.owner != owner and held.until > now:
        raise _held(held)
    is_renewal = held is not None and held.owner == owner and (above is None or above <= fence)
    newest = fence if is_renewal else max(fence, above or 0) + 1
    return Lease(owner=owner, fence=newest, until=now + timedelta(seconds=ttl_s))


def check_fence(lease: Lease, *, newest: int, holder: str | None) -> None:
    """Refuse to write under a fence that is not the newest.

    Raises:
        Fenced: it is not.
    """
    if lease.fence == newest:
        return
    how = "another controller has taken over" if newest > lease.fence else "the store was replaced by an older one"
    raise Fenced(
        f"{how}; {lease.owner} writes nothing more",
        evidence=(f"newest fence: {newest}, held by {holder or 'nobody'}", f"fence of {lease.owner}: {lease.fence}"),
        hints=("see which controller is at work: hitless status",),
    )


def _held(lease: Lease) -> LeaseHeld:
    until = timestamp(lease.until)
    return LeaseHeld(
        f"another control plane works on this state directory: {lease.owner}, until {until}",
        owner=lease.owner,
        fence=lease.fence,
        evidence=(f"owner: {lease.owner}", f"until: {until}, unless it renews", f"fence: {lease.fence}"),
        hints=(
            "use the one that runs: hitless status",
            "or end it (Ctrl-C or SIGTERM; users notice nothing) and start again: hitless up",
            f"if it is dead already, its lease runs out at {until}: start again then",
        ),
    )
