"""OpenSLO v1: what is taken from a file, and what is said by name because it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.config import InvalidConfiguration, load
from hitless.config.openslo import read_openslo
from hitless.rollout.spec import LatencyObjective, SloSpec

RATIO = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: available
spec:
  service: checkout
  indicator:
    metadata: {name: success}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: good}}}
        total: {metricSource: {type: Prometheus, spec: {query: all}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives:
    - displayName: requests
      target: 0.9995
"""
THRESHOLD = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: fast
spec:
  service: checkout
  indicatorRef: duration
  objectives:
    - {op: lte, value: 0.3, targetPercent: 99}
    - {op: lt, value: 0.08, target: 0.5}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: duration}
spec: {thresholdMetric: {metricSource: {spec: {query: histogram}}}}
"""
OTHERS = """\
apiVersion: openslo/v1
kind: Service
metadata: {name: checkout}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: page}
"""


def read(text: str, service: str = "checkout") -> SloSpec:
    spec, problems = read_openslo(text, name="slo.yaml", service=service)
    assert problems == ()
    return spec


def said(text: str) -> list[str]:
    return [one.message for one in read_openslo(text, name="slo.yaml", service="checkout")[1]]


def test_ratio_and_threshold_metrics_are_objectives_and_other_kinds_say_nothing() -> None:
    assert read(f"---\n{OTHERS}---\n{RATIO}---\n{THRESHOLD}") == SloSpec(
        success_rate=0.9995,
        latency=(LatencyObjective(quantile=0.5, at_most_ms=80), LatencyObjective(quantile=0.99, at_most_ms=300)),
    )


def test_objectives_of_other_services_and_those_to_be_ignored_are_left_out() -> None:
    other = RATIO.replace("checkout", "search").replace("0.9995", "0.9")
    ignored = RATIO.replace("name: available", "name: cached\n  annotations: {hitless.sli: ignore}")
    assert read(f"{other}---\n{ignored}---\n{RATIO}").success_rate == 0.9995


def test_the_unit_of_a_threshold_can_be_said() -> None:
    said_so = THRESHOLD.replace("name: fast", "name: fast\n  annotations: {hitless.unit: ms}")
    limits = said_so.replace("0.3", "300").replace("0.08", "80")
    assert [one.at_most_ms for one in read(limits).latency] == [80, 300]


REFUSED = [
    (
        RATIO,
        "    - displayName: requests\n",
        "    - displayName: x\n      indicatorRef: y\n",
        17,
        "is composed of others",
    ),
    (RATIO, "target: 0.9995", "target: 1", 18, "SLO `available` has `1` as target"),
    (RATIO, "target: 0.9995", "targetPercent: 120", 18, "SLO `available` has `120` as targetPercent"),
    (RATIO, "target: 0.9995", "value: 3", 17, "needs one of target and targetPercent"),
    (RATIO, "Occurrences", "Timeslices", 15, "counts slices of time"),
    (RATIO, "ratioMetric", "rawMetric", 7, "has no indicator with a ratioMetric or a thresholdMetric"),
    (RATIO, "openslo/v1", "openslo/v2alpha", 1, "apiVersion `openslo/v2alpha` is not read"),
    (RATIO, "kind: SLO", "kind: SLOO", 2, "`SLOO` is no kind of openslo/v1"),
    (RATIO, "kind: SLO", "kimd: SLO", 1, "this is no OpenSLO document"),
    (RATIO, "target: 0.9995", "target: 0.9995\n    - target: 0.9", 19, "is a second share of requests that succeed"),
    (THRESHOLD, "op: lte", "op: gt", 9, "only lt and lte are latency"),
    (THRESHOLD, "value: 0.3", "value: 300", 9, "does not say whether `300` is seconds or milliseconds"),
    (THRESHOLD, "value: 0.3", "value: -1", 9, "has `-1` as value"),
    (
        THRESHOLD,
        "indicatorRef: duration",
        "indicatorRef: other",
        7,
        "refers to the SLI `other`, which is not in the file",
    ),
    (RATIO, "  objectives:", "  objective:", 5, "has no objectives"),
    (RATIO, "spec:\n  service", "spce:\n  service", 1, "SLO `available` has no spec"),
]


@pytest.mark.parametrize(("text", "old", "new", "line", "message"), REFUSED, ids=[one[2] for one in REFUSED])
def test_what_cannot_be_used_is_named_with_its_line(text: str, old: str, new: str, line: int, message: str) -> None:
    changed = text.replace(old, new, 1)
    assert changed != text
    found = said(changed)
    assert message in found[0]
    assert found[0].startswith(f"slo.yaml:{line}:")


def test_a_document_that_is_no_yaml_is_a_problem_of_its_own_lines() -> None:
    found = said(THRESHOLD.replace("kind: SLI", "kind: S: LI"))
    assert any(one.startswith("slo.yaml:13:8: this is not YAML") for one in found)


PIECES = [
    "[]",
    "{}",
    "null",
    "7",
    "-0.5",
    "true",
    ".nan",
    ".inf",
    "1e999",
    "x",
    "[a, b]",
    "{a: {b: []}}",
    "''",
    "*a",
    "!!set {a}",
]


few = settings(max_examples=min(settings.default.max_examples if settings.default else 100, 500))


@few
@given(st.sampled_from([RATIO, THRESHOLD, OTHERS]), st.data())
def test_whatever_stands_in_a_file_gives_objectives_or_problems_with_a_place(text: str, data: st.DataObject) -> None:
    lines = text.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.integers(0, len(lines) - 1))
        key, colon, _ = lines[number].partition(":")
        lines[number] = f"{key}{colon} {data.draw(st.sampled_from(PIECES))}"
    spec, problems = read_openslo("\n".join(lines), name="slo.yaml", service="checkout")
    assert all(one.message for one in problems)
    assert problems or spec.success_rate is not None or spec.latency


def test_a_file_without_an_objective_of_the_service_says_whose_it_has() -> None:
    _, (problem,) = read_openslo(RATIO, name="slo.yaml", service="mail")
    assert problem.message == "`slo.yaml` has no objective of the service `mail`"
    assert "`checkout`" in (problem.hint or "")
    assert said("") == ["`slo.yaml` has no objective of the service `checkout`"]


def test_latency_that_contradicts_itself_or_cannot_be_told_apart_is_refused() -> None:
    assert "p99 cannot be lower than p50" in said(THRESHOLD.replace("0.08", "0.5"))[0]
    assert "not told apart" in said(THRESHOLD.replace("value: 0.08", "value: 0.00008"))[0]


CONFIGURATION = """\
service: checkout
listen: 127.0.0.1:8080
instances: 2
run: {command: [app, "{port}"]}
slo: {openslo: slo.yaml, latency: {p99: 200ms}}
"""


def test_what_hitless_yaml_says_counts_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "hitless.yaml").write_text(CONFIGURATION)
    (tmp_path / "slo.yaml").write_text(f"{RATIO}---\n{THRESHOLD}")
    assert load(tmp_path / "hitless.yaml").services["checkout"].slo == SloSpec(
        success_rate=0.9995,
        latency=(LatencyObjective(quantile=0.5, at_most_ms=80), LatencyObjective(quantile=0.99, at_most_ms=200)),
    )


def test_a_problem_of_the_file_is_a_finding_at_the_line_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "hitless.yaml").write_text(CONFIGURATION)
    (tmp_path / "slo.yaml").write_text(RATIO.replace("Occurrences", "Timeslices"))
    with pytest.raises(InvalidConfiguration) as caught:
        load(tmp_path / "hitless.yaml")
    (finding,) = caught.value.findings
    assert (finding.place.line, finding.place.column) == (5, 16)
    assert finding.message == "slo.yaml:15:20: SLO `available` counts slices of time, hitless counts requests"


def test_a_file_that_is_too_large_is_refused_and_never_cut_off(tmp_path: Path) -> None:
    (tmp_path / "hitless.yaml").write_text(CONFIGURATION)
    (tmp_path / "slo.yaml").write_text(RATIO + "---\n" + "# filler\n" * 40_000 + THRESHOLD)
    with pytest.raises(InvalidConfiguration) as caught:
        load(tmp_path / "hitless.yaml")
    (finding,) = caught.value.findings
    assert finding.message == "`slo.yaml` is larger than 256 KiB"
