"""Looking at Envoy and exchanging it from the command line, and the notes of `hitless status`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from cli_support import Shell, a_shell, trimmed

from hitless.errors import Refused
from scripted_control_plane import ScriptedControlPlane, at, envoy, service

DIFFERENCE = "Envoy 1.39.3 runs, this hitless brings 1.40.0"
NOTE = f"{DIFFERENCE}; exchange it without an outage: hitless envoy restart"
OLDER = envoy(
    version="1.39.3",
    epoch=2,
    differences=[DIFFERENCE],
    earlier=[
        {"pid": 9, "open_connections": 12, "until": at(60)},
        {"pid": 8, "open_connections": None, "until": at(30)},
    ],
    next=["hitless envoy restart"],
)
STATUS = """\
Envoy 1.39.3 running as process 4712, generation 2
note Envoy 1.39.3 runs, this hitless brings 1.40.0
note process 9, replaced, has 12 connections to instances; ends at the latest at 2025-11-22T12:01:00Z
note process 8, replaced, has an unknown number of connections to instances; ends at the latest at 2025-11-22T12:00:30Z
next hitless envoy restart
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return a_shell(tmp_path, monkeypatch, capsys)


def test_status_says_what_runs_what_it_should_be_and_what_it_has_replaced(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane(envoy_view=OLDER)):
        told = shell("envoy", "status")
        assert (told.code, told.out) == (0, STATUS)
        assert shell("envoy", "status", "--json").data == OLDER


def test_a_restart_cuts_nothing_unless_asked_to(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane()) as control:
        told = shell("envoy", "restart", "--reason", "upgrade")
    assert (told.code, told.out) == (0, "Envoy 1.40.0 running as process 4712, generation 0\n")
    ((name, asked),) = control.calls
    assert (name, asked["cut"], asked["reason"]) == ("restart_envoy", False, "upgrade")


def test_a_refused_restart_exits_with_4_and_says_how_to_go_on(shell: Shell) -> None:
    refusal = Refused("it still has streams", hints=("hitless envoy restart --cut",))
    with shell.served(ScriptedControlPlane(refusal=refusal)):
        told = shell("envoy", "restart")
    assert told.code == 4
    assert "it still has streams" in told.err
    assert "hint: hitless envoy restart --cut" in told.err


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 4), ("no\n", 4)])
def test_a_cut_asks_first(shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with shell.served(ScriptedControlPlane()) as control:
        told = shell("envoy", "restart", "--cut")
    assert told.code == code
    assert "This may cut streams" in told.err
    assert [asked["cut"] for _, asked in control.calls] == ([True] if code == 0 else [])


def test_a_cut_is_refused_where_nobody_can_be_asked_and_yes_asks_nobody(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with shell.served(ScriptedControlPlane()) as control:
        told = shell("envoy", "restart", "--cut")
        assert told.code == 4
        assert "hint: hitless envoy restart --cut --yes" in told.err
        assert shell("envoy", "restart", "--cut", "--yes").code == 0
    assert len(control.calls) == 1


def test_status_shows_notes_and_the_certificates_end(shell: Shell) -> None:
    certificate = {"path": "/tls/cert.pem", "ends_at": at(9 * 86_400), "days_left": 8, "problem": None}
    noted = service(notices=[NOTE, "certificate /tls/cert.pem ends in 8 days"], certificate=certificate)
    with shell.served(ScriptedControlPlane(frames=[[noted]])):
        shown = trimmed(shell("status").out)
    assert "TLS certificate ends on 2025-12-01, 8 days left" in shown
    assert NOTE in " ".join(shown.split())
    assert "note  Envoy" in shown


def test_a_list_of_services_says_each_note_once(shell: Shell) -> None:
    both = [service(notices=[NOTE]), service(name="search", notices=[NOTE])]
    with shell.served(ScriptedControlPlane(frames=[both])):
        told = shell("status")
    assert told.err.count("note: ") == 1
    assert NOTE in told.err


def test_a_control_plane_that_knows_no_notes_is_shown_all_the_same(shell: Shell) -> None:
    old = service()
    del old["notices"], old["certificate"]  # type: ignore[misc]  # as the release before answers
    with shell.served(ScriptedControlPlane(frames=[[old]])):
        assert shell("status").code == 0
