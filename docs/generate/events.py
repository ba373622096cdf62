"""The page of all journal records."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import Field, fields
from datetime import UTC, datetime
from typing import Any

from hitless.journal.record import Entry, chain, document
from hitless.rollout.events import Event, ServiceEvent

HEAD = """\
# Journal records

Generated from the code by `make docs`.

Every decision is a record in one append-only chain. Records about a service rebuild its state: folding them in order
gives the very row that the store holds. A type never changes its meaning; new fields may be added.

| field | holds |
| --- | --- |
| `seq` | number of the record, from 1 without gaps |
| `at` | RFC 3339, UTC, microseconds, `Z` |
| `type` | one of the types below |
| `subject` | whom it concerns: `service/NAME` or `control_plane` |
| `actor` | who: `user:NAME`, `hitless` for what it decided by itself, `hitless down`, or the control plane's process |
| `data` | what was decided, with evidence and reason |
| `previous` | hash of the record before; 64 zeros in the first |
| `hash` | SHA-256 of the record without this field, as RFC 8785 (JCS) writes it |

"""

TOLD = {
    "effect.failed": (
        "An effect could not be carried out; told once per kind of trouble, and tried again.",
        "`problem`: str",
    ),
    "objective.burning": (
        (
            "An error budget burns so fast that somebody is called, by both windows; told once. A control plane that "
            "begins anew knows of no earlier alert, and tells one that goes on again."
        ),
        (
            "`objective`: str<br>`promised`: float<br>`at_most_ms`: float or null<br>`window`: str<br>`factor`: float"
            "<br>`burn`: float or null<br>`burn_short`: float or null<br>`budget_left`: float or null"
            "<br>`known`: float, the share of the window that was seen<br>`urgency`: `page` or `ticket`"
        ),
    ),
    "objective.recovered": (
        "It is known to burn well below that again, or is promised no more; never for lack of data.",
        (
            "`objective`: str<br>`promised`: float<br>`at_most_ms`: float or null<br>`window`: str<br>`factor`: float"
            "<br>`burn`: float or null<br>`burn_short`: float or null<br>`budget_left`: float or null"
            "<br>`known`: float<br>`why`: str"
        ),
    ),
    "preflight.examined": (
        "`hitless preflight` examined a version, without a rollout.",
        "`version`: str<br>`reason`: str or null<br>`findings`: list",
    ),
    "control_plane.started": ("A control plane took up its work.", "`version`: str<br>`pid`: int"),
    "control_plane.envoy_restarted": (
        "Envoy was exchanged while it served (`cut`: streams were allowed to be cut).",
        (
            "`reason`: str or null<br>`cut`: bool<br>`version`: str<br>`pid`: int<br>`epoch`: int"
            "<br>`previous_version`: str<br>`previous_pid`: int"
        ),
    ),
    "control_plane.ended": (
        "`hitless down` ended everything; not written when the control plane alone ends.",
        "`instances`: int",
    ),
}
"""Types that are told and not folded: meaning and data."""

_IN_THE_RECORD = {"at", "actor", "kind"}


def page() -> str:
    """Return the page."""
    parts = [HEAD, "## About a service\n\n", *_table(_folded()), "\n## Told, without a part in the state\n\n"]
    return "".join([*parts, *_table(_told()), "\n## An example\n\n", _example()])


def folded_types() -> list[str]:
    """Return the types of all events, in the order in which the code names them."""
    return [str(_field(kind, "kind").default) for kind in ServiceEvent.__args__]


def _table(rows: Iterator[tuple[str, str, str]]) -> Iterator[str]:
    yield "| type | meaning | data |\n| --- | --- | --- |\n"
    for name, meaning, data in rows:
        yield f"| `{name}` | {meaning} | {data} |\n"


def _folded() -> Iterator[tuple[str, str, str]]:
    for kind in ServiceEvent.__args__:
        told = [one for one in fields(kind) if one.name not in _IN_THE_RECORD]
        data = "<br>".join(f"`{one.name}`: {_type_of(one)}" for one in told)
        yield str(_field(kind, "kind").default), inspect.getdoc(kind) or "", data


def _told() -> Iterator[tuple[str, str, str]]:
    for name, (meaning, data) in TOLD.items():
        yield name, meaning, data


def _field(kind: type[Event], name: str) -> Field[Any]:
    return next(one for one in fields(kind) if one.name == name)


def _type_of(one: Field[Any]) -> str:
    return str(one.type).replace("|", "\\|")


def _example() -> str:
    entry = Entry(
        at=datetime(2026, 1, 31, 12, tzinfo=UTC),
        type="rollout.paused",
        subject="service/checkout",
        actor="user:ana",
        data={"reason": "the queue of the mailer grows"},
    )
    text = json.dumps(document(chain(entry, after=None)), indent=2)
    return f"```json\n{text}\n```\n\n[How to check an export with a program of your own](../how-to/journal.md)\n"
