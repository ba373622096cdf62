"""The load generator as a command: `hitless load` and `python -m hitless.testing.load` are renderings of this."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hitless.ports import Clock
from hitless.rollout.spec import Address
from hitless.testing.load.errors import BadLoadPlan
from hitless.testing.load.mix import read_mix
from hitless.testing.load.plan import USUAL, ClientTls, Kind, KindSpec, LoadPlan, usual_mix
from hitless.testing.load.report import Report, Verdict
from hitless.testing.load.report_json import COLUMNS, rows, to_json
from hitless.testing.load.runner import Load

EXIT_CODES: Mapping[Verdict, int] = {Verdict.CLEAN: 0, Verdict.FAILED: 1, Verdict.INCOMPLETE: 6, Verdict.NO_EVIDENCE: 6}
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What a command line can ask for.

    Attributes:
        target: `host:port`, IPv6 in brackets.
        rate_rps: of all single requests together.
        kinds: empty = all.
        streams: of each kind of stream.
        mix: a file that says what each kind of client asks, instead of the usual; see `mix.read_mix`.
        executions: POSTs are checked with the application afterwards.
        tls, insecure: speak TLS; do not verify the certificate.
        json: JSON lines instead of a table.
        marks_from_stdin: every line read begins the window of that name.
        interval_s: from one snapshot to the next.
    """

    target: str
    rate_rps: float = 200.0
    duration_s: float = 30.0
    kinds: tuple[str, ...] = ()
    streams: int = 10
    mix: str | None = None
    max_requests: int = 10_000_000
    version_header: str = "x-version"
    host: str | None = None
    executions: bool = True
    tls: bool = False
    insecure: bool = False
    allow_remote: bool = False
    json: bool = False
    marks_from_stdin: bool = False
    interval_s: float = 1.0

    def plan(self) -> LoadPlan:
        """Build the plan.

        Raises:
            BadLoadPlan: an option makes no sense.
            RemoteTarget: the target is elsewhere, and that was not allowed.
        """
        return LoadPlan(
            target=parse_address(self.target),
            kinds=self._kinds(),
            duration_s=self.duration_s,
            max_requests=self.max_requests,
            version_header=self.version_header,
            host=self.host,
            tls=ClientTls(verify=not self.insecure) if self.tls else None,
            allow_remote=self.allow_remote,
        )

    def _kinds(self) -> Mapping[Kind, KindSpec]:
        if self.mix is not None:
            return read_mix(Path(self.mix))
        kinds = parse_kinds(self.kinds)
        if Kind.RECORDS in kinds:
            raise BadLoadPlan("records are not known without --mix", hints=("name their path and fields in a file",))
        return usual_mix(self.rate_rps, kinds=kinds, streams=self.streams, executions=self.executions)


def run_cli(options: LoadOptions, *, clock: Clock, out: TextIO | None = None) -> int:
    """Run a load and print it; return the exit code: 0 nothing failed, 1 something failed, 6 nothing is proven."""
    stream = out or sys.stdout
    show = _snapshot_printer(stream) if options.json else _ignore
    report = asyncio.run(run_load(options, clock=clock, on_snapshot=show))
    stream.write(_line("report", to_json(report)) if options.json else as_text(report))
    stream.flush()
    return EXIT_CODES[report.verdict]


async def run_load(options: LoadOptions, *, clock: Clock, on_snapshot: Callable[[Report], None]) -> Report:
    """Run a load until its time is up, or SIGINT or SIGTERM ends it; call `on_snapshot` at every interval."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with Load(options.plan(), clock=clock) as load:
        if options.marks_from_stdin:
            _read_marks(load)
        watching = asyncio.create_task(_watch(load, options.interval_s, on_snapshot))
        ends = {asyncio.create_task(stopped.wait()), asyncio.create_task(load.run_out())}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        report = await load.finish()
        for task in (watching, *ends):
            task.cancel()
    return report


def as_text(report: Report) -> str:
    """Render a report as plain aligned columns and its verdict."""
    table = [COLUMNS, *rows(report)]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join([*lines, _posts_line(report), _pace_line(report), f"verdict: {report.verdict}", ""])


def parse_address(text: str) -> Address:
    """Read `host:port`.

    Raises:
        BadLoadPlan: it is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) <= _MAX_PORT:
        raise BadLoadPlan(f"{text!r} is not host:port", hints=("for example 127.0.0.1:8080",))
    return Address(host=host.strip("[]"), port=int(port))


def parse_kinds(names: tuple[str, ...]) -> tuple[Kind, ...]:
    """Read names of kinds; none = all.

    Raises:
        BadLoadPlan: a name is none.
    """
    unknown = [name for name in names if name not in set(Kind)]
    if unknown:
        raise BadLoadPlan(f"unknown kind of client: {', '.join(unknown)}", hints=(f"kinds: {', '.join(Kind)}",))
    return tuple(Kind(name) for name in names) or USUAL


async def _watch(load: Load, interval_s: float, on_snapshot: Callable[[Report], None]) -> None:
    while True:
        await asyncio.sleep(interval_s)
        on_snapshot(load.snapshot())


def _read_marks(load: Load) -> None:
    """Begin a window for every line of stdin, as lines come."""
    loop, source = asyncio.get_running_loop(), sys.stdin.fileno()
    os.set_blocking(source, False)
    rest = bytearray()

    def read() -> None:
        with contextlib.suppress(BlockingIOError):  # nothing there after all
            data = os.read(source, 4096)
            rest.extend(data)
            if not data:
                loop.remove_reader(source)
        while (end := rest.find(b"\n")) >= 0:
            load.mark(rest[:end].decode().strip())
            del rest[: end + 1]

    loop.add_reader(source, read)


def _snapshot_printer(stream: TextIO) -> Callable[[Report], None]:
    def show(report: Report) -> None:
        stream.write(_line("snapshot", to_json(report)))
        stream.flush()

    return show


def _ignore(_report: Report) -> None:
    """Show nothing."""


def _line(event: str, data: Mapping[str, Any]) -> str:
    return json.dumps({"type": event, **data}) + "\n"


def _posts_line(report: Report) -> str:
    posts = report.posts
    if posts is None:
        return "POSTs: not checked"
    if posts.problem:
        return f"POSTs: could not be checked: {posts.problem}"
    return f"POSTs: {posts.acknowledged:,} acknowledged, {posts.duplicates} duplicated, {posts.lost} lost"


def _pace_line(report: Report) -> str:
    total = report.total
    kept = f"{total.late:,} late for want of CPU, {total.queued:,} waited for a connection, {total.unsent:,} never sent"
    return f"pace: {kept}{'; ended by the bound on requests' if report.is_capped else ''}"
