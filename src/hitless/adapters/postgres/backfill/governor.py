"""Makes a walk rest when others need it to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hitless.adapters.postgres.backfill.key import Part
from hitless.adapters.postgres.backfill.probe import Probe
from hitless.adapters.postgres.hold import Hold, Told
from hitless.schema.backfill.throttle import Batch, Limits, Reason, Rest, Sight, Throttle, stop

FIRST_REST_S = 1.5
"""Before the first batch, to see how it is without us: the longest time to wait for that."""

RESTS_EVERY_S, REST_S = 60.0, 1.0
"""Looks anew at how it is without us: 1.6 % of the time."""

ADJUSTS_EVERY_S = 0.5
"""As often as there is a new sight."""

TELLS_EVERY_S = 5.0

OLD_S = 300.0
"""A transaction that is older keeps so many dead rows that people are told."""


class Governor:
    """Looks, decides by the pure throttle, and waits."""

    def __init__(self, hold: Hold, *, parts: Sequence[Part], pid: int) -> None:
        self._hold = hold
        self._throttle = Throttle()
        self._probe = Probe(hold.database, tables=[one.oid for one in parts], pid=pid)
        self._adjusted_s = self._looked_s = time.monotonic()
        self._told: set[str] = set()
        self._told_reason: tuple[Reason, float] | None = None
        self.rested_s: dict[str, float] = {}
        self.present: Rest | None = None

    def start(self, limits: Limits, *, is_short: bool) -> None:
        """Begin to look, and see how it is without us, unless all is done before that is known."""
        if not limits.is_heedful:
            return
        self._probe.start()
        if is_short:
            return
        until_s = time.monotonic() + FIRST_REST_S
        while not self._probe.knows_the_usual and time.monotonic() < until_s and not self._hold.stopping.is_set():
            self._hold.stopping.wait(0.05)
        self._looked_s = time.monotonic()

    def close(self) -> None:
        """Look no more."""
        self._probe.stop()

    @property
    def sight(self) -> Sight:
        """What is seen of others."""
        return self._probe.sight

    @contextmanager
    def working(self, pid: int) -> Iterator[None]:
        """Say that a batch runs."""
        self._probe.follow(pid)
        self._probe.is_working = True
        try:
            yield
        finally:
            self._probe.is_working = False

    def wait_until_allowed(self, limits: Limits) -> None:
        """Wait for as long as something forbids the next batch."""
        while not self._hold.stopping.is_set() and (rest := stop(self.sight, limits)) is not None:
            self._rest(rest)

    def rest_after(self, batch: Batch, limits: Limits) -> None:
        """Rest after a batch."""
        now_s = time.monotonic()
        if now_s - self._adjusted_s >= ADJUSTS_EVERY_S:
            self._throttle, self._adjusted_s = self._throttle.after(self.sight), now_s
            self._say_what_is_new()
        self.present = self._throttle.rest(batch, self.sight, limits)
        if self.present is not None:
            self._rest(self.present)
        if limits.is_heedful and now_s - self._looked_s >= RESTS_EVERY_S:
            self._hold.stopping.wait(REST_S)
            self._looked_s = time.monotonic()

    def _rest(self, rest: Rest) -> None:
        self.present = rest
        now_s = time.monotonic()
        if self._told_reason is None or (
            rest.reason is not self._told_reason[0] and now_s - self._told_reason[1] > TELLS_EVERY_S
        ):
            self._told_reason = (rest.reason, now_s)
            self._hold.tell(Told(kind="throttled", sentence=rest.sentence, data={"reason": rest.reason.value}))
        self.rested_s[rest.reason.value] = self.rested_s.get(rest.reason.value, 0.0) + rest.seconds
        self._hold.stopping.wait(rest.seconds)

    def _say_what_is_new(self) -> None:
        for what in sorted(self._probe.unseen):
            self._tell_once("not_seen", what, f"cannot be seen, and throttles nothing: {what}")
        oldest_s = self.sight.oldest_s
        if oldest_s is not None and oldest_s > OLD_S:
            sentence = f"a transaction of {oldest_s:,.0f} s keeps dead rows: the table grows until it ends"
            self._tell_once("old_transaction", "old", sentence)

    def _tell_once(self, kind: str, what: str, sentence: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._hold.tell(Told(kind=kind, sentence=sentence, data={"what": what}))
