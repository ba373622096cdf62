"""`hitless analyse`: a judge for what has happened. Reads requests, a recording, or two columns; needs no project."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

from cyclopts import Parameter
from rich.text import Text

from hitless.adapters.recordings.form import is_recording, read_header, read_second
from hitless.analysis.counts import Second
from hitless.analysis.figures import compare
from hitless.analysis.replay import (
    BASELINE,
    CANARY,
    BadRequestError,
    Counting,
    Shares,
    TakesSeconds,
    constant_share,
    measured_shares,
    read_request,
    replay,
    without_holes,
)
from hitless.analysis.resources import Resources
from hitless.analysis.settings import Background, JudgeSettings
from hitless.cli.faults import InputUnreadable, Usage
from hitless.cli.figures import count
from hitless.cli.outcome import DONE, HUMAN_NEEDED, ROLLED_BACK
from hitless.cli.output import Output
from hitless.cli.session import DEFAULTS, Common
from hitless.cli.tree import columns
from hitless.config.values import BadValueError, read_percent, read_points, read_share
from hitless.errors import Place
from hitless.ports import Recorded
from hitless.rollout.spec import ALL_TRAFFIC_BP, AnalysisSpec, SloSpec
from hitless.view.analysis import AnalysisView, FigureView, RowView, analysis_view, figure_view

STDIN = "-"
LEAST_BACKGROUND_S = 60
MOST_TOLD = 20
CODES: Mapping[str, int] = {"promote": DONE, "rollback": ROLLED_BACK, "hold": HUMAN_NEEDED}
_COLUMNS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What differs from the usual settings, or from those of a recording; None = nothing."""

    false_rollback: float | None = None
    margin: float | None = None
    success_rate: float | None = None
    share_bp: int | None = None
    next_share_bp: int | None = None
    baseline_before_s: float | None = None

    def analysis(self, usual: AnalysisSpec) -> AnalysisSpec:
        """Return the settings with what differs."""
        return replace(
            usual,
            false_rollback=usual.false_rollback if self.false_rollback is None else self.false_rollback,
            error_margin=usual.error_margin if self.margin is None else self.margin,
        )

    def slo(self, usual: SloSpec | None) -> SloSpec | None:
        """Return the objectives with what differs."""
        if self.success_rate is None:
            return usual
        return replace(usual or SloSpec(), success_rate=self.success_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is to be judged."""

    source: Literal["requests", "recording"]
    settings: JudgeSettings
    seconds: Sequence[Second]
    shares: Shares
    first: int
    background_s: int = 0


@dataclass(slots=True)
class _Complaints:
    """Lines that cannot be read, with their places; reading goes on, so that one run tells them all."""

    name: str
    found: list[str] = field(default_factory=list)
    count: int = 0
    first: Place | None = None

    def add(self, line: int, what: object) -> None:
        place = Place(file=self.name, line=line)
        self.first = self.first or place
        self.count += 1
        if len(self.found) < MOST_TOLD:
            self.found.append(f"{place}: {what}")

    def raise_if_any(self) -> None:
        if self.count:
            raise InputUnreadable(self.found, self.count, self.first)


def analyse(
    file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    metric: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    false_rollback: str | None = None,
    margin: str | None = None,
    slo: str | None = None,
    share: str | None = None,
    next_share: str | None = None,
    baseline_before: float | None = None,
    tolerance: str = "0%",
    worse: Literal["higher", "lower"] = "higher",
    common: Common = DEFAULTS,
) -> int:
    """Judge what has happened: requests as JSON lines, a recorded rollout, or two columns of numbers.

    Args:
        file: Requests, or a recording of .hitless/recordings; - reads stdin.
        metric: Two files with a number a line, the old version's first, or one file with two columns.
        false_rollback: At most this share of versions that are no worse is called worse; usually 1%.
        margin: So many more requests may fail without being worse, e.g. 0.1pp.
        slo: Least share of requests that succeed, e.g. 99.95%.
        share: The share of the traffic that the new version was meant to get; without it, measured.
        next_share: The share that it would get next; without it, the one it had last.
        baseline_before: So many seconds at the beginning are the old version's background, and not judged.
        tolerance: With --metric: so much of the old mean more is not worse.
        worse: With --metric: which way is worse.
        common: Options of every command.
    """
    if file is not None and file.startswith("-") and file != STDIN:
        raise Usage(f"Unknown option: {file}", hints=("hitless analyse --help",))
    if bool(metric) == (file is not None):
        raise Usage("name a file to judge, or --metric with two columns", hints=("hitless analyse --help",))
    if metric:
        alpha = _read("--false-rollback", read_share, false_rollback) or AnalysisSpec().false_rollback
        by = _read("--tolerance", read_share, tolerance) or 0.0
        return _compare(metric, common.output, alpha=alpha, margin_share=by, is_more_worse=worse == "higher")
    options = Options(
        false_rollback=_read("--false-rollback", read_share, false_rollback),
        margin=_read("--margin", read_points, margin),
        success_rate=_read("--slo", read_share, slo),
        share_bp=_read("--share", read_percent, share),
        next_share_bp=_read("--next-share", read_percent, next_share),
        baseline_before_s=baseline_before,
    )
    assert file is not None
    return _judge(file, options, common.output)


def a_judge(settings: JudgeSettings, resources: Resources | None) -> TakesSeconds:
    """Make a judge."""
    room: Any = importlib.import_module("hitless.analysis.judge")
    made: TakesSeconds = room.Judge(settings, resources)
    return made


def measure(seconds: Sequence[Second], analysis: AnalysisSpec) -> Background:
    """Measure the old version by itself."""
    room: Any = importlib.import_module("hitless.analysis.background")
    found: Background = room.background(seconds, baseline=BASELINE, analysis=analysis)
    return found


def _judge(file: str, options: Options, output: Output) -> int:
    with _opened(file) as lines:
        case = _case(lines, file, options)
    resources = Resources(case.settings) if case.source == "recording" else None  # requests tell nothing of processes
    next_share_bp = options.next_share_bp or _last_share_bp(case)
    judge = a_judge(case.settings, resources)
    found = replay(case.seconds, judge, shares=case.shares, next_share_bp=next_share_bp)
    view = analysis_view(found, source=case.source, first=case.first, background_s=case.background_s)
    if output.json:
        output.document("analysis", view)
    else:
        _show(view, output)
    return CODES[view["verdict"]]


def _last_share_bp(case: Case) -> int:
    """Return the largest share that the canary had when it had traffic last; all of it, if it never had any."""
    shares = (max(case.shares(second.at).values(), default=0) for second in reversed(case.seconds))
    return next((share for share in shares if share > 0), ALL_TRAFFIC_BP)


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    """Open a file, or stdin for `-`.

    Raises:
        InputUnreadable: it cannot be.
    """
    if file == STDIN:
        yield sys.stdin
        return
    try:
        with Path(file).open(encoding="utf-8") as opened:
            yield opened
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not UTF-8"
        raise InputUnreadable([f"{file}: {why}"], 1, Place(file=file)) from error


def _case(lines: TextIO, name: str, options: Options) -> Case:
    first = lines.readline()
    if is_recording(first):
        return _recorded_case(first, lines, name, options)
    return _request_case(first, lines, name, options)


def _request_case(first: str, lines: Iterable[str], name: str, options: Options) -> Case:
    counting, complaints = Counting(), _Complaints(name)
    for number, line in enumerate(_chained(first, lines), start=1):
        if not line.strip():
            continue
        try:
            counting.take(read_request(line))
        except BadRequestError as problem:
            complaints.add(number, problem)
    complaints.raise_if_any()
    seconds = counting.seconds()
    if not seconds:
        raise InputUnreadable([f"{name}: there is no request in it"], 1, Place(file=name))
    before, judged = _parted(seconds, options.baseline_before_s)
    analysis = options.analysis(AnalysisSpec())
    settings = JudgeSettings(
        canary=CANARY,
        baseline=BASELINE,
        analysis=analysis,
        slo=options.slo(None),
        background=measure(before or seconds, analysis) if options.baseline_before_s != 0 else Background(),
        salt="analyse",
    )
    return Case(
        source="requests",
        settings=settings,
        seconds=judged,
        shares=_shares(judged, options),
        first=0,
        background_s=len(before),
    )


def _chained(first: str, lines: Iterable[str]) -> Iterator[str]:
    yield first
    yield from lines


def _parted(seconds: Sequence[Second], before_s: float | None) -> tuple[Sequence[Second], Sequence[Second]]:
    """Part the background from what is judged: what was said, or all before the canary's first request."""
    if before_s is None:
        begins = next((one.at for one in seconds if any(cell.version == CANARY for cell in one.cells)), seconds[0].at)
        if begins - seconds[0].at < LEAST_BACKGROUND_S:
            return (), seconds
    else:
        begins = math.floor(before_s)
    return [one for one in seconds if one.at < begins], [one for one in seconds if one.at >= begins]


def _shares(seconds: Sequence[Second], options: Options) -> Shares:
    if options.share_bp is not None:
        return constant_share(seconds, options.share_bp)
    return measured_shares(seconds)


def _recorded_case(first: str, lines: Iterable[str], name: str, options: Options) -> Case:
    settings = read_header(first)
    if settings is None:
        raise InputUnreadable([f"{name}:1: a recording in a format that this hitless does not read"], 1, Place(name, 1))
    found: dict[int, Recorded] = {}
    for line in lines:
        recorded = read_second(line)  # a line that was cut by the end of a controller is left out: a gap
        if recorded is not None:
            found.setdefault(recorded.second.at, recorded)
    if not found:
        raise InputUnreadable([f"{name}: the recording has no second"], 1, Place(file=name))
    seconds = list(without_holes([found[at].second for at in sorted(found)]))
    return Case(
        source="recording",
        settings=replace(settings, analysis=options.analysis(settings.analysis), slo=options.slo(settings.slo)),
        seconds=seconds,
        shares=_recorded_shares(found, seconds, options),
        first=seconds[0].at,
        background_s=settings.background.seconds,
    )


def _recorded_shares(found: Mapping[int, Recorded], seconds: Sequence[Second], options: Options) -> Shares:
    if options.share_bp is not None:
        return constant_share(seconds, options.share_bp)
    return lambda at: found[at].share_bp if at in found else {}


def _compare(files: tuple[Path, ...], output: Output, *, alpha: float, margin_share: float, is_more_worse: bool) -> int:
    if len(files) > _COLUMNS:
        raise Usage("--metric takes two files, or one with two columns", hints=("hitless analyse --help",))
    baseline, canary = _columns(files)
    view = figure_view(compare(baseline, canary, alpha=alpha, margin_share=margin_share, is_more_worse=is_more_worse))
    if output.json:
        output.document("analysis", view)
    else:
        output.raw(_figure_sentence(view))
    return CODES[view["verdict"]]


def _columns(files: tuple[Path, ...]) -> tuple[list[float], list[float]]:
    read = [_numbers(path, width=1 if len(files) == _COLUMNS else _COLUMNS) for path in files]
    return (read[0][0], read[1][0]) if len(read) == _COLUMNS else (read[0][0], read[0][1])


def _numbers(path: Path, *, width: int) -> list[list[float]]:
    """Read columns of numbers, with blanks or commas between them; empty lines are left out."""
    found: list[list[float]] = [[] for _ in range(width)]
    complaints = _Complaints(str(path))
    with _opened(str(path)) as lines:
        for number, line in enumerate(lines, start=1):
            words = line.replace(",", " ").split()
            try:
                values = [float(word) for word in words]
            except ValueError:
                complaints.add(number, f"{line.strip()!r} is no number")
                continue
            if len(values) not in {0, width} or not all(math.isfinite(value) for value in values):
                complaints.add(number, f"{line.strip()!r} is not {count(width, 'number')}")
            elif values:
                for column, value in zip(found, values, strict=True):
                    column.append(value)
    complaints.raise_if_any()
    return found


def _figure_sentence(view: FigureView) -> str:
    old, new = view["baseline"], view["canary"]
    head = (
        f"{view['verdict'].upper()}: mean {new['mean']:.6g} of {new['count']:g} values beside {old['mean']:.6g} of "
        f"{old['count']:g}"
    )
    if view["low"] is None or view["high"] is None:
        return f"{head}; too few values to say anything: at least 100 of each"
    fell = "" if view["after"] is None else f"; shown after {count(view['after'], 'value')}"
    return f"{head}; the difference lies between {view['low']:.6g} and {view['high']:.6g}{fell}"


def _show(view: AnalysisView, output: Output) -> None:
    moment = "" if view["second"] is None else f" in second {view['second']}"
    output.show(Text(f"{view['verdict'].upper()}{moment}", style="bold").append(f": {view['detail']}", "not bold"))
    table = columns("row", ">evidence", ">needed", ">new", ">old")
    table.add_column("seen", overflow="fold")
    for row in view["rows"]:
        table.add_row(
            Text(row["name"], style="bold"),
            _figure(row["log_evidence"]),
            _figure(row["log_needed"]),
            _counted(row["canary"]),
            _counted(row["baseline"]),
            _seen(row),
        )
    output.show(table)
    if view["promise"]:
        output.show(Text(view["promise"]))
    if view["background_s"] == 0 and view["source"] == "requests":
        output.narrate(
            "background (thresholds, usual failures, bursts): the old version's own requests in this file; "
            "--baseline-before S takes the first S seconds instead, and does not judge them"
        )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _counted(counts: Sequence[int] | None) -> str:
    return "" if counts is None else f"{counts[0]:,} of {counts[1]:,}"


def _seen(row: RowView) -> str:
    since = "" if row["since"] is None else f"since second {row['since']}; "
    return f"{since}{row['detail']}"


def _read(option: str, read: Any, text: str | None) -> Any:
    """Read an option's value as `hitless.yaml` would.

    Raises:
        Usage: it cannot be.
    """
    if text is None:
        return None
    try:
        return read(text)
    except BadValueError as error:
        problem = error.problems[0]
        raise Usage(f"{option}: {problem.message}", hints=(problem.hint or "hitless analyse --help",)) from None
