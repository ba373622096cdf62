"""What every recorder promises, asked of the one on files and of the fake; then what only files can meet."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hitless import __version__
from hitless.adapters.recordings.files import RecordingFiles, in_order, seconds_of, service_of
from hitless.adapters.recordings.form import header_line, read_header, read_second, read_version, second_line
from hitless.adapters.recordings.recorder import MOST_WAITING, FileRecorder
from hitless.analysis.counts import LAST_BUCKET, Call, Cell, Fates, PoolReading, Second, Transfer, Usage
from hitless.analysis.settings import Background, JudgeSettings, RatioRule
from hitless.ports import Recorded, Recorder
from hitless.rollout.spec import (
    AnalysisSpec,
    InstanceId,
    LatencyObjective,
    Region,
    SloSpec,
    Undecided,
    Version,
)
from hitless.testing import FakeRecorder

LOCAL, V1, V2 = Region("local"), Version("v1"), Version("v2")
SETTINGS = JudgeSettings(
    canary=V2,
    baseline=V1,
    analysis=AnalysisSpec(dependencies=("payments",), undecided=Undecided.ASK, error_margin=0.1 + 0.2),
    slo=SloSpec(success_rate=0.9995, latency=(LatencyObjective(quantile=0.99, at_most_ms=300.0),)),
    background=Background(
        seconds=1800, requests_per_s=99.7, failure_rate=0.001, latency_bounds=(5, 9), dispersion={"errors": 1.25}
    ),
    salt="checkout-r7",
    ratios={"orders": RatioRule(margin=0.1, lag_s=90)},
    pools=("database",),
)
ROLLOUT = "checkout-r7"


def cell(version: Version = V2, *, failed: int = 1) -> Cell:
    return Cell(
        region=LOCAL,
        route="/pay",
        version=version,
        requests=Fates(total=20, failed=failed),
        retried=2,
        durations={LAST_BUCKET: 1, 120: 4, 7: 15},
        instances={InstanceId("a"): Fates(total=20, failed=failed)},
        transfer=Transfer(answers=19, received_bytes=0, sent_bytes=120_000) if version == V2 else None,
    )


def a_second(at: int, *, failed: int = 1) -> Recorded:
    usage = Usage(instance=InstanceId("a"), region=LOCAL, version=V2, age_s=1 / 3, memory_bytes=10**9)
    calls = (Call(region=LOCAL, version=V2, dependency="payments", fates=Fates(total=3)),)
    pool = PoolReading(instance=InstanceId("a"), region=LOCAL, version=V2, pool="database", used=7.0, size=10.0)
    seen = Second(at=at, cells=(cell(V1), cell(failed=failed)), calls=calls, usage=(usage,), pools=(pool,))
    return Recorded(second=seen, share_bp={LOCAL: 500})


def a_gap(at: int) -> Recorded:
    return Recorded(second=Second(at=at, gap="Envoy did not answer"), share_bp={})


@pytest.fixture(params=["memory", "files"])
async def recorder(request: pytest.FixtureRequest, tmp_path: Path) -> Recorder:
    return FakeRecorder() if request.param == "memory" else FileRecorder(tmp_path, tell=pytest.fail)


async def test_what_was_added_is_read_as_it_was(recorder: Recorder) -> None:
    await recorder.begin(ROLLOUT, SETTINGS)
    await recorder.add(ROLLOUT, [a_second(10), a_gap(11)])
    await recorder.add(ROLLOUT, [])
    await recorder.add(ROLLOUT, [a_second(12)])
    assert await recorder.read(ROLLOUT) == (SETTINGS, (a_second(10), a_gap(11), a_second(12)))


async def test_the_settings_come_back_under_the_same_digest(recorder: Recorder) -> None:
    await recorder.begin(ROLLOUT, SETTINGS)
    found = await recorder.read(ROLLOUT)
    assert found is not None
    assert found[0].digest == SETTINGS.digest


async def test_what_was_not_begun_is_not_there(recorder: Recorder) -> None:
    await recorder.begin(ROLLOUT, SETTINGS)
    assert await recorder.read("checkout-r8") is None


async def test_a_recording_that_is_there_is_left_as_it_is(recorder: Recorder) -> None:
    await recorder.begin(ROLLOUT, SETTINGS)
    await recorder.add(ROLLOUT, [a_second(10)])
    await recorder.begin(ROLLOUT, replace(SETTINGS, salt="other"))
    assert await recorder.read(ROLLOUT) == (SETTINGS, (a_second(10),))


async def test_seconds_come_in_order_and_each_once_and_the_first_word_counts(recorder: Recorder) -> None:
    await recorder.begin(ROLLOUT, SETTINGS)
    await recorder.add(ROLLOUT, [a_second(12), a_second(10, failed=3)])
    await recorder.add(ROLLOUT, [a_second(10, failed=9), a_second(11)])
    found = await recorder.read(ROLLOUT)
    assert found is not None
    assert found[1] == (a_second(10, failed=3), a_second(11), a_second(12))


async def test_which_hitless_has_begun_it_is_known(recorder: Recorder) -> None:
    await recorder.begin(ROLLOUT, SETTINGS)
    assert await recorder.begun_by(ROLLOUT) == __version__


async def test_rollouts_do_not_mix(recorder: Recorder) -> None:
    for name in ("checkout-r1", "shop/é-r1", ".-r1"):
        await recorder.begin(name, replace(SETTINGS, salt=name))
        await recorder.add(name, [a_second(10)])
    found = await recorder.read("shop/é-r1")
    assert found is not None
    assert found[0].salt == "shop/é-r1"


async def test_the_next_controller_reads_what_this_one_wrote_and_goes_on(tmp_path: Path) -> None:
    one = FileRecorder(tmp_path, tell=pytest.fail)
    await one.begin(ROLLOUT, SETTINGS)
    await one.add(ROLLOUT, [a_second(10)])
    await one.settle()
    other = FileRecorder(tmp_path, tell=pytest.fail)
    await other.begin(ROLLOUT, SETTINGS)
    await other.add(ROLLOUT, [a_second(11)])
    assert await other.read(ROLLOUT) == (SETTINGS, (a_second(10), a_second(11)))


@pytest.mark.parametrize("cut", [1, 2, 40, 150])
async def test_a_line_that_was_cut_is_left_out_and_the_next_one_stands_by_itself(tmp_path: Path, cut: int) -> None:
    files = RecordingFiles(tmp_path)
    files.begin(ROLLOUT, SETTINGS)
    files.add(ROLLOUT, [a_second(10), a_second(11)])
    path = files.path(ROLLOUT)
    os.truncate(path, path.stat().st_size - cut)
    files.add(ROLLOUT, [a_second(12)])
    kept = (a_second(10), a_second(11), a_second(12)) if cut == 1 else (a_second(10), a_second(12))
    found = files.read(ROLLOUT)
    assert found is not None
    assert (found[0], in_order(seconds_of(found[1]))) == (SETTINGS, kept)


async def test_a_controller_that_was_overtaken_while_it_stood_still_adds_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    may_write = True
    overtaken = FileRecorder(tmp_path, may_write=lambda: may_write, tell=told.append)
    await overtaken.begin(ROLLOUT, SETTINGS)
    await overtaken.add(ROLLOUT, [a_second(10)])
    await overtaken.settle()
    may_write = False
    other = FileRecorder(tmp_path, tell=pytest.fail)
    await other.add(ROLLOUT, [a_second(30)])
    await other.settle()
    await overtaken.add(ROLLOUT, [a_gap(11), a_second(30, failed=2)])
    await overtaken.begin("checkout-r8", SETTINGS)
    await overtaken.settle()
    assert await other.read(ROLLOUT) == (SETTINGS, (a_second(10), a_second(30)))
    assert await other.read("checkout-r8") is None
    assert len(told) == 2
    assert "another controller may have taken over" in told[0]


def test_a_recording_that_does_not_say_who_has_begun_it_is_read(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    files.begin(ROLLOUT, SETTINGS)
    path = files.path(ROLLOUT)
    path.write_text(path.read_text().replace(f'"version":"{__version__}",', ""))
    assert files.begun_by(ROLLOUT) is None
    assert files.read(ROLLOUT) == (SETTINGS, [])


def test_only_the_owner_may_read_a_recording(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    files.begin(ROLLOUT, SETTINGS)
    assert stat.S_IMODE(files.path(ROLLOUT).stat().st_mode) == 0o600


def test_the_newest_ones_of_each_service_are_kept(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path, kept=3)
    files.begin("checkout-r2-r1", SETTINGS)
    for number in range(1, 6):
        files.begin(f"checkout-r{number}", SETTINGS)
        os.utime(files.path(f"checkout-r{number}"), (number, number))
    kept = sorted(path.name for path in files.folder.iterdir())
    assert kept == ["checkout-r2-r1.jsonl", "checkout-r3.jsonl", "checkout-r4.jsonl", "checkout-r5.jsonl"]
    assert (service_of("checkout-r2-r1"), service_of("odd")) == ("checkout-r2", "odd")


def test_recordings_of_a_service_take_no_more_of_the_disk_than_they_may(tmp_path: Path) -> None:
    header = len(header_line("checkout-r1", SETTINGS)) + 1
    files = RecordingFiles(tmp_path, kept_bytes=4 * header)
    for number in range(1, 8):
        files.begin(f"checkout-r{number}", SETTINGS)
        os.utime(files.path(f"checkout-r{number}"), (number, number))
    kept = sorted(path.name for path in files.folder.iterdir())
    assert kept == [f"checkout-r{number}.jsonl" for number in (4, 5, 6, 7)]
    files = RecordingFiles(tmp_path, kept_bytes=1)
    files.begin("checkout-r8", SETTINGS)
    assert [path.name for path in files.folder.iterdir()] == ["checkout-r8.jsonl"]


async def test_a_recording_that_is_full_says_so_once_and_stops(tmp_path: Path) -> None:
    told: list[str] = []
    files = RecordingFiles(tmp_path, largest_bytes=len(header_line(ROLLOUT, SETTINGS)) + 2_000)
    recorder = FileRecorder(tmp_path, files=files, tell=told.append)
    await recorder.begin(ROLLOUT, SETTINGS)
    for at in range(10):
        await recorder.add(ROLLOUT, [a_second(at)])
    found = await recorder.read(ROLLOUT)
    assert found is not None
    assert 0 < len(found[1]) < 10
    assert len(told) == 1
    assert "ends here" in told[0]


async def test_a_folder_that_is_lost_is_made_anew_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    recorder = FileRecorder(tmp_path, tell=told.append)
    await recorder.begin(ROLLOUT, SETTINGS)
    await recorder.add(ROLLOUT, [a_second(10)])
    await recorder.settle()
    RecordingFiles(tmp_path).path(ROLLOUT).unlink()
    RecordingFiles(tmp_path).folder.rmdir()
    await recorder.add(ROLLOUT, [a_second(11)])
    await recorder.add(ROLLOUT, [a_second(12)])
    assert await recorder.read(ROLLOUT) == (SETTINGS, (a_second(11), a_second(12)))
    assert [one.partition("): ")[2] for one in told] == ["the file is gone, with what was in it; a new one begins"]


async def test_a_file_that_is_lost_after_the_next_controller_went_on_with_it_is_made_anew(tmp_path: Path) -> None:
    RecordingFiles(tmp_path).begin(ROLLOUT, SETTINGS)
    told: list[str] = []
    recorder = FileRecorder(tmp_path, tell=told.append)
    assert await recorder.read(ROLLOUT) == (SETTINGS, ())
    RecordingFiles(tmp_path).path(ROLLOUT).unlink()
    await recorder.add(ROLLOUT, [a_second(11)])
    assert await recorder.read(ROLLOUT) == (SETTINGS, (a_second(11),))
    assert [one.partition(": ")[2] for one in told] == ["the file is gone, with what was in it; a new one begins"]


async def test_a_disk_that_refuses_is_told_once_until_it_has_gone_well_again(tmp_path: Path) -> None:
    told: list[str] = []
    recorder = FileRecorder(tmp_path, tell=told.append)
    (tmp_path / "recordings").write_text("a file where the folder should be")
    await recorder.begin(ROLLOUT, SETTINGS)
    for at in range(5):
        await recorder.add(ROLLOUT, [a_second(at)])
    await recorder.settle()
    assert len(told) == 1
    (tmp_path / "recordings").unlink()
    await recorder.begin(ROLLOUT, SETTINGS)
    await recorder.add(ROLLOUT, [a_second(9)])
    assert await recorder.read(ROLLOUT) == (SETTINGS, (a_second(9),))


class HangingFiles(RecordingFiles):
    """A disk that does not answer until it is let go."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.let_go = threading.Event()

    def add(self, rollout: str, seconds: object) -> None:
        self.let_go.wait(timeout=30)
        super().add(rollout, seconds)  # type: ignore[arg-type]  # handed on as it came


