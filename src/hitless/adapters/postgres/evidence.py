"""What the record of a step says of how it was had."""

from __future__ import annotations

from typing import Any

from hitless.adapters.postgres.patience import Try


def evidence_of(one: Try) -> dict[str, Any]:
    """Say what a try took: `held_ms` is how long its statements ran, so at most how long it kept others waiting."""
    return {"tries": one.number, "waited_s": round(one.waited_s, 3), "held_ms": round(one.spent_s * 1_000, 1)}
