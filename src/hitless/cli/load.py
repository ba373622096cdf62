from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hitless.adapters.clock import SystemClock
from hitless.cli.session import DEFAULTS, Common, Session
from hitless.testing.load import Kind, LoadOptions, run_cli

USUAL_RATE_RPS = 200.0
USUAL_DURATION = timedelta(seconds=30)


def load(
    target: str | None = None,
    /,
    *,
    rate: float = USUAL_RATE_RPS,
    duration: Annotated[timedelta, Parameter(show_default=lambda _: "30s")] = USUAL_DURATION,
    kinds: Annotated[tuple[Kind, ...], Parameter(consume_multiple=True, show_default=lambda _: "all")] = (),
    streams: int = 10,
    mix: Path | None = None,
    max_requests: int = 10_000_000,
    version_header: str = "x-version",
    host: str | None = None,
    skip_executions: bool = False,
    tls: bool = False,
    insecure: bool = False,
    allow_remote: bool = False,
    marks_from_stdin: bool = False,
    common: Common = DEFAULTS,
) -> int:
    """Send requests of every kind at a constant rate, and count the fate of each by cause and by version.

    Args:
        target: HOST:PORT, or a service of this project; not needed when the project has only one service.
        rate: Requests per second, all kinds together.
        duration: How long, e.g. 30s or 5m.
        kinds: Only these kinds of clients.
        streams: Open streams of each kind of stream.
        mix: A YAML file that says what each kind of client asks; instead of --rate, --kinds and --streams.
        max_requests: End after so many.
        version_header: Response header that names the version.
        host: Host header to send.
        skip_executions: Do not ask the application which POSTs it executed.
        tls: Speak TLS.
        insecure: Do not verify the certificate.
        allow_remote: Aim at another machine.
        marks_from_stdin: Each line read begins a window of that name.
        common: Options of every command.
    """
    options = LoadOptions(
        target=_address(Session(common), target),
        rate_rps=rate,
        duration_s=duration.total_seconds(),
        kinds=tuple(kind.value for kind in kinds),
        streams=streams,
        mix=str(mix) if mix else None,
        max_requests=max_requests,
        version_header=version_header,
        host=host,
        executions=not skip_executions,
        tls=tls,
        insecure=insecure,
        allow_remote=allow_remote,
        json=common.json,
        marks_from_stdin=marks_from_stdin,
    )
    return run_cli(options, clock=SystemClock())


def _address(session: Session, target: str | None) -> str:
    if target and ":" in target:
        return target
    return session.client.service(session.service_name(target))["listen"]
