"""From hitless.yaml to services: what a user may write and what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hitless.config import (
    ConfigurationMissing,
    ConfigurationUnreadable,
    InvalidConfiguration,
    Project,
    load,
    parse,
    warnings,
)
from hitless.errors import UserError
from hitless.rollout.spec import (
    Address,
    Amount,
    AnalysisSpec,
    BlueGreenSpec,
    CanaryStep,
    CheckSpec,
    DrainSpec,
    HealthSpec,
    LatencyObjective,
    MetricsSpec,
    OverrideSpec,
    PoolSpec,
    PrometheusSpec,
    RatioSpec,
    RollingSpec,
    RunSpec,
    ServiceSpec,
    SloSpec,
    StrategyName,
    StrategySpecs,
    TlsSpec,
    TrafficSpec,
    Undecided,
)

SMALLEST = """\
service: checkout
listen: 127.0.0.1:8080
instances: 2
run: {command: [app, "{port}"], directory: "releases/{version}"}
"""

LARGEST = """\
service: checkout
listen: 127.0.0.1:8080
tls: {cert: cert.pem, key: key.pem}
instances: 4
run:
  command: [python, -m, shop.checkout, --port, "{port}"]
  directory: "releases/{version}"
  environment: {WORKERS: 08, RATIO: 1.10, NAME: "{instance}"}
health: {live: /health/live, ready: /health/ready, interval: 500ms, timeout: 2s, healthy_after: 2, unhealthy_after: 4,
         start_deadline: 90s, max_failures: 5}
drain: {requests: 20s, streams: 4h}
traffic:
  sticky: {cookie: hitless}
  override: {header: x-version, token: 0c1a7e93b5}
  keep_alive: 5s
  idle_timeout: 2h
  http2: true
strategy:
  canary:
    steps: [{weight: 1%, hold: 10m}, {weight: 5%, hold: 15m, pause: true}, {weight: 100%}]
  rolling: {max_surge: 2, max_unavailable: 25%}
  blue_green:
    preview: 127.0.0.1:8081
    checks: [{path: /, status: 204, contains: 7, timeout: 1s}]
    keep_warm: 20m
    approve: true
progress_deadline: 5m
slo: {success_rate: {at_least: 99.99%, for: 30s}, latency: {p99.9: 1s, p50: 80ms}}
analysis:
  false_rollback: 0.5%
  false_promotion: 2%
  error_rate: {margin: 0.2pp}
  latency: {margin: 10%}
  dependencies: [payments, postgres]
  warm_up: 60s
  undecided: ask
  patience: 1h
metrics:
  path: /internal/metrics
  ratios:
    orders: {good: 'orders_total{outcome="paid"}', total: orders_total}
    cache: {bad: cache_misses_total, total: cache_lookups_total, margin: 10%}
    mails: {good: {query: "mails_total{ok='1'}"}, bad: {query: mails_total}}
  pools:
    database: {used: 'db_pool{state="busy"}', size: db_pool_size}
    workers: {used: busy_workers, size: 8}
  prometheus: {url: "https://metrics.example/prometheus/", version: release, token_file: secrets/prometheus}
