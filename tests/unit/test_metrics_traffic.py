"""From lines of Envoy's log to seconds, without an Envoy."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from hitless.adapters.clock import SystemClock
from hitless.adapters.envoy import entries
from hitless.adapters.envoy.entries import Fate
from hitless.adapters.envoy.lifecycle import EnvoyState
from hitless.adapters.envoy.request_log import GIVES_UP_BEHIND_S, LONGEST_ABSENCE_S, Look, RequestLog, Trouble
from hitless.adapters.envoy.resources import ACCESS_LOG_FORMAT
from hitless.adapters.envoy.route_classes import GIVEN_AFTER, MOST_CLASSES, OTHER, RouteClasses, class_of
from hitless.adapters.envoy.tail import LogTail
from hitless.adapters.envoy.tally import Tally
from hitless.adapters.envoy.traffic import EnvoyTraffic
from hitless.analysis.counts import LAST_BUCKET, Cell, Fates, Second, Transfer, bucket_of
from hitless.rollout.spec import LOCAL, InstanceId

NOON = 1_796_040_000
OLD_LINE = (
    '{"time":"1796040000.250000","method":"GET","path":"/","status":200,"flags":"-","details":"via_upstream",'
    '"cluster":"shop@v1","host":"127.0.0.1:1","duration_us":500000,"upstream_us":1,"attempts":1,"request_id":"a"}'
)


def entry(**found: Any) -> dict[str, Any]:
    """A good answer of 20 ms, at noon."""
    usual = {
        "type": "DownstreamEnd",
        "time": f"{NOON}.000000",
        "told": f"{NOON}.020000",
        "method": "GET",
        "path": "/",
        "status": 200,
        "flags": "-",
        "cluster": "shop@v1",
        "host": "127.0.0.1:1",
        "duration_us": 20_000,
        "first_byte_us": 19_000,
        "received_us": 10,
        "attempts": 1,
        "received_bytes": 7,
        "sent_bytes": 1_000,
        "request_id": "a",
    }
    return {name: value for name, value in {**usual, **found}.items() if value is not None}


def still_open(**found: Any) -> dict[str, Any]:
    return entry(**{"type": "DownstreamPeriodic", "told": f"{NOON + 5}.000100", "duration_us": None, **found})


def counted(*lines: dict[str, Any], since_s: float = NOON - 60) -> Cell:
    tally = Tally(watched_since_s=since_s)
    for one in lines:
        tally.take(one, at=NOON)
    cells = tally.cells(NOON, region=LOCAL, name=InstanceId)
    return cells[0] if cells else Cell(region=LOCAL, route="", version="v1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "fate"),
    [
        ({}, Fate.ANSWERED),
        ({"status": 404}, Fate.ANSWERED),
        ({"status": 500}, Fate.FAILED),
        ({"status": 503, "flags": "UH"}, Fate.FAILED),
        ({"status": 504, "flags": "UT"}, Fate.FAILED),
        ({"status": 0, "flags": "LR"}, Fate.FAILED),
        ({"status": 0, "flags": "DC"}, Fate.GONE),
        ({"status": 0, "flags": "DR"}, Fate.GONE),
        ({"flags": "UC"}, Fate.FAILED),
        ({"flags": "UPE"}, Fate.FAILED),
        ({"flags": "UR"}, Fate.FAILED),
        ({"flags": "DC"}, Fate.ANSWERED),
        ({"status": 500, "flags": "DC"}, Fate.FAILED),
        ({"status": 429, "flags": "RL"}, Fate.ANSWERED),
        ({"status": 400, "flags": "DPE"}, Fate.ANSWERED),
        ({"status": 101, "upgrade": "websocket", "flags": "UC"}, Fate.ANSWERED),
        ({"status": 502, "upgrade": "websocket", "flags": "UC"}, Fate.FAILED),
        ({"flags": "SI", "content": "text/event-stream"}, Fate.ANSWERED),
        *(({"grpc": number}, Fate.FAILED) for number in (2, 4, 12, 13, 14, 15)),
        *(({"grpc": number}, Fate.ANSWERED) for number in (0, 1, 3, 5, 6, 7, 8, 9, 10, 11, 16)),
        ({"grpc": 2, "flags": "DR"}, Fate.ANSWERED),
        ({"grpc": 2, "type": "DownstreamPeriodic"}, Fate.ANSWERED),
    ],
)
def test_status_flags_and_grpc_status_decide_what_became_of_a_request(found: dict[str, Any], fate: Fate) -> None:
    assert entries.fate_of(entry(**found)) is fate


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"time": "1', b"\xff\xfe"])
def test_what_is_no_line_of_the_log_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        entries.parse(line)


def test_a_path_that_is_no_utf8_does_not_hide_its_request() -> None:
    assert entries.parse(b'{"time": "1.5", "path": "/\xff"}')["path"] == "/\ufffd"


def test_the_format_names_everything_that_is_read_and_no_token() -> None:
    assert set(entry(content="", upgrade="", grpc=0, route="")) <= set(ACCESS_LOG_FORMAT)
    assert not any("token" in one.lower() or "cookie" in one.lower() for one in ACCESS_LOG_FORMAT.values())


def test_a_line_of_the_format_before_counts_as_well() -> None:
    old = entries.parse(OLD_LINE.encode())
    assert entries.told_s(old) == pytest.approx(NOON + 0.75)
    cell = counted(old)
    assert (cell.requests, cell.durations, cell.transfer) == (Fates(total=1), {bucket_of(500): 1}, None)


def test_bytes_are_those_of_answers_and_a_line_without_them_adds_no_zero() -> None:
    gone = entry(status=0, flags="DC", duration_us=None, first_byte_us=None)
    old = entry(received_bytes=None, sent_bytes=None)
    cell = counted(entry(), entry(status=500, received_bytes=3, sent_bytes=0), gone, old)
    assert cell.requests.total == 3
    assert cell.transfer == Transfer(answers=2, received_bytes=10, sent_bytes=1_000)
    assert counted(gone).transfer is None


def test_bytes_of_what_is_open_are_told_once_at_its_end() -> None:
    for found in ({"content": "text/event-stream"}, {"upgrade": "websocket"}, {}):
        opened = still_open(sent_bytes=500, **found)
        assert counted(opened).transfer is None
        end = entry(told=f"{NOON + 99}.0", sent_bytes=9_000, **found)
        assert counted(opened, end).transfer == Transfer(answers=1, received_bytes=7, sent_bytes=9_000)
        assert counted(end, since_s=NOON + 50).transfer == Transfer(answers=1, received_bytes=7, sent_bytes=9_000)


def test_a_stream_is_as_fast_as_its_first_byte() -> None:
    for found in ({"content": "text/event-stream"}, {"content": "application/grpc+proto"}, {"upgrade": "websocket"}):
        assert counted(entry(duration_us=9_000_000, **found)).durations == {bucket_of(19): 1}


def test_a_hanging_request_is_slow_once_and_has_its_outcome_later() -> None:
    hangs = still_open(status=0, first_byte_us=None)
    assert counted(hangs, hangs).durations == {LAST_BUCKET: 1}
    assert counted(hangs).requests == Fates()
    late = entry(told=f"{NOON + 9}.0", duration_us=9_000_000, first_byte_us=8_900_000)
    cell = counted(hangs, late)
    assert (cell.requests, cell.durations) == (Fates(total=1), {LAST_BUCKET: 1})
    gone = entry(status=0, flags="DC", told=f"{NOON + 9}.0", duration_us=None, first_byte_us=None)
    cell = counted(hangs, gone)
    assert (cell.requests, cell.durations) == (Fates(), {LAST_BUCKET: 1})


def test_an_upload_that_is_still_coming_does_not_hang() -> None:
    cell = counted(still_open(status=0, first_byte_us=None, received_us=None))
    assert (cell.requests, cell.durations) == (Fates(), {})


def test_a_stream_is_answered_once_and_fails_if_it_breaks_later() -> None:
    stream = {"content": "text/event-stream"}
    opened = still_open(**stream)
    end = entry(**stream, told=f"{NOON + 99}.0", duration_us=99_000_000)
    assert counted(opened, end).requests == Fates(total=1)
    assert counted(opened, end | {"flags": "UC"}).requests == Fates(total=2, failed=1)
    assert counted(opened, end).durations == {bucket_of(19): 1}


def test_an_answer_that_fails_and_lasts_is_one_failure() -> None:
    opened = still_open(status=500)
    assert counted(opened, entry(status=500, told=f"{NOON + 9}.0")).requests == Fates(total=1, failed=1)


def test_what_an_earlier_reader_told_is_not_told_again() -> None:
    stream = entry(content="text/event-stream", told=f"{NOON + 99}.0")
    assert counted(stream, since_s=NOON + 50).requests == Fates()
    assert counted(stream | {"flags": "UC"}, since_s=NOON + 50).requests == Fates(total=1, failed=1)
    hung = entry(told=f"{NOON + 99}.0", first_byte_us=98_000_000, duration_us=99_000_000)
    cell = counted(hung, since_s=NOON + 50)
    assert (cell.requests, cell.durations) == (Fates(total=1), {})


def test_who_went_away_at_once_says_nothing_and_who_waited_says_how_long() -> None:
    gone = entry(status=0, flags="DC", duration_us=None, first_byte_us=None)
    assert counted(gone) == counted()
    waited = counted(gone | {"told": f"{NOON + 2}.0"})
    assert (waited.requests, waited.durations) == (Fates(), {bucket_of(2_000): 1})


def test_testers_and_what_no_version_answered_are_left_out() -> None:
    assert counted(entry(route="override")) == counted()
    assert counted(entry(cluster=None, status=503, flags="NR")) == counted()


def test_routes_are_classes_without_ids() -> None:
    found = {
        path: class_of("GET", path)
        for path in ("/", "/cart/7?x=1", "/cart", "/1234", "/v1/a", "/9f86d081884c", "/main.3fa9.js", "/a%20b", "/é")
    }
    assert found == {
        "/": "GET /",
        "/cart/7?x=1": "GET /cart",
        "/cart": "GET /cart",
        "/1234": "GET /{id}",
        "/v1/a": "GET /v1",
        "/9f86d081884c": "GET /{id}",
        "/main.3fa9.js": "GET /*.js",
        "/a%20b": "GET /{id}",
        "/é": "GET /{id}",
    }
    assert class_of("POST", "/shop.Cart/Add") == "POST /shop.Cart"
    assert class_of("BREW", "/pot") == "OTHER /pot"


def test_a_class_is_given_by_traffic_stays_and_there_are_few() -> None:
    classes = RouteClasses()
    assert [classes.of("GET", "/cart") for _ in range(GIVEN_AFTER)] == [OTHER] * (GIVEN_AFTER - 1) + ["GET /cart"]
    for word in range(5_000):
        classes.of("GET", f"/scan{chr(97 + word % 26)}x{word % 97}")
        classes.of("GET", "/missing", status=404)
    assert len(classes.given) <= MOST_CLASSES
    assert "GET /missing" not in classes.given
    assert classes.of("GET", "/cart/8") == "GET /cart"


class Log:
    """A log that a test writes, and a clock that it owns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.open()

    def open(self, *, at_end: bool = True) -> None:
        look = Look(now_s=float(NOON), offset_s=0.0)
        tail = LogTail(self.path, at_end=at_end)
        self.log = RequestLog(tail, region=LOCAL, look=look, name=InstanceId, from_s=NOON)
        assert self.log.read(look) == ()

    def write(self, *lines: dict[str, Any], path: Path | None = None) -> None:
        with (path or self.path).open("a") as file:
            file.writelines(json.dumps(one) + "\n" for one in lines)

    def read(self, *, after_s: float, offset_s: float = 0.0, troubles: tuple[Trouble, ...] = ()) -> tuple[Second, ...]:
        return self.log.read(Look(now_s=NOON + after_s, offset_s=offset_s, troubles=troubles))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "shop.jsonl")


