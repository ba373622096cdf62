"""What a load is: the target, the kinds of clients, their rates, and the bounds."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hitless.rollout.spec import Address
from hitless.testing.load.errors import BadLoadPlan, RemoteTarget

ID = "{id}"
PREFIX = "{prefix}"
RECORD = "{record}"


class Kind(StrEnum):
    """Kinds of clients."""

    KEEPALIVE = "keepalive"  # HTTP/1.1, many requests over one connection
    CLOSE = "close"  # HTTP/1.1, a new connection for each request
    H2 = "h2"  # HTTP/2, several requests at once over one connection
    POST = "post"  # POST with unique ids over kept connections
    SLOW = "slow"  # requests that take seconds to answer
    UPLOAD = "upload"  # bodies that take seconds to send
    WEBSOCKET = "websocket"  # long-lived, numbered echoes
    SSE = "sse"  # long-lived, numbered events
    STICKY = "sticky"  # users with cookies, old and brand-new ones
    RECORDS = "records"  # values that are written, read back and compared


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSpec:
    """Requests at a constant rate, sent when they are due, whatever became of the earlier ones.

    Attributes:
        path: `{id}` in it becomes the request's own id, and the answer's body must then contain that id.
        connections: how many are kept open; the most requests under way at once (HTTP/2: times `streams`).
        timeout_s: from sending to the answer's last byte.
    """

    rate_rps: float
    path: str = "/product/{id}"
    connections: int = 16
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Http2Spec(RequestSpec):
    """Requests over HTTP/2; `streams` is the most at once on one connection."""

    connections: int = 2
    streams: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PostSpec(RequestSpec):
    """POSTs with unique ids.

    Attributes:
        body: `{id}` in it becomes the request's own id.
        executions_path: asked after the load; answers `{"executions": {id: times}}` for ids that begin with `{prefix}`.
            None = duplicates and losses stay unknown.
    """

    path: str = "/orders"
    body: str = '{"id": "{id}"}'
    content_type: str = "application/json"
    executions_path: str | None = "/orders/executions?prefix={prefix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSpec(RequestSpec):
    """POSTs whose body of `size_bytes` is sent evenly over `upload_s`."""

    path: str = "/upload?id={id}"
    connections: int = 64
    timeout_s: float = 30.0
    size_bytes: int = 65_536
    upload_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StickySpec(RequestSpec):
    """Users that keep their cookies, each with at most one request under way.

    Attributes:
        users: how many come again and again.
        new_user_every: every so many requests, a brand-new user asks twice.
    """

    users: int = 200
    new_user_every: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSpec(RequestSpec):
    """Records whose fields are written with PATCH and read with GET; both answer with all fields, as a JSON object.

    Attributes:
        path: of one record; `{record}` becomes its number.
        first, step, records: the numbers: `records` of them, from `first` on, `step` apart.
        seeded: what each field holds before the load, as a template: `{record}` becomes the number; `{number}` alone
            is that number as a JSON number.
        written: templates of what is written; `{id}` becomes the request's own id, `{number}` its last nine digits.
            Fields that are not named are only read.
        write_every: every so many requests, one writes.
        log: file that gets, at the end, what every field may hold.
    """

    path: str = "/records/{record}"
    first: int = 1
    step: int = 1
    records: int = 200
    seeded: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    write_every: int = 2
    log: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """Long-lived streams, opened at the start and opened again when they end too early.

    Attributes:
        interval_s: from one WebSocket message to the next.
        stall_s: a stream without an expected message for so long is taken for cut.
    """

    streams: int
    path: str
    interval_s: float = 0.5
    stall_s: float = 10.0


KindSpec = RequestSpec | StreamSpec

SPEC_OF: Mapping[Kind, type[KindSpec]] = {
    Kind.KEEPALIVE: RequestSpec,
    Kind.CLOSE: RequestSpec,
    Kind.H2: Http2Spec,
    Kind.POST: PostSpec,
    Kind.SLOW: RequestSpec,
    Kind.UPLOAD: UploadSpec,
    Kind.WEBSOCKET: StreamSpec,
    Kind.SSE: StreamSpec,
    Kind.STICKY: StickySpec,
    Kind.RECORDS: RecordSpec,
}

USUAL: tuple[Kind, ...] = tuple(kind for kind in Kind if kind is not Kind.RECORDS)
"""Kinds that need to know nothing of the application's data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """How to speak TLS; HTTP/2 is then chosen by ALPN."""

    verify: bool = True
    ca_file: str | None = None
    server_name: str | None = None

    def context(self, *protocols: str) -> ssl.SSLContext:
        """Build the context of a client that offers `protocols`."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(list(protocols))
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A load with its bounds.

    Attributes:
        duration_s: the load ends then, or earlier when told to.
        max_requests: no more requests than this are sent; a report says when this bound was met.
        drain_s: how long requests under way may take to end after the load; what still waits for a connection is sent
            only as long as its answer can come in this time.
        connect_timeout_s: from the first packet to an open connection, TLS included.
        late_after_s: a request sent so much after it was due counts as late.
        version_header: response header that names the version that answered.
        version_field: field of a JSON body that names it when the header is missing; None = not looked for.
        host: the Host header; None = the target.
        allow_remote: aim at another machine.
    """

    target: Address
    kinds: Mapping[Kind, KindSpec]
    duration_s: float
    max_requests: int = 10_000_000
    drain_s: float = 35.0
    connect_timeout_s: float = 5.0
    late_after_s: float = 0.05
    version_header: str = "x-version"
    version_field: str | None = "version"
    host: str | None = None
    tls: ClientTls | None = None
    allow_remote: bool = False

    def __post_init__(self) -> None:
        """Refuse a plan without work, without bounds or with a target elsewhere."""
        if not self.kinds:
            raise BadLoadPlan("no kind of client is asked for", hints=(f"kinds: {', '.join(Kind)}",))
        if self.duration_s <= 0 or self.max_requests <= 0:
            raise BadLoadPlan(f"bounds must be positive: duration {self.duration_s} s, {self.max_requests} requests")
        for kind, spec in self.kinds.items():
            _check_spec(kind, spec)
        if not self.allow_remote and not _is_loopback(self.target.host):
            raise RemoteTarget(self.target.host)

    @property
    def longest_answer_s(self) -> float:
        """How long a request that is sent last may take, within the time for the end."""
        answers = (spec.timeout_s for spec in self.kinds.values() if isinstance(spec, RequestSpec))
        return min(max(answers, default=0.0), self.drain_s)

    @property
    def authority(self) -> str:
        """The Host header, or `:authority` of HTTP/2."""
        return self.host or str(self.target)

    @property
    def url(self) -> str:
        """Scheme, host and port, without a path."""
        return f"{'https' if self.tls else 'http'}://{self.target}"


