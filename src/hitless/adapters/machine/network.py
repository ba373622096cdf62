"""Ports and what the kernel does with them, measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hitless.adapters.machine.limits import may_bind_low_ports
from hitless.doctor.measures import EphemeralPorts, ListenPort, PrivilegedPorts

_NET = Path("/proc/sys/net/ipv4")


def ephemeral_ports(listening: Iterable[ListenPort], *, ephemeral: range, instances: tuple[int, ...]) -> EphemeralPorts:
    """Compare the kernel's range with our ports."""
    text = (_NET / "ip_local_reserved_ports").read_text().strip()
    return EphemeralPorts(
        low=ephemeral.start,
        high=ephemeral.stop - 1,
        reserved=reserved(text),
        reserved_text=text,
        listening=tuple(listening),
        instance_ports=(min(instances), max(instances)),
        are_instances_inside=any(port in ephemeral for port in instances),
    )


def privileged_ports(listening: Iterable[ListenPort]) -> PrivilegedPorts:
    """Look at where free ports begin, and at our right to the others."""
    setting = _NET / "ip_unprivileged_port_start"
    return PrivilegedPorts(
        first_free=int(setting.read_text()) if setting.exists() else None,
        may_bind=may_bind_low_ports(),
        listening=tuple(listening),
    )


def reserved(text: str) -> frozenset[int]:
    """Read a list of ports and ranges, such as `8080,9148-9150`."""
    ranges = (part.partition("-") for part in text.split(",") if part)
    return frozenset(port for low, _, high in ranges for port in range(int(low), int(high or low) + 1))
