"""From a calibration to the document that `hitless calibrate` prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TypedDict

from hitless.analysis.calibration import Calibration, Tried
from hitless.analysis.proposals import ERROR_MARGIN, LATENCY_MARGIN, WARM_UP, Proposal


class TriedView(TypedDict):
    """What came of the runs that were dealt in one way.

    `fired` counts by row; a row that was not tried is missing. `rollbacks_at_least` and `rollbacks_at_most` are the
    95 % limits of their rate, each one-sided. `guarded` were taken back by the objective's guard, which is not part of
    what is promised.
    """

    by: Literal["requests", "instances"]
    runs: int
    rollbacks: int
    rollbacks_at_least: float
    rollbacks_at_most: float
    guarded: int
    silenced: int
    promoted: int
    fired: dict[str, int]


class CalibratedRowView(TypedDict):
    """One row: in which share of rollouts it may fire, and the measured dispersion (Fano factor) of what it counts."""

    name: str
    title: str
    promised: float
    dispersion: float


class ProposalView(TypedDict):
    """One setting: shares, or seconds for the warm-up; `proposed` None = it cannot be measured here."""

    key: str
    present: float
    proposed: float | None
    why: str


class CalibrationView(TypedDict):
    """What the judge does with a version that is compared with itself.

    `missing` says why nothing was tried; then `rows`, `tried`, `proposals` are empty. `too_often` names the rows that
    are shown to fire more often than promised of each. `tried_again`: with the proposed settings, where the present
    ones take back too often. `settings` is what would change, ready to paste; None = nothing would, or nothing can be
    said.
    """

    source: Literal["requests", "recording", "control plane"]
    service: str | None
    version: str
    seconds: int
    gaps_s: int
    judged_s: int
    requests: int
    requests_per_s: float
    failure_rate: float | None
    instances: int
    promised: float
    missing: list[str]
    fires_too_often: bool
    too_often: list[str]
    silences_itself: bool
    rows: list[CalibratedRowView]
    tried: list[TriedView]
    proposals: list[ProposalView]
    tried_again: list[TriedView]
    settings: str | None


def calibration_view(
    found: Calibration, *, source: Literal["requests", "recording", "control plane"], service: str | None
) -> CalibrationView:
    """Render a calibration."""
    return {
        "source": source,
        "service": service,
        "version": found.baseline,
        "seconds": found.measured.seconds,
        "gaps_s": found.gaps_s,
        "judged_s": found.judged_s,
        "requests": found.requests,
        "requests_per_s": found.measured.requests_per_s,
        "failure_rate": found.measured.failure_rate,
        "instances": found.instances,
        "promised": found.promised,
        "missing": list(found.missing),
        "fires_too_often": found.fires_too_often,
        "too_often": [one.name for one in found.too_often],
        "silences_itself": found.silences_itself,
        "rows": [
            {"name": one.name, "title": one.title, "promised": one.promised, "dispersion": one.dispersion}
            for one in found.rows
        ],
        "tried": [_tried(one) for one in found.tried],
        "proposals": [
            {"key": one.key, "present": one.present, "proposed": one.proposed, "why": one.why}
            for one in found.proposals
        ],
        "tried_again": [_tried(one) for one in found.tried_again],
        "settings": _settings(found),
    }


def _tried(one: Tried) -> TriedView:
    return {
        "by": one.by.value,
        "runs": one.runs,
        "rollbacks": one.rollbacks,
        "rollbacks_at_least": one.at_least(one.rollbacks),
        "rollbacks_at_most": one.at_most(one.rollbacks),
        "guarded": one.guarded,
        "silenced": one.silenced,
        "promoted": one.promoted,
        "fired": dict(one.fired),
    }


def _settings(found: Calibration) -> str | None:
    lines = [line for one in found.proposals if (line := _line(one)) is not None]
    return "\n".join(["analysis:", *lines]) if lines else None


def _line(one: Proposal) -> str | None:
    """Write what would change; not what is proposed as it is."""
    if one.proposed is None or one.proposed == one.present:
        return None
    section, written = _WRITTEN[one.key]
    return f"  {section}: {written(one.proposed)}"


def points(share: float) -> str:
    """Write percentage points as `hitless.yaml` has them."""
    return f"{100 * share:.4g}pp"


def percent(share: float) -> str:
    """Write a percentage as `hitless.yaml` has it."""
    return f"{100 * share:.4g}%"


def seconds(duration: float) -> str:
    """Write a duration as `hitless.yaml` has it."""
    return f"{duration:g}s"


_WRITTEN: Mapping[str, tuple[str, Callable[[float], str]]] = {
    ERROR_MARGIN: ("error_rate", lambda value: f"{{margin: {points(value)}}}"),
    LATENCY_MARGIN: ("latency", lambda value: f"{{margin: {percent(value)}}}"),
    WARM_UP: ("warm_up", seconds),
}
FIGURES: Mapping[str, Callable[[float], str]] = {
    ERROR_MARGIN: points,
    LATENCY_MARGIN: percent,
    WARM_UP: seconds,
}
"""How each setting's figure is written."""


def remarks(view: CalibrationView) -> Iterator[str]:
    """Say in words what follows from the runs."""
    runs = sum(one["runs"] for one in view["tried"])
    titles = {row["name"]: row["title"] for row in view["rows"]}
    for name in view["too_often"]:
        yield f"{titles[name]}: more often than promised; {_WHY.get(name, _BURSTS)}"
    if silenced := sum(one["silenced"] for one in view["tried"]):
        yield f"the placebo silenced the judge in {silenced} of {runs} runs: it only holds then"
    if guarded := sum(one["guarded"] for one in view["tried"]):
        yield f"the objective's guard took it back in {guarded} of {runs} runs: the version itself misses its objective"


def untried(view: CalibrationView) -> Iterator[str]:
    """Say what could not be tried."""
    yield "what memory and processor time say"
    by_instance = {one["by"] for one in view["tried"]} >= {"instances"}
    if not by_instance:
        yield "bursts of single instances: one is there, or none is known"
    elif not any(one["key"] == LATENCY_MARGIN and one["proposed"] is not None for one in view["proposals"]):
        yield "slow answers, other attempts and calls by instance: they are counted by version"


_BURSTS = "failures come in bursts that the dispersion before does not show"
_WHY: Mapping[str, str] = {"latency": "instances of this version differ by more than the margin"}
