"""Ratios and pools: from what a user selects, over an instance's text, to counts per second and version."""

from __future__ import annotations

import pytest

from hitless.adapters.metrics.calls import CARRIED_FOR_S, NOTHING_EVERY_S, CallMeter, Carry, Reading
from hitless.adapters.metrics.wanted import Figures, parse_figures
from hitless.analysis.counts import Call, Fates
from hitless.rollout.selectors import NotASelector, read_selector
from hitless.rollout.spec import LOCAL, InstanceId, MetricsSpec, PoolSpec, RatioSpec, Version

ORDERS = RatioSpec(name="orders", good='orders_total{outcome="paid"}', total="orders_total")
CACHE = RatioSpec(name="cache", bad="cache_misses_total", total="cache_lookups_total")
MAILS = RatioSpec(name="mails", good="mails_sent_total", bad="mails_failed_total")
POOL = PoolSpec(name="database", used='db_pool{state="busy"}', size="db_pool_size")


def told(text: str, *ratios: RatioSpec, pools: tuple[PoolSpec, ...] = ()) -> Figures:
    return parse_figures(text, MetricsSpec(ratios=ratios, pools=pools))


def orders(paid: int, failed: int | None = None) -> str:
    lines = ["# TYPE orders_total counter", f'orders_total{{outcome="paid",shop="a"}} {paid}']
    return "\n".join([*lines, *([f'orders_total{{outcome="failed"}} {failed}'] if failed is not None else []), ""])


class Service:
    """One meter, and instances that tell texts."""

    def __init__(self, *ratios: RatioSpec) -> None:
        self.ratios = ratios
        self.meter = CallMeter()
        self.at = 0

    def second(self, **texts: str | None) -> dict[str, tuple[int, int]]:
        """Return total and bad by ratio, of one version whose instances told these texts."""
        self.at += 1
        readings = [
            Reading(
                instance=InstanceId(name),
                region=LOCAL,
                version=Version("v1"),
                counters=None if text is None else told(text, *self.ratios).counters,
            )
            for name, text in texts.items()
        ]
        return {one.dependency: (one.fates.total, one.fates.failed) for one in self.meter.read(readings, at=self.at)}


@pytest.mark.parametrize(
    ("text", "labels", "fits"),
    [
        ("a_total", {"x": "1"}, True),
        ('a_total{x="1"}', {"x": "1"}, True),
        ('a_total{x="1"}', {}, False),
        ('a_total{x!="1"}', {}, True),
        ('a_total{x=~"4..|5.."}', {"x": "503"}, True),
        ('a_total{x=~"5"}', {"x": "503"}, False),
        ('a_total{x!~"5.."}', {"x": "503"}, False),
        ('a_total{x="", y="2",}', {"y": "2"}, True),
        (" a_total { x = 'it\\'s' } ", {"x": "it's"}, True),
    ],
)
def test_matchers_mean_what_they_mean_in_promql(text: str, labels: dict[str, str], *, fits: bool) -> None:
    selector = read_selector(text)
    assert selector.name == "a_total"
    assert selector.fits(labels) is fits


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sum(a_total)", "an expression"),
        ("rate(a_total[5m])", "an expression"),
        ("a_total[5m]", "an expression"),
        ("a-total", "no metric"),
        ("", "no metric"),
        ("a_total{x}", "`x` is no matcher"),
        ('a_total{x=="1"}', "is no matcher"),
        ('a_total{x="1" y="2"}', "is no matcher"),
        ('a_total{x=~"("}', "no regular expression"),
    ],
)
def test_what_is_no_selector_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(NotASelector, match=why):
        read_selector(text)


def test_good_and_all_make_the_bad_ones_series_summed() -> None:
    shop = Service(ORDERS)
    shop.second(a=orders(100, 7), b=orders(0, 0))
    assert shop.second(a=orders(109, 8), b=orders(4, 0)) == {"ratios:orders": (14, 1)}


