"""Rules that span several settings. Each takes what was read and yields what is wrong; paths count from the service."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from hitless.analysis.counts import LEAST_MS, MOST_MS
from hitless.config.spelling import did_you_mean
from hitless.config.values import Loc, Problem, write_amount, write_duration, write_percent, write_quantile
from hitless.rollout.spec import (
    ALL_TRAFFIC_BP,
    Address,
    Amount,
    CanaryStep,
    DatabaseSpec,
    DrainSpec,
    LatencyObjective,
    RollingSpec,
    RunSpec,
    ServiceSpec,
)

PLACEHOLDERS = ("port", "version", "instance")
# `${HOME}` is the shell's, `{"a": 1}` is JSON, `{a,b}` an expansion, `{NAME}` somebody else's: none of them is ours.
_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_]+)\}")
_EVERY_HOST = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to


def canary(steps: Sequence[CanaryStep]) -> Iterator[Problem]:
    """Weights rise strictly and end at all traffic."""
    for position, (before, step) in enumerate(pairwise(steps), start=1):
        if step.weight_bp <= before.weight_bp:
            text, last = write_percent(step.weight_bp), write_percent(before.weight_bp)
            yield Problem(
                message=f"the weights of a canary rise, but {text} comes after {last}",
                hint="put the steps in rising order",
                at=(position, "weight"),
            )
    if steps and steps[-1].weight_bp != ALL_TRAFFIC_BP:
        text = write_percent(steps[-1].weight_bp)
        yield Problem(
            message=f"the last step is {text}, and the rollout would never get further",
            hint="add `{weight: 100%}` as the last step",
            at=(len(steps) - 1, "weight"),
        )


def rolling(spec: RollingSpec, instances: int) -> Iterator[Problem]:
    """Something may move, and something always serves."""
    surge = spec.max_surge.rounded_up(instances)
    unavailable = spec.max_unavailable.rounded_down(instances)
    if surge == 0 and unavailable == 0:
        yield Problem(
            message=f"nothing could ever be replaced: {_of('max_surge', spec.max_surge, instances)} and "
            f"{_of('max_unavailable', spec.max_unavailable, instances)} are both 0 instances",
            hint="set `max_surge: 1`",
            at=("max_surge",),
        )
    if unavailable >= instances:
        yield Problem(
            message=f"{_of('max_unavailable', spec.max_unavailable, instances)} leaves none to serve",
            hint="set `max_unavailable: 0` and `max_surge: 1`"
            if instances == 1
            else f"at most `max_unavailable: {instances - 1}`",
            at=("max_unavailable",),
        )


def _of(name: str, amount: Amount, instances: int) -> str:
    return f"{name} {write_amount(amount)} of {instances}"


def drain(spec: DrainSpec) -> Iterator[Problem]:
    """Streams get at least the time of requests: their deadline ends both."""
    if spec.streams_s < spec.requests_s:
        yield Problem(
            message=f"streams ({write_duration(spec.streams_s)}) would be cut before requests "
            f"({write_duration(spec.requests_s)}) must be done",
            hint=f"set `streams: {write_duration(spec.requests_s)}` or longer",
            at=("streams",),
        )


def latency(objectives: Sequence[LatencyObjective]) -> Iterator[Problem]:
    """A higher quantile gets at least the time of a lower one, and no objective is beyond what is told apart."""
    for lower, higher in pairwise(objectives):
        if higher.at_most_ms < lower.at_most_ms:
            low, high = write_quantile(lower.quantile), write_quantile(higher.quantile)
            yield Problem(
                message=f"{high} cannot be lower than {low}: who keeps {high} keeps it too",
                hint=f"set `{high}` to {_limit(lower.at_most_ms)} or more, or leave `{low}` out",
                at=("latency", high),
            )
    for one in objectives:
        if not LEAST_MS <= one.at_most_ms <= MOST_MS:
            yield Problem(
                message=f"{_limit(one.at_most_ms)} is not told apart from what lies beyond it",
                hint="between `1ms` and `1m`",
                at=("latency", write_quantile(one.quantile)),
            )


def _limit(at_most_ms: float) -> str:
    return write_duration(at_most_ms / 1000) if at_most_ms.is_integer() else f"{at_most_ms:g}ms"


def dependencies(names: Sequence[str]) -> Iterator[Problem]:
    """Each is compared once."""
    for position, name in enumerate(names):
        if name in names[:position]:
            yield Problem(message=f"`{name}` is listed twice", hint="remove one", at=("dependencies", position))


def ratio(*, good: object, bad: object, total: object) -> Iterator[Problem]:
    """Two numbers make a ratio, from one source."""
    given = {name: part for name, part in (("good", good), ("bad", bad), ("total", total)) if part is not None}
    if len(given) != 2:  # noqa: PLR2004 - two make a ratio
        names = ", ".join(f"`{name}`" for name in given) or "none"
        yield Problem(
            message=f"a ratio has exactly two of `good`, `bad` and `total`; here is {names}",
            hint="what is the third follows from the two" if given else "such as `good` and `total`",
            is_about_key=True,
        )
    elif len({isinstance(part, str) for part in given.values()}) > 1:
        yield Problem(
            message="one part is read from the instances and the other from a Prometheus: their times differ",
            hint="make both a metric, or both `{query: ...}`",
            is_about_key=True,
        )


def asked(ratios: Sequence[str], *, is_there: bool) -> Iterator[Problem]:
    """Who is asked has an address."""
    if ratios and not is_there:
        yield Problem(
            message="a query needs a Prometheus to answer it",
            hint="add `prometheus: {url: http://127.0.0.1:9090}` to `metrics`",
            at=("ratios", ratios[0]),
        )


def placeholders(run: RunSpec) -> Iterator[Problem]:
    """Only what hitless fills in stands in braces."""
    for at, text in _texts(run):
        for name in _PLACEHOLDER.findall(text):
            if name not in PLACEHOLDERS and (name.islower() or name.lower() in PLACEHOLDERS):
                yield Problem(message=f"`{{{name}}}` is no placeholder", hint=_placeholder_hint(name), at=at)


def _texts(run: RunSpec) -> Iterator[tuple[Loc, str]]:
    yield from ((("command", position), word) for position, word in enumerate(run.command))
    yield ("directory",), run.directory
    yield from ((("environment", name), value) for name, value in run.environment.items())


def _placeholder_hint(name: str) -> str:
    near = did_you_mean(name, PLACEHOLDERS)
    return f"did you mean `{{{near}}}`?" if near else "known are `{port}`, `{version}` and `{instance}`"


def addresses(services: Mapping[Loc, ServiceSpec]) -> Iterator[Problem]:
    """No two listeners share an address; one on every host takes its port from all others."""
    taken: list[tuple[Address, str]] = []
    for at, name, address in _listeners(services):
        owner = next((owner for other, owner in taken if _collide(address, other)), None)
        if owner:
            hint = f"choose another port, such as {address.port + 1}" if address.port < 65_535 else None  # noqa: PLR2004 - TCP's last
            yield Problem(message=f"{address} is taken by {owner} already", hint=hint, at=at)
        taken.append((address, name))


def _listeners(services: Mapping[Loc, ServiceSpec]) -> Iterator[tuple[Loc, str, Address]]:
    yield from (((*at, "listen"), f"`{spec.name}`", spec.traffic.listen) for at, spec in services.items())
    for at, spec in services.items():
        preview = spec.strategy.blue_green.preview
        if preview:
            yield (*at, "strategy", "blue_green", "preview"), f"the preview of `{spec.name}`", preview


def _collide(one: Address, other: Address) -> bool:
    return one.port == other.port and (one.host == other.host or not _EVERY_HOST.isdisjoint((one.host, other.host)))


def names(services: Iterable[tuple[Loc, str]]) -> Iterator[Problem]:
    """Every service has a name of its own."""
    seen: set[str] = set()
    for at, name in services:
        if name in seen:
            message = f"there are two services named `{name}`"
            yield Problem(message=message, hint="give one of them another name", at=(*at, "service"))
        seen.add(name)


def database(database: DatabaseSpec, run: RunSpec) -> Iterator[Problem]:
    """What is said of roles, pools and an instance's environment goes together."""
    pool, roles = database.connections, database.roles
    if pool is not None and pool.during_migration is not None and roles is None:
        yield Problem(
            message="`during_migration` raises the limit of a version's role, and versions have none of their own",
            hint="say `roles`, or remove the line",
            at=("database", "pool", "during_migration"),
        )
    if pool is not None and pool.during_migration is not None and pool.during_migration < pool.per_instance:
        yield Problem(
            message=f"less than the {pool.per_instance} that an instance opens always",
            hint=f"at least {pool.per_instance}, or remove the line",
            at=("database", "pool", "during_migration"),
        )
    if roles is not None and roles.variable in run.environment:
        yield Problem(
            message=f"instances get {roles.variable} from `database.roles`",
            hint="remove one of the two, or name another `database.roles.variable`",
            at=("run", "environment", roles.variable),
        )
