"""From made-up measurements to verdicts: every check says ok, and says what is not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hitless.doctor import catalogue
from hitless.doctor.catalogue import CHECKS
from hitless.doctor.finding import Finding, NotMeasured, Verdict, sysctl, worst
from hitless.doctor.measures import (
    Ceiling,
    Certificate,
    ClockSync,
    Complaint,
    Configuration,
    DatabaseState,
    DiskSpace,
    EnvoyBinary,
    EphemeralPorts,
    FileSystem,
    GroupState,
    Inotify,
    Kernel,
    LeaseState,
    Leftovers,
    ListenAddress,
    ListenPort,
    Memory,
    OpenFiles,
    PrivilegedPorts,
    Proc,
    Processes,
    Python,
    RunningVersion,
    SocketPath,
    StateDirectory,
    StoreState,
    Stray,
)

OK, WARNING, UNKNOWN, FAILED = Verdict.OK, Verdict.WARNING, Verdict.UNKNOWN, Verdict.FAILED
MIB, GIB = 2**20, 2**30
NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
WEB, SECURE = ListenPort(use="web", host="::", port=8080), ListenPort(use="shop", host="::", port=443)


def envoy(**known: Any) -> EnvoyBinary:
    usual = {"path": "/e", "is_executable": True, "architecture": "x86_64", "machine": "x86_64", "glibc": "2.36"}
    return EnvoyBinary(**{**usual, "version": "1.40.0", **known})


def database(**known: Any) -> tuple[DatabaseState, ...]:
    usual = {"service": "shop", "place": "env:DB", "version": "16.4", "opens": 40, "in_use": 10, "room": 97}
    return (DatabaseState(**{**usual, "has_statements": True, **known}),)


def group(**known: Any) -> GroupState:
    usual = {"group": "app", "user": "owner", "exists": True, "may_make": True, "may_give": True}
    return GroupState(**{**usual, **known})


def inotify(limit: int | None = 128, in_use: int = 20, needed: int = 10) -> Inotify:
    return Inotify(limit=limit, in_use=in_use, needed=needed, reserve=10, basis="for 1 service")


def files(soft: int = 1_024, hard: int = 65_536, **known: Any) -> OpenFiles:
    return OpenFiles(soft=soft, hard=hard, **{"services": 2, "instances": 8, **known})


def tasks(in_use: int, limit: int = 1_000, **known: Any) -> Processes:
    ceiling = Ceiling(name="pids.max", limit=limit, in_use=in_use, remedy=("raise it",))
    return Processes(**{"ceilings": (ceiling,), "instances": 4, "threads_per_instance": 10, **known})


def memory(available: int | None = 8 * GIB, group: int | None = None, instance: int | None = 256 * MIB) -> Memory:
    return Memory(available_bytes=available, group_left_bytes=group, instance_bytes=instance, to_start=4, is_up=True)


def disk(free_bytes: int = 10 * GIB, inodes: int | None = 100_000) -> tuple[DiskSpace, ...]:
    return (DiskSpace(path="/srv", free_bytes=free_bytes, free_inodes=inodes),)


def file_system(kind: str | None = "ext4", *, read_only: bool = False, refused: str | None = None) -> Any:
    return (FileSystem(path="/srv", kind=kind, is_read_only=read_only, refused=refused),)


def state(mode: int | None = 0o40700, owner: int = 1000, **known: Any) -> StateDirectory:
    return StateDirectory(path="/srv/.hitless", user=1000, owner=owner, mode=mode, **known)


def socket(length: int, refusal: str | None = None) -> SocketPath:
    return SocketPath(path="/s", length_bytes=length, most_bytes=107, link_refusal=refusal)


def address(**known: Any) -> tuple[ListenAddress, ...]:
    return (ListenAddress(use="web", address="127.0.0.1:8080", port=8080, **known),)


def ephemeral(low: int = 32_768, *, reserved: frozenset[int] = frozenset(), inside: bool = False) -> EphemeralPorts:
    return EphemeralPorts(
        low=low,
        high=60_999,
        reserved=reserved,
        reserved_text=",".join(map(str, reserved)),
        listening=(WEB,),
        instance_ports=(20_000, 29_999),
        are_instances_inside=inside,
    )


def privileged(first_free: int | None = 1_024, *, may_bind: bool = False, port: ListenPort = SECURE) -> PrivilegedPorts:
    return PrivilegedPorts(first_free=first_free, may_bind=may_bind, listening=(port,))


def certificate(left_days: float, lifetime_days: float = 90, problem: str | None = None) -> tuple[Certificate, ...]:
    until = NOON + timedelta(days=left_days)
    dates = {"valid_from": until - timedelta(days=lifetime_days), "valid_until": until, "left": until - NOON}
    return (Certificate(service="web", cert="/c", key="/k", problem=problem, **({} if problem else dates)),)


def store(**known: Any) -> StoreState:
    usual = {"integrity": "ok", "schema": 1, "known_schema": 1, "records": 7, "verified": 7}
    return StoreState(path="/srv/.hitless/hitless.db", **{**usual, **known})


def lease(alive: bool | None, runs_out_in_s: float = 5, owner: str | None = "here:7:1", **known: Any) -> LeaseState:
    return LeaseState(owner=owner, pid=7, is_alive=alive, runs_out_in_s=runs_out_in_s, **known)


def complaint(*, is_warning: bool) -> Configuration:
    said = Complaint(text="hitless.yaml:1:1: no", is_warning=is_warning, command="hitless validate")
    return Configuration(path="/srv/hitless.yaml", looked_in="/srv", complaints=(said,))


def deployed(problem: str | None = None, *, is_wanted: bool = True) -> tuple[RunningVersion, ...]:
    return (RunningVersion(service="web", version="v1", is_wanted=is_wanted, problem=problem),)


CASES: Mapping[str, list[tuple[Any, Verdict, str]]] = {
    "python": [
        (Python(version=(3, 11, 0), executable="p"), OK, "3.11.0"),
        (Python(version=(3, 10, 9), executable="p"), FAILED, "at least 3.11"),
    ],
    "envoy": [
        (envoy(), OK, "1.40.0 for x86_64 runs on glibc 2.36"),
        (envoy(path=None), FAILED, "not installed"),
        (envoy(architecture=None), FAILED, "no program of Linux"),
        (envoy(is_executable=False), FAILED, "may not be executed"),
        (envoy(architecture="aarch64"), FAILED, "for aarch64, this machine is x86_64"),
        (envoy(version=None, glibc=None, complaint="not found"), FAILED, "a C library that is not glibc: not found"),
        (envoy(version="1.39.2"), FAILED, "at least 1.40"),
        (envoy(version="2.0.0"), FAILED, "below 2"),
        (envoy(version="dev"), UNKNOWN, "says no version"),
    ],
    "kernel": [
        (Kernel(release="6.1.0-x", has_pidfd=True), OK, "6.1.0-x"),
        (Kernel(release="4.19.0", has_pidfd=False), FAILED, "at least 5.3"),
        (Kernel(release="6.1.0", has_pidfd=False), FAILED, "seccomp"),
    ],
    "proc": [
        (Proc(hidepid="", sees_init=True), OK, "all users"),
        (Proc(hidepid="2", sees_init=True), OK, "all users"),
        (Proc(hidepid="invisible", sees_init=False), WARNING, "hidepid=invisible"),
        (Proc(hidepid=None, sees_init=False), FAILED, "not mounted"),
    ],
    "clock": [
        (ClockSync(is_synchronised=True, max_error_s=0.02), OK, "0.020 s"),
        (ClockSync(is_synchronised=True, max_error_s=7.0), WARNING, "7.0 s"),
        (ClockSync(is_synchronised=False), WARNING, "not synchronised"),
        (ClockSync(is_synchronised=None, refusal="not permitted"), UNKNOWN, "not permitted"),
    ],
    "inotify-instances": [
        (inotify(), OK, "20 of 128 instances in use by this user, 10 more needed"),
        (inotify(in_use=90), WARNING, "little is left"),
        (inotify(in_use=108), WARNING, "108 of 128"),
        (inotify(in_use=109), FAILED, "10 are kept back"),
        (inotify(limit=None), UNKNOWN, "cannot be read"),
    ],
    "inotify-watches": [
        (inotify(limit=8_192), OK, "20 of 8192 watches"),
        (inotify(limit=30), FAILED, "20 of 30"),
        (inotify(limit=None), UNKNOWN, "cannot be read"),
    ],
    "open-files": [
        (files(), OK, "soft limit 1024 here"),
        (files(soft=255), FAILED, "need 256"),
        (files(instances=100, soft=863), FAILED, "need 864"),
        (files(hard=1_024), WARNING, "224 connections to each service"),
        (files(soft=512, hard=512), FAILED, "at least 100"),
        (files(envoy_in_use=900, envoy_limit=1_024), WARNING, "900 of 1024"),
        (files(envoy_in_use=40, envoy_limit=1_024), OK, "40 of 1024"),
    ],
    "processes": [
        (tasks(in_use=600), OK, "104 more needed"),
        (tasks(in_use=700), WARNING, "little is left"),
        (tasks(in_use=897), FAILED, "897 of 1000"),
        (tasks(in_use=10, ceilings=()), UNKNOWN, "no limit"),
    ],
    "memory": [
        (memory(), OK, "8.0 GiB left on the machine, 1.0 GiB needed"),
        (memory(available=int(1.1 * GIB)), WARNING, "little is left"),
        (memory(available=GIB - 1), FAILED, "as the largest that runs"),
        (memory(group=0), FAILED, "0 MiB left in the control group"),
        (memory(available=200 * MIB, instance=None), WARNING, "assumed, as none runs"),
        (memory(available=None), UNKNOWN, "/proc/meminfo"),
    ],
    "disk-space": [
        (disk(), OK, "10.0 GiB, 100000 inodes free"),
        (disk(inodes=None), OK, "10.0 GiB free"),
        (disk(free_bytes=500 * MIB), WARNING, "500 MiB"),
        (disk(inodes=9_999), WARNING, "9999 inodes"),
        (disk(free_bytes=99 * MIB), FAILED, "at least 100 MiB"),
        (disk(inodes=0), FAILED, "0 inodes"),
    ],
    "file-system": [
        (file_system(), OK, "/srv is on ext4"),
        (file_system(read_only=True), FAILED, "read-only"),
        (file_system("nfs4"), FAILED, "network file system"),
        (file_system(refused="a file cannot be locked: no locks"), FAILED, "no locks"),
        (file_system(None), UNKNOWN, "/proc/self/mounts"),
    ],
    "configuration": [
        (Configuration(path="/srv/hitless.yaml", looked_in="/srv", services=("web",)), OK, "valid: web"),
        (Configuration(path=None, looked_in="/srv"), WARNING, "only the machine"),
        (complaint(is_warning=True), WARNING, "hitless.yaml:1:1"),
        (complaint(is_warning=False), FAILED, "hitless.yaml:1:1"),
    ],
    "state-directory": [
        (state(), OK, "0700"),
        (state(None), OK, "not there yet"),
        (state(None, is_parent_writable=False), FAILED, "cannot be made"),
        (state(0o40755), WARNING, "0755, others may look in"),
        (state(0o40500), FAILED, "0500, the owner needs 0700"),
        (state(owner=0), FAILED, "belongs to user 0, this is user 1000"),
        (state(0o100700, is_directory=False), FAILED, "no directory"),
    ],
    "socket-path": [
        (socket(107), OK, "107 bytes"),
        (socket(108), WARNING, "reached by a link"),
        (socket(108, "taken"), FAILED, "barred: taken"),
    ],
    "addresses": [
        (address(), OK, "1 free, 0 held"),
        (address(is_ours=True), OK, "0 free, 1 held"),
        (address(refusal="address already in use", holders=("held by nginx (pid 3)",)), FAILED, "nginx (pid 3)"),
        (address(refusal="address already in use"), FAILED, "cannot see"),
        (address(refusal="permission denied", may_try=False), UNKNOWN, "whether it is free is not known"),
    ],
    "ephemeral-ports": [
        (ephemeral(), OK, "listen outside"),
        (ephemeral(1_024), WARNING, "8080 (web)"),
        (ephemeral(1_024, reserved=frozenset({8080})), OK, "listen outside"),
        (ephemeral(inside=True), WARNING, "ports of instances"),
    ],
    "privileged-ports": [
        (privileged(), FAILED, "443 (shop)"),
        (privileged(may_bind=True), OK, "443 (shop)"),
        (privileged(80), OK, "no port below 80"),
        (privileged(port=WEB), OK, "no port below 1024"),
        (privileged(None), WARNING, "cannot be read"),
    ],
    "tls": [
        ((), OK, "no service speaks TLS"),
        (certificate(60), OK, "in 60 days"),
        (certificate(13), WARNING, "renewal is overdue"),
        (certificate(3, lifetime_days=6), OK, "in 3 days"),
        (certificate(1, lifetime_days=6), WARNING, "renewal is overdue"),
        (certificate(-0.5), FAILED, "ended on 2030-01-31"),
        (certificate(0, problem="certificate has expired"), FAILED, "expired"),
    ],
    "store": [
        (store(), OK, "whole, schema 1"),
        (store(exists=False), OK, "not there yet"),
        (store(problem="file is not a database"), FAILED, "not a database"),
        (store(integrity="page 3 is never used"), FAILED, "page 3"),
        (store(schema=2), FAILED, "this hitless knows 1"),
        (store(integrity=None, patience_s=5.0), UNKNOWN, "longer than 5 s"),
    ],
    "journal": [
        (store(), OK, "newest 7 of 7"),
        (store(exists=False), OK, "nothing is written"),
        (store(journal_break="record 3 was changed"), FAILED, "record 3 was changed"),
        (store(problem="damaged"), UNKNOWN, "cannot be read"),
    ],
    "lease": [
        (None, OK, "nothing was started"),
        (lease(alive=True), OK, "held by process 7"),
        (lease(alive=True, runs_out_in_s=-30), FAILED, "30 s: it hangs"),
        (lease(alive=False), WARNING, "died without a word"),
        (lease(alive=None, owner=None), OK, "no control plane runs"),
        (lease(alive=None, owner=None, has_services=True), WARNING, "are not replaced"),
        (lease(alive=None, runs_out_in_s=-1), WARNING, "let its lease run out"),
        (lease(alive=None), UNKNOWN, "another machine"),
    ],
    "leftovers": [
        (Leftovers(strays=(), known=3), OK, "3 processes"),
        (Leftovers(strays=(Stray(pid=9, command="app", what="an Envoy"),), known=0), WARNING, "process 9 is an Envoy"),
    ],
    "run": [
        ((), OK, "nothing is deployed"),
        (deployed(), OK, "web v1"),
        (deployed("directory missing: /x"), FAILED, "directory missing: /x"),
        (deployed("directory missing: /x", is_wanted=False), WARNING, "could not return to v1"),
    ],
    "databases": [
        ((), OK, "no service names a database"),
        (database(), OK, "shop: PostgreSQL 16.4 answers, 10 of 97 connections are open, its instances open 40"),
        (database(missing="env:DB is not set"), UNKNOWN, "the control plane may have it"),
        (database(problem="cannot be reached"), FAILED, "shop: cannot be reached"),
        (database(in_use=90), WARNING, "little room"),
        (database(opens=98), FAILED, "not even one version fits"),
        (database(group=group(exists=False)), FAILED, "there is no role app"),
        (database(group=group(may_make=False)), FAILED, "owner may not make roles"),
        (database(group=group(may_give=False)), FAILED, "owner may not give app to another role"),
        (database(group=group(), has_statements=False), WARNING, "pg_stat_statements is not loaded"),
        (database(group=group(), has_statements=None), OK, "answers"),
    ],
}


@pytest.mark.parametrize(
    ("name", "measured", "verdict", "said"),
    [(name, *case) for name, cases in CASES.items() for case in cases],
)
def test_a_measurement_leads_to_its_verdict_and_says_what_was_measured(
    name: str, measured: Any, verdict: Verdict, said: str
) -> None:
    findings = CHECKS[name].judge(measured)
    assert worst(one.verdict for one in findings) == verdict
    assert said in "; ".join(one.measured for one in findings)


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_has_cases_of_ok_and_of_trouble(name: str) -> None:
    verdicts = {verdict for _, verdict, _ in CASES[name]}
    assert OK in verdicts
    assert verdicts & {WARNING, FAILED}


def test_whatever_is_not_ok_names_a_next_command() -> None:
    with pytest.raises(ValueError, match="next command"):
        Finding(verdict=WARNING, measured="too few")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (ValueError("not a number"), "not a number"),
        (NotMeasured("no file", "hitless validate"), "no file"),
    ],
)
def test_what_cannot_be_measured_is_not_known_and_stops_no_other_check(error: Exception, said: str) -> None:
    def refuse() -> None:
        raise error

    found = catalogue.examine(["proc", "python"], {"proc": refuse, "python": lambda: CASES["python"][0][0]})
    assert [one.verdict for one in (*found["proc"], *found["python"])] == [UNKNOWN, OK]
    assert said in found["proc"][0].measured
    assert found["proc"][0].next


def test_a_kernel_setting_is_raised_now_and_for_every_boot() -> None:
    assert sysctl("kernel.pid_max", 7) == (
        "sudo sysctl -w kernel.pid_max=7",
        "echo kernel.pid_max=7 | sudo tee /etc/sysctl.d/60-hitless-pid_max.conf",
    )


def test_ports_are_added_to_those_that_are_reserved_already() -> None:
    (found,) = CHECKS["ephemeral-ports"].judge(ephemeral(1_024, reserved=frozenset({9000})))
    assert found.next[0] == "sudo sysctl -w net.ipv4.ip_local_reserved_ports=9000,8080"
