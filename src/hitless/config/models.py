"""The shape of `hitless.yaml`: every key, what it means, its default and its limits.

The reader, the JSON Schema, the commented file of `hitless init` and the reference page all come from here. Defaults
are those of `hitless.rollout.spec`, written as a user would. After a change: `python -m hitless.config >
docs/reference/settings.md`.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import model_validator

from hitless.config import rules
from hitless.config.databases import Database
from hitless.config.fields import (
    AddressField,
    Command,
    CookieName,
    Duration,
    FilePath,
    Given,
    HeaderName,
    PositiveDuration,
    Secret,
    ServiceName,
    SessionsField,
    ShortForm,
    Text,
    UrlPath,
    VariableName,
    read_on_or_off,
)
from hitless.config.objectives import PATH_ALONE, Analysis, Metrics, Slo
from hitless.config.section import Section, raise_if_any, section, setting
from hitless.config.strategies import BARE_NAME, Strategy
from hitless.config.values import MOST_INSTANCES, Problem, write_duration
from hitless.rollout import spec

_LISTEN = spec.Address(host="127.0.0.1", port=8080)
_TRAFFIC = spec.TrafficSpec(listen=_LISTEN)
_RUN = spec.RunSpec(command=())
_HEALTH = spec.HealthSpec()
_DRAIN = spec.DrainSpec()
_PREFLIGHT = spec.PreflightSpec()
_SERVICE = spec.ServiceSpec(name="checkout", instances=2, run=_RUN, traffic=_TRAFFIC)


class Run(Section):
    """How one instance is started."""

    command: Command = setting(
        "What starts an instance: a list of words, or one line as in a shell (no shell runs it). `{port}`, "
        "`{version}` and `{instance}` are filled in; PORT, HITLESS_VERSION and HITLESS_INSTANCE are in its "
        "environment too. It must listen on its port of 127.0.0.1 and end on SIGTERM.",
        example=["python", "-m", "shop.checkout", "--port", "{port}"],
    )
    directory: Text = setting(
        "Where the command runs, relative to this file. With `{version}` in it, as in `releases/{version}`, every "
        "version has its own files.",
        default=_RUN.directory,
    )
    environment: dict[VariableName, Text] = setting(
        "Variables added to the command's environment; the same placeholders are filled in.",
        default={},
        example={"LOG_LEVEL": "info"},
    )

    @model_validator(mode="after")
    def _knows_its_placeholders(self) -> Self:
        raise_if_any(rules.placeholders(self.to_spec()))
        return self

    def to_spec(self) -> spec.RunSpec:
        """Return the value that the rest of hitless works with."""
        return spec.RunSpec(command=self.command, directory=self.directory, environment=dict(self.environment))


class Health(Section):
    """How hitless knows that an instance lives, and that it can serve."""

    live: Annotated[UrlPath | None, Given()] = setting(
        "Path that answers 200 as long as the instance lives; one that stops answering is replaced. Not set: only the "
        "end of its process counts.",
        default=None,
        example="/health/live",
    )
    ready: UrlPath = setting(
        "Path that answers 200 when the instance can serve users: initialised, warm, connected. Only then it gets "
        "requests.",
        default=_HEALTH.ready,
    )
    interval: PositiveDuration = setting(
        "Time between two probes. While Envoy's own pass, hitless asks readiness every 20 s only.",
        default=write_duration(_HEALTH.interval_s),
    )
    timeout: PositiveDuration = setting(
        "A probe without an answer for so long has failed.", default=write_duration(_HEALTH.timeout_s)
    )
    healthy_after: int = setting(
        "Successful probes in a row that make an instance ready.", default=_HEALTH.healthy_after, ge=1, le=1000
    )
    unhealthy_after: int = setting(
        "Failed probes in a row that take an instance out of rotation.", default=_HEALTH.unhealthy_after, ge=1, le=1000
    )
    start_deadline: PositiveDuration = setting(
        "An instance that is not ready for so long after its start has failed.",
        default=write_duration(_HEALTH.start_deadline_s),
    )
    max_failures: int = setting(
        "Failures of the new version's instances that end its rollout and bring the old version back.",
        default=_HEALTH.max_failures,
        ge=1,
        le=1000,
    )

    def to_spec(self) -> spec.HealthSpec:
        """Return the value that the rest of hitless works with."""
        return spec.HealthSpec(
            live=self.live,
            ready=self.ready,
            interval_s=self.interval,
            timeout_s=self.timeout,
            healthy_after=self.healthy_after,
            unhealthy_after=self.unhealthy_after,
            start_deadline_s=self.start_deadline,
            max_failures=self.max_failures,
        )


class Drain(Section):
    """How long a retiring instance may finish what it has begun. It gets nothing new meanwhile."""

    requests: Duration = setting("For ordinary requests.", default=write_duration(_DRAIN.requests_s))
    streams: Duration = setting(
        "For whatever is open longer: WebSockets, event streams, downloads. Old and new instances run side by side "
        "until the last one ends or this time has passed; at least as long as `requests`.",
        default=write_duration(_DRAIN.streams_s),
    )

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        raise_if_any(rules.drain(self.to_spec()))
        return self

    def to_spec(self) -> spec.DrainSpec:
        """Return the value that the rest of hitless works with."""
        return spec.DrainSpec(requests_s=self.requests, streams_s=self.streams)


class Tls(Section):
    """Certificate and key of the address that users reach; PEM files, relative to this file."""

    cert: FilePath = setting("Certificate, followed by its chain.", example="tls/cert.pem")
    key: FilePath = setting("Private key.", example="tls/key.pem")

    def to_spec(self) -> spec.TlsSpec:
        """Return the value that the rest of hitless works with."""
        return spec.TlsSpec(cert=self.cert, key=self.key)


class Sticky(Section):
    """Keeps a user on the version it has met."""

    cookie: CookieName = setting("Name of the cookie that hitless sets for it.", example="hitless")


class Override(Section):
    """Lets testers choose a version, whatever the weights are."""

    header: HeaderName = setting("Request header that names the version.", example="x-version")
    token: Secret = setting(
        "Secret that must come with it, in the header of the same name followed by `-token`.",
        example="change-me-0c1a7e",
    )

    def to_spec(self) -> spec.OverrideSpec:
        """Return the value that the rest of hitless works with."""
        return spec.OverrideSpec(header=self.header, token=self.token)


class Traffic(Section):
    """How requests come to the instances."""

    sticky: Annotated[Sticky | None, Given()] = setting(
        "A user keeps its version while the canary widens, by a cookie. Not set: every request is drawn anew.",
        default=None,
    )
    override: Annotated[Override | None, Given()] = setting(
        "Testers choose a version by a header. Not set: nobody can.", default=None
    )
    keep_alive: PositiveDuration = setting(
        "How long the application itself keeps an idle connection open; hitless closes its own a second earlier (at "
        "half of it, below 2s), so that no request meets a closing connection.",
        default=write_duration(_TRAFFIC.keep_alive_s),
    )
    idle_timeout: PositiveDuration = setting(
        "A stream without a byte for so long is closed.", default=write_duration(_TRAFFIC.idle_timeout_s)
    )
    http2: bool = setting("Instances speak HTTP/2 without TLS (h2c).", default=_TRAFFIC.http2)

    def to_spec(self, *, listen: spec.Address, tls: spec.TlsSpec | None) -> spec.TrafficSpec:
        """Return the value that the rest of hitless works with."""
        return spec.TrafficSpec(
            listen=listen,
            tls=tls,
            sticky_cookie=self.sticky.cookie if self.sticky else None,
            override=self.override.to_spec() if self.override else None,
            keep_alive_s=self.keep_alive,
            idle_timeout_s=self.idle_timeout,
            http2=self.http2,
        )


class Preflight(Section):
    """Examines every new version out of rotation, before users meet it."""

    enabled: bool = setting("Whether new versions are examined.", default=True)
    paths: list[UrlPath] = setting(
        "Pages to ask, with GET, as users do: at least one that needs what the application needs, and one that takes "
        "its time if there is one.",
        default=list(_PREFLIGHT.paths),
        min_length=1,
        max_length=8,
    )

    def to_spec(self) -> spec.PreflightSpec | None:
        """Return the value that the rest of hitless works with."""
        return spec.PreflightSpec(paths=tuple(self.paths)) if self.enabled else None


_READY_ALONE = ShortForm(lambda path: {"ready": path}, {"type": "string", "pattern": "^/"})


_ON_OR_OFF = ShortForm(read_on_or_off, {"enum": ["on", "off"]})


class Service(Section):
    """One service: what runs, how users reach it, how a new version is brought in."""

    service: ServiceName = setting("Name of the service, as in `hitless deploy NAME`.", example=_SERVICE.name)
    listen: AddressField = setting(
        "Where users reach it: `127.0.0.1:8080` from this machine only, `0.0.0.0:8080` from everywhere.",
        example=str(_LISTEN),
    )
    tls: Annotated[Tls | None, Given()] = setting(
        "Certificate and key for `listen`, PEM files. Not set: plain HTTP.", default=None
    )
    instances: int = setting(
        "How many instances carry all traffic at full strength.", example=_SERVICE.instances, ge=1, le=MOST_INSTANCES
    )
    run: Run = setting("How one instance is started.")
    health: Annotated[Health, _READY_ALONE] = section(
        "How hitless knows that an instance lives, and that it can serve. A path alone means `ready`.", Health
    )
    drain: Drain = section(
        "How long a retiring instance may finish what it has begun. It gets nothing new meanwhile.", Drain
    )
    traffic: Traffic = section("How requests come to the instances.", Traffic)
    strategy: Annotated[Strategy, BARE_NAME] = section(
        "How a new version is brought in. The first strategy written is the service's own; those below it are for "
        "`deploy --strategy`. A name alone takes its usual parameters. Not set: `rolling`.",
        Strategy,
    )
    progress_deadline: PositiveDuration = setting(
        "A rollout that waits for instances and gets no further for so long is taken back.",
        default=write_duration(_SERVICE.progress_deadline_s),
    )
    preflight: Annotated[Preflight, _ON_OR_OFF] = section(
        "Two instances of every new version start out of rotation, are asked, loaded and ended, before users meet it. "
        "`off`: not.",
        Preflight,
    )
    sessions: Annotated[SessionsField | None, Given()] = setting(
        "Where users' sessions are: `external` (database, cache, signed cookie), or `in_process`, which ends them with "
        "their instance, so that rollouts are refused. Not set: the preflight looks.",
        default=None,
        example="external",
    )
    slo: Annotated[Slo | None, Given()] = setting(
        "What users of the service are promised, in rollouts and between them. Not set: nothing.", default=None
    )
    analysis: Annotated[Analysis | None, Given(), _ON_OR_OFF] = setting(
        "How a new version is compared with the old one. `on`, or a section, and no step is left before the new "
        "version is shown to be no worse. `off`, or not set: no step waits for that. A version that is shown to be "
        "worse is taken back in any case.",
        default=None,
    )
    metrics: Annotated[Metrics | None, Given(), PATH_ALONE] = setting(
        "Where each instance tells figures of its own, in Prometheus or OpenMetrics text. A path alone means `path`. "
        "Not set: nowhere.",
        default=None,
    )
    database: Annotated[Database | None, Given()] = setting(
        "The service's PostgreSQL: which changes of its schema a release needs, and what instances take of its "
        "connections. Not set: rollouts do not look at any.",
        default=None,
    )

    @model_validator(mode="after")
    def _can_roll(self) -> Self:
        read = self.to_spec()
        found = rules.rolling(read.strategy.rolling, self.instances)
        raise_if_any(Problem(message=one.message, hint=one.hint, at=("strategy", "rolling", *one.at)) for one in found)
        if read.database is not None:
            raise_if_any(rules.database(read.database, read.run))
        return self

    def to_spec(self) -> spec.ServiceSpec:
        """Return the value that the rest of hitless works with."""
        return spec.ServiceSpec(
            name=self.service,
            instances=self.instances,
            run=self.run.to_spec(),
            traffic=self.traffic.to_spec(listen=self.listen, tls=self.tls.to_spec() if self.tls else None),
            health=self.health.to_spec(),
            drain=self.drain.to_spec(),
            strategy=self.strategy.to_spec(),
            progress_deadline_s=self.progress_deadline,
            preflight=self.preflight.to_spec(),
            sessions=spec.Sessions(self.sessions) if self.sessions else None,
            slo=self.slo.to_spec() if self.slo else None,
            analysis=self.analysis.to_spec() if self.analysis else None,
            metrics=self.metrics.to_spec() if self.metrics else None,
            database=self.database.to_spec(service=self.service) if self.database else None,
        )
