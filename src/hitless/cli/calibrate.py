"""`hitless calibrate`: the judge, tried on the old version alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter
from rich.console import Group
from rich.table import Table
from rich.text import Text

from hitless import config
from hitless.adapters.recordings.form import read_parts
from hitless.analysis.calibration import Settings
from hitless.analysis.calibration import calibrate as try_judge
from hitless.analysis.replay import without_holes
from hitless.analysis.settings import ratio_rules
from hitless.cli.evidence import STDIN, Baseline, read_baseline
from hitless.cli.faults import PROJECT_FILE, Usage
from hitless.cli.figures import count, duration
from hitless.cli.outcome import DONE, HUMAN_NEEDED
from hitless.cli.output import Output
from hitless.cli.project import spec_of
from hitless.cli.session import DEFAULTS, Common, Session
from hitless.cli.tree import columns
from hitless.rollout.spec import AnalysisSpec, CanarySpec, ServiceSpec, Version
from hitless.view.calibration import (
    FIGURES,
    CalibrationView,
    ProposalView,
    TriedView,
    calibration_view,
    remarks,
    untried,
)

MOST_MINUTES = 45
USUAL_RUNS, MOST_RUNS = 40, 1_000
TELL_EVERY = 10
NOTHING = Version("(nothing)")


def calibrate(
    name: str | None = None,
    /,
    *,
    minutes: int = MOST_MINUTES,
    file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    runs: int = USUAL_RUNS,
    common: Common = DEFAULTS,
) -> int:
    """Compare the old version with itself: how often each row fires, and which settings fit.

    Args:
        name: Service; not needed when the project has only one.
        minutes: How far back, of what the control plane has measured; 45 at most.
        file: Requests or a recording, as `hitless analyse` reads them, instead; - reads stdin.
        runs: How many times the version is split and judged; about 1.5 s each.
        common: Options of every command.
    """
    if not 1 <= minutes <= MOST_MINUTES or not 1 <= runs <= MOST_RUNS:
        hint = "hitless calibrate --help"
        raise Usage(f"--minutes is 1 to {MOST_MINUTES}, --runs 1 to {MOST_RUNS}", hints=(hint,))
    if file is not None and file.startswith("-") and file != STDIN:
        raise Usage(f"Unknown option: {file}", hints=("hitless calibrate --help",))
    session = Session(common)
    spec = None if file is not None and name is None else _spec(session, name)
    data = _measured(session, spec, minutes) if file is None else read_baseline(file)
    tell = _progress(session.output, runs)
    found = try_judge(
        list(without_holes(data.seconds)),
        baseline=data.version,
        settings=_settings(data, spec),
        runs=runs,
        tell=tell,
    )
    view = calibration_view(found, source=data.source, service=spec.name if spec is not None else None)
    if common.json:
        session.output.document("calibration", view)
    else:
        _show(view, session.output)
    is_fine = not (view["missing"] or view["fires_too_often"] or view["silences_itself"])
    return DONE if is_fine else HUMAN_NEEDED


def _spec(session: Session, name: str | None) -> ServiceSpec:
    return spec_of(config.load(session.directory / PROJECT_FILE), name)


def _measured(session: Session, spec: ServiceSpec | None, minutes: int) -> Baseline:
    assert spec is not None
    stable = session.client.service(spec.name)["stable"]
    rows = session.client.seconds(spec.name, minutes=minutes)["seconds"]
    read = [one.second for row in rows if (one := read_parts(row)) is not None]
    version = Version(stable) if stable is not None else NOTHING
    analysis = spec.analysis or AnalysisSpec()
    return Baseline(source="control plane", version=version, seconds=read, analysis=analysis, slo=spec.slo)


def _settings(data: Baseline, spec: ServiceSpec | None) -> Settings:
    """Take a service's settings where one is named, else those of the recording, or the usual ones."""
    if spec is None:
        return Settings(analysis=data.analysis, slo=data.slo, steps=CanarySpec().steps)
    return Settings(
        analysis=spec.analysis or AnalysisSpec(),
        slo=spec.slo,
        steps=spec.strategy.canary.steps,
        ratios=ratio_rules(spec.metrics),
    )


def _progress(output: Output, runs: int) -> Callable[[int], None]:
    def tell(number: int) -> None:
        if number % TELL_EVERY == 0 and number < runs:
            output.narrate(f"{number} of {count(runs, 'run')}")

    return tell


def _show(view: CalibrationView, output: Output) -> None:
    output.show(Text(_head(view)))
    if view["missing"]:
        output.show(Text(f"too little to say anything: {'; '.join(view['missing'])}", style="bold"))
        return
    output.show(Group(Text(), _rows(view), Text(), *(Text(_outcome(one, view)) for one in view["tried"])))
    for remark in remarks(view):
        output.show(Text(remark, style="yellow"))
    output.show(Text(f"not tried: {'; '.join(untried(view))}", style="dim"))
    output.show(Group(Text(), *(Text(_proposal(one)) for one in view["proposals"])))
    if view["settings"] is not None:
        output.show(Text(f"\nfor hitless.yaml:\n\n{view['settings']}"))
    for one in view["tried_again"]:
        output.show(Text(f"with these settings, {_outcome(one, view)}"))


def _proposal(one: ProposalView) -> str:
    written = FIGURES[one["key"]]
    proposed = "nothing to propose" if one["proposed"] is None else f"rather {written(one['proposed'])}"
    if one["proposed"] == one["present"]:
        proposed = "stays"
    return f"{one['key']} {written(one['present'])}: {proposed}; {one['why']}"


def _head(view: CalibrationView) -> str:
    failing = "none known" if view["failure_rate"] is None else f"{100 * view['failure_rate']:.3g} % failed"
    gaps = f", {duration(view['gaps_s'])} could not be read" if view["gaps_s"] else ""
    return (
        f"{view['version']} beside itself: {count(view['requests'], 'request')} in {duration(view['seconds'])}{gaps}, "
        f"{view['requests_per_s']:.3g}/s of all versions, {failing}, {count(view['instances'], 'instance')}"
    )


def _rows(view: CalibrationView) -> Table:
    table = columns("row", ">promised", *(f">fired, by {_one(one['by'])}" for one in view["tried"]), ">dispersion")
    for row in view["rows"]:
        table.add_row(
            Text(row["title"], style="bold"),
            f"{100 * row['promised']:.2g} %",
            *(_fired(row["name"], one) for one in view["tried"]),
            f"{row['dispersion']:.2f}",
        )
    return table


def _fired(row: str, one: TriedView) -> str:
    return f"{one['fired'][row]} of {one['runs']}" if row in one["fired"] else "not tried"


def _one(by: str) -> str:
    return by.removesuffix("s")


def _outcome(one: TriedView, view: CalibrationView) -> str:
    low, high = 100 * one["rollbacks_at_least"], 100 * one["rollbacks_at_most"]
    return (
        f"by {_one(one['by'])}: taken back in {one['rollbacks']} of {count(one['runs'], 'run')} of "
        f"{duration(view['judged_s'])} ({low:.2g} to {high:.2g} %, promised at most {100 * view['promised']:.2g} %); "
        f"shown to be right for all traffic in {one['promoted']}"
    )
