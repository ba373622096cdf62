"""Log files that do not fill the disk: at a size they are set aside, one generation is kept."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from hitless.adapters.envoy.admin import Admin
from hitless.adapters.envoy.layout import Layout

ACCESS_LOG_MAX_BYTES = 256 * 1024 * 1024  # half a million requests
ENVOY_LOG_MAX_BYTES = 16 * 1024 * 1024


def overgrown(layout: Layout, *, limit: int = ACCESS_LOG_MAX_BYTES) -> tuple[Path, ...]:
    """List access logs above their size."""
    return tuple(path for path in (layout.root / "logs").glob("*.jsonl") if path.stat().st_size > limit)


async def rotate(layout: Layout, admin: Admin, *, limit: int = ACCESS_LOG_MAX_BYTES) -> None:
    """Set overgrown logs aside under `.1`.

    Raises:
        EnvoySilent: Envoy goes on writing to the file that was set aside, and is asked again next time.
    """
    for path in overgrown(layout, limit=limit):
        path.replace(path.with_suffix(".jsonl.1"))
    if _is_orphaned(layout):
        await admin.reopen_logs()
    await asyncio.to_thread(_cut, layout.log)


def _is_orphaned(layout: Layout) -> bool:
    return any(not old.with_suffix("").exists() for old in (layout.root / "logs").glob("*.jsonl.1"))


def _cut(log: Path) -> None:
    # Envoy's stderr is opened for appending, so the file may be emptied under it; a rename it would not notice.
    if log.exists() and log.stat().st_size > ENVOY_LOG_MAX_BYTES:
        with log.open("rb") as source, log.with_suffix(".log.1").open("wb") as kept:
            source.seek(-ENVOY_LOG_MAX_BYTES, os.SEEK_END)
            shutil.copyfileobj(source, kept)
        os.truncate(log, 0)
