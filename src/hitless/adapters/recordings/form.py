"""How a recording is written: a header, then one compact JSON line for every second.

Header: `{"hitless": "recording", "format": 1, "version": "0.1.0", "rollout": "checkout-r7", "settings": {...},
"digest": "..."}`; the digest tells a hitless that knows other settings that it would not go on as it was begun, and
`version` that its judge may weigh otherwise. A second: `t` when it began, `s` share of the canary by region, `g` why it
is a gap, and what is not empty of

* `c` cells: `[region, route, version, total, failed, retried, durations, instances]`; durations as pairs of (distance
  from the bucket before, count), which is two or three characters less for every bucket; instances
  `{id: [total, failed]}`,
* `k` calls: `[region, version, dependency, total, failed]`,
* `u` usage: `[instance, region, version, age_s, cpu_s, memory_bytes, descriptors, requests]`,
* `b` bytes of the bodies of each of the cells, in their order: `[answers, received, sent]`, null where nothing told
  them; a column of its own, because a reader of rows takes no longer one.
* `p` pools: `[instance, region, version, pool, used, size]`; recordings from before pools were watched have none.

Ratios stand among the calls, `ratios:` before their name.

Nothing is rounded: what is read is equal to what was written. A second of one route with two versions at 200
requests/s takes about 650 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hitless import __version__
from hitless.analysis.counts import Call, Cell, Fates, PoolReading, Second, Transfer, Usage
from hitless.analysis.settings import JudgeSettings
from hitless.ports import Recorded
from hitless.rollout.spec import InstanceId, Region, Version

KIND, FORMAT = "recording", 1
_SETTINGS = TypeAdapter(JudgeSettings)


def header_line(rollout: str, settings: JudgeSettings) -> str:
    """Write the first line, without its end."""
    told = _SETTINGS.dump_python(settings, mode="json")
    head = {"hitless": KIND, "format": FORMAT, "version": __version__, "rollout": rollout}
    return _dumped(head | {"settings": told, "digest": settings.digest})


def read_header(line: str | bytes, *, as_written: bool = False) -> JudgeSettings | None:
    """Read the first line; None = it is not that of a recording in this format.

    Args:
        line: the first one.
        as_written: do not read other settings out of it than were written, as a hitless does that knows others.
    """
    try:
        head = json.loads(line)
        if not isinstance(head, Mapping) or (head.get("hitless"), head.get("format")) != (KIND, FORMAT):
            return None
        settings = _SETTINGS.validate_python(head.get("settings"), strict=False)
    except (ValueError, ValidationError, RecursionError):
        return None
    return settings if not as_written or head.get("digest") == settings.digest else None


def read_version(line: str | bytes) -> str | None:
    """Read from a first line which hitless has begun the recording; None = it does not say."""
    try:
        return str(json.loads(line)["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def is_recording(line: str) -> bool:
    """Tell whether a first line is a recording's, in whatever format."""
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(head, Mapping) and head.get("hitless") == KIND


def second_line(recorded: Recorded) -> str:
    """Write one second, without the line's end."""
    return _dumped(second_parts(recorded))


def second_parts(recorded: Recorded) -> dict[str, Any]:
    """Return one second as it is written, before it is a line."""
    second = recorded.second
    parts: dict[str, Any] = {"t": second.at, "s": dict(recorded.share_bp)}
    if second.gap is not None:
        parts["g"] = second.gap
    rows = {
        "c": [_cell(cell) for cell in second.cells],
        "k": [[one.region, one.version, one.dependency, one.fates.total, one.fates.failed] for one in second.calls],
        "u": [_usage(usage) for usage in second.usage],
        "b": [_transfer(cell.transfer) for cell in second.cells] if any(one.transfer for one in second.cells) else [],
        "p": [[one.instance, one.region, one.version, one.pool, one.used, one.size] for one in second.pools],
    }
    return parts | {name: row for name, row in rows.items() if row}


