"""Schema, commented file and reference page: all from the same models, so none can drift."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hitless.config import json_schema, parse, reference, template
from hitless.config.catalogue import as_yaml, settings
from hitless.config.template import SCHEMA_FILE
from hitless.rollout.spec import (
    Address,
    AnalysisSpec,
    ChangeSpec,
    ConnectionsSpec,
    DatabaseSpec,
    LatencyObjective,
    MetricsSpec,
    PoolSpec,
    PrometheusSpec,
    RatioSpec,
    RolesSpec,
    RunSpec,
    ServiceSpec,
    SloSpec,
    StrategyName,
    TrafficSpec,
)

PAGE = Path(__file__).parents[2] / "docs/reference/settings.md"
OBJECTIVE = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: available}
spec: {service: checkout, indicator: {spec: {ratioMetric: {}}}, objectives: [{target: 0.99}]}
"""
CHANGE = "change: split-name\ntable: users\nrename: {email: email_address}\n"
HIDDEN = re.compile(r"^#((?: {2})*[a-z_0-9]+:)", re.MULTILINE)


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from objects(child)


def test_every_property_of_the_schema_is_described() -> None:
    properties = [
        (name, node)
        for holder in objects(json_schema())
        for name, node in holder.get("properties", {}).items()
        if isinstance(holder.get("properties"), dict)
    ]
    assert len(properties) > 40
    assert [name for name, node in properties if not node.get("description", "").endswith(".")] == []


def test_no_mapping_of_the_schema_takes_unknown_keys() -> None:
    mappings = [node for node in objects(json_schema()) if node.get("type") == "object"]
    assert mappings
    assert all(node["additionalProperties"] is False for node in mappings)


def test_the_schema_is_of_draft_2020_12_and_plain_json() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    schema = json_schema()
    targets = {node["$ref"].removeprefix("#/$defs/") for node in objects(schema) if "$ref" in node}
    assert targets == set(schema["$defs"])


def test_every_pattern_of_the_schema_takes_the_default_and_the_examples() -> None:
    for node in objects(json_schema()["$defs"]):
        if "pattern" in node and isinstance(node["pattern"], str):
            written = [*([node["default"]] if "default" in node else []), *node.get("examples", [])]
            assert [text for text in written if not re.search(node["pattern"], text)] == []


def test_the_commented_file_loads_as_it_is() -> None:
    project = parse(template("checkout"), path=Path("hitless.yaml"))
    assert project.services["checkout"] == ServiceSpec(
        name="checkout",
        instances=2,
        run=RunSpec(command=("python", "-m", "shop.checkout", "--port", "{port}")),
        traffic=TrafficSpec(listen=Address(host="127.0.0.1", port=8080)),
    )


def test_the_commented_file_loads_with_every_setting_uncommented(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "cert.pem").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "tls" / "key.pem").write_text("-----BEGIN PRIVATE KEY-----")
    (tmp_path / "slo.yaml").write_text(OBJECTIVE)
    (tmp_path / "changes").mkdir()
    (tmp_path / "changes" / "split-name.yaml").write_text(CHANGE)
    text = HIDDEN.sub(r"\1", template("checkout"))
    service = parse(text, path=tmp_path / "hitless.yaml").services["checkout"]
    assert service.traffic.tls is not None
    assert service.traffic.override is not None
    assert service.strategy.default is StrategyName.ROLLING
    assert service.strategy.blue_green.checks
    assert service.slo == SloSpec(
        success_rate=0.9995,
        latency=(LatencyObjective(quantile=0.5, at_most_ms=80), LatencyObjective(quantile=0.99, at_most_ms=300)),
    )
    assert service.analysis == AnalysisSpec(dependencies=("payments", "postgres"))
    assert service.metrics == MetricsSpec(
        ratios=(RatioSpec(name="orders", good='orders_total{outcome="paid"}', total="orders_total"),),
        pools=(PoolSpec(name="database", used="db_pool_in_use", size="db_pool_size"),),
        prometheus=PrometheusSpec(url="http://127.0.0.1:9090", token_file=str(tmp_path / "secrets/prometheus")),
    )
    assert service.database == DatabaseSpec(
        url="env:MIGRATION_DATABASE_URL",
        changes=(ChangeSpec(name="split-name", file=str(tmp_path / "changes/split-name.yaml")),),
        connections=ConnectionsSpec(per_instance=10, role="shop_app", during_migration=20),
        roles=RolesSpec(group="shop_app", prefix="shop"),
    )


def test_uncommenting_a_default_changes_nothing() -> None:
    usual = parse(template("checkout"), path=Path("hitless.yaml")).services["checkout"]
    for section in ("health", "drain", "strategy"):
        defaults = [one for one in settings() if one.path.startswith(f"{section}.") and not one.is_in_list]
        written = {one.path: one.default for one in defaults if one.default is not None}
        text = f"{template('checkout')}\n{section}: {as_yaml(nested(section, written))}\n"
        assert parse(text, path=Path("hitless.yaml")).services["checkout"] == usual


def test_uncommenting_the_analysis_switches_it_on_with_its_defaults() -> None:
    defaults = [one for one in settings() if one.path.startswith("analysis.") and one.default is not None]
    written = {one.path: one.default for one in defaults}
    text = f"{template('checkout')}\nanalysis: {as_yaml(nested('analysis', written))}\n"
    assert parse(text, path=Path("hitless.yaml")).services["checkout"].analysis == AnalysisSpec()


def test_the_commented_canary_says_that_the_analysis_can_be_switched_on() -> None:
    canary = template("checkout").partition("#  blue_green:")[2].partition("#  canary:")[0]
    assert "`analysis: on`" in canary


def nested(section: str, values: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path, value in values.items():
        *parents, key = path.removeprefix(f"{section}.").split(".")
        here = result
        for parent in parents:
            here = here.setdefault(parent, {})
        here[key] = value
    return result


def test_the_commented_file_holds_every_setting_and_points_editors_to_the_schema() -> None:
    text = template("checkout")
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA_FILE}\n")
    assert [one.path for one in settings() if f"{one.key}:" not in text] == []


@pytest.mark.parametrize("command", [("node", "server.js"), ("a b", "{port}", "yes", "1", "#x", "é", "'\"")])
def test_the_commented_file_takes_the_command_that_was_found(command: tuple[str, ...]) -> None:
    services = parse(template("mail", command=command), path=Path("hitless.yaml")).services
    assert services["mail"].run.command == command


def test_lines_of_the_commented_file_fit_a_screen() -> None:
    assert max(len(line) for line in template("checkout").splitlines()) <= 120


def test_the_reference_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "python -m hitless.config > docs/reference/settings.md"


def test_the_reference_page_is_what_the_module_prints() -> None:
    printed = subprocess.run([sys.executable, "-m", "hitless.config"], capture_output=True, text=True, check=True)
    assert (printed.stdout, printed.stderr) == (reference(), "")


def test_the_reference_page_lists_every_setting() -> None:
    page = reference()
    assert [one.path for one in settings() if f".{one.key}`" not in page and f"`{one.key}`" not in page] == []
