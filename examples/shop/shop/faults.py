"""What is wrong with a version, read off its name (or SHOP_FAULTS): releases that must be turned away."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

USUAL_WARMUP_S = 0.3
SLOW_WARMUP_S = 5.0
CRASH_AFTER_S = 0.2
ERRORS_EVERY = 5  # 20 %
ONE_IN = re.compile(r"fails-1-in-(\d+)")
LEAK = re.compile(r"leaks-(\d+)-mb-an-hour")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How this version behaves.

    Attributes:
        warmup_s: from start to ready; None = never ready.
        crash_after_s: exits with code 1 so long after its start; None = does not crash.
        error_every: every n-th request of a visitor is answered with 500; 0 = none.
        leaks_bytes_per_s: memory that is kept and never used again.
    """

    warmup_s: float | None
    crash_after_s: float | None
    error_every: int
    leaks_bytes_per_s: int = 0


def behaviour_of(environment: Mapping[str, str] = os.environ) -> Behaviour:
    """Read the behaviour from HITLESS_VERSION, SHOP_FAULTS and SHOP_WARMUP."""
    named = f"{environment.get('HITLESS_VERSION', '')} {environment.get('SHOP_FAULTS', '')}"
    warmup_s = float(environment.get("SHOP_WARMUP", USUAL_WARMUP_S))
    if "slow-start" in named:
        warmup_s = SLOW_WARMUP_S
    return Behaviour(
        warmup_s=None if "never-ready" in named else warmup_s,
        crash_after_s=CRASH_AFTER_S if "crash" in named else None,
        error_every=_error_every(named),
        leaks_bytes_per_s=int(found[1]) * 1_000_000 // 3_600 if (found := LEAK.search(named)) is not None else 0,
    )


def _error_every(named: str) -> int:
    if (found := ONE_IN.search(named)) is not None:
        return int(found[1])
    return ERRORS_EVERY if "errors" in named else 0
