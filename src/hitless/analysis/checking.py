"""What no source may say: refused by name before anything is judged, so that nonsense never becomes a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from hitless.analysis.counts import LAST_BUCKET, Cell, Fates, Second, Transfer
from hitless.rollout.spec import ALL_TRAFFIC_BP, Region

ABSURD = 1_000_000
"""In one second, of one version and class of routes: more is a broken counter."""

ABSURD_BYTES = 2**60
"""A stream of years tells all of its bytes in the second in which it ends."""


def check_second(second: Second) -> None:
    """Refuse counts that cannot be.

    Raises:
        ValueError: names what, where and the value.
    """
    if not isinstance(second.at, int):
        raise ValueError(  # noqa: TRY004  (one kind of error for all bad input)
            f"a second begins at a whole number of seconds, not at {second.at!r}"
        )
    if second.gap is not None and (second.cells or second.calls):
        raise ValueError(f"second {second.at} is a gap ({second.gap}) and has counts all the same")
    for cell in second.cells:
        _check_cell(cell, second.at)
    for call in second.calls:
        if not _is_possible(call.fates):
            raise ValueError(f"second {second.at}: calls of {call.version} to {call.dependency}: {call.fates}")
    for pool in second.pools:
        if not (0 <= pool.used < math.inf and 0 < pool.size < math.inf):
            raise ValueError(
                f"second {second.at}: pool {pool.pool} of instance {pool.instance}: {pool.used} of {pool.size}"
            )
    _check_durations(second)


def check_shares(share_bp: Mapping[Region, int]) -> None:
    """Refuse shares that are none.

    Raises:
        ValueError: names region and value.
    """
    for region, share in share_bp.items():
        if not _is_count(share, most=ALL_TRAFFIC_BP):
            raise ValueError(f"share of region {region}: {share!r} is not between 0 and {ALL_TRAFFIC_BP} basis points")


def _check_cell(cell: Cell, at: int) -> None:
    if not _is_possible(cell.requests):
        raise ValueError(f"second {at}: requests of {cell.version} to {cell.route} in {cell.region}: {cell.requests}")
    if not _is_count(cell.retried, most=cell.requests.total):
        raise ValueError(f"second {at}: {cell.retried!r} of {cell.requests.total} requests to {cell.version} retried")
    for instance, fates in cell.instances.items():
        if not _is_possible(fates):
            raise ValueError(f"second {at}: requests of instance {instance}: {fates}")
    if cell.transfer is not None and not _is_possible_transfer(cell.transfer):
        raise ValueError(f"second {at}: bytes of {cell.version} for {cell.route} in {cell.region}: {cell.transfer}")


def _is_possible(fates: Fates) -> bool:
    total: Any = fates.total  # thousands in a second: one comparison, and no call for each number
    failed: Any = fates.failed
    return isinstance(total, int) and isinstance(failed, int) and 0 <= failed <= total <= ABSURD


def _is_possible_transfer(one: Transfer) -> bool:
    return (
        _is_count(one.answers, least=1, most=ABSURD)
        and _is_count(one.received_bytes, most=ABSURD_BYTES)
        and _is_count(one.sent_bytes, most=ABSURD_BYTES)
    )


def _is_count(value: object, *, least: int = 0, most: int) -> bool:
    return isinstance(value, int) and least <= value <= most


def _check_durations(second: Second) -> None:
    entries = list(chain.from_iterable(cell.durations.items() for cell in second.cells))
    if not entries:
        return
    values = np.array(entries)
    if values.dtype.kind not in "iu":
        raise ValueError(f"second {second.at}: durations are whole numbers by bucket, not {values.dtype}")
    if values.min() < 0 or values[:, 0].max() > LAST_BUCKET or values[:, 1].max() > ABSURD:
        raise ValueError(f"second {second.at}: durations outside of 0 to {LAST_BUCKET} or of 0 to {ABSURD}")
