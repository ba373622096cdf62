"""A soak's ledger as Markdown."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks.environment import environment

from hitless.testing.load.ledger import UNMARKED
from hitless.testing.load.report_json import COLUMNS, rows
from soak.ledger import Ledger, Size, slope_per_hour

_PER_LINE = 18


def to_markdown(ledger: Ledger) -> str:
    """Render everything."""
    parts = [_head(ledger), _promises(ledger), _requests(ledger), _windows(ledger)]
    parts += [_faults(ledger), _rollouts(ledger), _sizes(ledger), _every_fault(ledger)]
    return "\n".join("\n".join(part).rstrip() + "\n" for part in map(list, parts) if part)


def _head(ledger: Ledger) -> Iterator[str]:
    yield "# Soak"
    yield ""
    facts = {"seed": str(ledger.seed), "minutes": f"{ledger.seconds / 60:.1f}", **environment()}
    yield from (f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items())


def _promises(ledger: Ledger) -> Iterator[str]:
    yield "## Promises"
    yield ""
    yield from _table(("promise", "seen", "kept"), _promise_rows(ledger))
    yield from (f"- **{one}**" for one in (*ledger.strays, *ledger.discrepancies))


def _promise_rows(ledger: Ledger) -> Iterator[Sequence[str]]:
    for one in ledger.promises():
        yield one.words, one.seen, one.verdict


def _requests(ledger: Ledger) -> Iterator[str]:
    yield "## Requests"
    yield ""
    if ledger.report is None:
        yield "The load did not report."
        return
    wanted = [number for number, name in enumerate(COLUMNS) if name != "versions"]
    chosen = [[row[number] for number in wanted] for row in (COLUMNS, *rows(ledger.report))]
    yield from _table(chosen[0], chosen[1:])
    total = ledger.report.total
    yield f"{total.late:,} were sent late for want of CPU, {total.unsent:,} were due and never sent."
    yield from (f"- {one.at:%H:%M:%S.%f} {one.kind} {one.cause} {one.detail}" for one in ledger.report.examples)


def _windows(ledger: Ledger) -> Iterator[str]:
    """Show what each kill of an instance or Envoy cost."""
    if ledger.report is None or set(ledger.report.by_mark) == {UNMARKED}:
        return
    yield "## What killed instances and Envoys cost"
    yield ""
    cells = []
    for mark, kinds in ledger.report.by_mark.items():
        failed = sum((Counter(kind.failed) for kind in kinds.values()), Counter[str]())
        sent, cut = sum(kind.sent for kind in kinds.values()), sum(kind.cut for kind in kinds.values())
        why = ", ".join(f"{count} {cause}" for cause, count in failed.most_common())
        cells.append((mark or "all other time", f"{sent:,}", f"{failed.total():,}", why, f"{cut:,}"))
    yield from _table(("window", "requests", "failed", "why", "streams cut"), cells)


def _faults(ledger: Ledger) -> Iterator[str]:
    yield "## Faults"
    yield ""
    counted = Counter(one.fault.value for one in ledger.faults).most_common()
    yield from _table(("fault", "times"), [(name, f"{count:,}") for name, count in counted])
    if ledger.came_back_s:
        times = sorted(ledger.came_back_s)
        yield f"A new controller answered after {statistics.median(times):.2f} s (median), {times[-1]:.2f} s at most."
    yield f"Processes were held against the books {ledger.looks:,} times."


def _rollouts(ledger: Ledger) -> Iterator[str]:
    yield "## Rollouts"
    yield ""
    ended = ", ".join(f"{count:,} {outcome}" for outcome, count in ledger.ended.most_common())
    asked = ", ".join(f"{count:,} {what}" for what, count in ledger.asked.most_common())
    yield f"- {ledger.begun:,} begun: {ended}"
    yield f"- asked: {asked}; {ledger.refused:,} of it came too late and was refused"
    yield f"- {ledger.records:,} records of the journal; {ledger.instances_left} instances are left at the end"


def _sizes(ledger: Ledger) -> Iterator[str]:
    yield "## Memory and descriptors"
    yield ""
    chosen = {
        "controllers, each when it first answered": ledger.controllers,
        "the controller that lived longest": ledger.controller,
        "Envoy": ledger.envoy,
    }
    columns = ("process", "looks", "MiB first", "MiB last", "MiB per hour", "descriptors first", "last", "per hour")
    yield from _table(columns, [_size_row(name, sizes) for name, sizes in chosen.items() if sizes])


def _size_row(name: str, sizes: Sequence[Size]) -> Sequence[str]:
    memory, descriptors = slope_per_hour(sizes)
    first, last = sizes[0], sizes[-1]
    figures = (f"{first.rss_mib:.1f}", f"{last.rss_mib:.1f}", _slope(memory))
    return name, str(len(sizes)), *figures, str(first.descriptors), str(last.descriptors), _slope(descriptors)


def _slope(per_hour: float) -> str:
    return "too few looks" if math.isnan(per_hour) else f"{per_hour:+.1f}"


def _every_fault(ledger: Ledger) -> Iterator[str]:
    yield "## Every fault, in seconds from the beginning"
    yield ""
    yield "```text"
    for fault in dict.fromkeys(one.fault for one in ledger.faults):
        times = [f"{one.at_s:.1f}" for one in ledger.faults if one.fault is fault]
        yield f"{fault}:"
        for start in range(0, len(times), _PER_LINE):
            yield f"  {' '.join(times[start : start + _PER_LINE])}"
    yield "```"


def _table(columns: Sequence[str], body: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (columns, ["---"] * len(columns), *body):
        yield f"| {' | '.join(row)} |"
    yield ""
