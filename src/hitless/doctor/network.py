"""Judges of ports, addresses and certificates."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import timedelta

from hitless.doctor.finding import Finding, Findings, failed, ok, sysctl, unknown, warning
from hitless.doctor.measures import (
    Certificate,
    EphemeralPorts,
    ListenAddress,
    ListenPort,
    PrivilegedPorts,
)

RENEWAL_OVERDUE = timedelta(days=14)
RENEWAL_SHARE = 4

_RESERVED = "net.ipv4.ip_local_reserved_ports"
_FIRST_FREE = "net.ipv4.ip_unprivileged_port_start"
_RANGE = "net.ipv4.ip_local_port_range"


def addresses(found: tuple[ListenAddress, ...]) -> Findings:
    """Every address is free, or this project's Envoy listens there."""
    bad = tuple(_taken(one) for one in found if one.refusal is not None and not one.is_ours)
    if bad:
        return bad
    ours = sum(one.is_ours for one in found)
    return (ok(f"{len(found) - ours} free, {ours} held by this project's Envoy"),)


def _taken(one: ListenAddress) -> Finding:
    see = f"ss -ltnp 'sport = :{one.port}'"
    if not one.may_try:
        text = f"{one.address} ({one.use}): this user may not listen there, so whether it is free is not known"
        return unknown(text, "hitless doctor --only privileged-ports", f"sudo {see}")
    if one.holders:
        return failed(f"{one.address} ({one.use}): {one.refusal}; {', '.join(one.holders)}", see)
    return failed(f"{one.address} ({one.use}): {one.refusal}; by whom this user cannot see", f"sudo {see}")


def ephemeral_ports(found: EphemeralPorts) -> Findings:
    """No outgoing connection may take a port before its owner does."""
    text = f"outgoing connections use {found.low}-{found.high}"
    findings: list[Finding] = []
    inside = [one for one in found.listening if found.low <= one.port <= found.high and one.port not in found.reserved]
    if inside:
        ports = ",".join(str(port) for port in sorted({one.port for one in inside}))
        wanted = f"{found.reserved_text},{ports}" if found.reserved_text else ports
        findings.append(warning(f"{text}, and so may take {_named(inside)}", *sysctl(_RESERVED, wanted)))
    first, last = found.instance_ports
    if found.are_instances_inside:
        findings.append(
            warning(
                f"{text}, and so may take ports of instances, {first}-{last}",
                f'sudo sysctl -w {_RANGE}="32768 60999"',
                f"echo '{_RANGE}=32768 60999' | sudo tee /etc/sysctl.d/60-hitless-ports.conf",
            )
        )
    return tuple(findings) or (ok(f"{text}; services and instances ({first}-{last}) listen outside"),)


def privileged_ports(found: PrivilegedPorts) -> Findings:
    """Low ports need a right."""
    if found.first_free is None:
        return (warning(f"{_FIRST_FREE} cannot be read: ports below 1024 may need root", f"sysctl {_FIRST_FREE}"),)
    low = [one for one in found.listening if one.port < found.first_free]
    if not low:
        return (ok(f"no port below {found.first_free} is listened on"),)
    if found.may_bind:
        return (ok(f"{_named(low)}: this user may bind ports below {found.first_free}"),)
    text = f"{_named(low)}: this user may not bind ports below {found.first_free}"
    return (failed(text, *sysctl(_FIRST_FREE, min(one.port for one in low))),)


def _named(listening: Iterable[ListenPort]) -> str:
    return ", ".join(f"{one.port} ({one.use})" for one in listening)


def certificates(found: tuple[Certificate, ...]) -> Findings:
    """Envoy can load them, today and in two weeks."""
    return tuple(_certificate(one) for one in found) or (ok("no service speaks TLS"),)


def _certificate(one: Certificate) -> Finding:
    cert = shlex.quote(one.cert)
    look = f"openssl x509 -noout -subject -dates -in {cert}"
    if one.problem is not None:
        return failed(f"{one.service}: {one.problem}", look, f"ls -l {cert} {shlex.quote(one.key)}")
    if one.left is None or one.valid_until is None:
        return failed(f"{one.service}: {one.cert} says no end of its validity", look)
    if one.left < timedelta(0):
        return failed(f"{one.service}: {one.cert} ended on {one.valid_until:%Y-%m-%d}", look)
    until = f"{one.valid_until:%Y-%m-%d}, in {one.left.days} days"
    if one.left < _overdue(one):
        return warning(f"{one.service}: {one.cert} ends on {until}: its renewal is overdue", look)
    return ok(f"{one.service}: key and certificate fit, until {until}")


def _overdue(one: Certificate) -> timedelta:
    if one.valid_from is None or one.valid_until is None:
        return RENEWAL_OVERDUE
    return min(RENEWAL_OVERDUE, (one.valid_until - one.valid_from) / RENEWAL_SHARE)
