"""Pure parts of Envoy's lifecycle: command lines compared, names, what people are told of certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hitless.adapters.envoy.bootstrap import Launch, differing_options, option
from hitless.adapters.envoy.handover import _as_printed
from hitless.adapters.envoy.layout import SOCKET_PATH_MAX, Layout
from hitless.adapters.envoy.restart import Binary
from hitless.rollout.spec import LOCAL, Address, RunSpec, ServiceSpec, TrafficSpec
from hitless.rollout.state import ServiceState
from hitless.rollout.world import Certificate, Observation, RoutingView
from hitless.view.models import ServiceView
from hitless.view.service import service_view

NOW = datetime(2025, 11, 22, 12, 0, tzinfo=UTC)
LAUNCH = Launch(binary=Path("/wheel/envoy"), epoch=3, base_id=7, concurrency=2, parent_lives_s=600)


def test_starts_of_one_configuration_differ_in_nothing_that_matters(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    other = Launch(binary=Path("/other/envoy"), epoch=0, base_id=9, concurrency=2)
    assert list(differing_options(LAUNCH.command_line(layout), other.command_line(layout))) == []


def test_options_that_differ_are_named_with_both_values() -> None:
    running = ["envoy", "--concurrency", "4", "--quiet", "--restart-epoch", "0"]
    wanted = ["envoy", "--concurrency", "2", "--drain-strategy", "immediate", "--restart-epoch", "5"]
    assert list(differing_options(running, wanted)) == [
        "option --concurrency: 4, would be 2",
        "option --quiet: set, would be not set",
        "option --drain-strategy: not set, would be immediate",
    ]


def test_options_are_read_back_from_a_command_line(tmp_path: Path) -> None:
    words = LAUNCH.command_line(Layout(tmp_path))
    assert (option(words, "--restart-epoch"), option(words, "--base-id"), option(words, "--nope")) == ("3", "7", None)


@pytest.mark.parametrize(
    ("number", "printed"),
    [(77_770, 77_770), (2**31 - 8, 2**31 - 8), (3_025_170_370, 18_446_744_072_439_754_690)],
)
def test_names_of_sockets_are_spelt_as_envoy_does(number: int, printed: int) -> None:
    assert _as_printed(number) == printed


def test_a_release_is_the_number_that_people_know() -> None:
    whole = "9e55809/1.40.0/Clean/RELEASE/BoringSSL"
    assert Binary(version=whole, hot_restart_version="11.104").release == "1.40.0"
    assert Binary(version="odd", hot_restart_version="").release == "odd"


@pytest.mark.parametrize("length", [80, 95, 100, 107, 140])
def test_every_generations_socket_has_a_path_that_the_kernel_takes(tmp_path: Path, length: int) -> None:
    root = tmp_path / ("x" * max(length - len(str(tmp_path)) - 1 - len("/admin.sock"), 1))
    assert len(str(Layout(root).admin_socket_of(99_999))) <= SOCKET_PATH_MAX


def seen(certificate: Certificate | None) -> ServiceView:
    spec = ServiceSpec(
        name="shop",
        instances=1,
        run=RunSpec(command=("true",)),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=1)),
    )
    view = RoutingView(certificate=certificate, notices=("an older Envoy",))
    observed = Observation(now=NOW, routing={LOCAL: view})
    return service_view(ServiceState(service="shop"), spec=spec, observed=observed, problems=[], seq=1)


@pytest.mark.parametrize(
    ("days", "warning"),
    [(15, None), (14, None), (13, "ends in 13 days"), (0, "ends in 0 days"), (-1, "has ended")],
)
def test_a_certificates_end_is_a_note_within_a_fortnight(days: int, warning: str | None) -> None:
    view = seen(Certificate(path="/cert.pem", ends_at=NOW + timedelta(days=days, hours=1 if days >= 0 else 0)))
    assert view["certificate"] is not None
    assert view["certificate"]["days_left"] == days
    told = [one for one in view["notices"] if "certificate" in one]
    assert [bool(warning and warning in one) for one in told] == ([True] if warning else [])
    assert "an older Envoy" in view["notices"]


def test_an_end_that_is_not_known_is_none_and_a_problem_is_a_note() -> None:
    view = seen(Certificate(path="/cert.pem", problem="no such file"))
    assert view["certificate"] == {
        "path": "/cert.pem",
        "ends_at": None,
        "days_left": None,
        "problem": "no such file",
    }
    assert any("no such file; the last good one stays in force" in one for one in view["notices"])
    assert seen(None)["certificate"] is None