def at(second: float, **found: Any) -> dict[str, Any]:
    return entry(time=f"{NOON + second - 0.02:.6f}", told=f"{NOON + second:.6f}", **found)


def totals(seconds: tuple[Second, ...]) -> dict[int, int]:
    return {one.at - NOON: sum(cell.requests.total for cell in one.cells) for one in seconds}


def test_a_second_is_told_once_it_is_surely_written(log: Log) -> None:
    log.write(at(0.5), at(0.999), at(1.001))
    assert log.read(after_s=1.4) == ()
    assert totals(log.read(after_s=1.6)) == {0: 2}
    assert totals(log.read(after_s=2.6)) == {1: 1}
    assert totals(log.read(after_s=4.6)) == {2: 0, 3: 0}


def test_a_line_that_comes_late_counts_in_the_oldest_second_that_is_open(log: Log) -> None:
    assert totals(log.read(after_s=2.6)) == {0: 0, 1: 0}
    log.write(at(0.5))
    assert totals(log.read(after_s=3.6)) == {2: 1}


def test_no_step_of_the_wall_clock_loses_or_doubles_a_request(log: Log) -> None:
    log.write(at(0.5))
    log.write(at(3_600.9))  # the wall clock was put forward, the other clock was not
    assert totals(log.read(after_s=1.6, offset_s=-3_600.0)) == {0: 2}
    assert totals(log.read(after_s=2.6, offset_s=-3_600.0)) == {1: 0}
    log.write(at(2.7 - 7_200))  # and back
    assert totals(log.read(after_s=3.6, offset_s=7_200.0)) == {2: 1}


