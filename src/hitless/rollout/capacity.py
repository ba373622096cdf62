"""Share follows capacity: no version gets more traffic than its ready instances can carry, whatever a step says.

One instance carries `10,000 / full_strength` basis points. What a version cannot carry goes to the versions on their
way out and to the stable one (the last, oldest of the wanted). A new version's share never rises above its step
because another one is in trouble: then the stable one is overloaded instead, as it would be without a rollout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hitless.rollout.spec import ALL_TRAFFIC_BP, Version


def capacity_bp(instances: int, *, full_strength: int) -> int:
    """Return the share that so many instances carry, in whole basis points."""
    return ALL_TRAFFIC_BP * instances // max(full_strength, 1)


def carried_weights(
    wanted: Mapping[Version, int], *, serving: Mapping[Version, int], full_strength: int
) -> dict[Version, int]:
    """Fit the wanted weights to the instances that are ready and in rotation.

    Args:
        wanted: basis points by version, newest first.
        serving: ready instances in rotation by version.
        full_strength: instances that carry all traffic.

    Returns:
        Basis points that sum to 10,000 over versions that serve; empty when none does or nothing is wanted.
    """
    able = {version: count for version, count in serving.items() if count > 0}
    if not able or not wanted:
        return {}
    limit = {version: capacity_bp(count, full_strength=full_strength) for version, count in able.items()}
    shares = {version: min(wanted.get(version, 0), limit[version]) for version in able}
    stable = list(wanted)[-1]
    leaving = [version for version in able if version not in wanted]
    fallback = [version for version in (stable, *leaving) if version in able]
    _fill(shares, {version: limit[version] - shares[version] for version in fallback})
    below = [version for version in able if shares[version] < wanted.get(version, 0)]
    _overload(shares, {version: able[version] for version in (*fallback, *below)} or able)
    return shares


def _fill(shares: dict[Version, int], room: Mapping[Version, int]) -> None:
    for version, free in room.items():
        shares[version] += min(max(free, 0), _rest(shares.values()))


def _overload(shares: dict[Version, int], carriers: Mapping[Version, int]) -> None:
    rest, total = _rest(shares.values()), sum(carriers.values())
    for version, count in carriers.items():
        shares[version] += rest * count // total
    shares[next(iter(carriers))] += _rest(shares.values())


def _rest(shares: Iterable[int]) -> int:
    return ALL_TRAFFIC_BP - sum(shares)
