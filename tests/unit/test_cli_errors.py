from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import Shell, a_shell

from hitless.cli import complaint, status
from hitless.cli.faults import ProjectNotFound
from hitless.cli.place import project_directory
from hitless.errors import Place, UserError
from hitless.view.problem import problem_of
from scripted_control_plane import ScriptedControlPlane, chained


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return a_shell(tmp_path, monkeypatch, capsys)


def test_an_error_names_cause_place_evidence_and_the_next_step() -> None:
    error = UserError(
        "the weight is above 100 %",
        place=Place("hitless.yaml", 12, 5),
        evidence=("weight: 101%", "steps before: 1 %\n5 %"),
        hints=("hitless validate",),
    )
    assert list(complaint.lines(problem_of(error))) == [
        "error[HL2000]: the weight is above 100 %",
        "  at hitless.yaml:12:5",
        "  weight: 101%",
        "  steps before: 1 %",
        "  5 %",
        "  hint: hitless validate",
        "  docs: hitless explain HL2000",
    ]


def test_errors_go_to_stderr_as_one_document_with_json(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane()):
        told = shell("status", "nope", "--json")
    assert told.out == ""
    assert json.loads(told.err)["schema"] == "hitless.problem/v1"


@pytest.mark.parametrize(
    ("command", "sentence", "hint"),
    [
        (["status", "--plian"], "Unknown option: --plian. Did you mean --plain?", "hitless status --help"),
        (["deploi"], 'Unknown command "deploi". Did you mean "deploy"?', "hitless --help"),
        (["rollout", "aborrt"], 'Unknown command "aborrt". Did you mean "abort"?', "hitless rollout --help"),
        (["deploy"], "parameter --version requires an argument", "hitless deploy --help"),
        (["deploy", "--version", "1", "--strategy", "x"], 'Invalid value "x" for --strategy', "hitless deploy --help"),
    ],
)
def test_a_mistyped_command_is_told_what_was_meant(shell: Shell, command: list[str], sentence: str, hint: str) -> None:
    told = shell(*command)
    assert told.code == 2
    assert told.err.startswith("error[HL2090]: ")
    assert sentence in told.err
    assert f"hint: {hint}\n" in told.err


def test_an_unforeseen_error_is_one_line_and_a_saved_report(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "Session", lambda _: 1 / 0)
    told = shell("status")
    lines = told.err.splitlines()
    assert (told.code, lines[0]) == (1, "error[HL1000]: unexpected ZeroDivisionError: division by zero")
    assert "Traceback" not in told.err
    report = Path(lines[1].removeprefix("  report saved: "))
    assert "ZeroDivisionError" in report.read_text()
    report.unlink()


def test_debug_shows_the_traceback(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "Session", lambda _: 1 / 0)
    told = shell("status", "--debug")
    assert "Traceback" in told.err
    Path(told.err.partition("report saved: ")[2].splitlines()[0]).unlink()


def test_the_project_is_found_from_any_directory_below(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    below = shell.directory / "a/b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    with shell.served(ScriptedControlPlane()):
        assert shell("status").code == 0


def test_the_project_is_named_by_option_or_environment(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    with shell.served(ScriptedControlPlane()):
        assert shell("status", "--project", str(shell.directory)).code == 0
        assert shell("status", "--project", str(shell.directory / "hitless.yaml")).code == 0
        monkeypatch.setenv("HITLESS_PROJECT", str(shell.directory))
        assert shell("status").code == 0


def test_without_a_project_the_error_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFound) as error:
        project_directory(None, start=tmp_path)
    assert error.value.hints[0] == "hitless init"
    with pytest.raises(ProjectNotFound):
        project_directory(tmp_path, start=tmp_path)


def test_a_socket_of_somebody_else_is_not_taken_for_none(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("hitless.cli.client.connect", refuse)
    told = shell("status")
    assert told.code == 8
    assert told.err.startswith("error[HL8002]")


def test_a_reader_that_goes_away_is_no_error(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane(records=chained(*["x"] * 5_000))):
        command = f"{sys.executable} -m hitless.cli journal export | head -1"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
