"""Envoy's static configuration and command line, and how those of a running one differ. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hitless.adapters.envoy.layout import Layout
from hitless.adapters.envoy.resources import path_source

_MOST_WORKERS = 4
LONGEST_STREAM_S = 7_200  # a listener that is closed lets its streams go on for so long

_OF_ONE_START = frozenset({"--config-path", "--base-id", "--restart-epoch", "--parent-shutdown-time-s"})
"""Options that are different with every start and say nothing about what was wanted."""


def default_concurrency() -> int:
    """Worker threads: one per usable core, 4 at most; more only take cores from the applications."""
    return max(1, min(len(os.sched_getaffinity(0)), _MOST_WORKERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One start of Envoy.

    Attributes:
        epoch: 0, or one more than that of the Envoy whose sockets it takes over.
        base_id: keeps the shared memory of Envoys apart; both sides of a handover have the same.
        parent_lives_s: how long the one before may finish its streams. The newcomer ends it then.
    """

    binary: Path
    epoch: int
    base_id: int
    concurrency: int
    parent_lives_s: int = LONGEST_STREAM_S

    def command_line(self, layout: Layout) -> list[str]:
        """Render the command line."""
        return [
            str(self.binary),
            *("--config-path", str(layout.bootstrap_of(self.epoch))),
            *("--base-id", str(self.base_id)),
            *("--restart-epoch", str(self.epoch)),
            *("--concurrency", str(self.concurrency)),
            "--reject-unknown-dynamic-fields",  # else a misspelt field is dropped with a warning
            *("--file-flush-interval-msec", "200"),
            *("--drain-time-s", str(LONGEST_STREAM_S)),
            *("--drain-strategy", "immediate"),  # every answer of the old one says goodbye: clients move at once
            *("--parent-shutdown-time-s", str(self.parent_lives_s)),
            "--skip-hot-restart-parent-stats",  # asking a parent that has died aborts the newcomer, see `handover`
            *("--log-level", "info"),
        ]


def bootstrap(layout: Layout, *, epoch: int) -> dict[str, Any]:
    """Render the bootstrap: an admin socket for the owner alone, everything else from watched files."""
    return {
        "node": {"id": "hitless", "cluster": "hitless"},
        "admin": {"address": {"pipe": {"path": str(layout.admin_socket_of(epoch)), "mode": 0o600}}},
        "stats_flush_interval": "1s",
        "dynamic_resources": {
            "lds_config": path_source(layout.listeners),
            "cds_config": path_source(layout.clusters),
        },
    }


def option(arguments: Sequence[str], name: str) -> str | None:
    """Read an option's value from a command line."""
    return next((value for key, value in pairwise(arguments) if key == name), None)


def differing_options(running: Sequence[str], wanted: Sequence[str]) -> Iterator[str]:
    """Name options in which two command lines differ, for people."""
    found, asked = _options(running), _options(wanted)
    for name in dict.fromkeys([*found, *asked]):
        if found.get(name) != asked.get(name):
            yield f"option {name}: {_words(found, name)}, would be {_words(asked, name)}"


def _options(arguments: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for word in arguments[1:]:
        name = word if word.startswith("--") else name
        found[name] = "" if word.startswith("--") else word
    return {key: value for key, value in found.items() if key not in _OF_ONE_START}


def _words(options: dict[str, str], name: str) -> str:
    return options[name] or "set" if name in options else "not set"