def test_a_line_written_in_two_pieces_is_one(log: Log) -> None:
    text = json.dumps(at(0.5)) + "\n"
    with log.path.open("a") as file:
        file.write(text[:50])
        file.flush()
        log.read(after_s=0.6)
        file.write(text[50:])
    assert totals(log.read(after_s=1.6)) == {0: 1}


def test_reading_begins_with_the_next_whole_line(log: Log) -> None:
    text = json.dumps(at(0.5)) + "\n"
    with log.path.open("a") as file:
        file.write(text + text[:50])
        file.flush()
        log.open()
        file.write(text[50:80])
        file.flush()
        log.read(after_s=0.6)
        file.write(text[80:] + text)
    (second,) = log.read(after_s=1.6)
    assert (second.gap, totals((second,))) == (None, {0: 1})


def test_a_log_that_was_set_aside_is_read_to_its_end_and_on(log: Log) -> None:
    aside = log.path.with_name("shop.jsonl.1")
    log.write(at(0.1))
    log.path.replace(aside)
    log.write(at(0.2), path=aside)
    log.write(at(0.3))
    assert totals(log.read(after_s=1.6)) == {0: 3}
    log.write(at(1.1), path=aside)
    log.write(at(1.2))
    assert totals(log.read(after_s=2.6)) == {1: 2}


