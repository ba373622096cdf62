"""From how a rollout ended to the exit code that a script sees. Exit codes are an interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hitless.view.models import RolloutState

DONE = 0
UNEXPECTED = 1
USAGE = 2
ROLLED_BACK = 3
REFUSED = 4
TIMED_OUT = 5
HUMAN_NEEDED = 6
CONFLICT = 7
UNREACHABLE = 8
DETACHED = 130

EXIT_CODES = """\
Exit codes: 0 done; 1 unexpected error; 2 usage or configuration; 3 rolled back, service healthy on the old version; \
4 refused by a rule; 5 timed out waiting, it goes on; 6 a human is needed; 7 conflict or superseded; \
8 control plane unreachable or not authorised; 130 detached from a watch, it goes on."""

Wish = Literal["forward", "back"]

OUTCOMES: Mapping[Wish, Mapping[RolloutState, int]] = {
    "forward": {
        "running": TIMED_OUT,
        "paused": TIMED_OUT,
        "completed": DONE,
        "rolled_back": ROLLED_BACK,
        "refused": REFUSED,
        "superseded": CONFLICT,
        "failed": HUMAN_NEEDED,
    },
    "back": {
        "running": TIMED_OUT,
        "paused": TIMED_OUT,
        "completed": CONFLICT,
        "rolled_back": DONE,
        "refused": DONE,
        "superseded": CONFLICT,
        "failed": HUMAN_NEEDED,
    },
}
"""What was wished for decides what is a success: an abort wants the old version."""


def exit_code(state: RolloutState, wish: Wish) -> int:
    """Return the exit code of a wait that ended with the rollout in `state`."""
    return OUTCOMES[wish][state]
