"""Error budgets in a few lines: what is left of each, and what burns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.text import Text

from hitless.cli.figures import UNKNOWN, duration, since
from hitless.cli.symbols import Glyphs
from hitless.view.models import BurnView, ObjectiveView, ServiceView


def budget_lines(objectives: Sequence[ObjectiveView], glyphs: Glyphs, now: datetime) -> Iterator[Text]:
    """Draw a line for all budgets together, and one for each that burns too fast."""
    if not objectives:
        return
    told = glyphs.separator.join(f"{one['name']} {_left(one)}" for one in objectives)
    yield Text(f"error budget  {told}{glyphs.separator}{_seen(objectives, now)}", style="dim")
    for one in objectives:
        if (burn := _worst(one)) is not None:
            yield Text(burning_words(one, burn, now), style="red" if burn["urgency"] == "page" else "yellow")


def burning_lines(services: Sequence[ServiceView], now: datetime) -> Iterator[str]:
    """Yield a line for each budget that burns too fast."""
    for service in services:
        for one in service.get("objectives", ()):  # an older control plane sends none
            if (burn := _worst(one)) is not None:
                yield f"{service['name']}: {burning_words(one, burn, now)}"


def burning_words(one: ObjectiveView, burn: BurnView, now: datetime) -> str:
    """Say how fast a budget burns, and for how long it has."""
    assert burn["burning_since"] is not None
    return (
        f"{burn['urgency']}: the error budget of {one['name']} burns {_times(burn['long'])} as fast as it may over "
        f"{burn['window']}, {_times(burn['short'])} over {duration(60 * burn['short_minutes'])}; "
        f"{burn['factor']:g} times calls somebody; since {since(burn['burning_since'], now)}"
    )


def _left(one: ObjectiveView) -> str:
    return UNKNOWN if one["budget_left"] is None else f"{one['budget_left']:.0%} left"


def _seen(objectives: Sequence[ObjectiveView], now: datetime) -> str:
    begun = [one["since"] for one in objectives if one["since"] is not None]
    return f"seen for {since(min(begun), now)} of 30d" if begun else "nothing seen yet"


def _worst(one: ObjectiveView) -> BurnView | None:
    """Return the most urgent alert: windows come in that order."""
    return next((burn for burn in one["burn"] if burn["burning_since"] is not None), None)


def _times(rate: float | None) -> str:
    return UNKNOWN if rate is None else f"{rate:.3g} times"
