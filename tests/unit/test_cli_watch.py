"""Waiting for a rollout: exit codes, transcripts, detaching, a control plane that restarts."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_support import Shell, a_shell, without_stamps

from hitless.cli.clock import WallClock
from hitless.errors import AlreadyRunning, NoRollout, RolloutInProgress
from scripted_control_plane import (
    NEW,
    OLD,
    ScriptedControlPlane,
    canary_script,
    condition,
    ended,
    instance,
    judgement,
    preflight,
    rollout,
    service,
    serving,
    stage,
    version,
)

CANARY = """\
checkout: rollout checkout-7: canary, 91b07de -> 4f2c1a9, 2 stages
checkout: stage 1/2 canary 5 %: waits for ready, routed
checkout: progressing, stable version 91b07de
checkout: instance checkout-91b07de-1 (91b07de, 127.0.0.1:9001) ready, in rotation
checkout: instance checkout-91b07de-2 (91b07de, 127.0.0.1:9002) ready, in rotation
checkout: traffic 4f2c1a9 0 % (wanted 5 %), 91b07de 100 % (wanted 95 %)
checkout: instance checkout-4f2c1a9-3 (4f2c1a9, 127.0.0.1:9003) starting
checkout: instance checkout-4f2c1a9-3 ready, in rotation
checkout: traffic 4f2c1a9 5 %, 91b07de 95 %
checkout: stage 1/2 canary 5 %: ready
checkout: stage 1/2 canary 5 %: routed
checkout: stage 2/2 only the new version: waits for drained
checkout: instance checkout-4f2c1a9-4 (4f2c1a9, 127.0.0.1:9004) ready, in rotation
checkout: instance checkout-91b07de-1 draining, 3 open
checkout: instance checkout-91b07de-2 draining, 3 open
checkout: traffic 4f2c1a9 100 %, 91b07de 0 %
checkout: healthy, stable version 4f2c1a9
checkout: instance checkout-91b07de-1 gone
checkout: instance checkout-91b07de-2 gone
checkout: traffic 4f2c1a9 100 %
checkout: rollout checkout-7: completed after 1m12s
"""

TURNED_BACK = """\
checkout: rollout checkout-7: canary, 91b07de -> 4f2c1a9, 2 stages
checkout: stage 1/2 canary 5 %: waits for ready, routed
checkout: degraded, stable version 91b07de
checkout: instance checkout-4f2c1a9-3 (4f2c1a9, 127.0.0.1:9003) failed: exited with status 1
checkout: instance checkout-91b07de-1 (91b07de, 127.0.0.1:9001) ready, in rotation
checkout: traffic 91b07de 100 %
checkout: problem: 4f2c1a9 fails again and again
checkout: healthy, stable version 91b07de
checkout: instance checkout-4f2c1a9-3 gone
checkout: rollout checkout-7: rolling back: 3 failures of 4f2c1a9
checkout: rollout checkout-7: rolled back after 1m12s: 3 failures of 4f2c1a9
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return a_shell(tmp_path, monkeypatch, capsys)


def failing_script() -> list:
    old, cause = instance(1, OLD), "3 failures of 4f2c1a9"
    failed = instance(3, NEW, "failed", "out", cause="exited with status 1")
    alone = {"versions": [version(OLD, "stable", 10_000)]}
    return [
        service(
            **alone,
            health="degraded",
            instances=[failed, old],
            problems=["4f2c1a9 fails again and again"],
            rollout=rollout(),
        ),
        service(**alone, instances=[old], rollout=rollout(phase="rolling_back", cause=cause)),
        service(**alone, instances=[old], rollout=ended("rolled_back", cause=cause)),
    ]


def test_a_deploy_tells_every_change_once_one_line_each(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane.of(canary_script())):
        told = shell("deploy", "checkout", "--version", NEW, "--plain")
    assert without_stamps(told.out) == CANARY
    assert told.out.startswith("2025-11-22T12:04:12Z checkout: ")
    assert "rollout checkout-7 of checkout begins" in told.err
    assert told.code == 0


def test_a_deploy_that_is_turned_back_says_why(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane.of(failing_script())):
        told = shell("deploy", "--version", NEW, "--plain")
    assert without_stamps(told.out) == TURNED_BACK
    assert told.code == 3


