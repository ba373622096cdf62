"""What the benchmarks of the judge measure is the judge, and what they emulate is what others do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.incumbents import argo, flagger, kayenta
from benchmarks.page import renewed
from benchmarks.races import bound
from benchmarks.sameness import upper_limit
from benchmarks.trials import BOUNDS, NEVER, NEW, OLD, TESTS, Trials, settings_of
from benchmarks.worlds import RAMP, Clustered, Regions, Steady, sticky_retries

from hitless.analysis.counts import Call, Cell, Fates, Second
from hitless.analysis.judge import Judge
from hitless.rollout.spec import Region, Version

SECONDS = 130
"""Two restarts of the evidence."""


def cell(version: Version, region: Region, four: np.ndarray) -> Cell:
    """Put answers between thresholds, so that as many lie above each as the counts say."""
    total, above = int(four[0, 0]), [int(bad) for bad in four[1:7, 1]]
    between = [high - low for high, low in zip([total, *above], [*above, 0], strict=True)]
    middles = (BOUNDS[0] - 5, *(bound + 10 for bound in BOUNDS))
    return Cell(
        region=region,
        route="/",
        version=version,
        requests=Fates(total=total, failed=int(four[0, 1])),
        retried=int(four[7, 1]),
        durations={middle: many for middle, many in zip(middles, between, strict=True) if many},
    )


def second(at: int, regions: list[Region], counts: np.ndarray) -> Second:
    """Say one run's counts, shape (strata, tests, 4), as the judge is told them."""
    cells, calls = [], []
    for region, tests in zip(regions, counts, strict=True):
        for version, arm in ((NEW, tests[:, :2]), (OLD, tests[:, 2:])):
            cells.append(cell(version, region, arm))
            fates = Fates(total=int(arm[8, 0]), failed=int(arm[8, 1]))
            calls.append(Call(region=region, version=version, dependency="payments", fates=fates))
    return Second(at=at, cells=tuple(cells), calls=tuple(calls))


@pytest.mark.parametrize(
    "world",
    [
        Steady(chance=np.random.default_rng(1), runs=3, base=0.01, steps=((0, 2_500),)),
        Steady(
            chance=np.random.default_rng(2),
            runs=3,
            base=0.05,
            steps=((0, 500), (60, 5_000)),
            is_cold=True,
            swing=0.5,
            warm_up_s=30.0,
        ),
        Regions(chance=np.random.default_rng(3), runs=3),
    ],
    ids=["steady", "ramp with warm-up and swing", "regions"],
)
def test_many_runs_at_once_have_the_evidence_that_the_judge_has_of_each(world: Steady | Regions) -> None:
    settings = settings_of(warm_up_s=world.warm_up_s)
    dispersion = np.ones((3, len(TESTS)))
    dispersion[:, 0] = 2.5
    trials = Trials(3, settings, dispersion=dispersion)
    settings = replace(settings, background=replace(settings.background, dispersion={"errors": 2.5}))
    judges = [Judge(settings) for _ in range(3)]
    for at in range(SECONDS):
        counts, share_bp = world.counts(at), world.share_bp(at)
        trials.take(at, share_bp, counts)
        for judge, one in zip(judges, counts, strict=True):
            judge.take(second(at, list(share_bp), one), share_bp)
    for judge, values in zip(judges, trials.log_values(), strict=True):
        weighing = judge._weighing
        mine = [weighing.values[weighing.tests.place_of(name)] for name in TESTS]
        assert mine == pytest.approx(values, abs=1e-9)
        assert any(abs(value) > 1e-3 for value in mine)
    assert [(row.name, row.log_needed) for row in trials.rows] == [
        (row.name, row.log_needed) for row in judges[0]._weighing.rows
    ]


def test_a_version_that_fails_altogether_is_taken_back_in_every_run() -> None:
    trials = Trials(5, settings_of())
    world = Steady(chance=np.random.default_rng(1), runs=5, base=0.001)
    for at in range(20):
        counts = world.counts(at)
        counts[:, 0, 0, 1] = counts[:, 0, 0, 0]
        trials.take(at, world.share_bp(at), counts)
    assert trials.is_taken_back.all()
    assert (trials.reached_at["errors"] != NEVER).all()


def test_a_ramp_gives_each_step_its_share() -> None:
    world = Steady(chance=np.random.default_rng(1), runs=1, base=0.001, steps=RAMP)
    assert [world.share_bp(at) for at in (0, 249, 250, 999)] == [{"local": bp} for bp in (100, 100, 500, 5_000)]


def test_who_is_sent_back_fails_three_times_and_dispersion_says_so() -> None:
    world = Clustered(chance=np.random.default_rng(1), runs=2, base=0.01, instances=4, new=1, failures=sticky_retries)
    failed = sum(int(world.counts(at)[:, 0, 0, 1::2].sum()) for at in range(500))
    assert failed == pytest.approx(2 * 500 * 100 * 0.01, rel=0.15)
    assert (world.dispersion()[:, 0] > 1.5).all()


@pytest.mark.parametrize(
    ("old", "new", "share", "least"),
    [(0.0005, 0.0015, 0.01, 7_053), (0.001, 0.002, 0.25, 16_620), (0.001, 0.01, 0.05, 366), (0.01, 0.05, 0.5, 301)],
)
def test_the_least_that_any_test_needs(old: float, new: float, share: float, least: int) -> None:
    assert round(bound(old, new, share)) == least


def test_upper_limits_are_those_of_clopper_and_pearson() -> None:
    assert upper_limit(0, of=300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert upper_limit(12, of=2_000) == pytest.approx(0.0097, abs=1e-4)
    assert upper_limit(5, of=5) == 1.0


@pytest.mark.parametrize(
    ("control", "experiment", "is_high"),
    [
        ([0, 0, 0, 0, 0, 0], [0, 1, 2, 1, 0, 0], False),  # spinnaker/kayenta#426
        ([1] * 10, [1] * 10, False),
        ([], [1, 2], False),
        (list(range(60)), [value + 30 for value in range(60)], True),
        (list(range(60)), [value - 30 for value in range(60)], False),
    ],
)
def test_kayenta_says_high_only_where_it_is_sure_of_a_quarter_of_the_shift(
    control: list[int], experiment: list[int], is_high: bool
) -> None:
    assert kayenta(np.array(control, dtype=float), np.array(experiment, dtype=float)) is is_high


def test_flagger_counts_failed_minutes_and_never_forgets_one() -> None:
    total = np.full((600, 3), 10)
    failed = np.zeros((600, 3), dtype=np.int64)
    failed[60:120, 0] = 1
    failed[::2, 1] = 1
    total[:, 2] = 0
    assert flagger(total, failed, threshold=1).tolist() == [120, 60, 60]
    assert flagger(total, failed, threshold=5).tolist() == [NEVER, 300, 300]


def test_argo_fails_at_the_fourth_failed_measurement() -> None:
    total = np.full((1_500, 3), 10)
    failed = np.zeros((1_500, 3), dtype=np.int64)
    failed[:, 0] = 1
    failed[:900, 1] = 1
    total[:, 2] = 0
    assert argo(total, failed).tolist() == [1_200, NEVER, NEVER]


def test_a_section_that_is_renewed_leaves_the_others_alone(tmp_path: Path) -> None:
    page = tmp_path / "judge.md"
    for name, text in (("two", "of two"), ("one", "of one"), ("two", "of two, again")):
        page.write_text(renewed(page, head="# Head\n", names=("one", "two"), name=name, text=text))
    said = page.read_text()
    assert said.startswith("# Head\n")
    assert said.index("of one") < said.index("of two, again")
    assert said.count("of two") == 1
