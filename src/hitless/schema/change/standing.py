"""Where a change of the schema stands, and which verb takes it where.

A change has five parts. Each is a list of steps; the change *stands* at the last part that is whole. Contracting has
three stops of its own, because what it does is less and less easy to take back: privileges are revoked, then the name
is hidden, then the data go.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Part(StrEnum):
    """The parts of a change, in their order."""

    EXPAND = "expand"
    BACKFILL = "backfill"
    VERIFY = "verify"
    SWITCH = "switch"
    BROWNOUT = "brownout"
    HIDE = "hide"
    DROP = "drop"


class Standing(StrEnum):
    """Where a change stands."""

    PLANNED = "planned"
    EXPANDED = "expanded"
    BACKFILLED = "backfilled"
    VERIFIED = "verified"
    SWITCHED = "switched"
    BROWNED_OUT = "browned_out"
    HIDDEN = "hidden"
    CONTRACTED = "contracted"


class Verb(StrEnum):
    """What people tell a change to do."""

    EXPAND = "expand"
    BACKFILL = "backfill"
    VERIFY = "verify"
    SWITCH = "switch"
    CONTRACT = "contract"
    UNDO = "undo"


ORDER: tuple[Standing, ...] = tuple(Standing)
"""From nothing done to nothing left to do."""

LEADS_TO: Mapping[Part, Standing] = dict(zip(Part, ORDER[1:], strict=True))
"""Where a change stands once a part of it is whole."""

FORWARD: Mapping[Verb, tuple[Part, ...]] = {
    Verb.EXPAND: (Part.EXPAND,),
    Verb.BACKFILL: (Part.BACKFILL,),
    Verb.VERIFY: (Part.VERIFY,),
    Verb.SWITCH: (Part.SWITCH,),
    Verb.CONTRACT: (Part.BROWNOUT, Part.HIDE, Part.DROP),
}
"""The parts that each verb carries out; contracting carries out one at a time."""


def before(part: Part) -> Standing:
    """Return where a change must stand for a part to begin."""
    return ORDER[ORDER.index(LEADS_TO[part]) - 1]


def is_at_least(standing: Standing, wanted: Standing) -> bool:
    """Tell whether a change has come as far as that."""
    return ORDER.index(standing) >= ORDER.index(wanted)