def read_second(line: str | bytes) -> Recorded | None:
    """Read one second; None = the line is torn, or says something else."""
    try:
        return read_parts(json.loads(line))
    except (ValueError, RecursionError):
        return None


def read_parts(parts: Any) -> Recorded | None:
    """Read one second from its parts; None = they say something else."""
    try:
        rows = parts.get("c", ())
        transfers = parts.get("b") or [None] * len(rows)
        second = Second(
            at=parts["t"],
            cells=tuple(
                _read_cell(*row, transfer=_read_transfer(one)) for row, one in zip(rows, transfers, strict=True)
            ),
            calls=tuple(_read_call(*row) for row in parts.get("k", ())),
            usage=tuple(_read_usage(*row) for row in parts.get("u", ())),
            pools=tuple(_read_pool(*row) for row in parts.get("p", ())),
            gap=parts.get("g"),
        )
        return Recorded(second=second, share_bp={Region(name): int(share) for name, share in parts["s"].items()})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _cell(cell: Cell) -> list[Any]:
    fates = cell.requests
    durations: list[int] = []
    before = 0
    for bucket, count in sorted(cell.durations.items()):
        durations += (bucket - before, count)
        before = bucket
    instances = {name: [one.total, one.failed] for name, one in cell.instances.items()}
    return [cell.region, cell.route, cell.version, fates.total, fates.failed, cell.retried, durations, instances]


def _read_cell(  # noqa: PLR0917 - the columns of one row
    region: str,
    route: str,
    version: str,
    total: int,
    failed: int,
    retried: int,
    durations: list[int],
    instances: dict[str, list[int]],
    *,
    transfer: Transfer | None,
) -> Cell:
    buckets: dict[int, int] = {}
    bucket = 0
    for distance, count in zip(durations[::2], durations[1::2], strict=True):
        bucket += distance
        buckets[bucket] = count
    return Cell(
        region=Region(region),
        route=route,
        version=Version(version),
        requests=Fates(total=total, failed=failed),
        retried=retried,
        durations=buckets,
        instances={InstanceId(name): Fates(total=one[0], failed=one[1]) for name, one in instances.items()},
        transfer=transfer,
    )


def _transfer(one: Transfer | None) -> list[int] | None:
    return None if one is None else [one.answers, one.received_bytes, one.sent_bytes]


def _read_transfer(found: list[int] | None) -> Transfer | None:
    if found is None:
        return None
    answers, received_bytes, sent_bytes = found
    return Transfer(answers=answers, received_bytes=received_bytes, sent_bytes=sent_bytes)


def _read_call(region: str, version: str, dependency: str, total: int, failed: int) -> Call:
    fates = Fates(total=total, failed=failed)
    return Call(region=Region(region), version=Version(version), dependency=dependency, fates=fates)


def _read_pool(  # noqa: PLR0917 - the columns of one row
    instance: str, region: str, version: str, pool: str, used: float, size: float
) -> PoolReading:
    return PoolReading(
        instance=InstanceId(instance), region=Region(region), version=Version(version), pool=pool, used=used, size=size
    )


def _usage(one: Usage) -> list[Any]:
    return [
        one.instance,
        one.region,
        one.version,
        one.age_s,
        one.cpu_s,
        one.memory_bytes,
        one.descriptors,
        one.requests,
    ]


def _read_usage(  # noqa: PLR0917 - the columns of one row
    instance: str,
    region: str,
    version: str,
    age_s: float,
    cpu_s: float | None,
    memory_bytes: int | None,
    descriptors: int | None,
    requests: int | None,
) -> Usage:
    return Usage(
        instance=InstanceId(instance),
        region=Region(region),
        version=Version(version),
        age_s=age_s,
        cpu_s=cpu_s,
        memory_bytes=memory_bytes,
        descriptors=descriptors,
        requests=requests,
    )