def test_bad_and_all_and_good_and_bad_are_ratios_too() -> None:
    text = (
        "# TYPE cache_misses_total counter\ncache_misses_total {m}\n"
        "# TYPE cache_lookups_total counter\ncache_lookups_total {n}\nmails_sent_total {n}\nmails_failed_total {m}\n"
    )
    shop = Service(CACHE, MAILS)
    shop.second(a=text.format(m=5, n=50))
    assert shop.second(a=text.format(m=7, n=60)) == {"ratios:cache": (10, 2), "ratios:mails": (12, 2)}


def test_an_outcome_that_was_never_seen_is_none_so_far_and_is_counted_from_the_first_on() -> None:
    bad = RatioSpec(name="orders", bad='orders_total{outcome="failed"}', total="orders_total")
    shop = Service(bad)
    shop.second(a=orders(5))
    assert shop.second(a=orders(10)) == {"ratios:orders": (5, 0)}
    assert shop.second(a=orders(10, 2)) == {"ratios:orders": (2, 2)}
    assert "which counts as none" in told(orders(5), bad).missing[0]


def test_a_metric_that_is_not_there_tells_nothing_of_its_ratio_and_is_named() -> None:
    typo = RatioSpec(name="orders", bad="order_failures_total", total="orders_total")
    shop = Service(typo)
    shop.second(a=orders(5))
    assert shop.second(a=orders(10)) == {}
    assert told(orders(5), typo).missing == ("ratio orders: there is no metric `order_failures_total`",)


def test_a_ratio_counts_from_the_moment_at_which_both_metrics_are_there() -> None:
    shop = Service(CACHE)
    shop.second(a="cache_lookups_total 100\n")
    assert shop.second(a="cache_lookups_total 110\ncache_misses_total 30\n") == {}
    assert shop.second(a="cache_lookups_total 120\ncache_misses_total 31\n") == {"ratios:cache": (10, 1)}


def test_other_settings_of_a_ratio_count_from_their_first_reading_and_not_all_that_ever_was() -> None:
    shop = Service(RatioSpec(name="orders", good="paid_total", total="orders_total"))
    text = "orders_total {n}\npaid_total {n}\nbegun_total {n}\n"
    for n in (1_000, 1_010):
        shop.second(a=text.format(n=n))
    shop.ratios = (RatioSpec(name="orders", good="paid_total", total="begun_total"),)
    assert shop.second(a=text.format(n=1_020)) == {}
    assert shop.second(a=text.format(n=1_025)) == {"ratios:orders": (5, 0)}


@pytest.mark.parametrize("kind", ["gauge", "histogram", "summary"])
def test_what_is_no_counter_is_refused_in_a_sentence(kind: str) -> None:
    name = {"histogram": "mails_sent_total_count", "summary": "mails_sent_total_count"}.get(kind, "mails_sent_total")
    text = f"# TYPE mails_sent_total {kind}\n{name} 5\nmails_failed_total 1\n"
    found = told(text, RatioSpec(name="mails", good=name, bad="mails_failed_total"))
    assert not found.counters
    assert found.missing == (f"ratio mails: `{name}` is of a {kind}, and counters are needed",)


def test_a_counter_without_the_usual_ending_is_read_by_its_name() -> None:
    text = "# TYPE sent counter\nsent 5\n# TYPE failed counter\nfailed 2\n"
    found = told(text, RatioSpec(name="mails", good="sent", bad="failed"))
    assert sorted(one.value for one in found.counters.values()) == [0.0, 2.0, 5.0]


def test_openmetrics_counters_are_read_by_the_name_of_their_samples() -> None:
    text = '# TYPE orders counter\norders_total{outcome="paid"} 7\norders_created{outcome="paid"} 1.6e9\n# EOF\n'
    found = parse_figures(text, MetricsSpec(ratios=(ORDERS,)), content_type="application/openmetrics-text")
    assert sorted(one.value for one in found.counters.values()) == [0.0, 7.0, 7.0]
    assert not found.missing


def test_completions_that_lag_never_make_a_negative_number_of_bad_ones() -> None:
    shop = Service(RatioSpec(name="orders", good="paid_total", total="begun_total"))
    text = "begun_total {}\npaid_total {}\n"
    shop.second(a=text.format(0, 0))
    assert shop.second(a=text.format(10, 6)) == {"ratios:orders": (10, 4)}
    assert shop.second(a=text.format(10, 10)) == {}
    assert shop.second(a=text.format(20, 16)) == {"ratios:orders": (10, 0)}