def test_a_watch_tells_what_the_preflight_found_once(shell: Shell) -> None:
    found = preflight("warning")
    script = [service(rollout=rollout()), *(service(rollout=rollout(preflight=found)) for _ in range(2))]
    with shell.served(ScriptedControlPlane.of([*script, service(rollout=ended("completed", preflight=found))])):
        told = shell("deploy", "--version", NEW, "--plain")
    lines = without_stamps(told.out).splitlines()
    begin = lines.index("checkout: preflight warning: it is warning number 1 (rule_1)")
    assert lines[begin + 1 : begin + 3] == ["checkout:   / answered 503 at 0.3 s", "checkout:   do: mend it"]
    assert sum("rule_1" in line for line in lines) == 1


def test_a_watch_tells_what_a_judge_says_once_however_its_figures_grow(shell: Shell) -> None:
    words = [judgement(detail=f"{number} requests") for number in range(3)]
    script = [service(rollout=rollout()), *(service(rollout=rollout(judgement=one)) for one in words)]
    last = ended("rolled_back", cause="errors: 9 times the odds", judgement=judgement("rollback"))
    with shell.served(ScriptedControlPlane.of([*script, service(rollout=last)])):
        told = shell("deploy", "--version", NEW, "--plain")
    lines = without_stamps(told.out).splitlines()
    assert lines[-2].startswith("checkout: judge: ")  # the reason comes before what follows from it
    assert [line for line in lines if "judge" in line] == [
        "checkout: judge: cannot tell yet: too few requests",
        "checkout: judge: worse: errors: 9 times the odds",
    ]


def test_a_watch_tells_once_that_a_person_is_needed(shell: Shell) -> None:
    details = ["too few requests", *["waits for `hitless rollout promote`: too few requests"] * 2]
    stages = [[stage("canary 5 %", "current", [condition("judged fit for 100 %", detail=one)])] for one in details]
    script = [service(rollout=rollout(stages=one)) for one in stages]
    with shell.served(ScriptedControlPlane.of([*script, service(rollout=ended("completed"))])):
        told = shell("deploy", "--version", NEW, "--plain")
    lines = [line for line in without_stamps(told.out).splitlines() if "too few" in line]
    assert lines == ["checkout: stage 1/1 canary 5 %: waits for `hitless rollout promote`: too few requests"]


@pytest.mark.parametrize(("severities", "code"), [((), 0), (("warning",), 0), (("refusal", "warning"), 4)])
def test_a_preflight_exits_as_a_deploy_would(shell: Shell, severities: tuple[str, ...], code: int) -> None:
    with shell.served(ScriptedControlPlane(found=preflight(*severities))) as control:
        told = shell("preflight", "--version", NEW, "--reason", "curious", "--plain")
        assert shell("preflight", "--version", NEW, "--json").data == preflight(*severities)
    assert told.code == code
    assert all(f"it is {one} number" in told.out for one in severities)
    assert ("nothing found" in told.out) is (not severities)
    asked = control.calls[0][1]
    assert (control.calls[0][0], asked["version"], asked["reason"]) == ("preflight", NEW, "curious")


OUTCOMES = [("completed", 0), ("rolled_back", 3), ("refused", 4), ("failed", 6), ("superseded", 7)]


@pytest.mark.parametrize(("state", "code"), OUTCOMES)
def test_the_exit_code_of_a_deploy_tells_how_it_ended(shell: Shell, state: str, code: int) -> None:
    with shell.served(ScriptedControlPlane.of([service(rollout=rollout()), service(rollout=ended(state))])):
        assert shell("deploy", "--version", NEW).code == code


@pytest.mark.parametrize(("state", "code"), OUTCOMES)
def test_watching_a_rollout_ends_with_the_code_of_its_outcome(shell: Shell, state: str, code: int) -> None:
    with shell.served(ScriptedControlPlane.of([service(rollout=rollout()), service(rollout=ended(state))])):
        assert shell("rollout", "get", "checkout-7", "--watch").code == code


@pytest.mark.parametrize(("state", "code"), [("rolled_back", 0), ("failed", 6), ("superseded", 7), ("completed", 7)])
def test_an_abort_succeeds_when_the_old_version_is_back(shell: Shell, state: str, code: int) -> None:
    going_back = rollout(phase="rolling_back")
    with shell.served(ScriptedControlPlane.of([service(rollout=going_back), service(rollout=ended(state))])) as control:
        assert shell("rollout", "abort", "checkout", "--reason", "too slow").code == code
    assert control.calls[0][0] == "abort"
    assert control.calls[0][1]["reason"] == "too slow"


@pytest.mark.parametrize(
    ("before", "state", "code"),
    [
        (rollout(strategy="undo"), "completed", 0),
        (rollout(strategy="undo"), "rolled_back", 3),
        (rollout(phase="rolling_back"), "rolled_back", 0),
    ],
    ids=["back to the version before", "the version before fails", "in the middle of a rollout"],
)
def test_an_undo_succeeds_when_what_it_wished_for_is_reached(shell: Shell, before: dict, state: str, code: int) -> None:
    with shell.served(ScriptedControlPlane.of([service(rollout=before), service(rollout=ended(state))])):
        assert shell("rollout", "undo").code == code


