"""Every command but the waiting ones: what it prints, and how it exits."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cli_support import Shell, a_shell, trimmed

from hitless import __version__, config
from hitless.journal.record import parse, verify
from hitless.view.models import VerifyView
from scripted_control_plane import (
    NEW,
    OLD,
    ScriptedControlPlane,
    chained,
    ended,
    instance,
    rollout,
    service,
)

SERVICES = """\
service   health    address         stable   ready  rollout
checkout  healthy   127.0.0.1:8080  91b07de    2/2  running 4f2c1a9 stage 1/2
search    degraded  127.0.0.1:8090  91b07de    2/2  none"""

ROLLOUTS = """\
rollout     service   strategy  versions            state        started               took   by
checkout-7  checkout  canary    91b07de -> 4f2c1a9  running      2025-11-22T12:00:00Z  4m12s  user:ana
checkout-6  checkout  canary    nothing -> 91b07de  rolled back  2025-11-22T12:00:00Z  1m12s  user:ana"""

PLAN = """\
checkout, canary, 91b07de -> 7
2 stages, at least 10m of holding, at most 4 instances at once

#  stage                 instances         traffic            goes on when
1  canary 5 %            7 x 1, 91b07de x 2  7 5 %, 91b07de 95 %  ready, routed, held 600 s
2  only the new version  7 x 2             7 100 %            ready, routed, drained

needs room for 4 instances, 2 more than usual
next  hitless deploy checkout --version 7"""

UP = """\
hitless 0.1.0 runs as process 4711 for /srv/shop
Envoy running as process 4712
  checkout on 127.0.0.1:8080: 91b07de healthy, 1 instance adopted, 1 instance started
  search on 127.0.0.1:8090: nothing runs; begin with: hitless deploy search --version VERSION
Ctrl-C ends the control plane alone, services go on; hitless down ends everything
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return a_shell(tmp_path, monkeypatch, capsys)


def two_services() -> ScriptedControlPlane:
    search = service(name="search", listen="127.0.0.1:8090", health="degraded")
    return ScriptedControlPlane(frames=[[service(rollout=rollout()), search]])


def test_status_of_several_services_is_a_table(shell: Shell) -> None:
    with shell.served(two_services()):
        told = shell("status", "--plain")
    assert (told.code, trimmed(told.out)) == (0, SERVICES)


def test_status_as_json_is_a_list_unless_one_service_is_named(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane()):
        everything, one = shell("status", "--json"), shell("status", "checkout", "--json")
    assert [document["schema"] for document in everything.documents] == ["hitless.services/v1"]
    assert [view["name"] for view in everything.data] == ["checkout"]
    assert one.documents[0]["schema"] == "hitless.service/v1"
    assert one.data == everything.data[0]


def test_a_service_must_be_named_where_there_are_several(shell: Shell) -> None:
    with shell.served(two_services()):
        told = shell("rollout", "pause")
    assert told.code == 2
    assert "error[HL2083]: which service?\n  the project has 2: checkout, search" in told.err


def test_rollouts_are_listed_newest_first(shell: Shell) -> None:
    past = [ended("rolled_back", id="checkout-6", baseline=None, candidate=OLD)]
    with shell.served(ScriptedControlPlane(frames=[[service(rollout=rollout())]], past=past)):
        told, document = shell("rollout", "list", "--plain"), shell("rollout", "list", "checkout", "--json")
    assert (told.code, trimmed(told.out)) == (0, ROLLOUTS)
    assert [one["state"] for one in document.data] == ["running", "rolled_back"]


def test_without_any_rollout_the_list_says_how_to_begin(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane()):
        told = shell("rollout", "list")
    assert (told.code, told.out) == (0, "")
    assert "hitless deploy NAME --version VERSION" in told.err


@pytest.mark.parametrize("name", ["checkout-7", "checkout"])
def test_a_rollout_is_found_by_its_own_name_and_by_its_service(shell: Shell, name: str) -> None:
    with shell.served(ScriptedControlPlane(frames=[[service(rollout=rollout())]])):
        told, document = shell("rollout", "get", name), shell("rollout", "get", name, "--json")
    assert (told.code, document.data["id"]) == (0, "checkout-7")
    assert "stage 1/2 canary 5 %: goes on when" in told.out


def test_a_past_rollout_is_shown_without_the_service_as_it_is_now(shell: Shell) -> None:
    past = [ended("rolled_back", id="checkout-6", cause="3 failures of 4f2c1a9")]
    with shell.served(ScriptedControlPlane(past=past)):
        told = shell("rollout", "get", "checkout-6", "--plain")
    assert "rolled back, took 1m12s" in told.out
    assert "why   3 failures of 4f2c1a9" in told.out
    assert "127.0.0.1:9001" not in told.out


def test_an_unknown_rollout_is_an_error(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane()):
        assert shell("rollout", "get", "nope").err.startswith("error[HL2005]: no rollout and no service")


def test_a_plan_shows_stages_needs_and_the_next_command(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane()):
        told, document = shell("plan", "--version", "7", "--plain"), shell("plan", "--version", "7", "--json")
    assert told.out.split() == PLAN.split()
    assert document.data["peak_instances"] == 4