async def test_a_disk_that_hangs_holds_up_nobody_and_what_waits_is_bounded(tmp_path: Path) -> None:
    told: list[str] = []
    files = HangingFiles(tmp_path)
    recorder = FileRecorder(tmp_path, files=files, tell=told.append)
    await recorder.begin(ROLLOUT, SETTINGS)
    async with asyncio.timeout(10):
        for at in range(MOST_WAITING + 5):
            await recorder.add(ROLLOUT, [a_second(at)])
    assert len(told) == 1
    assert "does not keep up" in told[0]
    files.let_go.set()
    found = await recorder.read(ROLLOUT)
    assert found is not None
    assert len(found[1]) == MOST_WAITING


async def test_who_waits_for_a_short_recording_does_not_wait_for_a_long_one(tmp_path: Path) -> None:
    recorder = FileRecorder(tmp_path, tell=pytest.fail)
    for rollout, seconds in (("checkout-r7", 3_000), ("checkout-r8", 1)):
        await recorder.begin(rollout, SETTINGS)
        await recorder.add(rollout, [a_second(at) for at in range(seconds)])
    long = asyncio.create_task(recorder.read("checkout-r7"))
    short = await recorder.read("checkout-r8")
    assert not long.done()
    assert short == (SETTINGS, (a_second(0),))
    found = await long
    assert found is not None
    assert len(found[1]) == 3_000


