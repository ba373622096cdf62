"""`hitless analyse`: a judge for what has happened. Needs no project and no control plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.text import Text

from hitless.analysis.figures import compare
from hitless.analysis.judge import Judge
from hitless.analysis.replay import replay
from hitless.analysis.requests import LONGEST_S
from hitless.analysis.resources import Resources
from hitless.cli.evidence import COLUMNS, STDIN, Options, last_share_bp, read_case, read_columns
from hitless.cli.faults import Usage
from hitless.cli.figures import count
from hitless.cli.outcome import DONE, HUMAN_NEEDED, ROLLED_BACK
from hitless.cli.output import Output
from hitless.cli.session import DEFAULTS, Common
from hitless.cli.tree import columns
from hitless.config.fields import read_budget, read_margin, read_objective, read_weight
from hitless.config.values import BadValueError, read_share
from hitless.rollout.spec import AnalysisSpec
from hitless.view.analysis import AnalysisView, FigureView, analysis_view, figure_view
from hitless.view.models import EvidenceView

CODES: Mapping[str, int] = {"promote": DONE, "rollback": ROLLED_BACK, "hold": HUMAN_NEEDED}


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
        margin: So many more of all requests may fail, and the next share is still right, e.g. 0.1pp.
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
        alpha = _read("--false-rollback", read_budget, false_rollback) or AnalysisSpec().false_rollback
        by = _read("--tolerance", read_share, tolerance) or 0.0
        return _compare(metric, common.output, alpha=alpha, margin_share=by, is_more_worse=worse == "higher")
    if baseline_before is not None and not 0 <= baseline_before <= LONGEST_S:
        raise Usage(f"--baseline-before: {baseline_before:g} s are no beginning", hints=("hitless analyse --help",))
    options = Options(
        false_rollback=_read("--false-rollback", read_budget, false_rollback),
        margin=_read("--margin", read_margin, margin),
        success_rate=_read("--slo", read_objective, slo),
        share_bp=_read("--share", read_weight, share),
        next_share_bp=_read("--next-share", read_weight, next_share),
        baseline_before_s=baseline_before,
    )
    assert file is not None
    return _judge(file, options, common.output)


def _judge(file: str, options: Options, output: Output) -> int:
    case = read_case(file, options)
    resources = Resources(case.settings) if case.source == "recording" else None  # requests tell nothing of processes
    next_share_bp = options.next_share_bp or last_share_bp(case)
    judge = Judge(case.settings, resources)
    found = replay(case.seconds, judge, shares=case.shares, next_share_bp=next_share_bp)
    view = analysis_view(found, source=case.source, first=case.first, background_s=case.background_s)
    if output.json:
        output.document("analysis", view)
    else:
        _show(view, output)
    return CODES[view["verdict"]]


def _compare(files: tuple[Path, ...], output: Output, *, alpha: float, margin_share: float, is_more_worse: bool) -> int:
    if len(files) > COLUMNS:
        raise Usage("--metric takes two files, or one with two columns", hints=("hitless analyse --help",))
    baseline, canary = read_columns(files)
    view = figure_view(compare(baseline, canary, alpha=alpha, margin_share=margin_share, is_more_worse=is_more_worse))
    if output.json:
        output.document("analysis", view)
    else:
        output.raw(_figure_sentence(view))
    return CODES[view["verdict"]]


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


def _seen(row: EvidenceView[int]) -> str:
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
