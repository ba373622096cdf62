"""What this adapter refuses or reports: rules that Envoy itself does not keep, faults of Envoy and its surroundings.

Envoy accepts a cluster without endpoints, a route to one, and the removal of a cluster that a route still names, and
answers
503 from then on. So the rules are held here, before a byte is written, against every table that may be in force.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from hitless.errors import EnvironmentFault, Refused, UserError
from hitless.rollout.spec import ALL_TRAFFIC_BP, Address, Region, Version
from hitless.rollout.world import Table


class AddressUnusable(UserError):
    """An address to listen on is taken, is no IP address, or may not be used."""

    code = "HL2101"

    def __init__(self, address: Address, reason: str, *, evidence: tuple[str, ...] = ()) -> None:
        super().__init__(
            f"cannot listen on {address}: {reason}",
            evidence=evidence,
            hints=(f"see who uses it: ss -ltnp 'sport = :{address.port}'", "choose another address in hitless.yaml"),
        )
        self.address = address


class CertificateUnusable(UserError):
    """Certificate and key cannot be read, or do not belong together."""

    code = "HL2102"

    def __init__(self, cert: str, key: str, reason: str) -> None:
        super().__init__(
            f"certificate {cert} with key {key} cannot be used: {reason}",
            hints=(f"look at it: openssl x509 -noout -subject -enddate -in {cert}",),
        )
        self.reason = reason


class UnknownRegion(UserError):
    """This router does not route the region."""

    code = "HL2103"

    def __init__(self, region: Region, known: Region) -> None:
        super().__init__(f"region {region} is not routed here, only {known}")


class WeightWithoutEndpoint(Refused):
    """A version would get traffic and has no endpoint that takes any."""

    code = "HL4101"

    def __init__(self, version: Version, weight_bp: int) -> None:
        super().__init__(
            f"version {version} would get {weight_bp} bp of the traffic and has no active endpoint",
            evidence=(f"weight of {version}: {weight_bp} bp", "active endpoints: 0"),
        )
        self.version = version


class WeightsOffTotal(Refused):
    """Weights must sum to all traffic."""

    code = "HL4102"

    def __init__(self, weights: dict[Version, int]) -> None:
        super().__init__(
            f"weights must be positive or zero and sum to {ALL_TRAFFIC_BP} bp, not {sum(weights.values())}",
            evidence=tuple(f"{version}: {weight} bp" for version, weight in weights.items()),
        )


class VersionInUse(Refused):
    """A version may leave the table only when nothing in force routes to it."""

    code = "HL4103"

    def __init__(self, version: Version, use: str) -> None:
        super().__init__(
            f"version {version} cannot be taken out: {use}",
            evidence=(use,),
            hints=("first take its weight to zero and wait for the acknowledgement",),
        )
        self.version = version


class VersionWithoutEndpoints(Refused):
    """A version without endpoints has no place in a table."""

    code = "HL4104"

    def __init__(self, version: Version) -> None:
        super().__init__(f"version {version} is listed without a single endpoint", hints=("leave the version out",))
        self.version = version


class AddressShared(Refused):
    """Two endpoints have one address: requests and their count would go astray."""

    code = "HL4105"

    def __init__(self, address: Address, count: int) -> None:
        super().__init__(f"{count} endpoints have the address {address}", evidence=(f"{address}: {count} endpoints",))
        self.address = address


class WatchBudgetSpent(Refused):
    """Envoy would abort: every version in rotation costs an inotify instance, and the kernel has too few left."""

    code = "HL4106"

    def __init__(self, *, needed: int, in_use: int, limit: int, reserve: int) -> None:
        wanted = max(2 * limit, in_use + needed + reserve, 1024)
        super().__init__(
            f"not enough inotify instances left for {needed} more: Envoy would abort",
            evidence=(
                f"in use by this user: {in_use}",
                f"limit (fs.inotify.max_user_instances): {limit}, of which {reserve} are kept back",
            ),
            hints=(
                f"sudo sysctl fs.inotify.max_user_instances={wanted}",
                f"echo fs.inotify.max_user_instances={wanted} | sudo tee /etc/sysctl.d/60-hitless.conf",
            ),
        )


class NotDefined(Refused):
    """Traffic can be split only for a service that has an address."""

    code = "HL4107"

    def __init__(self, service: str) -> None:
        super().__init__(f"service {service} has no address here", hints=("define it first",))


class EnvoyDidNotStart(EnvironmentFault):
    """Envoy ended at once, or was not ready in time."""

    code = "HL6101"

    def __init__(self, reason: str, log: Path, *, evidence: tuple[str, ...] = ()) -> None:
        super().__init__(
            f"Envoy did not start: {reason}",
            evidence=evidence,
            hints=(f"read its log: tail -n 50 {log}", "look at the machine: hitless doctor"),
        )


class EnvoySilent(EnvironmentFault):
    """Envoy's admin socket does not answer."""

    code = "HL6102"

    def __init__(self, socket: Path, reason: str) -> None:
        super().__init__(
            f"Envoy's admin socket does not answer: {reason or 'no reason given'}",
            evidence=(f"socket: {socket}",),
        )


class EnvoyRejected(EnvironmentFault):
    """Envoy did not take a configuration; what it had stays in force."""

    code = "HL6103"
    temporary: ClassVar[bool] = False

    def __init__(self, subject: str, reason: str) -> None:
        super().__init__(f"Envoy did not take the configuration of {subject}: {reason}", evidence=(reason,))


class SocketLinkTaken(EnvironmentFault):
    """The short way to the admin socket, under the system's temporary directory, belongs to someone else."""

    code = "HL6104"
    temporary: ClassVar[bool] = False

    def __init__(self, link: Path) -> None:
        super().__init__(
            f"{link} exists and is not this project's link",
            hints=(f"look at it: ls -ld {link}", "or move the project to a shorter path"),
        )


def check_table(table: Table, *, in_force: Iterable[Table]) -> None:
    """Refuse a table that would fail requests.

    Args:
        table: what is to be in force.
        in_force: every table that may be in force now, confirmed or not.

    Raises:
        Refused: names the rule that does not hold and what was seen.
    """
    _check_weights(table)
    _check_endpoints(table)
    for current in in_force:
        _check_removals(table, current)


def _check_weights(table: Table) -> None:
    weights = dict(table.weights)
    if weights and (sum(weights.values()) != ALL_TRAFFIC_BP or min(weights.values()) < 0):
        raise WeightsOffTotal(weights)
    for version, weight_bp in weights.items():
        if weight_bp > 0 and not any(table.active(version)):
            raise WeightWithoutEndpoint(version, weight_bp)


def _check_endpoints(table: Table) -> None:
    for version, endpoints in table.endpoints.items():
        if not endpoints:
            raise VersionWithoutEndpoints(version)
    addresses = Counter(end.address for endpoints in table.endpoints.values() for end in endpoints.values())
    for address, count in addresses.items():
        if count > 1:
            raise AddressShared(address, count)


def _check_removals(table: Table, current: Table) -> None:
    for version in current.endpoints.keys() - table.endpoints.keys():
        if current.weight_bp(version) > 0:
            raise VersionInUse(version, f"{current.weight_bp(version)} bp of the traffic may still go to it")
        if current.preview == version:
            raise VersionInUse(version, "the preview address may still show it")
