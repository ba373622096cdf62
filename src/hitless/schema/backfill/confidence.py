"""What a sample without a wrong row says about the rest."""

from __future__ import annotations

CONFIDENCE = 0.95


def greatest_share(looked_at: int, *, confidence: float = CONFIDENCE) -> float:
    """Return the share of wrong ones that is ruled out, where none of those drawn at random was wrong.

    The exact one-sided bound of Clopper and Pearson (1934) for no success: (1 - p)^n = 1 - confidence; about 3 / n.
    Nothing looked at rules nothing out: 1.
    """
    return 1 - (1 - confidence) ** (1 / looked_at) if looked_at > 0 else 1.0
