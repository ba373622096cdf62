"""What hangs on a table, as its definitions say it: placeholder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """Definitions."""