def test_what_was_good_is_carried_over_for_so_long_and_no_longer() -> None:
    def later(seconds: int) -> Fates:
        carry = Carry()
        carry.told(Fates(total=0, failed=-3), at=100)
        return carry.told(Fates(total=10, failed=5), at=100 + seconds)

    assert later(CARRIED_FOR_S).failed == 2
    assert later(CARRIED_FOR_S + 1).failed == 5


def test_bad_ones_beyond_all_come_with_the_next_that_is_told() -> None:
    carry = Carry()
    assert carry.told(Fates(total=1, failed=3), at=1) == Fates(total=1, failed=1)
    assert carry.told(Fates(total=5, failed=0), at=2) == Fates(total=5, failed=2)
    assert carry.told(Fates(total=5, failed=0), at=3) == Fates(total=5, failed=0)


def test_a_silent_instance_makes_its_versions_ratio_missing_until_it_answers() -> None:
    shop = Service(ORDERS)
    shop.second(a=orders(0, 0), b=orders(0, 0))
    assert shop.second(a=orders(5, 1), b=None) == {}
    assert shop.second(a=orders(6, 1), b=orders(2, 0)) == {"ratios:orders": (9, 1)}


def test_that_nothing_was_counted_is_told_now_and_then_so_it_is_not_taken_for_a_ratio_that_nobody_tells() -> None:
    shop = Service(ORDERS)
    shop.at = NOTHING_EVERY_S - 3
    told = [shop.second(a=orders(5, 0)) for _ in range(4)]
    assert told == [{}, {}, {"ratios:orders": (0, 0)}, {}]
    shop.at = 2 * NOTHING_EVERY_S - 1
    assert shop.second(a="other_total 5\n") == {}


def test_calls_to_dependencies_are_read_beside_ratios_and_cannot_pass_for_one() -> None:
    text = orders(5, 1) + (
        'hitless_dependency_calls_total{dependency="db",outcome="ok"} 3\n'
        'hitless_dependency_calls_total{dependency="ratios:orders",outcome="error"} 9\n'
    )
    names = {one.dependency for one in told(text, ORDERS).counters.values()}
    assert names == {"db", "ratios:orders"}
    assert not any(one.value == 9 for one in told(text, ORDERS).counters.values())


def test_a_pool_is_summed_over_what_fits_and_its_size_may_be_a_number() -> None:
    text = (
        '# TYPE db_pool gauge\ndb_pool{state="busy",w="1"} 3\ndb_pool{state="busy",w="2"} 4\ndb_pool{state="idle"} 1\n'
        "# TYPE db_pool_size gauge\ndb_pool_size 10\n"
    )
    fixed = PoolSpec(name="fixed", used='db_pool{state="busy"}', size=8.0)
    assert told(text, pools=(POOL, fixed)).pools == {"database": (7.0, 10.0), "fixed": (7.0, 8.0)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("db_pool_size 10\n", "there is no metric `db_pool`"),
        ('db_pool{state="idle"} 1\ndb_pool_size 10\n', "no series fits"),
        ('db_pool{state="busy"} 1\ndb_pool_size 0\n', "1 of 0 is no utilisation"),
        ('db_pool{state="busy"} NaN\ndb_pool_size 9\n', "no finite value"),
        ('# TYPE db_pool counter\ndb_pool{state="busy"} 1\ndb_pool_size 9\n', "gauges are needed"),
    ],
)
def test_a_pool_that_is_not_told_is_missing_with_its_reason(text: str, why: str) -> None:
    found = told(text, pools=(POOL,))
    assert not found.pools
    assert why in found.missing[0]


def test_a_call_is_what_the_recording_can_carry() -> None:
    shop = Service(ORDERS)
    shop.second(a=orders(0, 0))
    shop.at += 1
    counters = told(orders(4, 1), ORDERS).counters
    reading = Reading(instance=InstanceId("a"), region=LOCAL, version=Version("v1"), counters=counters)
    wanted = Call(region=LOCAL, version=Version("v1"), dependency="ratios:orders", fates=Fates(total=5, failed=1))
    assert shop.meter.read([reading], at=shop.at) == (wanted,)