@pytest.mark.parametrize(("options", "verb"), [([], "promote"), (["--full"], "promote_full")])
def test_a_promote_waits_for_the_outcome(shell: Shell, options: list[str], verb: str) -> None:
    script = [service(rollout=rollout()), service(rollout=ended("completed"))]
    with shell.served(ScriptedControlPlane.of(script)) as control:
        told = shell("rollout", "promote", *options)
    assert (told.code, control.calls[0][0]) == (0, verb)
    assert "completed after 1m12s" in told.out


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_pause_and_resume_return_at_once(shell: Shell, verb: str) -> None:
    with shell.served(ScriptedControlPlane.of([service(rollout=rollout())])) as control:
        told = shell("rollout", verb, "--json")
    assert (told.code, told.data["id"], control.calls[0][0]) == (0, "checkout-7", verb)


@pytest.mark.parametrize(
    "command", [["deploy", "--version", NEW], ["rollout", "promote"], ["rollout", "abort"], ["rollout", "undo"]]
)
def test_detached_verbs_return_at_once_and_say_how_to_watch(shell: Shell, command: list[str]) -> None:
    with shell.served(ScriptedControlPlane.of([service(rollout=rollout())])):
        told = shell(*command, "--detach")
    assert told.code == 0
    assert "hitless rollout get checkout-7 --watch" in told.err


@pytest.mark.parametrize(
    ("refusal", "code"),
    [(AlreadyRunning("it runs already"), 4), (RolloutInProgress("another one is going on"), 7)],
)
def test_a_deploy_that_is_refused_says_by_what(shell: Shell, refusal: Exception, code: int) -> None:
    with shell.served(ScriptedControlPlane(answers={"deploy": refusal})):
        told = shell("deploy", "--version", NEW)
    assert told.code == code
    assert told.err.startswith(f"error[{refusal.code}]: {refusal.message}")


def test_a_verb_without_a_rollout_is_refused(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane(answers={"abort": NoRollout("no rollout is going on")})):
        assert shell("rollout", "abort").code == 4


def test_a_deploy_that_takes_too_long_is_left_alone(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WallClock, "now", lambda _: datetime.now(UTC))  # noqa: TID251 - a real time-out
    with shell.served(ScriptedControlPlane.of([service(rollout=rollout())])):
        told = shell("deploy", "--version", NEW, "--timeout", "1s")
    assert told.code == 5
    assert "timed out after 1s; rollout checkout-7 goes on" in told.err
    assert "hitless rollout abort checkout" in told.err


def test_json_prints_one_document_per_change_and_the_last_one_is_the_outcome(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane.of(canary_script())):
        told = shell("deploy", "--version", NEW, "--json")
    assert {document["schema"] for document in told.documents} == {"hitless.rollout/v1"}
    assert [document["data"]["state"] for document in told.documents] == ["running"] * 3 + ["completed"]
    assert told.err == ""


def test_a_rollout_is_followed_to_its_end_though_a_newer_one_has_taken_its_place(shell: Shell) -> None:
    newer = rollout(id="checkout-8", candidate="later")
    script = [service(rollout=rollout()), service(rollout=newer)]
    with shell.served(ScriptedControlPlane.of(script, past=[ended("superseded", cause="by checkout-8")])):
        told = shell("deploy", "--version", NEW)
    assert told.code == 7
    assert "rollout checkout-7: superseded after 1m12s: by checkout-8" in told.out


