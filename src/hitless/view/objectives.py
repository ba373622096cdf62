"""From error budgets to the view that people get; what is not known is None."""

from __future__ import annotations

from datetime import UTC, datetime

from hitless.analysis.budget import WINDOWS, Burn, Standing, Window
from hitless.view.models import BurnView, ObjectiveView

UNKNOWN = Burn(long=None, short=None, known=0.0)


def objective_view(one: Standing) -> ObjectiveView:
    """Render one objective."""
    state = one.state
    return {
        "name": one.name,
        "promised": one.promise.share,
        "at_most_ms": one.promise.at_most_ms,
        "budget_left": state.budget_left if state is not None else None,
        "since": _moment(state.since) if state is not None else None,
        "known": state.known if state is not None else 0.0,
        "burn": [_burn(one, window, state.burn[window.name] if state is not None else UNKNOWN) for window in WINDOWS],
    }


def _burn(one: Standing, window: Window, burn: Burn) -> BurnView:
    since = one.alerts.get(window.name)
    return {
        "window": window.name,
        "short_minutes": window.short_minutes,
        "long": burn.long,
        "short": burn.short,
        "factor": window.factor,
        "urgency": window.urgency.value,
        "known": burn.known,
        "burning_since": since.isoformat() if since is not None else None,
    }


def _moment(second: int | None) -> str | None:
    return None if second is None else datetime.fromtimestamp(second, tz=UTC).isoformat()
