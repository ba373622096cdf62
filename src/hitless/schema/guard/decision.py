"""May this be contracted now? Over all who may need it, and all that would break.

Rules.
* Anything but CLEAR blocks: a use that is shown, and whatever is not known.
* Who counts: every version that runs or that a rollback could bring back, every role that has a session or was seen to
  send something, every consumer that is registered, and every standby and slot, since what happens behind them is seen
  on another server.
* An override is a person's word for one subject. It has a reason and an end, and it is written down; what is a fact and
  no judgement (rows are not compared yet, the contract cannot be carried out) cannot be overridden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hitless.schema.guard.dependents import Dependent
from hitless.schema.guard.verdict import Judged, Verdict

SHOWN = 5
"""Uses and doubts of a version that a block repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One reason why it may not be contracted.

    Attributes:
        subject: by which it is overridden: `shop@41`, `role reporting`, `slot debezium`.
        remedies: what to do, ready to paste where that is possible.
    """

    subject: str
    sentence: str
    evidence: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()
    may_be_overridden: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A person's word that a block does not count, until it ends."""

    subject: str
    actor: str
    reason: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """What a trigger of ours counts: writes that only an older release makes.

    Attributes:
        value: how many; None = it cannot be read.
        quiet_since: it had this value then already; None = nobody has looked before.
    """

    name: str
    sentence: str
    value: int | None
    quiet_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the guard says.

    Attributes:
        blocks: what stands against it.
        overridden: what would, had nobody overridden it.
        notes: what people should know, and that hinders nothing.
    """

    judged: tuple[Judged, ...]
    blocks: tuple[Block, ...]
    overridden: tuple[tuple[Block, Override], ...]
    notes: tuple[str, ...]

    @property
    def is_clear(self) -> bool:
        """Tell whether nothing stands against it."""
        return not self.blocks


def decide(
    *,
    judged: Sequence[Judged],
    others: Sequence[Block],
    overrides: Sequence[Override],
    notes: Sequence[str],
    now: datetime,
) -> Decision:
    """Put everything together."""
    valid = {one.subject: one for one in overrides if one.expires_at > now}
    blocks = [*(block for one in judged if (block := block_of(one)) is not None), *others]
    passed = [(one, valid[one.subject]) for one in blocks if one.may_be_overridden and one.subject in valid]
    kept = [one for one in blocks if not (one.may_be_overridden and one.subject in valid)]
    ended = [f"the override of {one.subject} by {one.actor} has ended" for one in overrides if one.expires_at <= now]
    return Decision(
        judged=tuple(judged), blocks=tuple(kept), overridden=tuple(passed), notes=(*notes, *dict.fromkeys(ended))
    )


def block_of(one: Judged) -> Block | None:
    """Return what stands against it of one version; None where it is clear."""
    if one.verdict is Verdict.CLEAR:
        return None
    why = ", ".join(one.because)
    if one.verdict is Verdict.REFERENCES:
        return Block(
            subject=one.name,
            sentence=f"{one.name} uses it ({why})",
            evidence=tuple(_uses(one)),
            remedies=("release a version that does not, and let this one leave; a rollback target counts too",),
        )
    return Block(
        subject=one.name,
        sentence=f"nobody knows whether {one.name} uses it ({why})",
        evidence=tuple(_doubts(one)),
        remedies=("see what is missing, and how to give it: hitless explain HL4540",),
    )


def _uses(one: Judged) -> Iterator[str]:
    for use in one.uses[:SHOWN]:
        calls = f", {use.calls:,} {'call' if use.calls == 1 else 'calls'}" if use.calls is not None else ""
        seen = f", last seen {use.last_seen:%Y-%m-%d %H:%M}" if use.last_seen is not None else ""
        place = f" at {use.place}" if use.place is not None else ""
        text = f": {shortened(use.statement)}" if use.statement is not None else ""
        yield f"{use.way}{text}{place} ({use.origin}{calls}{seen})"
    if len(one.uses) > SHOWN:
        yield f"and {len(one.uses) - SHOWN} more"


def _doubts(one: Judged) -> Iterator[str]:
    for doubt in one.doubts[:SHOWN]:
        text = f": {shortened(doubt.statement)}" if doubt.statement is not None else ""
        yield f"{doubt.reason}{text}{f' at {doubt.place}' if doubt.place is not None else ''}"
    if len(one.doubts) > SHOWN:
        yield f"and {len(one.doubts) - SHOWN} more"


def shortened(text: str, longest: int = 160) -> str:
    """Write a statement on one line."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def of_dependents(dependents: Sequence[Dependent], *, nested_is_seen: bool) -> tuple[Block, ...]:
    """Block for what in the catalogue needs it; what functions send counts as seen where all sources saw it."""
    return tuple(
        Block(
            subject=one.name,
            sentence=f"{one.name}: {one.why}",
            remedies=("drop it, or make it anew so that it does not need what is removed",)
            if not one.is_told_by_statements
            else (
                "set pg_stat_statements.track = all, and wait for the window: then what it sends is seen, and judged",
            ),
        )
        for one in dependents
        if not (one.is_told_by_statements and nested_is_seen)
    )


def of_counters(counters: Sequence[Counter], *, quiet: timedelta, now: datetime) -> tuple[Block, ...]:
    """Block while an older release still writes."""
    return tuple(block for one in counters if (block := _of_counter(one, quiet, now)) is not None)


def _of_counter(one: Counter, quiet: timedelta, now: datetime) -> Block | None:
    if one.value == 0:
        return None
    if one.value is None:
        why = "it cannot be read"
    elif one.quiet_since is None:
        why = f"{one.value:,} of them; nobody has looked before, so nobody knows when the last one was"
    elif now - one.quiet_since < quiet:
        why = f"{one.value:,} of them; the last one may have been {_ago(now - one.quiet_since)} ago"
    else:
        return None
    return Block(
        subject=f"counter {one.name}",
        sentence=f"{one.sentence}: {why}",
        remedies=(f"look again once none has come for {_ago(quiet)}: hitless migrate contract",),
    )


def of_retention(hidden_at: datetime | None, *, retention: timedelta, now: datetime) -> tuple[Block, ...]:
    """Block the drop until it has been hidden long enough."""
    if hidden_at is not None and now - hidden_at >= retention:
        return ()
    until = f"until {hidden_at + retention:%Y-%m-%d %H:%M} UTC" if hidden_at is not None else "first"
    return (
        Block(
            subject="retention",
            sentence=f"what is hidden stays {until}: dropping cannot be taken back",
            remedies=("come back then, or say --retention with a shorter time",),
            may_be_overridden=False,
        ),
    )


def _ago(one: timedelta) -> str:
    seconds = int(one.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (seconds >= size and unit != "d"):
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
