"""Judging what has happened: a judge takes second by second as if it were now, and the verdict's second is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hitless.analysis.counts import Second
from hitless.analysis.ruling import Call, Judgement
from hitless.analysis.shares import Shares
from hitless.rollout.spec import Region


def without_holes(seconds: Sequence[Second]) -> Iterator[Second]:
    """Yield a recording's seconds, and a gap for every one that is missing."""
    last: int | None = None
    for second in seconds:
        yield from (
            Second(at=at, gap="not recorded") for at in range(second.at if last is None else last + 1, second.at)
        )
        yield second
        last = second.at


class TakesSeconds(Protocol):
    """What a replay needs of a judge."""

    def take(self, second: Second, share_bp: Mapping[Region, int]) -> None:
        """Take one second."""
        ...

    def judgement(self, *, next_share_bp: int) -> Judgement:
        """Say what is known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a replay ended.

    Attributes:
        judgement: the last one; after a ROLLBACK nothing more is taken.
        fell_at: the second after which it stood, and stood to the end; None = a HOLD.
        seconds: that were taken.
    """

    judgement: Judgement
    fell_at: int | None
    seconds: int


def replay(seconds: Iterable[Second], judge: TakesSeconds, *, shares: Shares, next_share_bp: int) -> Verdict:
    """Let a judge take seconds one by one, and say how it ended."""
    fell_at: int | None = None
    taken = 0
    judgement = judge.judgement(next_share_bp=next_share_bp)
    for second in seconds:
        judge.take(second, shares(second.at))
        taken += 1
        before, judgement = judgement.ruling.call, judge.judgement(next_share_bp=next_share_bp)
        call = judgement.ruling.call
        if call is not before or fell_at is None:
            fell_at = None if call is Call.HOLD else second.at
        if call is Call.ROLLBACK:
            break
    return Verdict(judgement=judgement, fell_at=fell_at, seconds=taken)
