"""What a new controller does with what it finds: whose settings are in force, and what to say of what nobody knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from hitless.errors import AddressInUse
from hitless.ports import Standing
from hitless.rollout.spec import ServiceSpec, Version
from hitless.rollout.state import ServiceState


def at_address_of(spec: ServiceSpec, other: ServiceSpec) -> ServiceSpec:
    """Return `spec` with the address and the certificate of `other`."""
    return replace(spec, traffic=replace(spec.traffic, listen=other.traffic.listen, tls=other.traffic.tls))


def open_elsewhere(spec: ServiceSpec, standing: Standing | None) -> ServiceSpec:
    """Return `spec` with the address where it is open now."""
    if standing is None or standing.listen is None:
        return spec
    return replace(spec, traffic=replace(spec.traffic, listen=standing.listen))


def found_problem(state: ServiceState) -> str:
    """Say what stands of a service that the store does not know, and how to go on."""
    counts = Counter(one.version for one in state.instances.values())
    if not counts:
        return (
            f"{state.service} ran, nothing runs of it any more, and the store does not know what was wanted of it: "
            f"hitless deploy {state.service} --version VERSION"
        )
    there = ", ".join(f"{version} x {count}" for version, count in counts.items())
    commands = " or ".join(f"hitless deploy {state.service} --version {version}" for version in counts)
    return (
        f"{state.service} runs ({there}) and the store does not know what was wanted of it: it serves on untouched, "
        f"but nobody replaces an instance that fails until a version is adopted: {commands}"
    )


def unexplained(
    standing: Mapping[str, Standing], *, before: Mapping[str, ServiceState], now: Mapping[str, ServiceState]
) -> Iterator[str]:
    """Say what the data plane holds that the store does not explain.

    Args:
        standing: what the data plane holds, by service.
        before: what the store remembered.
        now: the services that are looked after, as they were taken up.
    """
    for name, one in standing.items():
        if name not in now:
            if one.weights:
                yield _stranger_problem(name, one)
        elif name in before and one.revision > before[name].revision and not now[name].is_found:
            yield _older_store_problem(before[name], one)


def _older_store_problem(state: ServiceState, standing: Standing) -> str:
    """Say that the data plane knows more than the store, where nothing runs any more that could be kept."""
    return (
        f"Envoy was told of routing decision {standing.revision} of {state.service} ({_shares(standing.weights)}), the "
        f"store knows {state.revision}: an older store stands in its place. Nothing ran any more, so "
        f"{state.stable or 'nothing'} was started from it; to have another version: "
        f"hitless deploy {state.service} --version VERSION"
    )


def _stranger_problem(service: str, standing: Standing) -> str:
    """Say what is served that neither the store nor the project knows."""
    where = f" on {standing.listen}" if standing.listen else ""
    return (
        f"Envoy serves {service}{where} ({_shares(standing.weights)}), and neither the store nor hitless.yaml knows "
        f"it: write it into hitless.yaml again, then: hitless up, hitless deploy {service} --version VERSION"
    )


def standing_line(service: str, standing: Standing) -> str:
    """Say what is served, as evidence."""
    return f"{service} on {standing.listen or 'no address'}: {_shares(standing.weights)}"


def _shares(weights: Mapping[Version, int]) -> str:
    return ", ".join(f"{version} {share / 100:g} %" for version, share in weights.items()) or "no version"


def refuse_to_move(service: str, *, now: ServiceSpec, asked: ServiceSpec) -> None:
    """Refuse to move a service: whoever knows the old address would be cut off, and no rollback brings it back.

    Raises:
        AddressInUse: it is open elsewhere.
    """
    if (now.traffic.listen, now.traffic.tls) == (asked.traffic.listen, asked.traffic.tls):
        return
    raise AddressInUse(
        f"{service} is open on {now.traffic.listen}; a rollout cannot move it to another address or certificate",
        evidence=(f"hitless.yaml says {asked.traffic.listen}",),
        hints=(
            "to move it, open the new address as a service of another name, send users there, then remove this one",
            "or, with an outage: hitless down, then hitless up",
        ),
    )