async def test_nobody_is_told_of_a_read_that_nobody_waits_for_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = HangingFiles(tmp_path)
    recorder = FileRecorder(tmp_path, files=files, tell=pytest.fail)
    await recorder.begin(ROLLOUT, SETTINGS)
    await recorder.add(ROLLOUT, [a_second(1)])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await recorder.read(ROLLOUT)
    files.let_go.set()
    await recorder.settle()
    assert caplog.text == ""


async def test_a_recording_in_another_format_is_moved_aside_and_never_mixed(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    files.folder.mkdir()
    path = files.path(ROLLOUT)
    path.write_text(header_line(ROLLOUT, SETTINGS).replace('"format":1', '"format":2') + "\n")
    recorder = FileRecorder(tmp_path, files=files, tell=pytest.fail)
    assert await recorder.read(ROLLOUT) is None
    await recorder.begin(ROLLOUT, SETTINGS)
    assert await recorder.read(ROLLOUT) == (SETTINGS, ())
    assert path.with_suffix(".unreadable").exists()


def test_a_second_recorded_before_bytes_were_counted_is_read_and_tells_none() -> None:
    parts = json.loads(second_line(a_second(10)))
    assert [len(row) for row in parts["c"]] == [8, 8]  # an earlier hitless reads no longer one
    del parts["b"]
    found = read_second(json.dumps(parts))
    assert found is not None
    assert [one.transfer for one in found.second.cells] == [None, None]
    assert found.second.cells[1] == replace(a_second(10).second.cells[1], transfer=None)
    assert read_second(json.dumps(parts | {"b": [[1, 2, 3]]})) is None


async def test_a_recording_with_settings_that_this_hitless_does_not_know_is_not_read(tmp_path: Path) -> None:
    files = RecordingFiles(tmp_path)
    files.folder.mkdir()
    line = header_line(ROLLOUT, replace(SETTINGS, salt="another"))
    assert read_header(line, as_written=True) is not None
    files.path(ROLLOUT).write_text(line.replace('"another"', '"checkout-r7","of_a_later_release":1') + "\n")
    recorder = FileRecorder(tmp_path, tell=pytest.fail)
    assert await recorder.read(ROLLOUT) is None
    await recorder.begin(ROLLOUT, SETTINGS)
    assert await recorder.read(ROLLOUT) == (SETTINGS, ())


def test_a_recording_from_before_there_were_ratios_and_pools_is_read_as_this_rollouts() -> None:
    older = replace(SETTINGS, ratios={}, pools=())
    told = json.loads(header_line(ROLLOUT, older))
    del told["settings"]["ratios"], told["settings"]["pools"]
    told["digest"] = "427a165c1821"  # as it was written then
    assert read_header(json.dumps(told), as_written=True) == older
    second = read_second('{"t":5,"s":{"local":500},"k":[["local","v2","payments",3,1]]}')
    assert second is not None
    assert (len(second.second.calls), second.second.pools) == (1, ())


def test_a_second_of_one_route_takes_a_few_hundred_bytes() -> None:
    durations = {150 + 2 * number: 3 for number in range(40)}
    seen = Second(at=1_900_000_000, cells=tuple(replace(cell(version), durations=durations) for version in (V1, V2)))
    assert len(second_line(Recorded(second=seen, share_bp={LOCAL: 500}))) < 700


@pytest.mark.parametrize("line", ["", "{}", "[]", "7", '{"t":1}', '{"t":1,"s":{},"c":[[1]]}', '{"t":1,"s":{},"c":7}'])
def test_a_line_that_says_something_else_is_no_second_and_no_header(line: str) -> None:
    assert read_second(line) is None
    assert read_header(line) is None
    assert read_version(line) is None
