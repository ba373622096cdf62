"""`hitless calibrate`: what it reads, what it says, how it exits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_support import CONFIGURATION, Shell, a_shell
from judge_support import BEGIN, EU, Behaviour, cell_of

from hitless.adapters.recordings.files import RecordingFiles
from hitless.analysis.counts import Call, Fates, Second, Usage
from hitless.analysis.settings import Background, JudgeSettings
from hitless.cli.client import Client
from hitless.cli.evidence import read_baseline
from hitless.ports import Recorded
from hitless.rollout.spec import AnalysisSpec, InstanceId, SloSpec, Version
from scripted_control_plane import NEW, OLD, ScriptedControlPlane, service

V1, V2 = Version(OLD), Version(NEW)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    made = a_shell(tmp_path, monkeypatch, capsys)
    (tmp_path / "hitless.yaml").write_text(CONFIGURATION + "analysis: {error_rate: {margin: 0.01pp}}\n")
    return made


def measured(seconds: int = 600, *, instances: int = 2, rate: int = 40) -> tuple[Second, ...]:
    draw, behaviour = np.random.default_rng(2), Behaviour(failing=0.01, instances=instances)
    return tuple(
        Second(
            at=BEGIN + at,
            cells=(cell_of(draw, V1, rate, behaviour),),
            calls=(Call(region=EU, version=V1, dependency="db", fates=Fates(total=3)),),
        )
        for at in range(seconds)
    )


def lines(seconds: int, *, slow: str = "") -> Iterator[str]:
    draw = np.random.default_rng(4)
    for number in range(seconds * 20):
        instance = "ab"[int(draw.integers(0, 2))]
        ms = round(float(draw.lognormal(4.0 if instance == slow else 3.5, 0.4)), 1)
        line = {"t": number / 20, "arm": "baseline", "ok": bool(draw.random() > 0.01), "ms": ms, "instance": instance}
        yield json.dumps(line)


def test_what_the_control_plane_measured_is_tried_with_the_settings_of_the_project(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane(measured=measured())) as control:
        told = shell("calibrate", "--minutes", "20", "--runs", "4")
    assert control.calls == [("seconds", {"service": "checkout", "minutes": 20})]
    assert told.code == 0
    assert f"{OLD} beside itself: 24000 requests in 10m" in told.out
    assert "by request: taken back in 0 of 2 runs of 5m" in told.out
    assert "by instance: taken back in 0 of 2 runs" in told.out
    assert "analysis.error_rate.margin 0.01pp: rather" in told.out
    assert "slow answers, other attempts and calls by instance: they are counted by version" in told.out
    assert "for hitless.yaml:\n\nanalysis:\n  error_rate: {margin: " in told.out


def test_the_document_has_all_figures_and_settings_that_can_be_pasted(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane(measured=measured())):
        data = shell("calibrate", "checkout", "--runs", "2", "--json").data
    assert (data["source"], data["service"], data["version"]) == ("control plane", "checkout", OLD)
    assert (data["seconds"], data["requests"], data["instances"], data["missing"]) == (600, 24_000, 2, [])
    (margin,) = [one for one in data["proposals"] if one["key"] == "analysis.error_rate.margin"]
    assert margin["present"] == 0.0001
    pasted = shell.directory / "hitless.yaml"
    pasted.write_text(CONFIGURATION + data["settings"] + "\n")
    assert shell("validate").code == 0


@pytest.mark.parametrize(
    "control",
    [
        ScriptedControlPlane(measured=measured(120)),
        ScriptedControlPlane(measured=()),
        ScriptedControlPlane(frames=[[service(stable=None)]], measured=measured(600)),
    ],
    ids=["two minutes", "nothing", "never deployed"],
)
def test_with_too_few_data_it_says_so_and_proposes_nothing(shell: Shell, control: ScriptedControlPlane) -> None:
    with shell.served(control):
        told, data = shell("calibrate"), shell("calibrate", "--json")
    assert (told.code, data.code) == (6, 6)
    assert "too little to say anything: " in told.out
    assert (data.data["proposals"], data.data["tried"], data.data["settings"]) == ([], [], None)
    assert data.data["missing"]


def test_gaps_are_told_and_are_no_quiet_seconds(shell: Shell) -> None:
    gaps = tuple(Second(at=BEGIN + 600 + at, gap="Envoy did not answer") for at in range(90))
    with shell.served(ScriptedControlPlane(measured=measured() + gaps)):
        told = shell("calibrate", "--runs", "1")
    assert "in 10m, 1m30s could not be read" in told.out


def test_a_slow_instance_in_a_file_of_requests_is_found_and_exits_with_6(shell: Shell) -> None:
    path = shell.directory / "requests.jsonl"
    path.write_text("\n".join(lines(600, slow="b")))
    told = shell("calibrate", "--file", str(path), "--runs", "6")
    assert told.code == 6
    assert (
        "slow answers: more often than promised; instances of this version differ by more than the margin" in told.out
    )
    assert "latency: {margin: " in told.out
    assert "with these settings, by instance: taken back in 0 of 3 runs" in told.out


def test_requests_are_counted_by_instance_and_the_new_versions_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    old = {"t": 0.4, "arm": "baseline", "ok": True, "ms": 1}
    path.write_text("\n".join(json.dumps(one) for one in (old | {"instance": "a"}, old, old | {"arm": "canary"})))
    found = read_baseline(str(path))
    assert [cell.version for second in found.seconds for cell in second.cells] == [found.version] * 2
    assert sorted(len(cell.instances) for second in found.seconds for cell in second.cells) == [0, 1]


def test_a_recording_is_tried_with_its_own_settings_and_with_those_of_a_service_that_is_named(shell: Shell) -> None:
    files = RecordingFiles(shell.directory)
    told = JudgeSettings(
        canary=V2,
        baseline=V1,
        analysis=AnalysisSpec(error_margin=0.02),
        slo=SloSpec(success_rate=0.9),
        background=Background(),
        salt="checkout-r7",
    )
    files.begin("checkout-r7", told)
    files.add("checkout-r7", [Recorded(second=one, share_bp={EU: 0}) for one in measured()])
    path = str(files.path("checkout-r7"))
    own = shell("calibrate", "--file", path, "--runs", "1", "--json").data
    named = shell("calibrate", "checkout", "--file", path, "--runs", "1", "--json").data
    margins = [next(one["present"] for one in data["proposals"] if "error" in one["key"]) for data in (own, named)]
    assert margins == [0.02, 0.0001]
    assert [data["source"] for data in (own, named)] == ["recording", "recording"]
    assert ["objective" in {row["name"] for row in data["rows"]} for data in (own, named)] == [True, False]


@pytest.mark.parametrize(
    "arguments", [("--minutes", "0"), ("--minutes", "46"), ("--runs", "0"), ("--file", "--quick"), ("--file", "none")]
)
def test_what_cannot_be_is_refused_as_usage(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell("calibrate", *arguments).code == 2


def test_a_control_plane_that_is_away_is_told(shell: Shell) -> None:
    assert shell("calibrate").code == 8


def test_half_of_a_line_does_not_pass(shell: Shell) -> None:
    path = shell.directory / "requests.jsonl"
    path.write_text('{"t": 1, "arm": "base')
    told = shell("calibrate", "--file", str(path))
    assert told.code == 2
    assert f"{path}:1" in told.err


def test_what_instances_use_does_not_travel(shell: Shell) -> None:
    (first, *_) = measured(1)
    used = Usage(instance=InstanceId("a"), region=EU, version=V1, age_s=1.0)
    with shell.served(ScriptedControlPlane(measured=(replace(first, usage=(used,)),))) as control:
        (row,) = Client(shell.socket).seconds("checkout", minutes=1)["seconds"]
    assert control.calls
    assert set(row) == {"t", "s", "c", "k"}