def test_a_log_that_was_set_aside_twice_between_two_looks_is_read_all_the_same(log: Log) -> None:
    aside = log.path.with_name("shop.jsonl.1")
    for _ in range(2):
        log.write(at(0.1))
        log.path.replace(aside)
    log.write(at(0.2))
    assert totals(log.read(after_s=1.6)) == {0: 3}


def test_a_log_that_was_deleted_is_read_on_until_another_one_comes(log: Log) -> None:
    with log.path.open("a") as envoy:
        log.path.unlink()
        envoy.write(json.dumps(at(0.1)) + "\n")
    log.write(at(0.2))
    assert totals(log.read(after_s=1.6)) == {0: 2}


def test_what_was_cut_off_is_a_gap_and_reading_goes_on(log: Log) -> None:
    log.write(at(0.1), at(0.2))
    log.read(after_s=0.5)
    log.path.write_text("")
    (second,) = log.read(after_s=1.6)
    assert second.gap is not None
    assert "cut off" in second.gap
    log.write(at(2.1))
    assert totals(log.read(after_s=3.6)) == {1: 0, 2: 1}


def test_a_log_that_is_not_there_makes_gaps(tmp_path: Path) -> None:
    log = Log(tmp_path / "shop.jsonl")
    log.path.unlink()
    log.open()
    (second,) = log.read(after_s=1.6)
    assert second.gap is not None
    assert "cannot be read" in second.gap


