"""What a rollout asks of its database, on a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rich.text import Text

from hitless.view.models import ConnectionsView, DatabaseView, PlanView, RolloutView, TakerView

_SHARE = re.compile(r"\b(\d{1,3}) ?%")


def planned_database_lines(plan: PlanView) -> Iterator[Text]:
    """Show who takes which connections, and what a contract will wait for."""
    found = plan.get("database")  # an older control plane sends none
    if found is None:
        return
    if found["unknown"] is not None:
        yield Text(f"pools whether they fit is not known: {found['unknown']}", style="yellow")
        yield from (Text(f"      {line}") for line in _takers(found["takers"]))
    for fit in found["connections"][:1]:
        yield from (Text(f"{'pools' if number == 0 else '     '} {line}") for number, line in enumerate(fit_lines(fit)))
    for note in found["notes"]:
        yield Text(f"note  {note}")


def fit_lines(fit: ConnectionsView) -> Iterator[str]:
    """Say what is taken of a limit, and by whom."""
    excess = fit["taken"] - fit["room"]
    verdict = "fits" if fit["fits"] else f"{excess} too many"
    yield f"{fit['limit']}: {fit['taken']} of {fit['room']} connections at the peak, {verdict}"
    yield from _takers(fit["takers"])


def _takers(takers: Iterable[TakerView]) -> Iterator[str]:
    for one in takers:
        because = f" ({one['because']})" if one["because"] else ""
        yield f"{one['connections']:>4}  {one['who']}{because}"


def database_notes(rollout: RolloutView) -> Iterator[str]:
    """Say what was seen where the database is not ready, and which schema users are brought back to."""
    found: DatabaseView | None = rollout.get("database")  # an older control plane sends none
    if found is None:
        return
    if found["verdict"] in {"refused", "failed"}:
        yield from found["evidence"]
    if rollout["phase"] == "rolling_back" or rollout["state"] == "rolled_back" or rollout["strategy"] == "undo":
        yield from found["returns"]


def _tenth(detail: str) -> int:
    """Read how many tenths of a backfill are done; what says no share is at its beginning."""
    share = _SHARE.search(detail)
    return int(share[1]) // 10 if share is not None else 0


def database_lines(before: RolloutView | None, after: RolloutView) -> Iterator[str]:
    """Tell what has become of what the database was asked for, and how a change gets on."""
    known = before.get("database") if before is not None else None
    found = after.get("database")
    if found is None:
        return
    earlier = {one["change"]: one for one in known["changes"]} if known is not None else {}
    for one in found["changes"]:
        standing = earlier[one["change"]]["standing"] if one["change"] in earlier else None
        if one["standing"] is not None and one["standing"] != standing:
            yield f"{one['change']} stands at {one['standing']}"
        if _tenth(one["detail"]) > _tenth(earlier[one["change"]]["detail"] if one["change"] in earlier else ""):
            yield f"{one['change']}: {one['detail']}"
    if found["verdict"] is not None and (known is None or known["verdict"] is None):
        yield from (line for fit in found["connections"][:1] for line in fit_lines(fit) if not fit["fits"])
        if found["verdict"] != "ready":
            yield f"database {found['verdict']}: {found['cause']}"
            is_in_table = any(not fit["fits"] for fit in found["connections"])
            yield from () if is_in_table else found["evidence"]
            yield from (f"next: {one}" for one in found["remedies"])
