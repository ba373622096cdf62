from __future__ import annotations

import asyncio
from pathlib import Path

from processes_support import fleet_at, gone, settled, spec_of, start, until

from hitless.adapters.processes.logs import (
    LOG_LIMIT_BYTES,
    LogLine,
    LogWarden,
    cap_log,
    last_line,
    log_files,
    log_path,
    read_logs,
    set_aside,
)
from hitless.rollout.spec import InstanceId
from hitless.rollout.world import Phase

WEB_1, WEB_2 = InstanceId("web-1"), InstanceId("web-2")


def write(home: Path, instance: InstanceId, text: str, service: str = "web") -> Path:
    path = log_path(home, service=service, instance=instance)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)
    return path


def line(instance: InstanceId, text: str) -> LogLine:
    return LogLine(instance=instance, text=text)


async def test_logs_of_a_service_are_read_instance_by_instance(tmp_path: Path) -> None:
    write(tmp_path, WEB_1, "one\ntwo\nthree")
    write(tmp_path, WEB_2, "four\r\n")
    write(tmp_path, InstanceId("shop-1"), "other\n", service="shop")
    lines = [found async for found in read_logs(tmp_path, service="web")]
    assert lines == [line(WEB_1, "one"), line(WEB_1, "two"), line(WEB_1, "three"), line(WEB_2, "four")]
    assert [found async for found in read_logs(tmp_path, instance=WEB_1, tail=1)] == [
        line(WEB_1, "two"),
        line(WEB_1, "three"),
    ]


async def test_following_sees_new_lines_once_they_are_whole_and_new_instances(tmp_path: Path) -> None:
    write(tmp_path, WEB_1, "old\nhalf ")
    follower = read_logs(tmp_path, service="web", tail=10, follow=True)
    assert await anext(follower) == line(WEB_1, "old")
    write(tmp_path, WEB_1, "a line\n")
    assert await asyncio.wait_for(anext(follower), 10) == line(WEB_1, "half a line")
    write(tmp_path, WEB_2, "hello\n")
    assert await asyncio.wait_for(anext(follower), 10) == line(WEB_2, "hello")
    log_path(tmp_path, service="web", instance=WEB_1).write_text("cut off\n")
    assert await asyncio.wait_for(anext(follower), 10) == line(WEB_1, "cut off")
    await follower.aclose()


def test_the_last_line_is_the_last_that_says_anything_and_is_short(tmp_path: Path) -> None:
    assert last_line(tmp_path / "missing") is None
    assert last_line(write(tmp_path, WEB_1, "\n \n")) is None
    assert last_line(write(tmp_path, WEB_1, "Traceback\nValueError: no\n\n")) == "ValueError: no"
    assert last_line(write(tmp_path, WEB_1, "x" * 1000)) == "x" * 199 + "…"


def test_the_newest_twenty_logs_of_ended_instances_are_kept_and_all_of_living_ones(tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path, InstanceId(f"web-{number:02}"), "x\n")
    LogWarden(tmp_path).look({InstanceId("web-00")})
    kept = [path.stem for path in log_files(tmp_path, service="web")]
    assert len(kept) == 21
    assert kept[0] == "web-00"
    assert kept[-1] == "web-29"


async def test_the_log_of_an_ended_instance_can_still_be_read(tmp_path: Path) -> None:
    async with fleet_at(tmp_path) as fleet:
        await start(fleet, spec_of("sh", "-c", "echo to stdout; echo to stderr >&2; exit 3"))
        await settled(fleet, WEB_1, Phase.FAILED)
        await fleet.stop(WEB_1, grace_s=20)
        await gone(fleet)
    state = tmp_path / ".hitless"
    assert {found.text async for found in read_logs(state, instance=WEB_1)} == {"to stdout", "to stderr"}


async def test_a_log_that_outgrows_its_limit_is_emptied_under_its_writer_and_read_as_one(tmp_path: Path) -> None:
    path = write(tmp_path, WEB_1, "")
    with path.open("a") as writer:  # as an instance: it appends, and never opens the file again
        writer.writelines(f"line {number}\n" for number in range(1_000))
        writer.flush()
        cap_log(path, limit=1_000)
        assert path.stat().st_size == 0
        assert set_aside(path).stat().st_size <= 1_000
        writer.write("line 1000\n")
    assert path.read_text() == "line 1000\n"
    texts = [found.text async for found in read_logs(tmp_path, instance=WEB_1)]
    assert texts == [f"line {number}" for number in range(1_000 - len(texts) + 1, 1_001)]
    assert len(texts) > 90
    assert [found async for found in read_logs(tmp_path, instance=WEB_1, tail=2)] == [
        line(WEB_1, "line 999"),
        line(WEB_1, "line 1000"),
    ]


def test_a_log_below_its_limit_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path, WEB_1, "x" * 100)
    cap_log(path, limit=100)
    assert path.stat().st_size == 100
    cap_log(tmp_path / "missing.log", limit=100)


def test_a_log_is_emptied_even_where_its_end_cannot_be_kept(tmp_path: Path) -> None:
    path = write(tmp_path, WEB_1, "x\n" * 1_000)
    path.with_name(f"{path.name}.draft").symlink_to("/dev/full")
    cap_log(path, limit=100)
    assert path.stat().st_size == 0
    assert not set_aside(path).exists()


async def test_the_log_of_an_instance_that_is_in_none_of_the_fleets_books_is_capped_too(tmp_path: Path) -> None:
    async with fleet_at(tmp_path):
        path = write(tmp_path / ".hitless", InstanceId("web-preflight-1"), "x" * LOG_LIMIT_BYTES + "x\n")
        await until(lambda: path.stat().st_size == 0)


def test_a_log_that_nobody_writes_is_looked_at_again_when_somebody_does(tmp_path: Path) -> None:
    path, warden = write(tmp_path, WEB_1, "x\n"), LogWarden(tmp_path)
    for _ in range(3):
        warden.look(())
    path.write_text("x" * LOG_LIMIT_BYTES + "x\n")
    warden.look({WEB_1})
    assert path.stat().st_size > 0  # it is believed to be quiet
    warden._forget_at = 0.0  # a minute later
    warden.look({WEB_1})
    assert path.stat().st_size == 0


def test_a_log_that_cannot_be_capped_holds_up_no_other(tmp_path: Path) -> None:
    for instance in (WEB_1, WEB_2):
        write(tmp_path, instance, "x" * LOG_LIMIT_BYTES + "x\n")
    first, last = log_files(tmp_path)
    set_aside(first).mkdir()
    first.with_name(f"{first.name}.draft").mkdir()
    LogWarden(tmp_path).look(())
    assert (first.stat().st_size > 0, last.stat().st_size) == (True, 0)


def test_the_last_words_are_found_right_after_the_log_was_emptied(tmp_path: Path) -> None:
    path = write(tmp_path, WEB_1, "KeyError\n" * 10)
    cap_log(path, limit=50)
    assert last_line(path) == "KeyError"
    path.write_bytes(b"\0" * 100 + b"after zeros\n")
    assert last_line(path) == "after zeros"


def test_the_older_part_of_a_log_goes_with_it(tmp_path: Path) -> None:
    for number in range(22):
        path = write(tmp_path, InstanceId(f"web-{number:02}"), "x\n" * 100)
        cap_log(path, limit=50)
    LogWarden(tmp_path).look(())
    assert len(list((tmp_path / "logs/web").glob("*.log.1"))) == 20