def test_a_plan_needs_no_control_plane(shell: Shell) -> None:
    told = shell("plan", "--version", "7", "--strategy", "rolling", "--json")
    assert told.code == 0
    assert [stage["name"] for stage in told.data["stages"]] == ["preflight", "only the new version"]
    assert (told.data["peak_instances"], told.data["strategy"]) == (3, "rolling")
    text = shell("plan", "checkout", "--version", "7", "--plain")
    assert "canary, (present) -> 7" in text.out
    assert "no control plane runs: planned from hitless.yaml alone" in text.err


def test_a_plan_of_an_unknown_service_is_refused_without_a_control_plane_too(shell: Shell) -> None:
    assert shell("plan", "nope", "--version", "7").err.startswith("error[HL2001]")


def test_init_writes_a_file_that_is_valid_and_its_schema(shell: Shell) -> None:
    (shell.directory / "hitless.yaml").unlink()
    (shell.directory / "app.py").write_text("app = Flask(__name__)\n")
    told = shell("init")
    assert told.code == 0
    assert "started as app.py says" in told.out
    assert "echo .hitless/ >> .gitignore" in told.err
    schema = json.loads((shell.directory / ".hitless/schema.json").read_text())
    assert schema == config.json_schema()
    assert shell("validate").code == 0


def test_init_overwrites_nothing_unless_forced(shell: Shell) -> None:
    before = (shell.directory / "hitless.yaml").read_text()
    told = shell("init")
    assert (told.code, (shell.directory / "hitless.yaml").read_text()) == (4, before)
    assert "hint: hitless init --force" in told.err
    (shell.directory / ".gitignore").write_text(".hitless/\n")
    forced = shell("init", "--force")
    assert forced.code == 0
    assert ".gitignore" not in forced.err
    assert (shell.directory / "hitless.yaml").read_text() != before


def test_validate_names_the_place_of_every_problem(shell: Shell) -> None:
    (shell.directory / "hitless.yaml").write_text("service: checkout\nlisten: 127.0.0.1:8080\ninstanzes: 2\n")
    told, document = shell("validate"), shell("validate", "--json")
    assert (told.code, document.code) == (2, 2)
    assert "hitless.yaml:3:1" in told.err
    problem = json.loads(document.err)
    assert (problem["schema"], problem["data"]["code"]) == ("hitless.problem/v1", "HL2002")


def test_validate_says_what_is_valid(shell: Shell) -> None:
    told, document = shell("validate"), shell("validate", "--json")
    assert told.out == f"{shell.directory}/hitless.yaml is valid: checkout\n"
    assert [one["name"] for one in document.data["services"]] == ["checkout"]


def test_schema_is_printed_as_editors_read_it(shell: Shell) -> None:
    assert json.loads(shell("schema").out) == config.json_schema()


def test_every_code_can_be_explained_and_listed(shell: Shell) -> None:
    known = shell("explain").out.split()
    assert {"HL2001", "HL8001"} <= set(known)
    assert shell("explain", "hl2001").out.startswith("# HL2001")
    unknown = shell("explain", "HL9999")
    assert (unknown.code, unknown.err.splitlines()[0]) == (2, "error[HL2091]: no page for HL9999")


@pytest.fixture
def journal() -> ScriptedControlPlane:
    return ScriptedControlPlane(records=chained("rollout.started", "x", "stage.entered", "y", "rollout.completed"))


def test_the_journal_is_shown_from_its_end(shell: Shell, journal: ScriptedControlPlane) -> None:
    with shell.served(journal):
        told = shell("journal", "tail", "-n", "2")
        one = shell("journal", "tail", "--service", "checkout", "--lines", "1", "--json")
    line = "     5 2025-11-22T12:00:04Z rollout.completed service/checkout by user:ana version=4f2c1a9"
    assert told.out.splitlines()[1] == line
    assert len(told.out.splitlines()) == 2
    assert [record["seq"] for record in one.data] == [5]


def test_one_record_is_shown_whole(shell: Shell, journal: ScriptedControlPlane) -> None:
    with shell.served(journal):
        told, missing = shell("journal", "show", "3"), shell("journal", "show", "6")
        zero = shell("journal", "show", "0")
    assert json.loads(told.out)["type"] == "stage.entered"
    assert (missing.code, zero.code) == (2, 2)
    assert missing.err.startswith("error[HL2086]: the journal has no record 6")


def test_a_chain_that_holds_is_said(shell: Shell, journal: ScriptedControlPlane) -> None:
    with shell.served(journal):
        told, document = shell("journal", "verify"), shell("journal", "verify", "--json")
    assert (told.code, told.out) == (0, "5 records, the chain holds\n")
    assert document.data == {"records": 5, "problem": None, "seq": None}


def test_a_broken_chain_needs_a_human(shell: Shell, journal: ScriptedControlPlane) -> None:
    journal.check = VerifyView(records=5, problem="was changed after it was written", seq=3)
    with shell.served(journal):
        told = shell("journal", "verify")
    assert told.code == 6
    assert "record 3 was changed after it was written" in told.err


