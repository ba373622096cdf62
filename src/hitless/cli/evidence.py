"""What `hitless analyse` is given, read: requests, a recording, or columns of numbers."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TextIO

from hitless.adapters.recordings.form import is_recording, read_header, read_second
from hitless.analysis.background import background
from hitless.analysis.checking import check_second, check_shares
from hitless.analysis.counts import Second
from hitless.analysis.replay import without_holes
from hitless.analysis.requests import BASELINE, CANARY, LONGEST_S, BadRequestError, Counting, read_request
from hitless.analysis.settings import Background, JudgeSettings
from hitless.analysis.shares import Shares, constant_share, measured_shares
from hitless.cli.faults import InputUnreadable
from hitless.cli.figures import count
from hitless.errors import Place
from hitless.ports import Recorded
from hitless.rollout.spec import ALL_TRAFFIC_BP, AnalysisSpec, SloSpec, Version

STDIN = "-"
LEAST_BACKGROUND_S = 60
MOST_TOLD = 20
COLUMNS = 2


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What one version did, and the settings by which it was, or would be, compared."""

    source: Literal["requests", "recording", "control plane"]
    version: Version
    seconds: Sequence[Second]
    analysis: AnalysisSpec
    slo: SloSpec | None


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


def read_case(file: str, options: Options) -> Case:
    """Read requests, or a recording, which begins with its header.

    Raises:
        InputUnreadable: names every line that cannot be read, as far as they are few.
    """
    with _opened(file) as lines:
        first = lines.readline()
        if is_recording(first):
            return _recorded_case(first, lines, file, options)
        return _request_case(first, lines, file, options)


def read_baseline(file: str) -> Baseline:
    """Read what the old version of a recording, or of requests, did.

    Raises:
        InputUnreadable: names every line that cannot be read, as far as they are few.
    """
    with _opened(file) as lines:
        first = lines.readline()
        if is_recording(first):
            case = _recorded_case(first, lines, file, Options())
            told = case.settings
            return Baseline(
                source="recording", version=told.baseline, seconds=case.seconds, analysis=told.analysis, slo=told.slo
            )
        return _requests_of_baseline(first, lines, file)


def _requests_of_baseline(first: str, lines: Iterable[str], name: str) -> Baseline:
    """Count the old version's requests by instance, durations too: lines tell more than any counter keeps."""
    counting, complaints = Counting(), _Complaints(name)
    for number, line in enumerate(_chained(first, lines), start=1):
        try:
            request = read_request(line) if line.strip() else None
            if request is not None and request.version == BASELINE:
                counting.take(replace(request, version=Version(request.instance or BASELINE)))
        except BadRequestError as problem:
            complaints.add(number, problem)
    complaints.raise_if_any()
    seconds = [
        replace(second, cells=tuple(replace(cell, version=BASELINE) for cell in second.cells))
        for second in counting.seconds()
    ]
    return Baseline(source="requests", version=BASELINE, seconds=seconds, analysis=AnalysisSpec(), slo=None)


def read_columns(files: tuple[Path, ...]) -> tuple[list[float], list[float]]:
    """Read the old version's numbers and the new one's, from two files or from two columns of one.

    Raises:
        InputUnreadable: names every line that holds something else.
    """
    read = [_numbers(path, width=1 if len(files) == COLUMNS else COLUMNS) for path in files]
    return (read[0][0], read[1][0]) if len(read) == COLUMNS else (read[0][0], read[0][1])


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


def last_share_bp(case: Case) -> int:
    """Return the largest share that the canary had when it had traffic last; all of it, if it never had any."""
    shares = (max(case.shares(second.at).values(), default=0) for second in reversed(case.seconds))
    return next((share for share in shares if share > 0), ALL_TRAFFIC_BP)


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    """Open a file, or stdin for `-`.

    Raises:
        InputUnreadable: it cannot be.
    """
    try:
        if file == STDIN:
            yield sys.stdin
        else:
            with Path(file).open(encoding="utf-8-sig") as opened:
                yield opened
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not UTF-8"
        raise InputUnreadable([f"{file}: {why}"], 1, Place(file=file)) from error


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
    if not judged:
        raise InputUnreadable([f"{name}: no request is left to be judged after the background"], 1, Place(file=name))
    analysis = options.analysis(AnalysisSpec(warm_up_s=0.0))  # nothing says that anybody was cold
    settings = JudgeSettings(
        canary=CANARY,
        baseline=BASELINE,
        analysis=analysis,
        slo=options.slo(None),
        background=background(before or seconds, baseline=BASELINE, analysis=analysis)
        if options.baseline_before_s != 0
        else Background(),
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
    return measured_shares(seconds, canary=CANARY)


def _recorded_case(first: str, lines: Iterable[str], name: str, options: Options) -> Case:
    settings = read_header(first)
    if settings is None:
        raise InputUnreadable([f"{name}:1: a recording in a format that this hitless does not read"], 1, Place(name, 1))
    found: dict[int, Recorded] = {}
    for line in lines:
        recorded = read_second(line)  # a line that was cut by the end of a controller is left out: a gap
        if recorded is not None and _is_possible(recorded):
            found.setdefault(recorded.second.at, recorded)
    if not found:
        raise InputUnreadable([f"{name}: the recording has no second"], 1, Place(file=name))
    if max(found) - min(found) > LONGEST_S:
        raise InputUnreadable([f"{name}: the recording is longer than a week"], 1, Place(file=name))
    seconds = list(without_holes([found[at].second for at in sorted(found)]))
    return Case(
        source="recording",
        settings=replace(settings, analysis=options.analysis(settings.analysis), slo=options.slo(settings.slo)),
        seconds=seconds,
        shares=_recorded_shares(found, seconds, options),
        first=seconds[0].at,
        background_s=settings.background.seconds,
    )


def _is_possible(recorded: Recorded) -> bool:
    """Tell what a judge can take from a line that somebody else wrote; the judge that recorded took a gap as well."""
    try:
        check_second(recorded.second)
        check_shares(recorded.share_bp)
    except (ValueError, TypeError):
        return False
    return True


def _recorded_shares(found: Mapping[int, Recorded], seconds: Sequence[Second], options: Options) -> Shares:
    if options.share_bp is not None:
        return constant_share(seconds, options.share_bp)
    return lambda at: found[at].share_bp if at in found else {}
