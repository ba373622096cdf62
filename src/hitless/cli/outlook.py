"""What a rollout can show at a given traffic, drawn and as a document: `hitless plan --rate`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from hitless.analysis.planning import outlook
from hitless.cli.faults import Usage
from hitless.cli.figures import duration, share
from hitless.cli.tree import columns
from hitless.config.values import BadValueError, read_share
from hitless.rollout.spec import AnalysisSpec, ServiceSpec
from hitless.view.outlook import OutlooksView, OutlookView, outlook_view

USUAL_ERRORS = "0.1%"


def outlooks_of(spec: ServiceSpec, *, rate: float, errors: str) -> OutlooksView:
    """Look ahead over the steps of a service's canary.

    Raises:
        Usage: a rate cannot be.
    """
    try:
        failure_rate = read_share(errors)
    except BadValueError as error:
        raise Usage(f"--errors: {error.problems[0].message}", hints=(error.problems[0].hint or "",)) from None
    if not rate > 0 or failure_rate >= 1:
        raise Usage("--rate is above 0, --errors below 100%", hints=("hitless plan --help",))
    analysis = spec.analysis or AnalysisSpec()
    steps = outlook(
        spec.strategy.canary.steps,
        requests_per_s=rate,
        failure_rate=failure_rate,
        analysis=analysis,
        has_objective=spec.slo is not None and spec.slo.success_rate is not None,
    )
    return {
        "service": spec.name,
        "requests_per_s": rate,
        "failure_rate": failure_rate,
        "false_rollback": analysis.false_rollback,
        "false_promotion": analysis.false_promotion,
        "error_margin": analysis.error_margin,
        "steps": [outlook_view(step) for step in steps],
    }


def outlooks_picture(view: OutlooksView) -> Group:
    """Draw a line for each step."""
    return Group(Text(_head(view)), Text(), _table(view["steps"]), Text(), *(Text(line) for line in _remarks(view)))


def _head(view: OutlooksView) -> str:
    return (
        f"{view['service']} at {view['requests_per_s']:g} requests/s, "
        f"of which {100 * view['failure_rate']:.3g} % fail; "
        f"times are means; at most {100 * view['false_rollback']:.3g} % false rollbacks, "
        f"{100 * view['false_promotion']:.3g} % false promotions"
    )


def _table(steps: list[OutlookView]) -> Table:
    factors = [one["factor"] for one in steps[0]["detections"]] if steps else []
    found = [f">x{factor:g} found in" for factor in factors]
    table = columns(">share", ">hold", ">to go on", ">requests", *found, ">least found", ">proposed hold")
    for step in steps:
        table.add_row(
            share(step["share_bp"]),
            duration(step["hold_s"]),
            duration(step["needed_s"]) + ("" if step["enough"] else " (!)"),
            f"{step['needed_requests']:,}",
            *(duration(one["seconds"]) + ("" if one["within_hold"] else " (!)") for one in step["detections"]),
            "nothing" if step["least_factor"] is None else f"x{step['least_factor']:.2g}",
            duration(step["proposed_hold_s"]),
        )
    return table


def _remarks(view: OutlooksView) -> Iterator[str]:
    if any(not step["enough"] or not all(one["within_hold"] for one in step["detections"]) for step in view["steps"]):
        yield "(!) longer than the step's hold"
    for step in view["steps"]:
        if not step["enough"]:
            yield (
                f"{share(step['share_bp'])} needs about {duration(step['needed_s'])} to be left: the step waits "
                "beyond its hold until enough is shown"
            )
        if step["least_factor"] is None:
            yield f"{share(step['share_bp'])} shows nothing within its hold, however much worse the new version is"
    if not view["steps"]:
        yield "the canary has no step below all traffic: there is nothing to compare"