def test_an_export_proves_itself(shell: Shell, journal: ScriptedControlPlane) -> None:
    with shell.served(journal):
        told, written = shell("journal", "export"), shell("journal", "export", "--output", "journal.jsonl")
    lines = told.out.splitlines()
    assert (shell.directory / "journal.jsonl").read_text().splitlines() == lines
    assert "5 records written to journal.jsonl" in written.err
    assert verify(parse(json.loads(line)) for line in lines) is None


@dataclass
class FakeLine:
    instance: str
    text: str


class FakeRoof(ModuleType):
    """Stands for `hitless.bootstrap`."""

    def __init__(self) -> None:
        super().__init__("hitless.bootstrap")
        self.asked: list[Any] = []

    async def read_logs(self, directory: Path, **asked: Any) -> AsyncIterator[FakeLine]:
        self.asked.append((directory, asked))
        if asked["instance"] != "nope":
            yield FakeLine("checkout-1", "GET / 200")

    def serve(self, project_path: Path, *, on_ready: Any) -> int:
        adopted, started = instance(1, OLD), instance(2, OLD, since="2025-11-22T12:00:01Z")
        search = service(name="search", listen="127.0.0.1:8090", stable=None, versions=[], instances=[], health="idle")
        on_ready(
            {
                "version": "0.1.0",
                "pid": 4711,
                "started_at": "2025-11-22T12:00:00Z",
                "directory": "/srv/shop",
                "envoy": "running",
                "envoy_pid": 4712,
                "services": [service(instances=[adopted, started]), search],
            }
        )
        self.asked.append(project_path)
        return 0


@pytest.fixture
def roof(monkeypatch: pytest.MonkeyPatch) -> FakeRoof:
    fake = FakeRoof()
    monkeypatch.setitem(sys.modules, "hitless.bootstrap", fake)
    return fake


def test_up_tells_what_it_adopted_and_what_ctrl_c_ends(shell: Shell, roof: FakeRoof) -> None:
    told = shell("up")
    assert (told.code, told.out) == (0, UP)
    assert roof.asked == [shell.directory / "hitless.yaml"]
    assert shell("up", "--json").data["pid"] == 4711


def test_logs_are_read_from_files(shell: Shell, roof: FakeRoof) -> None:
    told = shell("logs", "checkout", "-n", "5")
    assert (told.code, told.out) == (0, "checkout-1 | GET / 200\n")
    asked = {"service": "checkout", "instance": None, "tail": 5, "follow": False}
    assert roof.asked == [(shell.directory / ".hitless", asked)]
    assert json.loads(shell("logs", "--json").out) == {"instance": "checkout-1", "text": "GET / 200"}
    assert shell("logs", "--instance", "nope").code == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_down_is_refused_where_nobody_can_be_asked(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with shell.served(ScriptedControlPlane()) as control:
        told = shell("down")
    assert (told.code, control.is_down) == (4, False)
    assert "checkout: 2 instances, 0 open requests, Envoy and the control plane" in told.err
    assert "hint: hitless down --yes" in told.err


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("yes\n", 0), ("\n", 4), ("n\n", 4), ("", 4)])
def test_down_asks_and_does_nothing_without_a_yes(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    busy = service(instances=[instance(1, OLD, open_requests=3), instance(2, OLD, open_requests=None)])
    with shell.served(ScriptedControlPlane(frames=[[busy]])) as control:
        told = shell("down")
    assert (told.code, control.is_down) == (code, code == 0)
    assert (
        "This ends checkout: 2 instances, 3 open requests, Envoy and the control plane. Users are cut off." in told.err
    )


def test_down_with_yes_asks_nobody(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane()) as control:
        told = shell("down", "--yes", "--json")
    assert (told.code, told.documents, control.is_down) == (0, [{"schema": "hitless.down/v1", "data": None}], True)


def test_load_refuses_a_target_elsewhere(shell: Shell) -> None:
    assert shell("load", "192.0.2.1:80", "--duration", "1s").code == 4


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "rollout list",
        "rollout get x",
        "rollout abort",
        "deploy --version 1",
        "journal tail",
        "journal verify",
        "down --yes",
    ],
)
def test_without_a_control_plane_every_command_says_so(shell: Shell, command: str) -> None:
    told, document = shell(*command.split()), shell(*command.split(), "--json")
    assert (told.code, document.code) == (8, 8)
    assert told.err.startswith(f"error[HL8001]: no control plane answers at {shell.socket}\n")
    assert "hint: hitless up" in told.err
    assert json.loads(document.err)["data"]["exit_code"] == 8


def test_the_version_is_said(shell: Shell) -> None:
    assert shell("--version").out.strip() == __version__


def test_a_deploy_takes_version_as_its_own_option(shell: Shell) -> None:
    with shell.served(ScriptedControlPlane()) as control:
        shell("deploy", "--version", NEW, "--detach")
    assert control.calls[0][1]["version"] == NEW
