"""Judges of what the kernel hands out by number: inotify, descriptors, processes, memory.

The needs are those of a rollout in its widest moment: two versions of every service, each with all its instances.
"""

from __future__ import annotations

from hitless.doctor.finding import Finding, Findings, failed, ok, size, sysctl, unknown, warning
from hitless.doctor.measures import Ceiling, Inotify, Memory, OpenFiles, Processes

INSTANCE_LIMIT, WATCH_LIMIT = "fs.inotify.max_user_instances", "fs.inotify.max_user_watches"

CONTROL_PLANE_FILES = 64
FILES_PER_INSTANCE = 4
LEAST_SOFT_FILES = 256
ENVOY_FILES = 128
FILES_PER_CONNECTION = 2
USUAL_CONNECTIONS = 1_000
LEAST_CONNECTIONS = 100
NEARLY_FULL = 0.8

ENVOY_AND_CONTROL_PLANE_THREADS = 64
USUAL_THREADS = 16

ENVOY_AND_CONTROL_PLANE_BYTES = 270 * 2**20
USUAL_INSTANCE_BYTES = 64 * 2**20
COMFORT = 1.25


def inotify_instances(found: Inotify) -> Findings:
    """Envoy aborts at the first one that it does not get."""
    return (_inotify(found, INSTANCE_LIMIT, "instances", least=1_024),)


def inotify_watches(found: Inotify) -> Findings:
    """Envoy watches a directory with each instance."""
    return (_inotify(found, WATCH_LIMIT, "watches", least=65_536),)


def _inotify(found: Inotify, setting: str, noun: str, *, least: int) -> Finding:
    if found.limit is None:
        return unknown(f"{setting} cannot be read", f"sysctl {setting}")
    wanted = found.in_use + found.needed + found.reserve
    text = f"{found.in_use} of {found.limit} {noun} in use by this user, {found.needed} more needed ({found.basis})"
    remedy = sysctl(setting, max(2 * found.limit, 2 * wanted, least))
    if wanted > found.limit:
        return failed(f"{text}, {found.reserve} are kept back", *remedy)
    if wanted > NEARLY_FULL * found.limit:
        return warning(f"{text}: little is left", *remedy)
    return ok(text)


def open_files(found: OpenFiles) -> Findings:
    """The soft limit is the control plane's and the instances'; Envoy raises its own to the hard one."""
    return _own_files(found), _users_files(found), *_envoy(found)


def _own_files(found: OpenFiles) -> Finding:
    needed = max(CONTROL_PLANE_FILES + 2 * FILES_PER_INSTANCE * found.instances, LEAST_SOFT_FILES)
    text = f"soft limit {found.soft} here, the control plane and each instance need {needed}"
    return ok(text) if found.soft >= needed else failed(text, *_raise_files(found, 4 * needed))


def _users_files(found: OpenFiles) -> Finding:
    services = max(found.services, 1)
    connections = max((found.hard - ENVOY_FILES) // (FILES_PER_CONNECTION * services), 0)
    text = f"hard limit {found.hard} here: Envoy can hold {connections} connections to each service"
    remedy = _raise_files(found, ENVOY_FILES + 2 * USUAL_CONNECTIONS * FILES_PER_CONNECTION * services)
    if connections < LEAST_CONNECTIONS:
        return failed(f"{text}, at least {LEAST_CONNECTIONS} are needed", *remedy)
    if connections < USUAL_CONNECTIONS:
        return warning(f"{text}, {USUAL_CONNECTIONS} are usual", *remedy)
    return ok(f"{text}, {USUAL_CONNECTIONS} are usual")


def _raise_files(found: OpenFiles, wanted: int) -> tuple[str, ...]:
    here = f"in the shell that runs hitless up; under systemd: LimitNOFILE={wanted}"
    if wanted <= found.hard:
        return (f"ulimit -Sn {wanted}   # {here}",)
    return (
        f"echo '* - nofile {wanted}' | sudo tee /etc/security/limits.d/60-hitless.conf   # then log in anew",
        f"ulimit -n {wanted}   # {here}",
    )


def _envoy(found: OpenFiles) -> Findings:
    """Judge the Envoy that runs: it keeps the limit that it was started with."""
    if found.envoy_in_use is None or found.envoy_limit is None:
        return ()
    text = f"the Envoy that runs has {found.envoy_in_use} of {found.envoy_limit} open"
    if found.envoy_in_use > NEARLY_FULL * found.envoy_limit:
        remedy = "hitless down && ulimit -n 65536 && hitless up   # users are cut off; at a quiet hour"
        return (warning(f"{text}, nearly all", remedy),)
    return (ok(text),)


def processes(found: Processes) -> Findings:
    """Every ceiling leaves room for a second set of instances."""
    each = found.threads_per_instance or USUAL_THREADS
    needed = ENVOY_AND_CONTROL_PLANE_THREADS + found.instances * each
    judged = tuple(_ceiling(one, needed) for one in found.ceilings)
    unread = tuple(unknown(f"{name} cannot be read", f"cat {name}") for name in found.missing)
    bad = tuple(one for one in judged if one.next) + unread
    if bad or not found.ceilings:
        return bad or (unknown("no limit of processes can be read", "ulimit -u"),)
    tightest = min(found.ceilings, key=lambda one: one.limit - one.in_use)
    return (ok(f"{_used(tightest)}, {needed} more needed at most"),)


def _ceiling(one: Ceiling, needed: int) -> Finding:
    text = f"{_used(one)}, {needed} more needed at most"
    if one.in_use + needed > one.limit:
        return failed(text, *one.remedy)
    if one.in_use + needed > NEARLY_FULL * one.limit:
        return warning(f"{text}: little is left", *one.remedy)
    return ok(text)


def _used(one: Ceiling) -> str:
    return f"{one.in_use} of {one.limit} tasks in use ({one.name})"


def memory(found: Memory) -> Findings:
    """A second set of instances fits."""
    if found.available_bytes is None:
        return (unknown("/proc/meminfo cannot be read", "free -m"),)
    each = found.instance_bytes or USUAL_INSTANCE_BYTES
    needed = found.to_start * each + (0 if found.is_up else ENVOY_AND_CONTROL_PLANE_BYTES)
    left = min(one for one in (found.available_bytes, found.group_left_bytes) if one is not None)
    basis = "as the largest that runs" if found.instance_bytes else "assumed, as none runs"
    where = "in the control group" if left != found.available_bytes else "on the machine"
    text = f"{size(left)} left {where}, {size(needed)} needed: {found.to_start} more instances of {size(each)}, {basis}"
    commands = ("ps -eo rss,pid,args --sort -rss | head", "systemd-cgtop -m -n 1")
    if left < needed:
        # what is assumed convicts nobody
        return ((failed if found.instance_bytes or found.to_start == 0 else warning)(text, *commands),)
    return (warning(f"{text}: little is left", *commands),) if left < COMFORT * needed else (ok(text),)