def test_everything_asked_for_reaches_the_control_plane(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HITLESS_ACTOR", "ci:pipeline-9")
    options = ["--strategy", "blue_green", "--supersede", "--skip-preflight", "--reason", "urgent", "--detach"]
    with shell.served(ScriptedControlPlane()) as control:
        shell("deploy", "checkout", "--version", NEW, *options)
    wanted = {"service": "checkout", "version": NEW, "strategy": "blue_green", "supersede": True}
    wanted |= {"skip_preflight": True}
    assert control.calls == [("deploy", {**wanted, "actor": "ci:pipeline-9", "reason": "urgent"})]


def test_a_restart_of_the_control_plane_in_the_middle_is_told_and_survived(shell: Shell) -> None:
    reached, control = threading.Event(), ScriptedControlPlane.of(canary_script())
    control.on_frame = lambda frame: reached.set() if frame == 2 else None
    told: list = []
    watching = threading.Thread(target=lambda: told.append(shell("deploy", "--version", NEW, "--plain")))
    with serving(control, shell.socket) as stop:
        watching.start()
        assert reached.wait(30)
        stop()
    with serving(control, shell.socket):
        watching.join(60)
    text = without_stamps(told[0].out)
    assert told[0].code == 0
    away = [line for line in text.splitlines() if line.startswith("control plane")]
    assert away[0].startswith("control plane away for 0s: services go on, this watch tries again (")
    assert away[1:] == ["control plane back"]
    assert [line for line in text.splitlines() if line not in away] == CANARY.splitlines()


def test_a_control_plane_that_stays_away_ends_the_watch(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 1_000_000, 30))
    monkeypatch.setattr(WallClock, "now", lambda _: datetime.fromtimestamp(next(moments), UTC))
    control = ScriptedControlPlane.of([service(rollout=rollout())])
    told: list = []
    watching = threading.Thread(target=lambda: told.append(shell("deploy", "--version", NEW)))
    with serving(control, shell.socket):
        watching.start()
        wait_until(lambda: bool(control.calls))
    watching.join(60)
    assert told[0].code == 8
    assert "error[HL8001]" in told[0].err


def test_ctrl_c_detaches_and_says_how_to_go_on(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane.of([service(rollout=rollout())])):
        watch = subprocess.Popen(
            [sys.executable, "-m", "hitless.cli", "deploy", "--version", NEW],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert watch.stdout is not None
        assert "rollout checkout-7" in watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, err = watch.communicate(timeout=30)
    assert watch.returncode == 130
    assert "detached; rollout checkout-7 goes on" in err
    assert "watch it again: hitless rollout get checkout-7 --watch" in err
    assert "hitless rollout abort checkout" in err
    assert "Traceback" not in err


def test_a_terminal_is_redrawn_at_most_four_times_a_second(shell: Shell) -> None:
    script = [service(rollout=rollout(reason=f"frame {number}")) for number in range(8)]
    terminal, own = pty.openpty()
    fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with shell.served(ScriptedControlPlane.of([*script, service(rollout=ended("completed"))])):
        begin = time.monotonic()
        watch = subprocess.Popen(
            [sys.executable, "-m", "hitless.cli", "deploy", "--version", NEW],
            stdout=own,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm-256color"},
        )
        os.close(own)
        text = read_all(terminal)
        watch.communicate(timeout=30)
    took_s = time.monotonic() - begin
    drawn = [found for found in range(8) if f'"frame {found}"' in text]
    assert drawn == list(range(8))
    assert took_s > 8 * 0.25
    assert "took 1m12s" in text
    assert watch.returncode == 0


def test_no_color_leaves_no_colour_in_a_terminal(shell: Shell) -> None:
    terminal, own = pty.openpty()
    with shell.served(ScriptedControlPlane()):
        environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
        status = subprocess.Popen([sys.executable, "-m", "hitless.cli", "status"], stdout=own, env=environment)
        os.close(own)
        text = read_all(terminal)
        status.wait(30)
    assert "✔ healthy" in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", text)


def test_status_can_be_watched_line_by_line(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane.of(canary_script())):
        watch = subprocess.Popen(
            [sys.executable, "-m", "hitless.cli", "status", "--watch", "--json"], stdout=subprocess.PIPE, text=True
        )
        assert watch.stdout is not None
        seen = [json.loads(watch.stdout.readline()) for _ in range(5)]
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=30)
    assert watch.returncode == 130
    assert [document["data"][0]["seq"] for document in seen] == [1, 2, 3, 4, 5]


def test_stages_that_are_skipped_are_not_told(shell: Shell) -> None:
    stages = [stage("canary 5 %", "skipped"), stage("only the new version", "current")]
    script = [service(rollout=rollout(stages=stages, stage=1)), service(rollout=ended("completed"))]
    with shell.served(ScriptedControlPlane.of(script)):
        told = shell("deploy", "--version", NEW)
    assert "stage 2/2 only the new version\n" in told.out
    assert "stage 1/2" not in told.out


def wait_until(is_true: Callable[[], bool], *, deadline_s: float = 30) -> None:
    end = time.monotonic() + deadline_s
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.01)


def read_all(terminal: int) -> str:
    """Read a pseudo-terminal until the other side closes it, which reads as an error."""
    chunks = []
    try:
        while chunk := os.read(terminal, 65_536):
            chunks.append(chunk)
    except OSError:
        pass
    os.close(terminal)
    return b"".join(chunks).decode()
