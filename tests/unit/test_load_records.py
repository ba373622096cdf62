from __future__ import annotations

from pathlib import Path

import pytest

from hitless.errors import UserError
from hitless.rollout.spec import Address
from hitless.testing.load import BadLoadPlan, Kind, LoadOptions, LoadPlan, RecordSpec, RequestSpec
from hitless.testing.load.mix import read_mix
from hitless.testing.load.records import RecordLog

SPEC = RecordSpec(rate_rps=1, seeded={"name": "First{record}", "visits": "{number}"}, written={"name": "Ann{id}"})


def faults(log: RecordLog, began: dict[str, int], **told: object) -> list[str]:
    return list(log.faults(7, began, {"name": "First7", "visits": 7, **told}, "v2"))


def test_what_was_seeded_is_right_until_it_is_written() -> None:
    log = RecordLog(SPEC)
    assert faults(log, log.moment(7)) == []
    assert faults(log, log.moment(7), name="Else") == ["record 7: name is 'Else', not 'First7' (by seed)"]
    assert faults(log, log.moment(7), visits="7") == ["record 7: visits is '7', not 7 (by seed)"]
    assert log.wrong == 2


def test_a_field_that_an_answer_does_not_show_is_wrong() -> None:
    log = RecordLog(SPEC)
    assert list(log.faults(7, log.moment(7), {"visits": 7}, "v2")) == ["record 7: name is None, not 'First7' (by seed)"]


def test_what_was_acknowledged_before_a_read_began_is_all_that_it_may_show() -> None:
    log = RecordLog(SPEC)
    log.of(7, "name").begin("Ann1")
    log.of(7, "name").end("v1")
    assert faults(log, log.moment(7), name="Ann1") == []
    assert faults(log, log.moment(7)) == ["record 7: name is 'First7', not 'Ann1' (by v1)"]
    assert log.crossings["v1 -> v2"] == 1


def test_a_read_beside_a_write_may_show_the_value_before_or_after_it() -> None:
    log = RecordLog(SPEC)
    before = log.moment(7)
    log.of(7, "name").begin("Ann1")
    during = log.moment(7)
    log.of(7, "name").end("v1")
    for began in (before, during):
        assert faults(log, began) == []
        assert faults(log, began, name="Ann1") == []
    assert faults(log, log.moment(7)) != []


def test_a_write_without_a_good_answer_leaves_both_values_right_for_ever() -> None:
    log = RecordLog(SPEC)
    log.of(7, "name").begin("Ann1")
    log.of(7, "name").end(None)
    assert faults(log, log.moment(7)) == []
    assert faults(log, log.moment(7), name="Ann1") == []
    told = log.to_json()
    assert told["doubtful"] == 1
    assert told["records"]["7"]["name"] == {"may_be": ["First7", "Ann1"], "written": 0, "is_doubtful": True}


@pytest.mark.parametrize(
    "spec",
    [
        RecordSpec(rate_rps=1, seeded={}),
        RecordSpec(rate_rps=1, seeded={"a": ""}, path="/records"),
        RecordSpec(rate_rps=1, seeded={"a": ""}, records=0),
        RecordSpec(rate_rps=1, seeded={"a": ""}, written={"b": ""}),
    ],
)
def test_records_that_cannot_be_compared_are_an_error(spec: RecordSpec) -> None:
    with pytest.raises(UserError):
        LoadPlan(target=Address(host="127.0.0.1", port=1), kinds={Kind.RECORDS: spec}, duration_s=1)


@pytest.mark.parametrize(
    "text", ['{"keepalive": {"rate_rps": 5, "path": "/basket"}}', "keepalive:\n  rate_rps: 5\n  path: /basket\n"]
)
def test_a_mix_says_what_each_kind_asks(text: str, tmp_path: Path) -> None:
    mix = tmp_path / "mix.yaml"
    mix.write_text(text)
    plan = LoadOptions(target="127.0.0.1:80", mix=str(mix)).plan()
    assert plan.kinds == {Kind.KEEPALIVE: RequestSpec(rate_rps=5, path="/basket")}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "cannot be read"),
        ("[]", "does not map kinds"),
        ('{"fast": {}}', "unknown kind of client: fast"),
        ('{"post": {"rate": 1}}', "post has no rate"),
        ('{"post": {}}', "rate_rps"),
    ],
)
def test_a_mix_that_says_something_else_is_an_error(text: str, named: str, tmp_path: Path) -> None:
    mix = tmp_path / "mix.json"
    mix.write_text(text)
    with pytest.raises(BadLoadPlan, match=named):
        read_mix(mix)


def test_records_need_a_mix() -> None:
    with pytest.raises(BadLoadPlan, match="--mix"):
        LoadOptions(target="127.0.0.1:80", kinds=("records",)).plan()
