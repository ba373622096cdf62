"""Whatever happens to a log and to the clocks, every request is counted once, and no second is missing."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.adapters.envoy.request_log import Look, RequestLog
from hitless.adapters.envoy.tail import LogTail
from hitless.analysis.counts import Second
from hitless.rollout.spec import LOCAL, InstanceId

NOON = 1_796_040_000


@dataclass
class Story:
    """A log, who writes it, and who reads it."""

    path: Path
    now_s: float = float(NOON)
    step_s: float = 0.0  # of the wall clock against the other one
    written: int = 0
    half: str = ""
    seconds: list[Second] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.aside = self.path.with_name(f"{self.path.name}.1")
        self.writers: list[TextIO] = [self.path.open("a")]
        tail = LogTail(self.path, at_end=True)
        self.log = RequestLog(tail, region=LOCAL, look=self._now(), name=InstanceId, from_s=self.now_s)
        self.look()

    def _now(self) -> Look:
        return Look(now_s=self.now_s, offset_s=-self.step_s)

    def look(self) -> None:
        self.seconds += self.log.read(self._now())

    def write(self, count: int, late_s: float, *, by_earlier: bool = False) -> None:
        writer = self.writers[0 if by_earlier else -1]
        for _ in range(count):
            told_s = self.now_s + self.step_s - late_s
            line = {"time": str(told_s), "told": str(told_s), "status": 200, "cluster": "s@v1", "request_id": "x"}
            self._put(writer, json.dumps(line) + "\n")
            self.written += 1

    def write_half(self) -> None:
        """Write the beginning of a line; its end comes with whatever is written next."""
        if not self.half:
            told_s = self.now_s + self.step_s
            line = json.dumps({"time": str(told_s), "told": str(told_s), "status": 200, "cluster": "s@v1"}) + "\n"
            self.writers[-1].write(line[:30])
            self.writers[-1].flush()
            self.half = line[30:]

    def _put(self, writer: TextIO, text: str) -> None:
        if writer is self.writers[-1] and self.half:
            writer.write(self.half)
            self.half = ""
            self.written += 1
        writer.write(text)
        writer.flush()

    def set_aside(self) -> None:
        """As `rotate` does it: the name moves first, whoever writes follows; the one before that may write on."""
        self._put(self.writers[-1], "")
        self.path.replace(self.aside)
        self.write(1, 0.0)
        self.writers.append(self.path.open("a"))
        while len(self.writers) > 2:
            self.writers.pop(0).close()

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds

    def end(self) -> None:
        self._put(self.writers[-1], "")
        self.look()
        self.pass_time(30)
        self.look()
        for writer in self.writers:
            writer.close()
        self.log.close()


EVENTS = st.one_of(
    st.tuples(st.just("write"), st.integers(1, 5), st.floats(0, 4)),
    st.tuples(st.just("write by earlier"), st.integers(1, 3), st.floats(0, 4)),
    st.tuples(st.just("half")),
    st.tuples(st.just("aside")),
    st.tuples(st.just("look")),
    st.tuples(st.just("wait"), st.floats(0.05, 3)),
    st.tuples(st.just("step"), st.floats(-100, 100)),
)


few = settings(max_examples=min(settings.default.max_examples if settings.default else 100, 500))


@few
@given(st.lists(EVENTS, max_size=30))
def test_every_request_is_counted_once_and_no_second_is_missing(events: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder) / "shop.jsonl")
        for event in events:
            match event:
                case ("write", int(count), float(late_s)):
                    story.write(count, late_s)
                case ("write by earlier", int(count), float(late_s)):
                    story.write(count, late_s, by_earlier=True)
                case ("half",):
                    story.write_half()
                case ("aside",):
                    story.set_aside()
                    story.look()  # every 10 s at most is one set aside, every second is one look
                case ("look",):
                    story.look()
                case ("wait", float(seconds)):
                    story.pass_time(seconds)
                case ("step", float(step_s)):
                    story.step_s += step_s
        story.end()
    assert {one.gap for one in story.seconds} <= {None}
    assert [one.at for one in story.seconds] == list(range(NOON, NOON + len(story.seconds)))
    assert sum(cell.requests.total for one in story.seconds for cell in one.cells) == story.written
