"""What `hitless doctor` prints, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from cli_support import Shell, a_shell, trimmed

from hitless.cli import doctor as command
from hitless.cli.roof import Surgery
from hitless.doctor.catalogue import CHECKS
from hitless.doctor.finding import Findings, failed, ok, sysctl, unknown, warning
from hitless.doctor.reference import reference

ALL_KINDS: Mapping[str, Findings] = {
    "python": (ok("3.12.1, at least 3.11 is needed"),),
    "clock": (unknown("the kernel does not say: not permitted", "timedatectl"),),
    "inotify-instances": (
        failed(
            "120 of 128 instances in use by this user, 14 more needed (for 4 services)",
            *sysctl("fs.inotify.max_user_instances", 1_024),
        ),
    ),
    "disk-space": (ok("9.0 GiB free at /srv"), warning("500 MiB free at /logs, 1.0 GiB gives time", "df -h /logs")),
}
NORMAL = """\
✔ ok              Python: 3.12.1, at least 3.11 is needed
? could not tell  clock: the kernel does not say: not permitted
    timedatectl
✖ failed          inotify instances: 120 of 128 instances in use by this user, 14 more needed (for 4 services)
    sudo sysctl -w fs.inotify.max_user_instances=1024
    echo fs.inotify.max_user_instances=1024 | sudo tee /etc/sysctl.d/60-hitless-max_user_instances.conf
✔ ok              disk space: 9.0 GiB free at /srv
⚠ warning         disk space: 500 MiB free at /logs, 1.0 GiB gives time
    df -h /logs
4 checks: 1 ok, 1 warning, 1 could not tell, 1 failed"""
NARROW_AND_PLAIN = """\
ok              Python: 3.12.1, at least 3.11 is needed
could not tell  clock: the kernel does not say: not
                permitted
    timedatectl
failed          inotify instances: 120 of 128 instances in
                use by this user, 14 more needed (for 4
                services)
    sudo sysctl -w fs.inotify.max_user_instances=1024
    echo fs.inotify.max_user_instances=1024 | sudo tee /etc/sysctl.d/60-hitless-max_user_instances.conf
ok              disk space: 9.0 GiB free at /srv
warning         disk space: 500 MiB free at /logs, 1.0 GiB
                gives time
    df -h /logs
4 checks: 1 ok, 1 warning, 1 could not tell, 1 failed"""


class Scripted:
    """Stands for `hitless.examination`."""

    def __init__(self, found: Mapping[str, Findings]) -> None:
        self.found = found
        self.asked: list[str] = []
        self.project: Path | None = None

    def examine(self, project_path: Path | None, *, state_directory: Path, names: list[str]) -> Mapping[str, Findings]:
        assert state_directory.name == ".hitless"
        self.project, self.asked = project_path, list(names)
        return self.found


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return a_shell(tmp_path, monkeypatch, capsys)


def scripted(monkeypatch: pytest.MonkeyPatch, found: Mapping[str, Findings]) -> Scripted:
    surgery = Scripted(found)

    def load() -> Surgery:
        return surgery

    monkeypatch.setattr(command, "surgery", load)
    return surgery


def test_each_finding_is_a_line_and_its_commands_stand_whole_below(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, ALL_KINDS)
    monkeypatch.setenv("COLUMNS", "110")
    told = shell("doctor")
    assert (told.code, trimmed(told.out)) == (6, NORMAL)
    assert "error[HL6401]: not fit for rollouts\n  failed: inotify-instances\n  could not tell: clock\n" in told.err
    assert "hitless doctor --only inotify-instances,clock" in told.err


def test_a_narrow_terminal_wraps_sentences_and_no_command(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, ALL_KINDS)
    monkeypatch.setenv("COLUMNS", "58")
    assert trimmed(shell("doctor", "--plain").out) == NARROW_AND_PLAIN


def test_warnings_alone_are_fit(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, {"clock": (warning("not synchronised", "timedatectl"),)})
    told = shell("doctor")
    assert (told.code, told.err) == (0, "")


def test_what_could_not_be_told_alone_is_not_fit(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, {"clock": ALL_KINDS["clock"]})
    told = shell("doctor")
    assert told.code == 6
    assert "fitness for rollouts is not proven" in told.err


def test_json_is_one_document_in_the_envelope_whatever_the_verdict(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, ALL_KINDS)
    told = shell("doctor", "--json")
    document = json.loads(told.out)
    assert (told.code, document["schema"], document["data"]["verdict"]) == (6, "hitless.doctor/v1", "failed")
    checks = {check["name"]: check for check in document["data"]["checks"]}
    assert {name: check["verdict"] for name, check in checks.items()} == {
        "python": "ok",
        "clock": "unknown",
        "inotify-instances": "failed",
        "disk-space": "warning",
    }
    assert checks["clock"]["findings"] == [
        {"verdict": "unknown", "measured": "the kernel does not say: not permitted", "next": ["timedatectl"]}
    ]


def test_only_chooses_checks_in_their_usual_order(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    surgery = scripted(monkeypatch, {})
    shell("doctor", "--only", "tls, python")
    assert surgery.asked == ["python", "tls"]
    shell("doctor")
    assert surgery.asked == list(CHECKS)


@pytest.mark.parametrize(("only", "said"), [("python,inotify", "'inotify'"), (",", "names no check")])
def test_a_check_that_does_not_exist_is_told_with_those_that_do(shell: Shell, only: str, said: str) -> None:
    told = shell("doctor", "--only", only)
    assert told.code == 2
    assert said in told.err
    assert "inotify-instances" in told.err


def test_without_a_project_only_the_machine_is_looked_at(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    surgery = scripted(monkeypatch, {})
    (tmp_path / "hitless.yaml").unlink()
    assert shell("doctor").code == 0
    assert surgery.project is None
    assert {CHECKS[name].scope for name in surgery.asked} == {"machine"}


def test_a_project_that_was_asked_for_and_is_not_there_is_an_error(shell: Shell, tmp_path: Path) -> None:
    assert shell("doctor", "--project", str(tmp_path / "elsewhere")).code == 2


def test_the_page_names_every_check() -> None:
    page = reference()
    assert [name for name in CHECKS if f"| `{name}` |" not in page] == []
