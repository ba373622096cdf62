"""What a soak of schema changes saw, and the promises that it judges by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from hitless.testing.load import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What must hold, what was seen of it, and whether it held."""

    words: str
    seen: str
    is_kept: bool


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Counts, and everything that speaks against hitless, in words.

    Attributes:
        kills: by `whom verb`, such as `worker backfill`.
        wrong, unnamed, left: what was found wrong in the data; what status did not name; what an undo left.
        crash_failures: requests that failed while the server was away; they are nobody's fault.
    """

    seed: int
    kills_wanted: int
    kills: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    undone: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    audit: str = ""
    compared: int = 0
    written: int = 0
    read: int = 0
    report: Report | None = None
    crash_failures: int = 0

    @property
    def killed(self) -> int:
        """How many workers and servers were killed in the middle of their work."""
        return self.kills.total()

    def promises(self) -> Iterator[Promise]:
        """Judge."""
        yield self._at_least("workers and servers killed in the middle of their work", self.killed, self.kills_wanted)
        yield self._at_least("changes carried out", self.rounds, 1)
        yield self._at_least("values compared at the end", self.compared, 1)
        failed = self.report.failed - self.crash_failures if self.report else -1
        yield Promise(words="requests failed while the server was there", seen=str(failed), is_kept=failed == 0)
        yield self._none("values or rows lost, wrong or doubled", self.wrong)
        yield self._none("verbs that did not come to their end when they were asked again", self.stuck)
        yield self._none("left-overs that `hitless migrate status` did not name", self.unnamed)
        yield self._none("left-overs behind an undo", self.left)

    @property
    def is_kept(self) -> bool:
        """Whether every promise was."""
        return all(one.is_kept for one in self.promises())

    @staticmethod
    def _at_least(words: str, seen: int, wanted: int) -> Promise:
        return Promise(words=words, seen=f"{seen:,} of at least {wanted:,}", is_kept=seen >= wanted)

    @staticmethod
    def _none(words: str, found: list[str]) -> Promise:
        return Promise(words=words, seen="; ".join([str(len(found)), *found[:5]]), is_kept=not found)


def to_markdown(ledger: Ledger) -> str:
    """Render the ledger."""
    sent = ledger.report.sent if ledger.report else 0
    lines = [
        f"# Soak of schema changes: {ledger.killed:,} kills",
        "",
        f"- seed: {ledger.seed}",
        f"- minutes: {ledger.seconds / 60:.1f}",
        f"- rounds: {ledger.rounds:,}, of which {ledger.undone:,} were undone",
        f"- values: {ledger.written:,} written by clients, {ledger.read:,} read back",
        f"- audit: {ledger.audit}",
        f"- requests: {sent:,}; {ledger.crash_failures:,} failed while the server was away",
        "",
        "| promise | seen | kept |",
        "| --- | --- | --- |",
        *(f"| {one.words} | {one.seen} | {'yes' if one.is_kept else '**NO**'} |" for one in ledger.promises()),
        "",
        "| killed | while it did | times |",
        "| --- | --- | --- |",
        *(f"| {' | '.join(name.split(' ', 1))} | {count} |" for name, count in sorted(ledger.kills.items())),
        "",
    ]
    return "\n".join(lines)
