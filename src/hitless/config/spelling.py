"""Did you mean ...?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

ELSEWHERE = {
    "replicas": "instances",
    "count": "instances",
    "scale": "instances",
    "name": "service",
    "app": "service",
    "cmd": "run.command",
    "command": "run.command",
    "args": "run.command",
    "env": "run.environment",
    "cwd": "run.directory",
    "workdir": "run.directory",
    "port": "listen",
    "bind": "listen",
    "address": "listen",
    "healthcheck": "health",
    "liveness": "health.live",
    "readiness": "health.ready",
    "deploy": "strategy",
    "bluegreen": "strategy.blue_green",
    "surge": "strategy.rolling.max_surge",
    "percent": "weight",
    "duration": "hold",
}
"""What other tools call our settings."""


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is nearest to `word`, None when none is near."""
    candidates = {name.lower(): name for name in known}
    written = word.lower().replace("-", "_")
    near = difflib.get_close_matches(written, candidates, n=1, cutoff=0.6)
    return candidates[near[0]] if near else None


def meant_here(word: str, allowed: Sequence[str]) -> str | None:
    """Return the allowed key that an unknown one stands for: misspelt, or what another tool calls it."""
    other = ELSEWHERE.get(word.lower().replace("-", "").replace("_", ""))
    return other if other in allowed else did_you_mean(word, allowed)


def where_it_belongs(word: str, allowed: Sequence[str], paths: Sequence[str]) -> str:
    """Say where an unknown key may stand.

    Args:
        word: the key.
        allowed: keys that are known where it stands now.
        paths: dotted paths of all settings.
    """
    owners = [path.rpartition(".")[0] or "the service" for path in paths if path.rpartition(".")[2] == word]
    if owners:
        return "it belongs in " + " or ".join(f"`{owner}`" for owner in owners)
    other = ELSEWHERE.get(word.lower().replace("-", "").replace("_", ""))
    if other:
        return f"did you mean `{other}`?"
    return "known here: " + ", ".join(f"`{name}`" for name in allowed)
