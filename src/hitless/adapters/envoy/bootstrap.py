"""Envoy's static configuration and command line. Pure, but for where the binary is."""

from __future__ import annotations

import os
from typing import Any

from hitless.adapters.envoy.binary import envoy_binary
from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.resources import path_source

_MOST_WORKERS = 4
_LONGEST_STREAM_S = 7_200  # a listener that is closed, or an Envoy that is replaced, lets its streams go on for so long


def default_concurrency() -> int:
    """Worker threads: one per usable core, 4 at most; more only take cores from the applications."""
    return max(1, min(len(os.sched_getaffinity(0)), _MOST_WORKERS))


def bootstrap(layout: Layout) -> dict[str, Any]:
    """Render the bootstrap: an admin socket for the owner alone, everything else from watched files."""
    return {
        "node": {"id": "hitless", "cluster": "hitless"},
        "admin": {"address": {"pipe": {"path": str(layout.admin_socket), "mode": 0o600}}},
        "stats_flush_interval": "1s",
        "dynamic_resources": {
            "lds_config": path_source(layout.listeners),
            "cds_config": path_source(layout.clusters),
        },
    }


def command_line(layout: Layout, *, base_id: int, concurrency: int) -> list[str]:
    """Render the command line.

    Raises:
        EnvoyMissing: there is no binary.
    """
    return [
        str(envoy_binary()),
        *("--config-path", str(layout.bootstrap)),
        *("--base-id", str(base_id)),
        *("--restart-epoch", "0"),
        *("--concurrency", str(concurrency)),
        "--reject-unknown-dynamic-fields",  # else a misspelt field is dropped with a warning
        *("--file-flush-interval-msec", "200"),
        *("--drain-time-s", str(_LONGEST_STREAM_S)),
        *("--parent-shutdown-time-s", str(_LONGEST_STREAM_S)),
        *("--log-level", "info"),
    ]
