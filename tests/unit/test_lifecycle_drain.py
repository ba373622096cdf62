"""The order of a drain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hitless.lifecycle.drain import Limits, Phase, Seen, next_phase

LIMITS = Limits()
NOTHING = Seen(elapsed_s=0.5, in_phase_s=0.5, quiet_s=0.1, refused_probes=0, in_flight=1)


@pytest.mark.parametrize(
    ("phase", "changes", "expected"),
    [
        pytest.param(Phase.LEAVING, {"refused_probes": 2, "quiet_s": 9.0}, Phase.LEAVING, id="too few probes"),
        pytest.param(Phase.LEAVING, {"refused_probes": 9, "quiet_s": 0.9}, Phase.LEAVING, id="somebody still sends"),
        pytest.param(Phase.LEAVING, {"refused_probes": 3, "quiet_s": 1.0}, Phase.CLOSING, id="they have left"),
        pytest.param(Phase.LEAVING, {"elapsed_s": 10.0}, Phase.CLOSING, id="nobody probes"),
        pytest.param(Phase.LEAVING, {"elapsed_s": 30.0}, Phase.CUTTING, id="the deadline comes first"),
        pytest.param(Phase.CLOSING, {"quiet_s": 9.0}, Phase.CLOSING, id="something is open"),
        pytest.param(Phase.CLOSING, {"in_flight": 0}, Phase.CLOSING, id="busy connections are not told yet"),
        pytest.param(Phase.CLOSING, {"in_flight": 0, "quiet_s": 1.0}, Phase.ENDING, id="nobody is there to tell"),
        pytest.param(Phase.CLOSING, {"in_flight": 0, "in_phase_s": 1.0}, Phase.ENDING, id="busy ones had their time"),
        pytest.param(Phase.CLOSING, {"elapsed_s": 30.0}, Phase.CUTTING, id="the deadline"),
        pytest.param(Phase.CUTTING, {"elapsed_s": 30.5}, Phase.CUTTING, id="close frames are under way"),
        pytest.param(Phase.CUTTING, {"elapsed_s": 30.1, "in_flight": 0}, Phase.ENDING, id="all is cut"),
        pytest.param(
            Phase.CUTTING, {"elapsed_s": 31.0, "in_phase_s": 1.0}, Phase.ENDING, id="somebody does not listen"
        ),
        pytest.param(Phase.SERVING, {"elapsed_s": 99.0}, Phase.SERVING, id="no drain"),
        pytest.param(Phase.ENDING, {"in_flight": 0, "quiet_s": 99.0}, Phase.ENDING, id="the end"),
    ],
)
def test_a_phase_is_left_for_its_reason_alone(phase: Phase, changes: dict[str, float], expected: Phase) -> None:
    assert next_phase(phase, replace(NOTHING, **changes), LIMITS) is expected


def test_a_drain_ends_whatever_is_seen() -> None:
    phase, elapsed_s, began_s = Phase.LEAVING, 0.0, 0.0
    while phase is not Phase.ENDING:
        elapsed_s += 0.1
        seen = Seen(elapsed_s=elapsed_s, in_phase_s=elapsed_s - began_s, quiet_s=0.0, refused_probes=0, in_flight=5)
        found = next_phase(phase, seen, LIMITS)
        phase, began_s = found, elapsed_s if found is not phase else began_s
    assert elapsed_s == pytest.approx(LIMITS.deadline_s + LIMITS.cut_within_s, abs=0.3)
