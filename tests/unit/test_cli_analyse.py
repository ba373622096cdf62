"""`hitless analyse` and `hitless plan --rate`: what is read, what is refused with its place, what scripts see."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_support import Shell, a_shell

from hitless.adapters.recordings.files import RecordingFiles
from hitless.adapters.recordings.form import header_line, second_line
from hitless.analysis.counts import Cell, Fates, Second, Usage
from hitless.analysis.resources import Resources
from hitless.analysis.ruling import Call, Estimate, Judgement, RowReport, Ruling, Why
from hitless.analysis.settings import Background, JudgeSettings
from hitless.cli import analyse, evidence
from hitless.ports import Recorded
from hitless.rollout.spec import AnalysisSpec, InstanceId, Region, SloSpec, Version

EU = Region("eu")


class CountingJudge:
    """Turns back once the canary has failed three times; promotes after a hundred requests of it."""

    made: list[CountingJudge]

    def __init__(self, settings: JudgeSettings, resources: Resources | None) -> None:
        self.settings, self.resources = settings, resources
        self.canary = Fates()
        self.taken: list[tuple[int, Mapping[Region, int]]] = []
        self.asked: list[int] = []
        self.gaps = 0
        self.made.append(self)

    def take(self, second: Second, share_bp: Mapping[Region, int]) -> None:
        self.taken.append((second.at, share_bp))
        self.gaps += second.gap is not None
        for cell in second.cells:
            if cell.version == self.settings.canary:
                self.canary += cell.requests

    def judgement(self, *, next_share_bp: int) -> Judgement:
        self.asked.append(next_share_bp)
        if self.canary.failed >= 3:
            ruling = Ruling(call=Call.ROLLBACK, why=Why.WORSE, row="errors", sentence="three failed")
        elif self.canary.total >= 100:
            ruling = Ruling(
                call=Call.PROMOTE, why=Why.NOT_WORSE, sentence="a hundred seen", next_share_bp=next_share_bp
            )
        else:
            ruling = Ruling(call=Call.HOLD, why=Why.TOO_FEW, sentence="too few")
        row = RowReport(
            name="errors",
            title="errors",
            acts=Call.ROLLBACK,
            log_evidence=float("-inf"),
            log_needed=5.7,
            weight=0.3,
            canary=(self.canary.failed, self.canary.total),
            estimate=Estimate(value=2.0, low=0.5, high=float("inf")),
            detail="what was seen",
        )
        return Judgement(at=0, ruling=ruling, detail=ruling.sentence, rows=(row,), promise="it is true that")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return a_shell(tmp_path, monkeypatch, capsys)


@pytest.fixture(autouse=True)
def judges(monkeypatch: pytest.MonkeyPatch) -> list[CountingJudge]:
    CountingJudge.made = []
    monkeypatch.setattr(analyse, "Judge", CountingJudge)
    monkeypatch.setattr(evidence, "background", measured)
    return CountingJudge.made


def measured(seconds: Sequence[Second], *, baseline: Version, analysis: AnalysisSpec) -> Background:  # noqa: ARG001 - a fake compares nothing
    return Background(seconds=len(seconds), failure_rate=0.001)


def lines(count: int, *, failing: int = 0, start: float = 0.0, arm: str = "canary") -> list[dict[str, Any]]:
    return [
        {"t": start + number * 0.5, "arm": arm, "region": "eu", "route": "/", "ok": number >= failing, "ms": 20.0}
        for number in range(count)
    ]


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in sorted(rows, key=lambda row: row["t"])))
    return str(path)


@pytest.mark.parametrize(
    ("rows", "code", "verdict", "second"),
    [
        (lines(150), 0, "promote", 49),
        (lines(150, failing=3), 3, "rollback", 1),
        (lines(20), 6, "hold", None),
    ],
)
def test_the_exit_code_and_the_document_say_the_verdict_and_its_second(
    shell: Shell, rows: list[dict[str, Any]], code: int, verdict: str, second: int | None
) -> None:
    file = written(shell.directory / "requests.jsonl", [*rows, *lines(150, arm="baseline")])
    told = shell("analyse", file, "--json")
    assert (told.code, told.documents[0]["schema"]) == (code, "hitless.analysis/v1")
    assert (told.data["verdict"], told.data["second"], told.data["source"]) == (verdict, second, "requests")
    (row,) = told.data["rows"]
    assert (row["name"], row["log_evidence"], row["estimate"]["high"]) == ("errors", None, None)
    assert told.data["promise"] == "it is true that"


def test_people_read_the_verdict_the_rows_and_the_promise(shell: Shell) -> None:
    file = written(shell.directory / "requests.jsonl", [*lines(150, failing=3), *lines(150, arm="baseline")])
    told = shell("analyse", file)
    assert told.out.startswith("ROLLBACK in second 1: three failed\n")
    assert "errors" in told.out
    assert "3 of 4" in told.out
    assert told.out.rstrip().endswith("it is true that")
    assert "background (thresholds, usual failures, bursts): the old version's own requests" in told.err


def test_requests_may_come_through_stdin(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(json.dumps(row) for row in lines(150))))
    assert shell("analyse", "-", "--json").data["verdict"] == "promote"


def test_options_reach_the_judge(shell: Shell, judges: list[CountingJudge]) -> None:
    file = written(shell.directory / "requests.jsonl", [*lines(150), *lines(150, arm="baseline")])
    options = [
        "--false-rollback",
        "0.5%",
        "--margin",
        "0.2pp",
        "--slo",
        "99.9%",
        "--share",
        "5%",
        "--next-share",
        "25%",
    ]
    shell("analyse", file, *options)
    (judge,) = judges
    assert judge.settings.analysis == AnalysisSpec(false_rollback=0.005, error_margin=0.002, warm_up_s=0.0)
    assert judge.settings.slo == SloSpec(success_rate=0.999)
    assert {tuple(shares.items()) for _, shares in judge.taken} == {((EU, 500),)}
    assert set(judge.asked) == {2_500}
    assert judge.resources is None


def test_without_a_word_the_share_is_measured_and_asked_about(shell: Shell, judges: list[CountingJudge]) -> None:
    file = written(shell.directory / "requests.jsonl", [*lines(150), *lines(150, arm="baseline")])
    shell("analyse", file)
    (judge,) = judges
    assert {shares[EU] for _, shares in judge.taken} == {5_000}
    assert set(judge.asked) == {5_000}


@pytest.mark.parametrize(
    ("options", "first", "background_s"), [((), 100, 100), (("--baseline-before", "120"), 120, 120)]
)
def test_what_was_before_the_new_version_is_background_and_not_judged(
    shell: Shell, judges: list[CountingJudge], options: tuple[str, ...], first: int, background_s: int
) -> None:
    rows = [*lines(400, arm="baseline"), *lines(150, start=100)]
    told = shell("analyse", written(shell.directory / "requests.jsonl", rows), "--json", *options)
    (judge,) = judges
    assert judge.taken[0][0] == first
    assert judge.settings.background.seconds == told.data["background_s"] == background_s


def test_lines_that_cannot_be_read_are_told_with_their_places_and_nothing_is_judged(
    shell: Shell, judges: list[CountingJudge]
) -> None:
    file = shell.directory / "requests.jsonl"
    good = [json.dumps(row) for row in lines(3)]
    file.write_text("\n".join([good[0], "{", "", good[1].replace("canary", "green"), good[2]]) + "\n")
    told = shell("analyse", str(file))
    assert told.code == 2
    assert told.err.startswith(f"error[HL2087]: nothing was judged: 2 lines cannot be read\n  at {file}:2\n")
    assert f'{file}:4: `arm` is "green", not one of canary and baseline' in told.err
    assert judges == []


def test_of_many_bad_lines_the_first_are_told_and_the_rest_counted(shell: Shell) -> None:
    file = shell.directory / "requests.jsonl"
    file.write_text("nonsense\n" * 100)
    told = shell("analyse", str(file))
    assert "100 lines cannot be read" in told.err
    assert "and 80 more" in told.err


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"t": 1, "arm": "canary", "ok": true, "ms": 1' + "0" * 400 + "}", "`ms` is more than"),
        ('{"t": 1, "arm": "canary", "ok": true, "ms": 1e12}', "`ms` is more than"),
        ('{"t": 1.7e12, "arm": "canary", "ok": true, "ms": 1}', "`t` is in seconds"),
        ('{"t": 1, "arm": "canary", "ok": true, "ms": NaN}', "not a number of at least 0"),
        ('{"t": 1, "arm": "canary", "ok": true, "ms": 1, "instance": "\\ud800"}', "not a text"),
        ("[" * 100_000, "no JSON object"),
    ],
)
def test_a_hostile_line_is_told_as_any_other(shell: Shell, line: str, why: str) -> None:
    file = shell.directory / "requests.jsonl"
    file.write_text(line + "\n")
    told = shell("analyse", str(file))
    assert told.code == 2
    assert why in told.err


@pytest.mark.parametrize(
    "option",
    [
        ("--margin", "0pp"),
        ("--margin", "60pp"),
        ("--false-rollback", "0%"),
        ("--false-rollback", "100%"),
        ("--slo", "100%"),
        ("--share", "0%"),
        ("--next-share", "0%"),
        ("--baseline-before", "nan"),
        ("--baseline-before", "-1"),
        ("--baseline-before", "1000"),
    ],
)
def test_a_setting_that_nothing_can_be_judged_by_is_refused(shell: Shell, option: tuple[str, str]) -> None:
    file = written(shell.directory / "requests.jsonl", [*lines(150), *lines(150, arm="baseline")])
    told = shell("analyse", file, *option)
    assert (told.code, told.out) == (2, "")


@pytest.mark.parametrize("content", [None, "", "\n\n"])
def test_a_file_without_requests_is_no_verdict(shell: Shell, content: str | None) -> None:
    file = shell.directory / "requests.jsonl"
    if content is not None:
        file.write_text(content)
    told = shell("analyse", str(file))
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("error[HL2087]: nothing was judged: ")


def test_a_file_may_come_from_any_editor_and_must_be_text(shell: Shell) -> None:
    file = shell.directory / "requests.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(json.dumps(row) for row in lines(150)).encode())
    assert shell("analyse", str(file), "--json").data["verdict"] == "promote"
    file.write_bytes(b"\xff\xfe\n")
    assert "it is not UTF-8" in shell("analyse", str(file)).err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("requests.jsonl", "--metric", "a.txt"),
        ("requests.jsonl", "--margin", "0.1%"),
        ("requests.jsonl", "--false-rollback", "1"),
        ("requests.jsonl", "--share", "much"),
        ("--metric", "a", "b", "c"),
    ],
)
def test_options_that_say_nothing_are_usage(shell: Shell, arguments: tuple[str, ...]) -> None:
    told = shell("analyse", *arguments)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("error[HL2090]")


SETTINGS = JudgeSettings(
    canary=Version("v2"),
    baseline=Version("v1"),
    analysis=AnalysisSpec(),
    slo=None,
    background=Background(seconds=1_800),
    salt="checkout-r7",
)


def recorded(at: int) -> Recorded:
    cell = Cell(region=EU, route="/", version=Version("v2"), requests=Fates(total=10))
    usage = Usage(instance=InstanceId("a"), region=EU, version=Version("v2"), age_s=float(at), memory_bytes=1)
    return Recorded(second=Second(at=1_000 + at, cells=(cell,), usage=(usage,)), share_bp={EU: 500})


def a_recording(directory: Path) -> Path:
    files = RecordingFiles(directory)
    files.begin("checkout-r7", SETTINGS)
    files.add("checkout-r7", [recorded(at) for at in range(20) if at not in (5, 6)])
    return files.path("checkout-r7")


def test_a_recording_is_judged_with_its_own_settings_and_shares_and_its_holes_are_gaps(
    shell: Shell, judges: list[CountingJudge]
) -> None:
    told = shell("analyse", str(a_recording(shell.directory)), "--json")
    (judge,) = judges
    assert judge.settings == SETTINGS
    assert judge.resources is not None
    assert judge.gaps == 2
    assert judge.taken[0] == (1_000, {EU: 500})
    assert judge.taken[5] == (1_005, {})
    assert (told.data["source"], told.data["second"], told.data["background_s"]) == ("recording", 11, 1_800)


def test_a_recording_can_be_judged_against_other_settings(shell: Shell, judges: list[CountingJudge]) -> None:
    shell("analyse", str(a_recording(shell.directory)), "--margin", "1pp", "--slo", "99%")
    (judge,) = judges
    assert judge.settings == replace(SETTINGS, analysis=AnalysisSpec(error_margin=0.01), slo=SloSpec(success_rate=0.99))


@pytest.mark.parametrize(
    "line",
    [
        '{"t": 3, "s": {"eu": 20000}}',
        '{"t": 3.5, "s": {"eu": 500}}',
        '{"t": 3, "s": {"eu": 500}, "c": [["eu", "/", "v2", 1, 5, 0, [], {}]]}',
        "[" * 100_000,
    ],
)
def test_a_line_of_a_recording_that_cannot_be_is_a_gap(shell: Shell, judges: list[CountingJudge], line: str) -> None:
    file = shell.directory / "r1.jsonl"
    seconds = [second_line(Recorded(second=Second(at=at), share_bp={EU: 500})) for at in (1, 2, 4)]
    file.write_text("\n".join([header_line("r1", SETTINGS), *seconds[:2], line, seconds[2]]) + "\n")
    assert shell("analyse", str(file)).code == 6
    assert [(judge.gaps, len(judge.taken)) for judge in judges] == [(1, 4)]


def test_a_recording_of_another_format_is_refused(shell: Shell) -> None:
    path = a_recording(shell.directory)
    path.write_text(path.read_text().replace('"format":1', '"format":9'))
    told = shell("analyse", str(path))
    assert told.code == 2
    assert "a recording in a format that this hitless does not read" in told.err


def two_files(directory: Path, *, shift: float) -> tuple[str, str]:
    old = [10 + (number * 37 % 100) / 100 for number in range(400)]
    (directory / "old.txt").write_text("".join(f"{value}\n" for value in old))
    (directory / "new.txt").write_text("".join(f"{value + shift}\n" for value in old))
    return str(directory / "old.txt"), str(directory / "new.txt")


@pytest.mark.parametrize(
    ("shift", "options", "code"),
    [
        (1.0, (), 3),
        (1.0, ("--worse", "lower"), 0),
        (0.0, (), 6),
        (0.0, ("--tolerance", "5%"), 0),
    ],
)
def test_two_columns_are_compared(shell: Shell, shift: float, options: tuple[str, ...], code: int) -> None:
    told = shell("analyse", "--metric", *two_files(shell.directory, shift=shift), *options, "--json")
    assert told.code == code
    assert told.data["source"] == "metric"
    assert told.data["low"] <= shift <= told.data["high"]


def test_two_columns_may_stand_in_one_file_the_old_version_first(shell: Shell) -> None:
    file = shell.directory / "both.txt"
    file.write_text("".join(f"{10 + number % 3}, {14 + number % 3}\n" for number in range(300)))
    told = shell("analyse", "--metric", str(file))
    assert told.code == 3
    assert told.out.startswith("ROLLBACK: mean 14.99 of 100 values beside 10.99 of 100; ")


def test_a_column_that_holds_something_else_is_told_with_its_place(shell: Shell) -> None:
    file = shell.directory / "both.txt"
    file.write_text("1 2\n1\nx y\nnan 1\n")
    told = shell("analyse", "--metric", str(file))
    assert told.code == 2
    assert [f"{file}:{line}:" in told.err for line in (1, 2, 3, 4)] == [False, True, True, True]


def test_an_outlook_says_what_each_step_needs_and_finds(shell: Shell) -> None:
    told = shell("plan", "--rate", "100", "--errors", "0.1%", "--json")
    assert (told.code, told.documents[0]["schema"]) == (0, "hitless.outlook/v1")
    (step,) = told.data["steps"]
    assert (step["share_bp"], step["next_share_bp"], step["hold_s"]) == (500, 10_000, 600.0)
    assert (told.data["requests_per_s"], told.data["failure_rate"]) == (100.0, 0.001)
    assert not step["enough"]
    assert step["proposed_hold_s"] > step["needed_s"] > 600
    assert [one["factor"] for one in step["detections"]] == [2.0, 3.0, 10.0]


def test_people_read_an_outlook_as_a_table_with_what_is_too_short(shell: Shell) -> None:
    told = shell("plan", "checkout", "--rate", "100", "--plain")
    assert told.code == 0
    assert "checkout at 100 requests/s, of which 0.1 % fail" in told.out
    assert "(!) longer than the step's hold" in told.out
    assert "5 % needs about " in told.out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--errors", "1%"),
        ("--rate", "0"),
        ("--rate", "100", "--errors", "much"),
        ("--rate", "9", "--errors", "100%"),
    ],
)
def test_a_plan_of_nothing_is_usage(shell: Shell, arguments: tuple[str, ...]) -> None:
    told = shell("plan", *arguments)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("error[HL2090]")