def test_what_was_written_before_a_log_could_be_opened_is_a_gap_and_not_a_quiet_second(tmp_path: Path) -> None:
    log = Log(tmp_path / "shop.jsonl")
    log.path.unlink()
    log.open()
    log.write(at(0.7), at(1.2))
    first, second = log.read(after_s=2.6)
    assert first.gap is not None
    assert second.gap == "its log could not be opened before"
    log.write(at(3.1))
    assert totals(log.read(after_s=4.6)[1:]) == {3: 1}


def test_after_a_sleep_of_hours_reading_begins_anew_and_nothing_is_kept_of_before(log: Log) -> None:
    log.write(at(0.5))
    seconds = log.read(after_s=36_000.6)
    assert [one.at - NOON for one in seconds] == list(range(36_000 - LONGEST_ABSENCE_S, 36_000))
    log.write(at(36_001.5))
    assert totals(log.read(after_s=36_002.6)) == {36_000: 0, 36_001: 1}


@pytest.mark.parametrize(
    "rubbish",
    [
        '{"time": "17960',
        '{"time": "1", "told": 1e999, "cluster": "shop@v1"}',
        '{"time": "1", "cluster": "shop@v1", "status": 200, "received_bytes": "x", "sent_bytes": 1}',
    ],
)
def test_a_line_of_rubbish_makes_a_gap_of_what_is_open_and_of_nothing_more(log: Log, rubbish: str) -> None:
    log.write(at(0.1))
    with log.path.open("a") as file:
        file.write(f"{rubbish}\n")
    first, second = log.read(after_s=2.6)
    assert (first.gap, first.cells, second.gap) == ("a line of its log cannot be read", (), first.gap)
    log.write(at(3.1))
    third, fourth = log.read(after_s=4.6)
    assert (third.gap, fourth.gap) == (first.gap, None)
    assert totals((fourth,)) == {3: 1}


def test_trouble_with_envoy_makes_gaps_of_every_second_that_it_touches(log: Log) -> None:
    log.write(at(0.1), at(1.1), at(2.1), at(3.1))
    trouble = Trouble(from_s=NOON + 1.9, until_s=NOON + 2.1, reason="Envoy does not run")
    seconds = log.read(after_s=4.6, troubles=(trouble,))
    assert [one.gap for one in seconds] == [None, trouble.reason, trouble.reason, None]
    assert totals(seconds) == {0: 1, 1: 0, 2: 0, 3: 1}


def test_a_log_that_cannot_be_read_in_time_is_given_up_and_says_so(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitless.adapters.envoy.request_log.MOST_BYTES", 1)
    monkeypatch.setattr("hitless.adapters.envoy.tail._CHUNK_BYTES", 100)
    log.write(*(at(0.5) for _ in range(200)))
    assert log.read(after_s=2.6) == ()
    seconds = log.read(after_s=GIVES_UP_BEHIND_S + 1)
    assert {one.gap for one in seconds} == {"there was more in its log than could be read in time"}
    assert len(seconds) == GIVES_UP_BEHIND_S
    monkeypatch.undo()
    log.write(at(GIVES_UP_BEHIND_S + 2.5))
    assert sum(totals(log.read(after_s=GIVES_UP_BEHIND_S + 4)).values()) == 1


async def test_a_disk_that_hangs_keeps_nothing_else_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = EnvoyState(status="down", pid=None, problem=None)
    traffic = EnvoyTraffic(tmp_path, SystemClock(), state=lambda: state, names=lambda _service: {})
    await traffic.open()
    (tmp_path / LOCAL / "logs" / "shop.jsonl").touch()
    begun, goes_on = threading.Event(), threading.Event()

    def hang(_log: RequestLog, _look: Look) -> tuple[Second, ...]:
        begun.set()
        assert goes_on.wait(30)
        return ()

    monkeypatch.setattr("hitless.adapters.envoy.traffic._CLOSED_WITHIN_S", 0.05)
    monkeypatch.setattr(RequestLog, "read", hang)
    reading = asyncio.create_task(traffic.read())
    assert await asyncio.to_thread(begun.wait, 10)
    async with asyncio.timeout(5):
        await traffic.close()
    assert not reading.done()
    goes_on.set()
    assert await reading == {"shop": ()}
