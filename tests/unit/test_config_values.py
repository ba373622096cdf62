"""Values that users write: what is read, what is refused, what the hint says."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitless.config.values import (
    BadValueError,
    read_address,
    read_amount,
    read_command,
    read_duration,
    read_percent,
    read_points,
    read_quantile,
    read_share,
    read_text,
    write_amount,
    write_duration,
    write_percent,
    write_points,
    write_quantile,
    write_share,
)
from hitless.rollout.spec import Address, Amount


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86_400),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("0s", 0),
        ("365d", 365 * 86_400),
        ("1m500ms", 60.5),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (30, "write `30s`, `30m` or `30h`"),
        (1.5, "write `1.5s`, `1.5m` or `1.5h`"),
        ("30sec", "write `30s`"),
        ("5 minutes", "write `5m`"),
        ("20 milliseconds", "write `20ms`"),
        ("2H", "write `2h`"),
        ("366d", "at most `365d`"),
        ("30m1h", "units are ms, s, m, h, d, the largest first: `30s`, `1h30m`"),
        ("", "units are ms, s, m, h, d, the largest first: `30s`, `1h30m`"),
        ("-5s", "units are ms, s, m, h, d, the largest first: `30s`, `1h30m`"),
        ("٣s", "units are ms, s, m, h, d, the largest first: `30s`, `1h30m`"),
        (True, "units are ms, s, m, h, d, the largest first: `30s`, `1h30m`"),
        (None, "units are ms, s, m, h, d, the largest first: `30s`, `1h30m`"),
    ],
)
def test_what_is_no_duration_is_told_how_to_be_one(value: object, hint: str) -> None:
    assert hint_of(read_duration, value) == hint


@given(st.integers(min_value=0, max_value=365 * 86_400 * 1000))
def test_every_duration_can_be_written_and_read_again(milliseconds: int) -> None:
    assert read_duration(write_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    ("text", "share_bp"), [("1%", 100), ("0.01%", 1), ("100%", 10_000), ("12.5 %", 1250), ("0%", 0)]
)
def test_percentages_are_basis_points(text: str, share_bp: int) -> None:
    assert read_percent(text) == share_bp


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (5, "write `5%`"),
        (0.5, "write `0.5%`"),
        ("0.001%", "write `0.01%`"),
        ("33.333%", "write `33.33%`"),
        ("101%", "at most `100%`"),
        ("five", "write `5%`; steps of 0.01 % are possible"),
        ("-1%", "write `5%`; steps of 0.01 % are possible"),
        (True, "write `5%`; steps of 0.01 % are possible"),
    ],
)
def test_what_is_no_percentage_is_told_how_to_be_one(value: object, hint: str) -> None:
    assert hint_of(read_percent, value) == hint


@given(st.integers(min_value=0, max_value=10_000))
def test_every_percentage_can_be_written_and_read_again(share_bp: int) -> None:
    assert read_percent(write_percent(share_bp)) == share_bp


@pytest.mark.parametrize(
    ("read", "text", "fraction"),
    [
        (read_share, "99.95%", 0.9995),
        (read_share, "99.9999 %", 0.999999),
        (read_points, "0.1pp", 0.001),
        (read_points, "100 pp", 1),
        (read_quantile, "p99.9", 0.999),
        (read_quantile, "p5", 0.05),
    ],
)
def test_shares_points_and_quantiles_are_fractions(read: Callable[[object], float], text: str, fraction: float) -> None:
    assert read(text) == fraction


@pytest.mark.parametrize(
    ("read", "value", "hint"),
    [
        (read_share, 99.95, "write `99.95%`"),
        (read_share, "much", "write `99.95%`"),
        (read_share, "100.1%", "at most 100"),
        (read_share, "99.9999999%", "round it"),
        (read_points, 0.1, "write `0.1pp`: percentage points, of all requests"),
        (read_points, "0.1%", "write `0.1pp`: percentage points, of all requests"),
        (read_points, "few", "write `0.1pp`"),
        (read_quantile, "99", "write `p50`, `p99` or `p99.9`"),
        (read_quantile, "p100", "write `p50`, `p99` or `p99.9`"),
        (read_quantile, None, "write `p50`, `p99` or `p99.9`"),
    ],
)
def test_what_is_no_share_is_told_how_to_be_one(read: object, value: object, hint: str) -> None:
    assert hint_of(read, value) == hint


@given(st.integers(min_value=0, max_value=10**8))
def test_every_share_can_be_written_and_read_again(millionths_of_a_percent: int) -> None:
    fraction = float(Decimal(millionths_of_a_percent) / 10**8)
    assert read_share(write_share(fraction)) == fraction
    assert read_points(write_points(fraction)) == fraction


@given(st.integers(min_value=1_000, max_value=99_999))
def test_every_quantile_can_be_written_and_read_again(thousandths_of_a_percent: int) -> None:
    quantile = float(Decimal(thousandths_of_a_percent) / 10**5)
    assert read_quantile(write_quantile(quantile)) == quantile


@pytest.mark.parametrize(
    ("value", "amount"),
    [(1, Amount(count=1)), (0, Amount(count=0)), ("25%", Amount(share_bp=2500)), ("0.5%", Amount(share_bp=50))],
)
def test_amounts_are_counts_or_shares_and_can_be_written_again(value: object, amount: Amount) -> None:
    assert read_amount(value) == amount
    assert write_amount(amount) == value


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (-1, "a number from 0 to 1000, or a share as `25%`"),
        (1001, "a number from 0 to 1000, or a share as `25%`"),
        (0.25, "write `25%`"),
        ("1", "write `1` for one instance or `25%` for a share of them"),
        (True, "write `1` for one instance or `25%` for a share of them"),
        ([], "write `1` for one instance or `25%` for a share of them"),
    ],
)
def test_what_is_no_amount_is_told_how_to_be_one(value: object, hint: str) -> None:
    assert hint_of(read_amount, value) == hint


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("localhost:65535", "127.0.0.1", 65_535),
        ("[::1]:8080", "::1", 8080),
        ("[0:0:0:0:0:0:0:1]:8080", "::1", 8080),
    ],
)
def test_addresses_have_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert read_address(text) == Address(host=host, port=port)
    assert read_address(str(read_address(text))) == read_address(text)


BOTH_WAYS = "write `127.0.0.1:8080` (this machine only) or `0.0.0.0:8080` (everyone)"


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (8080, BOTH_WAYS),
        (":8080", BOTH_WAYS),
        ("8080", BOTH_WAYS),
        ("example.com:8080", BOTH_WAYS),
        ("127.0.0.1", BOTH_WAYS),
        ("127.0.0.256:8080", BOTH_WAYS),
        ("::1:8080", 'IPv6 goes in brackets: `"[::1]:8080"`'),
        ("[127.0.0.1]:8080", 'IPv6 goes in brackets: `"[::1]:8080"`'),
        ("127.0.0.1:0", "a number from 1 to 65535"),
        ("127.0.0.1:65536", "a number from 1 to 65535"),
        ("127.0.0.1:http", "a number from 1 to 65535"),
        ("127.0.0.1:٨", "a number from 1 to 65535"),
        (None, BOTH_WAYS),
    ],
)
def test_what_is_no_address_is_told_how_to_be_one(value: object, hint: str) -> None:
    assert hint_of(read_address, value) == hint


def test_a_command_is_a_list_or_one_line() -> None:
    assert read_command(["python", "-m", "shop", 8080]) == ("python", "-m", "shop", "8080")
    assert read_command("sh -c 'exec app --port {port}'") == ("sh", "-c", "exec app --port {port}")


@pytest.mark.parametrize("value", ["", "  ", [], [""], "a 'b", 5, None, ["a", None], ["a", ["b"]]])
def test_what_is_no_command_is_refused(value: object) -> None:
    with pytest.raises(BadValueError):
        read_command(value)


def test_braces_without_quotes_are_told_to_be_quoted() -> None:
    assert hint_of(read_text, {"port": None}) == 'put it in quotes: `"{port}"`'


def hint_of(read: object, value: object) -> str | None:
    with pytest.raises(BadValueError) as caught:
        read(value)  # type: ignore[operator]  # any of the readers
    (problem,) = caught.value.problems
    return problem.hint