"""


def read(text: str) -> Project:
    return parse(text, path=Path("hitless.yaml"))


def one(text: str) -> ServiceSpec:
    (service,) = read(text).services.values()
    return service


def test_a_service_needs_a_name_an_address_a_count_and_a_command() -> None:
    assert one(SMALLEST) == ServiceSpec(
        name="checkout",
        instances=2,
        run=RunSpec(command=("app", "{port}"), directory="releases/{version}"),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080)),
    )


LARGEST_ANALYSIS = AnalysisSpec(
    false_rollback=0.005,
    false_promotion=0.02,
    error_margin=0.002,
    latency_margin=0.1,
    dependencies=("payments", "postgres"),
    warm_up_s=60,
    undecided=Undecided.ASK,
    patience_s=3600,
)


def largest_metrics(directory: Path) -> MetricsSpec:
    return MetricsSpec(
        path="/internal/metrics",
        ratios=(
            RatioSpec(name="orders", good='orders_total{outcome="paid"}', total="orders_total"),
            RatioSpec(name="cache", bad="cache_misses_total", total="cache_lookups_total", margin=0.1),
            RatioSpec(name="mails", good="mails_total{ok='1'}", bad="mails_total", is_query=True),
        ),
        pools=(
            PoolSpec(name="database", used='db_pool{state="busy"}', size="db_pool_size"),
            PoolSpec(name="workers", used="busy_workers", size=8.0),
        ),
        prometheus=PrometheusSpec(
            url="https://metrics.example/prometheus",
            version="release",
            token_file=str(directory / "secrets/prometheus"),
        ),
    )


def test_every_setting_reaches_its_place(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "hitless.yaml").write_text(LARGEST)
    project = load(tmp_path / "hitless.yaml")
    assert project.services["checkout"] == ServiceSpec(
        name="checkout",
        instances=4,
        run=RunSpec(
            command=("python", "-m", "shop.checkout", "--port", "{port}"),
            directory="releases/{version}",
            environment={"WORKERS": "08", "RATIO": "1.10", "NAME": "{instance}"},
        ),
        traffic=TrafficSpec(
            listen=Address(host="127.0.0.1", port=8080),
            tls=TlsSpec(cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem")),
            sticky_cookie="hitless",
            override=OverrideSpec(header="x-version", token="0c1a7e93b5"),
            keep_alive_s=5,
            idle_timeout_s=7200,
            http2=True,
        ),
        health=HealthSpec(
            live="/health/live",
            ready="/health/ready",
            interval_s=0.5,
            timeout_s=2,
            healthy_after=2,
            unhealthy_after=4,
            start_deadline_s=90,
            max_failures=5,
        ),
        drain=DrainSpec(requests_s=20, streams_s=14_400),
        strategy=StrategySpecs(
            default=StrategyName.CANARY,
            rolling=RollingSpec(max_surge=Amount(count=2), max_unavailable=Amount(share_bp=2500)),
            blue_green=BlueGreenSpec(
                preview=Address(host="127.0.0.1", port=8081),
                checks=(CheckSpec(path="/", status=204, contains="7", timeout_s=1),),
                keep_warm_s=1200,
                approve=True,
            ),
            canary=one(LARGEST.replace("tls:", "# tls:")).strategy.canary,
        ),
        progress_deadline_s=300,
        slo=SloSpec(
            success_rate=0.9999,
            success_for_s=30,
            latency=(LatencyObjective(quantile=0.5, at_most_ms=80), LatencyObjective(quantile=0.999, at_most_ms=1000)),
        ),
        analysis=LARGEST_ANALYSIS,
        metrics=largest_metrics(tmp_path),
    )
    assert project.services["checkout"].strategy.canary.steps == (
        CanaryStep(weight_bp=100, hold_s=600),
        CanaryStep(weight_bp=500, hold_s=900, pause=True),
        CanaryStep(weight_bp=10_000),
    )
    assert (project.directory, project.path, project.warnings) == (tmp_path, tmp_path / "hitless.yaml", ())


def test_several_services_stand_in_a_list_and_keep_their_order() -> None:
    listed = "".join(
        f"- {{service: {name}, listen: 127.0.0.1:{port}, instances: 1, run: {{command: a}}}}\n"
        for name, port in (("search", 8001), ("checkout", 8002), ("mail", 8003))
    )
    assert list(read(f"services:\n{listed}").services) == ["search", "checkout", "mail"]


@pytest.mark.parametrize("name", list(StrategyName))
def test_a_strategy_can_be_a_bare_word_or_an_empty_section(name: StrategyName) -> None:
    usual = StrategySpecs(default=name)
    assert one(f"{SMALLEST}strategy: {name}\n").strategy == usual
    assert one(f"{SMALLEST}strategy:\n  {name}:\n").strategy == usual


def test_the_first_strategy_written_is_the_default() -> None:
    assert one(f"{SMALLEST}strategy: {{blue_green: {{}}, canary: {{}}}}\n").strategy.default is StrategyName.BLUE_GREEN
    assert one(f"{SMALLEST}strategy: {{canary: {{}}, blue_green: {{}}}}\n").strategy.default is StrategyName.CANARY


def test_a_path_alone_is_the_readiness_path() -> None:
    assert one(f"{SMALLEST}health: /ready\n").health == HealthSpec(ready="/ready")


def test_a_share_alone_is_the_least_success_rate() -> None:
    assert one(f"{SMALLEST}slo: {{success_rate: 99.999%}}\n").slo == SloSpec(success_rate=0.99999)


def test_the_analysis_is_on_off_or_a_section_and_without_a_word_it_is_off() -> None:
    assert one(SMALLEST).analysis is None
    assert one(f"{SMALLEST}analysis: off\n").analysis is None
    assert one(f"{SMALLEST}analysis: {{enabled: false, patience: 1h}}\n").analysis is None
    assert one(f"{SMALLEST}analysis: on\n").analysis == AnalysisSpec()
    assert one(f"{SMALLEST}analysis: {{patience: 1h}}\n").analysis == AnalysisSpec(patience_s=3600)


def test_a_path_alone_is_where_metrics_are() -> None:
    assert one(f"{SMALLEST}metrics: /m\n").metrics == MetricsSpec(path="/m")


def test_a_command_can_be_one_line() -> None:
    text = "service: a\nlisten: 127.0.0.1:1\ninstances: 1\nrun:\n  command: sh -c 'exec app'\n"
    assert one(text).run.command == ("sh", "-c", "exec app")


@pytest.mark.parametrize("literal", ["${HOME}", '{"a": 1}', "{a,b}", "{NAME}", "{}"])
def test_braces_that_are_not_ours_stay_as_they_are(literal: str) -> None:
    text = SMALLEST.replace('"{port}"]', f"\"{{port}}\", '{literal}']")
    assert one(text).run.command == ("app", "{port}", literal)


def test_numbers_where_text_is_wanted_are_taken_as_written() -> None:
    text = SMALLEST.replace('"{port}"]', '"{port}", 0o17, 1_000, 1e3]')
    assert one(text).run.command == ("app", "{port}", "0o17", "1_000", "1e3")


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_file_may_come_from_any_editor(tmp_path: Path, line_end: str, mark: str) -> None:
    path = tmp_path / "hitless.yaml"
    path.write_bytes((mark + SMALLEST.replace("\n", line_end)).encode())
    assert list(load(path).services) == ["checkout"]


def test_a_missing_file_is_told_how_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationMissing) as caught:
        load(tmp_path / "hitless.yaml")
    assert any("hitless init" in hint for hint in caught.value.hints)


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationUnreadable, match="is a directory"):
        load(tmp_path)


def test_a_name_that_no_file_can_have_is_a_user_error() -> None:
    with pytest.raises(UserError):
        load(Path("hitless\0.yaml"))


def test_text_that_is_not_utf_8_is_placed(tmp_path: Path) -> None:
    path = tmp_path / "hitless.yaml"
    path.write_bytes(b"service: a\nlisten: \xff\n")
    with pytest.raises(InvalidConfiguration) as caught:
        load(path)
    place = caught.value.findings[0].place
    assert (place.line, place.column) == (2, 9)


def warned(text: str, tmp_path: Path) -> list[tuple[int | None, str]]:
    project = parse(text, path=tmp_path / "hitless.yaml")
    return [(finding.place.line, finding.message) for finding in warnings(project)]


def test_a_command_that_says_nothing_of_port_and_version_is_allowed_with_warnings(tmp_path: Path) -> None:
    text = "service: a\nlisten: 127.0.0.1:1\ninstances: 1\nrun:\n  command: app\n"
    assert warned(text, tmp_path) == [
        (4, "nothing in `run` depends on the version, so every version runs the same code"),
        (5, "the command does not say which port to listen on; every instance has its own"),
    ]


def test_port_and_version_may_come_through_the_environment(tmp_path: Path) -> None:
    run = '{command: "sh -c \'exec app-$HITLESS_VERSION\'", environment: {PORT: "{port}"}}'
    assert warned(f"service: a\nlisten: 127.0.0.1:1\ninstances: 1\nrun: {run}\n", tmp_path) == []


def test_probable_slips_are_warned_of(tmp_path: Path) -> None:
    text = SMALLEST.replace("releases/{version}", "nowhere").replace("app", '"app-{version}"') + (
        "progress_deadline: 30s\ntraffic: {override: {header: x-version, token: change-me-0c1a7e}}\n"
    )
    assert warned(text, tmp_path) == [
        (4, "the directory `nowhere` does not exist"),
        (5, "a rollout is taken back before an instance may be late (1m to start)"),
        (6, "this token is the documentation's, anyone knows it"),
    ]


def test_a_prometheus_of_which_nothing_is_asked_is_warned_of(tmp_path: Path) -> None:
    text = f"{SMALLEST}metrics: {{prometheus: {{url: 'http://127.0.0.1:9090'}}"
    assert warned(f"{text}}}\n", tmp_path)[-1:] == [(5, "there is a Prometheus, and nothing is asked of it")]
    asked = "ratios: {a: {good: {query: x}, bad: {query: y}}}"
    assert "there is a Prometheus" not in str(warned(f"{text}, {asked}}}\n", tmp_path))


def test_dependencies_of_which_nobody_tells_are_warned_of(tmp_path: Path) -> None:
    text = f"{SMALLEST}analysis: {{dependencies: [payments]}}\n"
    message = "calls to dependencies are compared by what the instances tell, and nothing says where they do"
    assert warned(text, tmp_path)[-1:] == [(5, message)]
    assert (5, message) not in warned(f"{text}metrics: /metrics\n", tmp_path)
