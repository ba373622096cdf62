"""The orders of all instances: one append-only file that every instance writes, one line per executed order.

A line is far shorter than a page and written by one `write` on a descriptor opened with O_APPEND, so that lines of
several processes never mix (POSIX write(2), local file systems).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

FILE_NAME = "orders.jsonl"


class Orders:
    """Appends executed orders; None as directory keeps them in memory."""

    def __init__(self, directory: Path | None) -> None:
        self._path = directory / FILE_NAME if directory else None
        self._memory: Counter[str] = Counter()
        self._descriptor: int | None = None

    def execute(self, order: str, *, version: str, instance: str) -> None:
        """Execute an order: append it, whether or not it was seen before."""
        if self._path is None:
            self._memory[order] += 1
            return
        line = json.dumps({"id": order, "version": version, "instance": instance}) + "\n"
        os.write(self._open(self._path), line.encode())

    def executions(self, prefix: str = "") -> Counter[str]:
        """Count how often each order whose id begins with `prefix` was executed, by any instance."""
        counts = self._memory if self._path is None else read_executions(self._path)
        return Counter({order: times for order, times in counts.items() if order.startswith(prefix)})

    def _open(self, path: Path) -> int:
        if self._descriptor is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
        return self._descriptor


def read_executions(path: Path) -> Counter[str]:
    """Count how often each order in the file was executed."""
    if not path.exists():
        return Counter()
    with path.open() as lines:
        return Counter(json.loads(line)["id"] for line in lines)
