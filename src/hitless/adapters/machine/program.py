"""What hitless is run by, measured: interpreter, kernel, /proc, clock."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from pathlib import Path

from hitless.adapters.machine.mounts import mounts
from hitless.doctor.measures import ClockSync, Kernel, Proc, Python

_TIME_ERROR, _STA_UNSYNC = 5, 0x40  # linux/timex.h


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2), as far as it is read; the rest is room for the kernel's answer."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def python() -> Python:
    """Look at the interpreter."""
    return Python(version=sys.version_info[:3], executable=sys.executable)


def kernel() -> Kernel:
    """Try pidfd_open on this very process."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return Kernel(release=platform.release(), has_pidfd=False)
    return Kernel(release=platform.release(), has_pidfd=True)


def proc() -> Proc:
    """Look at how /proc is mounted."""
    if not Path("/proc/self/stat").exists():
        return Proc(hidepid=None, sees_init=False)
    options = next((one.options for one in mounts() if one.target == "/proc"), "")
    found = re.search(r"(?:^|,)hidepid=([^,]+)", options)
    return Proc(hidepid=found[1] if found else "", sees_init=Path("/proc/1/stat").exists())


def clock() -> ClockSync:
    """Ask the kernel; changes nothing (`modes` is 0)."""
    libc, answer = ctypes.CDLL(None, use_errno=True), _Timex(modes=0)
    state = libc.adjtimex(ctypes.byref(answer))
    if state < 0:
        return ClockSync(is_synchronised=None, refusal=os.strerror(ctypes.get_errno()))
    is_synchronised = state != _TIME_ERROR and not answer.status & _STA_UNSYNC
    return ClockSync(is_synchronised=is_synchronised, max_error_s=answer.maxerror / 1e6)
