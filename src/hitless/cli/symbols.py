"""States as people see them: icon, word and colour, so that none of the three carries it alone."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text

from hitless.view.models import RolloutRowView


@dataclass(frozen=True, slots=True)
class Symbol:
    """One state."""

    icon: str
    word: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The characters a terminal is given; `PLAIN` is for screen readers and for terminals that know ASCII only."""

    icons: bool
    separator: str
    arrow: str
    filled: str
    missing: str
    empty: str
    branch: str
    last: str
    more: str


FANCY = Glyphs(
    icons=True, separator=" · ", arrow="→", filled="█", missing="▒", empty="░", branch="├─ ", last="└─ ", more="…"
)
PLAIN = Glyphs(
    icons=False, separator=", ", arrow="->", filled="#", missing="-", empty=".", branch="  ", last="  ", more="..."
)

PHASES = {
    "starting": Symbol("◌", "starting", "yellow"),
    "ready": Symbol("✔", "ready", "green"),
    "unready": Symbol("⚠", "unready", "yellow"),
    "failed": Symbol("✖", "failed", "red"),
    "stopping": Symbol("■", "stopping", "dim"),
}
ROTATIONS = {
    "in": Symbol("●", "in", "green"),
    "draining": Symbol("◐", "draining", "cyan"),
    "out": Symbol("○", "out", "dim"),
    "unknown": Symbol("?", "unknown", "yellow"),
}
HEALTH = {
    "idle": Symbol("○", "idle", "dim"),
    "healthy": Symbol("✔", "healthy", "green"),
    "progressing": Symbol("▶", "progressing", "cyan"),
    "degraded": Symbol("⚠", "degraded", "yellow"),
    "down": Symbol("✖", "down", "red"),
}
ROLLOUTS = {
    "running": Symbol("▶", "running", "cyan"),
    "paused": Symbol("‖", "paused", "yellow"),
    "completed": Symbol("✔", "completed", "green"),
    "rolled_back": Symbol("↶", "rolled back", "yellow"),
    "refused": Symbol("⊘", "refused", "yellow"),
    "superseded": Symbol("»", "superseded", "yellow"),
    "failed": Symbol("✖", "failed", "red"),
}
ROLLING_BACK = Symbol("↶", "rolling back", "yellow")
STAGES = {
    "done": Symbol("✔", "done", "green"),
    "current": Symbol("▶", "now", "cyan"),
    "ahead": Symbol("·", "ahead", "dim"),
    "skipped": Symbol("–", "skipped", "dim"),  # noqa: RUF001 - an en dash reads as "left out", a hyphen as a list
}
VERDICTS = {
    "ok": Symbol("✔", "ok", "green"),
    "warning": Symbol("⚠", "warning", "yellow"),
    "unknown": Symbol("?", "could not tell", "yellow"),
    "failed": Symbol("✖", "failed", "red"),
}
CALLS = {
    "rollback": Symbol("✖", "worse", "red"),
    "promote": Symbol("✔", "not worse", "green"),
    "hold": Symbol("◌", "cannot tell yet", "yellow"),
}
MET = Symbol("✔", "met", "green")
OPEN = Symbol("◌", "open", "yellow")


def rollout_symbol(rollout: RolloutRowView) -> Symbol:
    """Choose the symbol of a rollout: the way back has its own."""
    return ROLLING_BACK if rollout["phase"] == "rolling_back" else ROLLOUTS[rollout["state"]]


def mark(symbol: Symbol, glyphs: Glyphs) -> Text:
    """Render a state."""
    return Text(f"{symbol.icon} {symbol.word}" if glyphs.icons else symbol.word, style=symbol.colour, no_wrap=True)