def usual_mix(
    rate_rps: float, *, kinds: tuple[Kind, ...] = USUAL, streams: int = 10, executions: bool = True
) -> dict[Kind, KindSpec]:
    """Spread `rate_rps` over the kinds as a shop's visitors would; streams are counted apart.

    With `executions`, the application is asked afterwards which POSTs it executed.
    """
    shares = {kind: share for kind, share in _SHARES.items() if kind in kinds}
    whole = sum(shares.values())
    mix: dict[Kind, KindSpec] = {kind: _usual_spec(kind, rate_rps * share / whole) for kind, share in shares.items()}
    if Kind.POST in mix and not executions:
        mix[Kind.POST] = PostSpec(rate_rps=rate_rps * shares[Kind.POST] / whole, executions_path=None)
    if Kind.WEBSOCKET in kinds:
        mix[Kind.WEBSOCKET] = StreamSpec(streams=streams, path="/ws")
    if Kind.SSE in kinds:
        mix[Kind.SSE] = StreamSpec(streams=streams, path="/events")
    return mix


_SHARES: Mapping[Kind, float] = {
    Kind.KEEPALIVE: 48.0,
    Kind.CLOSE: 10.0,
    Kind.H2: 20.0,
    Kind.POST: 10.0,
    Kind.STICKY: 10.0,
    Kind.SLOW: 1.0,
    Kind.UPLOAD: 1.0,
}
SLOW_PATH = "/slow?seconds=3&id={id}"


def _usual_spec(kind: Kind, rate_rps: float) -> KindSpec:
    if kind is Kind.SLOW:
        return RequestSpec(rate_rps=rate_rps, path=SLOW_PATH, connections=128, timeout_s=30.0)
    spec = SPEC_OF[kind]
    assert issubclass(spec, RequestSpec)
    return spec(rate_rps=rate_rps)


def _check_spec(kind: Kind, spec: KindSpec) -> None:
    if not isinstance(spec, SPEC_OF[kind]):
        raise BadLoadPlan(f"{kind} needs {SPEC_OF[kind].__name__}, not {type(spec).__name__}")
    amount = spec.streams if isinstance(spec, StreamSpec) else spec.rate_rps
    if amount <= 0:
        raise BadLoadPlan(f"{kind} asks for nothing", hints=("leave the kind out, or give it a rate above 0",))
    if isinstance(spec, RequestSpec) and spec.connections < 1:
        raise BadLoadPlan(f"{kind} needs at least one connection")
    if isinstance(spec, RecordSpec):
        _check_records(spec)


def _check_records(spec: RecordSpec) -> None:
    if RECORD not in spec.path or not spec.seeded or spec.records < 1 or spec.write_every < 1:
        raise BadLoadPlan("records need a path with {record}, what they hold before, and to be at least one")
    unknown = sorted(spec.written.keys() - spec.seeded.keys())
    if unknown:
        hint = "name in `seeded` what they hold before the load"
        raise BadLoadPlan(f"fields that are written and not seeded: {', '.join(unknown)}", hints=(hint,))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, which may resolve to anything
        return False
